"""Errors a user can act on. Each message gives the value, the rule and the way out; the CLI prints it as one line, exit 2."""


class AriaError(Exception):
    """Bad input, or a state of the machine that the user has to change."""


class ConfigError(AriaError):
    """The recipe or an override is wrong."""


class DataError(AriaError):
    """The dataset, a template or a stage directory is wrong."""


class TrainingError(AriaError):
    """Training cannot go on: the base model is missing, a LoRA target matches nothing, the loss is not finite."""


class ServingError(AriaError):
    """The endpoint cannot be brought up or does not answer."""
