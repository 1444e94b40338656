"""Other common notations of values: `1,200`, `seven`, `4 March 2026`, `2:30 pm`, `km`. Tools get the standard notation."""

import datetime
import random
import re
from typing import Any

from aria_ray.dataset.slots import Slot, spoken

_WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")
_MONTHS = (
    "January", "February", "March", "April", "May", "June",
    "July", "August", "September", "October", "November", "December",
)  # fmt: skip  # written out, so that a row does not depend on the locale of the machine
_SHORT_UNITS = {
    "kilometers": "km", "meters": "m", "centimeters": "cm", "millimeters": "mm", "miles": "mi", "feet": "ft",
    "kilograms": "kg", "grams": "g", "pounds": "lb", "ounces": "oz", "liters": "l", "milliliters": "ml", "hours": "h",
    "minutes": "min", "seconds": "s",
}  # fmt: skip  # a table reads better in rows than one pair per line


def other_notation(value: Any, rng: random.Random) -> str:
    """Another common notation of a value; the standard one if there is none.

    A whole number up to twelve becomes a word, one from a thousand gets separators; `2026-03-04` becomes `4 March 2026` or
    `March 4, 2026`; `14:30` becomes `2:30 pm`; a unit its symbol.
    """
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return spoken(value)
    if isinstance(value, str):
        return _text(value, rng)
    if isinstance(value, int) and 0 <= value < len(_WORDS):
        return _WORDS[value]
    return f"{value:,}"


def has_other_notation(slot: Slot) -> bool:
    """Whether at least half of a slot's values have another common notation."""
    if slot.kind in ("date", "time"):
        return True
    bounds = slot.integer or slot.integers
    if bounds is not None:
        low, high = bounds
        usual = max(0, min(high, 999) - max(low, len(_WORDS)) + 1)
        return usual <= (high - low + 1) / 2
    choices = [value for value in slot.choice or () if isinstance(value, str)]
    return bool(choices) and all(value in _SHORT_UNITS for value in choices)


def _text(value: str, rng: random.Random) -> str:
    if re.fullmatch(r"\d{4}-\d\d-\d\d", value):
        try:
            date = datetime.date.fromisoformat(value)
        except ValueError:  # a date that is wrong on purpose
            return value
        month = _MONTHS[date.month - 1]
        return rng.choice((f"{date.day} {month} {date.year}", f"{month} {date.day}, {date.year}"))
    if re.fullmatch(r"([01]\d|2[0-3]):[0-5]\d", value):
        hour, minute = divmod(int(value[:2]) * 60 + int(value[3:]), 60)
        return f"{(hour - 1) % 12 + 1}:{minute:02} {'am' if hour < 12 else 'pm'}"
    return _SHORT_UNITS.get(value, value)
