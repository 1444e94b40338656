"""A request with slots: an example whose values were found in its words, to be filled again with values of the same kind."""

import math
import random
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from aria_ray.grammar import Call
from aria_ray.requests.example import ExampleRequest
from aria_ray.requests.kin import MOMENTS, is_by_day, shifted
from aria_ray.requests.omission import alone, without_words
from aria_ray.requests.spellings import write

MAX_DRAWS = 20
"""Attempts to draw values that read well together."""
Place = tuple[int, tuple[str | int, ...]]
"""Where a value stands in the calls: index of the call, and path into its arguments."""
_VOWEL = re.compile(r"[aeiou8]|11\b|18\b|(hour|honest|heir|honou?r)|[FHLMNRSX]([A-Z]|\b|-)", re.I)
_CONSONANT = re.compile(r"(uni|us[ei]|eu|one\b|once|ut[ei]|ub)|U[A-Z]", re.I)


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
    """Values that may stand there and can be written so, the example's own first."""
    opposites: tuple[str, str] | None = None
    """Words for the first and the second value, where the value is said by a word such as lock or unlock."""
    again: tuple[tuple[int, int, str], ...] = ()
    """Start, end and form of each further place of the request that says the same value."""
    linked: str | None = None
    """Kind of slots that change together or stay in order: "date", "time", "date and time", or "number" for limits."""

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

    @property
    def fillings(self) -> int:
        """How many different requests can be made of it, at most."""
        return math.prod(len(slot.values) for slot in self.slots)

    def original(self) -> Filled:
        """The example as it was written."""
        values = tuple(slot.values[0] for slot in self.slots)
        written = tuple(self.example.request[slot.start : slot.end] for slot in self.slots)
        return Filled(self.example.request, self._calls(values), values, written)

    def filled(self, rng: random.Random) -> Filled:
        """The request with other values in its slots, in the words and in the calls."""
        for _ in range(MAX_DRAWS):
            values: list[Any] = []
            for index, slot in enumerate(self.slots):
                values.append(self._drawn(index, slot, values, rng))
            values = self._moved_together(values, rng)
            if self._in_order(values):
                return self._with(values)
        return self.original()

    def without(self, slot: int, rng: random.Random) -> Filled | None:
        """A filled request whose `slot` is taken out of the words; None where no sentence is left that a person might say.

        Its calls, values and `written` are complete, so that the value can be said later.
        """
        if self.slots[slot].again or self._is_one_of_several(slot):
            return None
        whole = self.filled(rng)
        request = without_words(self._text(whole.values, whole.written, marked=slot))
        return None if request is None else Filled(request, whole.calls, whole.values, whole.written)

    def changed(self, filled: Filled, slot: int, rng: random.Random) -> Filled | None:
        """A filled request with another value in one slot; None where there is no other."""
        others = [value for value in self.slots[slot].values if value not in (filled.values[slot],)]
        for other in rng.sample(others, min(len(others), MAX_DRAWS)):
            values = [*filled.values[:slot], other, *filled.values[slot + 1 :]]
            if self._agrees(slot, other) and self._in_order(values) and self._distinct(slot, values):
                return self._with(values)
        return None

    def phrase(self, filled: Filled, slot: int) -> str:
        """The words of a slot as they stand alone: with the article and the unit that they have in the request."""
        before, after = self.example.request[: self.slots[slot].start], self.example.request[self.slots[slot].end :]
        return alone(before, filled.written[slot], after)

    def _is_one_of_several(self, slot: int) -> bool:
        """Whether a value stands in a list with others, whose commas and `and` it would leave behind."""
        call, path = self.slots[slot].places[0]
        holder: Any = self.example.calls[call].arguments
        for key in path[:-1]:
            holder = holder[key]
        return isinstance(holder, (list, tuple)) and len(holder) > 1

    def _drawn(self, index: int, slot: Slot, before: Sequence[Any], rng: random.Random) -> Any:
        """A value that no slot before has where the example's values differ."""
        for _ in range(MAX_DRAWS):
            value = rng.choice(slot.values)
            if self._distinct(index, [*before, value]) and self._agrees(index, value):
                return value
        return slot.values[0]

    def _distinct(self, index: int, values: Sequence[Any]) -> bool:
        """Whether a slot's value differs from those of the other slots wherever the example's own values differ."""
        own = self.slots[index].values[0]
        return all(
            other == index or value != values[index] or self.slots[other].values[0] == own for other, value in enumerate(values)
        )

    def _agrees(self, index: int, value: Any) -> bool:
        """Whether a number agrees with the noun after it: `1 days` and `2 hour` do not."""
        slot = self.slots[index]
        own = slot.values[0]
        if isinstance(value, bool) or not isinstance(value, (int, float)) or value == own:
            return True
        noun = re.match(r"[\s-]*[a-z]+", self.example.request[slot.end :], re.I)
        return noun is None or (value == 1) == (own == 1)

    def _moved_together(self, values: Sequence[Any], rng: random.Random) -> list[Any]:
        """Values whose dates and times are those of the example, all later or earlier by as much, where there are several."""
        moved = list(values)
        for kind in MOMENTS:
            linked = [index for index, slot in enumerate(self.slots) if slot.linked == kind]
            own = [self.slots[index].values[0] for index in linked]
            for _ in range(MAX_DRAWS if linked else 0):
                days, minutes = (
                    rng.choice((0, 7 * rng.randint(-20, 40))),
                    rng.choice((0, 60 * rng.randint(-6, 8), 30 * rng.randint(-12, 16))),
                )
                later = [shifted(value, days, minutes) for value in own]
                written = [self.slots[index].words(value) for index, value in zip(linked, later, strict=True)]
                by_day = all(is_by_day(value) or not is_by_day(old) for value, old in zip(later, own, strict=True))
                if None not in written and by_day and (sorted(later) == later) == (sorted(own) == own):
                    break
            else:
                later = own
            for index, value in zip(linked, later, strict=True):
                moved[index] = value
        return moved

    def _in_order(self, values: Sequence[Any]) -> bool:
        """Whether linked values are in the order of the example's: a start before its end."""
        linked = [(slot, value) for slot, value in zip(self.slots, values, strict=True) if slot.linked is not None]
        return all(
            (one.values[0] < other.values[0]) == (value < second)
            for index, (one, value) in enumerate(linked)
            for other, second in linked[index + 1 :]
            if type(value) is type(second) and one.linked == other.linked and _same_shape(value, second)
        )

    def _with(self, values: Sequence[Any]) -> Filled:
        written = tuple(
            # The words of the example's own value stay as they were typed.
            self.example.request[slot.start : slot.end] if value == slot.values[0] else slot.words(value) or ""
            for slot, value in zip(self.slots, values, strict=True)
        )
        return Filled(self._text(values, written), self._calls(values), tuple(values), written)

    def _text(self, values: Sequence[Any], written: Sequence[str], marked: int | None = None) -> str:
        """The request with these words in its slots; those of the `marked` one between two NULs."""
        parts = [
            (slot.start, slot.end, f"\0{words}\0" if index == marked else words)
            for index, (slot, words) in enumerate(zip(self.slots, written, strict=True))
        ]
        for slot, value in zip(self.slots, values, strict=True):
            for start, end, form in slot.again:
                said = None if value == slot.values[0] else write(value, form)
                parts.append((start, end, self.example.request[start:end] if said is None else said))
        text, last = "", 0
        for start, end, words in sorted(parts):
            text += self.example.request[last:start]
            own = self.example.request[start:end]
            if own[:1].isupper() and re.search(r"(^|[.!?]\s+)$", text):
                words = re.sub(r"^(\0?)(.)", lambda match: match[1] + match[2].upper(), words)
            text = (_with_article(text, words) if words.strip("\0") != own else text) + words
            last = end
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


