"""A request with slots: an example whose values were found in its words, to be filled again with values of the same kind."""

import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from aria_ray.grammar import Call
from aria_ray.requests.example import ExampleRequest


@dataclass(frozen=True)
class Slot:
    """A value that stands in the words of a request."""

    start: int
    """Index of its first character in the request."""
    end: int
    """Index after its last character."""
    places: tuple[tuple[int, tuple[str | int, ...]], ...]
    """Where the value stands in the calls: index of the call, and path into its arguments."""
    form: str
    """How the value is written (`values`), such as `digits`, `words`, `12-hour clock`."""
    values: tuple[Any, ...]
    """Values that may stand there, the example's own first."""


@dataclass(frozen=True)
class Filled:
    """A request with its calls, and how each slot's value is written in it."""

    request: str
    calls: tuple[Call, ...]
    values: tuple[Any, ...]
    """Value by slot."""
    written: tuple[str, ...]
    """Words of the value by slot."""


@dataclass(frozen=True)
class RequestTemplate:
    """An example, its slots in the order of the text, and what was understood of it."""

    example: ExampleRequest
    slots: tuple[Slot, ...]
    notes: tuple[str, ...] = ()
    """What a person should know of it, one line each: values that were not found and stay as they are, and why."""

    def original(self) -> Filled:
        """The example as it was written."""
        raise NotImplementedError

    def filled(self, rng: random.Random) -> Filled:
        """The example with another value in each slot, written in the same form."""
        raise NotImplementedError

    def without(self, slot: int, rng: random.Random) -> Filled | None:
        """A filled request that lacks the words of a slot, where they can be taken out of the sentence; None where not.

        Its calls, values and `written` are complete, so that the value can be said later.
        """
        raise NotImplementedError

    def changed(self, filled: Filled, slot: int, rng: random.Random) -> Filled | None:
        """A filled request with another value in one slot; None where there is no other."""
        raise NotImplementedError


def understand(
    example: ExampleRequest, tools: Mapping[str, Any], more_values: Mapping[tuple[str, str], tuple[Any, ...]]
) -> RequestTemplate:
    """The template of an example.

    `tools` are definitions by name, `more_values` values of other examples by tool and parameter.
    """
    raise NotImplementedError
