"""Values like a number, a date, a time or a code: of the same size and roundness, within the bounds that a schema gives."""

import datetime
import random
import re
from collections.abc import Mapping, Sequence
from typing import Any

from aria_ray.requests.dates import date_of, date_time_of, time_of
from aria_ray.requests.fitting import kind_of
from aria_ray.requests.pools import split_words

MAX_DRAWN = 60
"""Most numbers, dates, times or codes that are drawn for one slot."""
_RANGE = re.compile(
    r"(?:between\s+|from\s+|\(|in\s+|\b)(-?\d+(?:\.\d+)?)\s*(?:%|percent)?\s*(?:-|\u2013|to|and|\.\.)\s*(-?\d+(?:\.\d+)?)\b",
    re.I,
)
_AT_MOST = re.compile(r"\b(?:at most|max(?:imum)?(?: of)?|up to|no more than)\s+(\d+(?:\.\d+)?)", re.I)
_AT_LEAST = re.compile(r"\b(?:at least|min(?:imum)?(?: of)?|no less than)\s+(\d+(?:\.\d+)?)", re.I)
# Largest sensible values, by the words of a parameter's name and description.
_LIMITS: tuple[tuple[str, float, float], ...] = (
    (r"\b(percent(age)?|per cent|brightness|volume|opacity|humidity|battery)\b|%", 0, 100),
    (r"\blatitude\b|\blat\b", -90, 90),
    (r"\blongitude\b|\b(lon|lng)\b", -180, 180),
    (r"\b(rating|stars?)\b", 1, 5),
    (r"\b(thermostat|temperature|heating|degrees)\b", 5, 30),
    (r"\b(guests?|people|persons?|party size|seats?|attendees|passengers?|adults|children|kids)\b", 1, 20),
    (r"\bnights?\b", 1, 21),
    (r"\bfloors?\b", 1, 40),
    (r"\b(age|years old)\b", 1, 99),
    (r"\bmonth\b", 1, 12),
    (r"\bday of the month\b", 1, 28),
    (r"\bhour of the day\b|^hour$", 0, 23),
    (r"^(minute|second)$", 0, 59),
)
_NUMBER_OF_A_THING = re.compile(r"\b(id|ids|code|pin|zip|postcode|postal code|account|ticket|order|invoice|reference|phone)\b")
MOMENTS = ("date", "time", "date and time")
"""Kinds of texts that say when."""
MAX_RATIO = 20
"""Numbers of other examples that differ by more than this are of different things, and give no range."""
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.I)
ROUND_NUMBERS = (100_000, 10_000, 1000, 500, 100, 50, 10, 5, 1)


def like(value: Any, name: str, schema: Mapping[str, Any], known: Sequence[Any], seed: str) -> tuple[Any, ...]:
    """Values like a number, a date, a time or a code, drawn with a seed; empty for other texts and for what has no kin.

    `name` is the parameter's, `known` are values of the same parameter in other examples: numbers stay within their range.
    """
    rng = random.Random(seed)
    if isinstance(value, bool) or value is None:
        return ()
    if isinstance(value, (int, float)):
        return _numbers(value, name, schema, known, rng)
    kind = kind_of(value)
    if kind in ("code", "number", "phone"):
        return _codes(value, schema, known, rng)
    if kind in ("date", "time", "date and time"):
        return _moments(value, rng)
    return ()


def _moments(value: str, rng: random.Random) -> tuple[str, ...]:
    """Dates, times by day, or both; the last ones differ in the time alone, then in both."""
    if date_of(value) is not None:
        return tuple(shifted(value, days, 0) for days in _weeks(rng))
    if time_of(value) is not None:
        moved = [shifted(value, 0, minutes) for minutes in _steps(value, rng)]
        near = 3 * 60  # a time at night stays near
        own = _minutes(value)
        return tuple(one for one in moved if is_by_day(one) or (not is_by_day(value) and abs(_minutes(one) - own) <= near))
    if date_time_of(value) is not None:
        moved = [shifted(value, 0, minutes) for minutes in _steps(value[11:16], rng)]
        moved = [other for other in moved if is_by_day(other)]
        return tuple(dict.fromkeys([*moved, *(shifted(rng.choice([value, *moved]), days, 0) for days in _weeks(rng))]))
    return ()