def linked_slots(slots: Sequence[Slot], is_limit: Sequence[bool]) -> tuple[Slot, ...]:
    """Slots that say two or more dates or times, or a lowest and a highest number (`is_limit`, by slot), are linked."""
    kinds = Counter(slot.linked for slot in slots)
    limits = [index for index, slot in enumerate(slots) if is_limit[index] and isinstance(slot.values[0], (int, float))]
    linked: list[Slot] = []
    for index, slot in enumerate(slots):
        of_limits = "number" if len(limits) > 1 and index in limits else None
        kind = slot.linked if slot.linked is not None and kinds[slot.linked] > 1 else of_limits
        linked.append(replace(slot, linked=kind))
    return tuple(linked)


def _same_shape(one: Any, other: Any) -> bool:
    """Whether two values can be put in order: numbers, or texts in the same pattern of digits."""
    return not isinstance(one, str) or re.sub(r"\d", "0", one) == re.sub(r"\d", "0", other)


def _copy(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _copy(item) for key, item in value.items()}
    return [_copy(item) for item in value] if isinstance(value, (list, tuple)) else value


def _with_article(before: str, words: str) -> str:
    """The text before a value with the article that fits the value's first sound."""
    match = re.search(r"\b(an?) $", before, re.I)
    words = words.strip("\0")
    if match is None or not words[:1].isalnum():
        return before
    article = "an" if _VOWEL.match(words) and not _CONSONANT.match(words) else "a"
    # F, H, L, M, N, R, S and X are spelled with a vowel only where they stand for themselves: an SUV, an M, but a sofa.
    if words[0].lower() in "fhlmnrsx" and not re.match(r"[A-Z]([A-Z]|\b|-)|(hour|honest|heir|hono)", words):
        article = "a"
    return before[: match.start()] + (article.capitalize() if match[1][0].isupper() else article) + " "
