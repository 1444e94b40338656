"""Errors that a user can act on: what is wrong, and what to do about it.

`problem` gives the value and the rule that it breaks, `fix` the way out. The command line prints both as one line and exits
with 2; `aria doctor` shows them in two columns. Code that needs one of the two reads the field, never the text.
"""


class AriaError(Exception):
    """Bad input, or a state of the machine that the user has to change.

    `str(error)` is one line, "problem; fix". Pickle and copy keep both fields, because both are in `args`: errors cross
    process borders in Ray.
    """

    def __init__(self, problem: str, fix: str = "") -> None:
        super().__init__(problem, fix)
        self.problem = problem
        """What is wrong: the value and the rule."""
        self.fix = fix
        """What to do about it; empty where `problem` leaves no choice."""

    def __str__(self) -> str:
        told = f"{self.problem}; {self.fix}" if self.fix else self.problem
        return " ".join(told.split())


class ConfigError(AriaError):
    """The recipe or an override is wrong."""


class DataError(AriaError):
    """The dataset, a template or a stage directory is wrong."""


class TrainingError(AriaError):
    """Training cannot go on: the base model is missing, a LoRA target matches nothing, the loss is not finite."""


class ServingError(AriaError):
    """The endpoint cannot start or does not answer."""