def is_by_day(moment: str) -> bool:
    """Whether a time, or a date and time, is between 7:00 and 21:30; a date always is."""
    if date_of(moment) is not None:
        return True
    return 7 * 60 <= _minutes(moment if len(moment) < 10 else moment[11:16]) <= 21 * 60 + 30


def _minutes(time: str) -> int:
    hour, minute = time_of(time) or (0, 0)
    return 60 * hour + minute


def _codes(value: str, schema: Mapping[str, Any], known: Sequence[Any], rng: random.Random) -> tuple[str, ...]:
    fixed = _same_letters(value, known)
    drawn = [_code_like(value, rng, fixed) for _ in range(MAX_DRAWN // 2)]
    # With a pattern in the schema, other letters may be wrong where other digits are right.
    drawn += [_code_like(value, rng, letters_stay=True) for _ in range(MAX_DRAWN // 2)] if "pattern" in schema else []
    return tuple(dict.fromkeys(drawn))


def shifted(value: str, days: int, minutes: int) -> str:
    """A date, a time, or a date and time that is later by days and minutes; a time stays within its day."""
    date, time, both = date_of(value), time_of(value), date_time_of(value)
    if date is not None:
        return (date + datetime.timedelta(days=days)).isoformat()
    if both is not None:
        moved = shifted(value[11:16], 0, minutes)
        return f"{(both[0] + datetime.timedelta(days=days)).isoformat()}{value[10]}{moved}{value[16:]}"
    if time is None:
        return value
    total = (time[0] * 60 + time[1] + minutes) % (24 * 60)
    head, tail = value.split(":")[0], value[len(value.split(":")[0]) + 3 :]
    hour = f"{total // 60:02}" if len(head) == 2 else str(total // 60)
    return f"{hour}:{total % 60:02}{tail}"


def _weeks(rng: random.Random) -> list[int]:
    """Days by which a date is moved: whole weeks, so that a weekday that is said with it stays right."""
    weeks = [7 * number for number in range(-20, 41) if number]
    return rng.sample(weeks, min(MAX_DRAWN, len(weeks)))


def _steps(time: str, rng: random.Random) -> list[int]:
    """Minutes by which a time is moved: hours for a full hour, and quarters for a quarter."""
    step = 60 if time[3:5] == "00" else 15 if time[3:5] in ("15", "30", "45") else 5
    steps = [step * number for number in range(1, 24 * 60 // step)]
    return rng.sample(steps, min(4 * MAX_DRAWN, len(steps)))


def _numbers(
    value: float, name: str, schema: Mapping[str, Any], known: Sequence[Any], rng: random.Random
) -> tuple[int | float, ...]:
    words = f"{split_words(name)} {str(schema.get('description', '')).lower()}"
    if isinstance(value, int) and abs(value) >= 100 and _NUMBER_OF_A_THING.search(split_words(name)):
        first = 10 ** (len(str(value)) - 1)
        return tuple(rng.randrange(first, 10 * first) for _ in range(MAX_DRAWN))
    low, high = _bounds(value, words, schema, known)
    if "year" in words.split() and 1900 <= value <= 2100:
        low, high = value - 12, value + 12
    drawn = [_number_like(value, low, high, rng) for _ in range(2 * MAX_DRAWN)]
    return tuple(dict.fromkeys(number for number in drawn if low <= number <= high or number == value))[:MAX_DRAWN]


def _bounds(value: float, words: str, schema: Mapping[str, Any], known: Sequence[Any]) -> tuple[float, float]:
    """Lowest and highest number: around the value and those of other examples, within the schema's bounds, those that the
    description gives, and those of what it is a number of."""
    numbers = [abs(number) for number in (value, *known) if isinstance(number, (int, float)) and not isinstance(number, bool)]
    low, high = min(numbers), max(numbers)
    spread = (high - low) * 0.25
    if high > MAX_RATIO * max(low, 0.01):
        low = high = abs(value)
    if len(set(numbers)) < 3 or low == high:
        few = high <= 12 and low >= 1 and float(value).is_integer()
        low, high = (1.0, 12.0) if few else (low / 2, high * 1.8 or 10)
    else:
        low, high = max(low - spread, low / 2), high + spread
    if value < 0:
        low, high = -high, -low
    floors = [schema.get("minimum"), schema.get("exclusiveMinimum"), *(float(text) for text in _AT_LEAST.findall(words))]
    ceilings = [schema.get("maximum"), schema.get("exclusiveMaximum"), *(float(text) for text in _AT_MOST.findall(words))]
    ranges = [(float(one), float(other)) for one, other in _RANGE.findall(words)]
    ranges += [(bottom, top) for pattern, bottom, top in _LIMITS if re.search(pattern, words)]
    for bottom, top in ranges:
        if bottom <= value <= top:
            floors.append(bottom)
            ceilings.append(top)
    low = max([low, *(floor for floor in floors if isinstance(floor, (int, float)))])
    return low, min([high, *(ceiling for ceiling in ceilings if isinstance(ceiling, (int, float)))])


def _number_like(value: float, low: float, high: float, rng: random.Random) -> int | float:
    if high <= low:
        return value
    if not float(value).is_integer():
        digits = min(len(str(value).partition(".")[2]), 3)
        drawn = round(rng.uniform(low, high), digits)
        ending = value % 1
        return round(int(drawn) + ending, digits) if rng.random() < 0.5 and abs(value) > 1 else drawn
    size = abs(value)
    step = next(step for step in ROUND_NUMBERS if (size % step == 0 and size >= 2 * step) or step == 1)
    draw = rng.random()  # rounder numbers are commoner, others occur
    step = max(1, step // 10) if draw < 0.1 else max(1, step // 2) if draw < 0.35 else step
    first, last = int(-(-low // step)), int(high // step)
    number = rng.randint(first, max(first, last)) * step
    return float(number) if isinstance(value, float) else number


def _same_letters(value: str, known: Sequence[Any]) -> bool:
    """Whether the codes of other examples begin with the same two or more letters: then those belong to every code."""
    letters = re.match(r"[A-Za-z]{2,}", value)
    others = [other for other in known if isinstance(other, str) and other != value]
    return letters is not None and bool(others) and all(other.startswith(letters[0]) for other in others)


def _code_like(value: str, rng: random.Random, letters_stay: bool) -> str:
    """A code of the same pattern: other digits, and other letters where they are few and no word."""
    letters_stay = letters_stay or re.search(r"[A-Za-z]{3,}", value) is not None
    is_hex = re.fullmatch(r"[0-9a-f-]{8,}", value) is not None and re.search("[a-f]", value) is not None
    # Lower-case letters are words (`db-7`, `v2`) unless they are digits of a hexadecimal number.
    small, capital = ("abcdef", "ABCDEF") if is_hex else ("abcdefghjkmnpqrstuvwxyz", "ABCDEFGHJKMNPQRSTUVWXYZ")
    signs = []
    for index, sign in enumerate(value):
        if _UUID.fullmatch(value) and index in (14, 19):
            signs.append(sign)  # version and variant
        elif sign.isdigit():
            starts = index == 0 or not value[index - 1].isalnum()
            signs.append(sign if sign == "0" and starts else rng.choice("123456789" if starts else "0123456789"))
        elif sign.isalpha() and (is_hex or (not letters_stay and sign.isupper())):
            signs.append(rng.choice(capital if sign.isupper() else small))
        else:
            signs.append(sign)
    return "".join(signs)
