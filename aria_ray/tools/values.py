"""Argument types with bounds, the error that tools raise, and results as short plain text.

Bounds are checked when a tool runs. They are not in its JSON Schema, so that its signature stays short.
"""

import datetime
import math
import re
from decimal import Decimal
from fractions import Fraction
from typing import Annotated

from pydantic import AfterValidator

MAX_MAGNITUDE = 1e15
"""Largest number that tools take and return: up to it a double holds every whole number exactly."""
MAX_TEXT_CHARACTERS = 1000
MAX_LIST_LENGTH = 100
_FRACTION = re.compile(r"-?[0-9]{1,6}(/[0-9]{1,6})?")


class ToolError(ValueError):
    """A tool cannot serve the call; the model reads the message."""


def _bounded_number(value: float) -> float:
    if not math.isfinite(value) or abs(value) > MAX_MAGNITUDE:
        raise ValueError(f"number must be between -{MAX_MAGNITUDE:.0f} and {MAX_MAGNITUDE:.0f}")
    return value


def _bounded_integer(value: int) -> int:
    if abs(value) > MAX_MAGNITUDE:
        raise ValueError(f"number must be between -{MAX_MAGNITUDE:.0f} and {MAX_MAGNITUDE:.0f}")
    return value


def _bounded_text(value: str) -> str:
    if len(value) > MAX_TEXT_CHARACTERS:
        raise ValueError(f"text must be at most {MAX_TEXT_CHARACTERS} characters")
    # JSON can carry half of a surrogate pair, which no encoding can write.
    if any("\ud800" <= character <= "\udfff" for character in value):
        raise ValueError("text must be valid Unicode")
    return value


def _bounded_numbers(value: list[float]) -> list[float]:
    if not 1 <= len(value) <= MAX_LIST_LENGTH:
        raise ValueError(f"list must have 1 to {MAX_LIST_LENGTH} entries")
    return value


def _bounded_texts(value: list[str]) -> list[str]:
    if not 1 <= len(value) <= MAX_LIST_LENGTH:
        raise ValueError(f"list must have 1 to {MAX_LIST_LENGTH} entries")
    return value


Number = Annotated[float, AfterValidator(_bounded_number)]
Integer = Annotated[int, AfterValidator(_bounded_integer)]
Text = Annotated[str, AfterValidator(_bounded_text)]
Numbers = Annotated[list[Number], AfterValidator(_bounded_numbers)]
Texts = Annotated[list[Text], AfterValidator(_bounded_texts)]

Value = str | float | list[float] | list[str]
"""Result of a tool before it becomes text."""


def plain(value: Value) -> str:
    """A result as text: 12 not 12.0, six significant digits (two decimals at least), never an exponent.

    Raises:
        ToolError: the number is beyond `MAX_MAGNITUDE` or not finite.
    """
    if isinstance(value, str):
        return value
    if isinstance(value, list):
        return ", ".join(plain(item) for item in value) or "none"
    if not math.isfinite(value) or abs(value) > MAX_MAGNITUDE:
        raise ToolError("the result is too large")
    if float(value).is_integer():
        return str(int(value))
    decimals = max(2, 6 - len(str(int(abs(value)))))
    # Below 1 the leading zeros are not significant; Decimal spells them out where `.6g` would turn to an exponent.
    text = f"{value:.{decimals}f}" if abs(value) >= 1 else format(Decimal(f"{value:.6g}"), "f")
    short = text.rstrip("0").rstrip(".") if "." in text else text
    return "0" if short == "-0" else short


def parse_date(text: str) -> datetime.date:
    """A date from YYYY-MM-DD; ToolError where the calendar has no such day."""
    try:
        return datetime.date.fromisoformat(text)
    except ValueError:
        raise ToolError(f"no such date {text}") from None


def parse_time(text: str) -> datetime.time:
    """A time of day from HH:MM; ToolError where the clock has no such time."""
    try:
        return datetime.time.fromisoformat(text)
    except ValueError:
        raise ToolError(f"no such time {text}") from None


def parse_date_time(text: str) -> datetime.datetime:
    """A date and time of day from YYYY-MM-DD HH:MM; ToolError where there is no such moment."""
    try:
        return datetime.datetime.strptime(text, "%Y-%m-%d %H:%M")
    except ValueError:
        raise ToolError(f"no such date and time {text}") from None


def parse_minutes(start: str, end: str) -> tuple[int, int]:
    """A start and an end, HH:MM, as minutes since midnight; ToolError where the end is not after the start."""
    begin, finish = (60 * time.hour + time.minute for time in (parse_time(start), parse_time(end)))
    if finish <= begin:
        raise ToolError(f"the end {end} is not after the start {start}")
    return begin, finish


def parse_fraction(text: str) -> Fraction:
    """An exact fraction from `3/4` or `2`; ToolError where it is not one. At most six digits each."""
    if not _FRACTION.fullmatch(text):
        raise ToolError(f"'{text}' is not a fraction such as 3/4")
    try:
        return Fraction(text)
    except ZeroDivisionError:
        raise ToolError(f"{text} divides by zero") from None


def bounded_result(text: str) -> str:
    """The text; ToolError if it is too long to be the argument of a later call."""
    if len(text) > MAX_TEXT_CHARACTERS:
        raise ToolError(f"the result is longer than {MAX_TEXT_CHARACTERS} characters")
    return text
