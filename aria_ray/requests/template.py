"""A request with slots: an example whose values were found in its words, to be filled again with values of the same kind."""

import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from aria_ray.grammar import Call
from aria_ray.requests.example import ExampleRequest
from aria_ray.requests.spellings import write

MAX_DRAWS = 20
"""Attempts to draw a value that can be written in the form of a slot."""
Place = tuple[int, tuple[str | int, ...]]
"""Where a value stands in the calls: index of the call, and path into its arguments."""

_PREPOSITION = re.compile(
    r"\s+(?:in|on|at|for|to|from|with|called|named|by|about|until|till|into|near|of|as|under|titled|saying)"
    r"(?:\s+(?:the|my|our|a|an))?\s*$",
    re.I,
)
_NOUN = re.compile(
    r" (?!(?:in|on|at|for|to|from|with|by|about|until|till|into|near|of|as|and|or|up|down|off|please|now|today|tomorrow|is|are|be"
    r"|a|an|the)\b)[a-z]+(?=[ ,.?!]|$)"
)
"""A noun after a value: `door` in `the front door`."""
_UNIT = re.compile(
    r"^\s*(?:%|percent|degrees?|minutes?|mins?|hours?|seconds?|days?|weeks?|months?|years?|people|persons?|guests?|euros?|dollars?|"
    r"pounds?|kg|kilos?|grams?|km|miles?|times)\b",
    re.I,
)


@dataclass(frozen=True)
class Slot:
    """A value that stands in the words of a request."""

    start: int
    """Index of its first character in the request."""
    end: int
    """Index after its last character."""
    places: tuple[Place, ...]
    """Where the value stands in the calls."""
    form: str
    """How the value is written (`spellings`)."""
    values: tuple[Any, ...]
    """Values that may stand there, the example's own first."""
    opposites: tuple[str, str] | None = None
    """Words for the first and the second value, where the value is said by a word such as lock or unlock."""

    def words(self, value: Any) -> str | None:
        """The words of a value in this slot; None where it has none in its form."""
        if self.opposites is not None:
            return self.opposites[self.values.index(value)]
        return write(value, self.form)


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
        values = tuple(slot.values[0] for slot in self.slots)
        written = tuple(self.example.request[slot.start : slot.end] for slot in self.slots)
        return Filled(self.example.request, self._calls(values), values, written)

    def filled(self, rng: random.Random) -> Filled:
        """The example with another value in each slot, written in the same form."""
        values: list[Any] = []
        for index, slot in enumerate(self.slots):
            values.append(self._drawn(index, slot, values, rng))
        return self._with(values)

    def without(self, slot: int, rng: random.Random) -> Filled | None:
        """A filled request that lacks the words of a slot, where they can be taken out of the sentence; None where not.

        Its calls, values and `written` are complete, so that the value can be said later.
        """
        whole = self.filled(rng)
        request = _without_words(self._text(whole.written, marked=slot))
        return None if request is None else Filled(request, whole.calls, whole.values, whole.written)

    def changed(self, filled: Filled, slot: int, rng: random.Random) -> Filled | None:
        """A filled request with another value in one slot; None where there is no other."""
        others = [value for value in self.slots[slot].values if value != filled.values[slot]]
        rng.shuffle(others)
        for other in others[:MAX_DRAWS]:
            if self.slots[slot].words(other) is not None:
                return self._with([*filled.values[:slot], other, *filled.values[slot + 1 :]])
        return None

    def phrase(self, filled: Filled, slot: int) -> str:
        """The words of a slot as they stand alone: with the article and the unit that they have in the request."""
        before, after = self.example.request[: self.slots[slot].start], self.example.request[self.slots[slot].end :]
        article = re.search(r"\b(the|my|our) $", before, re.I)
        noun = _NOUN.match(after) if article else None
        unit = _UNIT.match(after) or noun
        return f"{article[0].lower() if article else ''}{filled.written[slot]}{unit[0] if unit else ''}"

    def _drawn(self, index: int, slot: Slot, before: Sequence[Any], rng: random.Random) -> Any:
        """A value that can be written, and that no slot before has where the example's values differ."""
        own = slot.values[0]
        taken = [value for value, other in zip(before, self.slots, strict=False) if other.values[0] != own]
        for _ in range(MAX_DRAWS):
            value = rng.choice(slot.values)
            if value in taken or not self._reads_well(index, value):
                continue
            if slot.words(value) is not None:
                return value
        return own

    def _reads_well(self, index: int, value: Any) -> bool:
        """Whether a number agrees with the noun after it: `1 days` and `2 hour` do not."""
        slot = self.slots[index]
        own = slot.values[0]
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            return True
        noun = re.match(r"\s+[a-z]+", self.example.request[slot.end :], re.I)
        return noun is None or (value == 1) == (own == 1)

    def _with(self, values: Sequence[Any]) -> Filled:
        written = tuple(slot.words(value) or "" for slot, value in zip(self.slots, values, strict=True))
        own = self.original()
        # The words of the example's own value stay as they were typed.
        written = tuple(
            said if value == slot.values[0] else words
            for said, words, value, slot in zip(own.written, written, values, self.slots, strict=True)
        )
        return Filled(self._text(written), self._calls(values), tuple(values), written)

    def _text(self, written: Sequence[str], marked: int | None = None) -> str:
        """The request with these words in its slots; those of the `marked` one between two NULs."""
        text, last = "", 0
        for index, (slot, words) in enumerate(zip(self.slots, written, strict=True)):
            text += self.example.request[last : slot.start]
            words = words[:1].upper() + words[1:] if not text and self.example.request[slot.start].isupper() else words
            text = _with_article(text, words)
            text += f"\0{words}\0" if index == marked else words
            last = slot.end
        return text + self.example.request[last:]

    def _calls(self, values: Sequence[Any]) -> tuple[Call, ...]:
        arguments = [_copy(call.arguments) for call in self.example.calls]
        for slot, value in zip(self.slots, values, strict=True):
            for call, path in slot.places:
                holder: Any = arguments[call]
                for key in path[:-1]:
                    holder = holder[key]
                holder[path[-1]] = value
        return tuple(Call(call.name, given) for call, given in zip(self.example.calls, arguments, strict=True))


def _copy(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _copy(item) for key, item in value.items()}
    return [_copy(item) for item in value] if isinstance(value, (list, tuple)) else value


def _with_article(before: str, words: str) -> str:
    """The text before a value with the article that fits the value's first letter."""
    match = re.search(r"\b(an?) $", before, re.I)
    if match is None or not words[:1].isalpha():
        return before
    article = "an" if words[0].lower() in "aeiou" and not re.match(r"(uni|us|eu|one)", words, re.I) else "a"
    return before[: match.start()] + (article.capitalize() if match[1][0].isupper() else article) + " "


def _without_words(text: str) -> str | None:
    """A text without what stands between two NULs, and the words that go with it; None if nothing a person says is left."""
    before, _, after = text.split("\0")
    unit = _UNIT.match(after)
    after = after[unit.end() :] if unit else after
    preposition = _PREPOSITION.search(before)
    if preposition is not None and re.match(
        r"\s*($|[,.?!;]|and\b|at\b|on\b|in\b|for\b|to\b|from\b|please\b|by\b|with\b|until\b)", after
    ):
        before = before[: preposition.start()]
    elif re.search(r"\b(the|my|our)\s+$", before, re.I) and re.match(r"\s+[a-z]+", after):
        after = after.lstrip()
    else:
        return None
    left = re.sub(r"\s+([,.?!;])", r"\1", re.sub(r"\s{2,}", " ", before + after)).strip()
    return left if len(left.split()) >= 2 else None
