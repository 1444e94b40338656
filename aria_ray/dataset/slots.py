"""Slots: typed generators for the variable parts of a template (numbers, words, dates), and their text in sentences."""

import datetime
import random
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, model_validator

from aria_ray.tools import reference_exists

Values = dict[str, Any]
Words = Mapping[str, tuple[str, ...]]

MAIL_HOSTS = ("example.com", "example.org", "example.net")
"""Hosts reserved for examples (RFC 2606)."""


class Slot(BaseModel):
    """A generator: exactly one of the kinds, and its options `count`, `digits` and `step`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    integer: tuple[int, int] | None = None
    """A whole number from the first to the last, in steps of `step`."""
    decimal: tuple[float, float] | None = None
    """A number with at most `digits` decimals."""
    integers: tuple[int, int] | None = None
    """A list of `count` different whole numbers, in steps of `step`."""
    choice: tuple[Any, ...] | None = None
    words: str | None = None
    """`count` different words of a named list, joined by spaces."""
    sample: str | None = None
    """A list of `count` different words of a named list."""
    date: tuple[datetime.date, datetime.date] | None = None
    """A date as YYYY-MM-DD."""
    time: tuple[int, int] | None = None
    """A time of day as HH:MM between two full hours, on five minutes."""
    word_of: str | None = None
    """One word of a slot drawn before."""
    zip: tuple[str, str] | None = None
    """Two list slots drawn before, read as pairs: `Ana 12, Tom 7 and Lee 9`."""
    text: tuple[str, ...] | None = None
    """One of some free texts."""
    list_of: tuple[str, ...] | None = None
    """A list of `count` different texts of these."""
    email: str | None = None
    """An e-mail address made from a word of a named list."""
    pattern: str | None = None
    """A text with a random digit for each `#`, the first one not 0: `FL-####`."""
    reference: str | None = None
    """A pattern for a reference that exists for simulated tools (`tools.reference_exists`)."""
    unknown_reference: str | None = None
    """A pattern for a reference that does not exist for them."""

    count: tuple[int, int] = (1, 1)
    digits: int = 2
    step: int = 1

    @model_validator(mode="after")
    def _check(self) -> Self:
        kinds = [kind for kind in _DRAW if getattr(self, kind) is not None]
        patterns = (self.pattern, self.reference, self.unknown_reference)
        if any(pattern is not None and "#" not in pattern for pattern in patterns):
            raise ValueError("a pattern must have a # for each digit")
        if len(kinds) != 1:
            raise ValueError(f"a slot must have exactly one of {', '.join(_DRAW)}, not {', '.join(kinds) or 'none'}")
        return self

    @property
    def kind(self) -> str:
        """Name of the kind that is set."""
        return next(kind for kind in _DRAW if getattr(self, kind) is not None)


class Pairs(BaseModel):
    """A table whose columns are slots that vary together."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    columns: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]

    @model_validator(mode="after")
    def _check(self) -> Self:
        for row in self.rows:
            if len(row) != len(self.columns):
                raise ValueError(f"row {list(row)} must have {len(self.columns)} entries, one per column")
        if not self.rows:
            raise ValueError("pairs must have at least one row")
        return self


def draw_values(slots: Mapping[str, Slot], pairs: Pairs | None, words: Words, rng: random.Random) -> Values:
    """A value for every slot, drawn in the order of `slots`.

    Raises:
        KeyError: a slot names a word list that does not exist, or a slot that is not drawn before it.
    """
    values: Values = {}
    if pairs is not None:
        values.update(zip(pairs.columns, rng.choice(pairs.rows), strict=True))
    for name, slot in slots.items():
        values[name] = _DRAW[slot.kind](slot, rng, values, words)
    return values


def spoken(value: Any) -> str:
    """A value as text in a sentence; a list as `12, 7 and 9`."""
    if isinstance(value, list):
        *first, last = [spoken(item) for item in value]
        return f"{', '.join(first)} and {last}" if first else last
    return str(value)


def _integer(slot: Slot, rng: random.Random, _values: Values, _words: Words) -> int:
    low, high = slot.integer or (0, 0)
    return rng.randrange(low, high + 1, slot.step)


def _decimal(slot: Slot, rng: random.Random, _values: Values, _words: Words) -> float:
    low, high = slot.decimal or (0.0, 0.0)
    return round(rng.uniform(low, high), slot.digits)


def _integers(slot: Slot, rng: random.Random, _values: Values, _words: Words) -> list[int]:
    low, high = slot.integers or (0, 0)
    return rng.sample(range(low, high + 1, slot.step), rng.randint(*slot.count))


def _choice(slot: Slot, rng: random.Random, _values: Values, _words: Words) -> Any:
    return rng.choice(slot.choice or ())


def _words_text(slot: Slot, rng: random.Random, _values: Values, words: Words) -> str:
    return " ".join(rng.sample(words[slot.words or ""], rng.randint(*slot.count)))


def _sample(slot: Slot, rng: random.Random, _values: Values, words: Words) -> list[str]:
    return rng.sample(words[slot.sample or ""], rng.randint(*slot.count))


def _date(slot: Slot, rng: random.Random, _values: Values, _words: Words) -> str:
    first, last = slot.date or (datetime.date.min, datetime.date.min)
    return (first + datetime.timedelta(days=rng.randint(0, (last - first).days))).isoformat()


def _time(slot: Slot, rng: random.Random, _values: Values, _words: Words) -> str:
    first, last = slot.time or (0, 0)
    hours, minutes = divmod(rng.randrange(first * 60, last * 60 + 1, 5), 60)
    return f"{hours:02}:{minutes:02}"


def _word_of(slot: Slot, rng: random.Random, values: Values, _words: Words) -> str:
    return rng.choice(str(values[slot.word_of or ""]).split())


def _zip(slot: Slot, _rng: random.Random, values: Values, _words: Words) -> str:
    names, numbers = slot.zip or ("", "")
    pairs = zip(values[names], values[numbers], strict=True)
    return spoken([f"{name} {number}" for name, number in pairs])


def _text(slot: Slot, rng: random.Random, _values: Values, _words: Words) -> str:
    return rng.choice(slot.text or ())


def _list_of(slot: Slot, rng: random.Random, _values: Values, _words: Words) -> list[str]:
    return rng.sample(slot.list_of or (), rng.randint(*slot.count))


def _email(slot: Slot, rng: random.Random, _values: Values, words: Words) -> str:
    return f"{rng.choice(words[slot.email or '']).lower()}@{rng.choice(MAIL_HOSTS)}"


def _pattern(slot: Slot, rng: random.Random, _values: Values, _words: Words) -> str:
    return _digits(slot.pattern or "", rng)


def _known(slot: Slot, rng: random.Random, _values: Values, _words: Words) -> str:
    return next(text for text in _many(slot.reference or "", rng) if reference_exists(text))


def _unknown(slot: Slot, rng: random.Random, _values: Values, _words: Words) -> str:
    return next(text for text in _many(slot.unknown_reference or "", rng) if not reference_exists(text))


def _many(pattern: str, rng: random.Random) -> Iterator[str]:
    while True:
        yield _digits(pattern, rng)


def _digits(pattern: str, rng: random.Random) -> str:
    first, rest = pattern.split("#", 1)
    return f"{first}{rng.randint(1, 9)}" + "".join(str(rng.randint(0, 9)) if sign == "#" else sign for sign in rest)


_DRAW: dict[str, Callable[[Slot, random.Random, Values, Words], Any]] = {
    "integer": _integer,
    "decimal": _decimal,
    "integers": _integers,
    "choice": _choice,
    "words": _words_text,
    "sample": _sample,
    "date": _date,
    "time": _time,
    "word_of": _word_of,
    "zip": _zip,
    "text": _text,
    "list_of": _list_of,
    "email": _email,
    "pattern": _pattern,
    "reference": _known,
    "unknown_reference": _unknown,
}
