"""How people write a value: every spelling of it, each under the name of its form.

`spellings(value)` gives (form, words) pairs, and `write(value, form)` the words of one form, or None where the value has no
such words. Both use one list, so what was found in one form can be written in it.
"""

import datetime
import re
from collections.abc import Iterator
from typing import Any

_ONES = (
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve", "thirteen",
    "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen",
)  # fmt: skip  # a table reads better in rows
_TENS = ("", "", "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
_ORDINALS = {
    "one": "first", "two": "second", "three": "third", "five": "fifth", "eight": "eighth", "nine": "ninth", "twelve": "twelfth",
}  # fmt: skip
_MONTHS = (
    "January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November", "December",
)  # fmt: skip  # written out, so that no row depends on the locale of the machine
_HOUR_WORDS = ("twelve", *_ONES[1:12])

Spelling = tuple[str, str]
"""Name of a form, and the words in it."""


def spellings(value: Any) -> list[Spelling]:
    """Every spelling of a value, the likeliest first; empty for a value without words of its own (true, null, an object)."""
    if isinstance(value, bool) or value is None:
        return []
    if isinstance(value, (int, float)):
        return list(_number(value))
    if isinstance(value, str) and value.strip():
        return list(_text(value.strip()))
    return []


def write(value: Any, form: str) -> str | None:
    """The words of a value in a form; None where it has no such words."""
    base, _, case = form.partition("|")
    words = next((words for name, words in spellings(value) if name == base), None)
    if words is None or not case:
        return words
    return words.lower() if case == "lower" else words[:1].upper() + words[1:]


def number_words(number: int) -> str:
    """A whole number from 0 to 9999 in words: `twenty-five`, `one hundred and five`."""
    if number < 20:
        return _ONES[number]
    if number < 100:
        tens, ones = divmod(number, 10)
        return _TENS[tens] + (f"-{_ONES[ones]}" if ones else "")
    unit, name = (1000, "thousand") if number >= 1000 else (100, "hundred")
    head, rest = divmod(number, unit)
    join = " and " if rest < 100 else " "
    return f"{number_words(head)} {name}" + (f"{join}{number_words(rest)}" if rest else "")


def _number(value: float) -> Iterator[Spelling]:
    whole = float(value).is_integer()
    number: Any = int(value) if whole else value
    yield "digits", str(number)
    if abs(value) >= 1000:
        yield "separators", f"{number:,}"
        if whole and number % 100 == 0:
            yield "thousands", f"{number / 1000:g}k"
    if not whole:
        yield "decimal comma", str(value).replace(".", ",")
        yield "two decimals", f"{value:.2f}"
        if abs(value) >= 1000:
            yield "separators and decimals", f"{value:,.2f}"
    elif abs(number) < 1_000_000:
        yield "whole with decimals", f"{number}.00"
    if whole and 0 <= number < 10_000:
        yield "words", number_words(number)
        if number >= 20 and number % 10 and number < 100:
            yield "words without hyphen", number_words(number).replace("-", " ")
        if 1 <= number < 100:
            yield "ordinal", f"{number}{_suffix(number)}"
            yield "ordinal words", _ordinal_words(number)
    yield from _special_numbers(value)


def _special_numbers(value: float) -> Iterator[Spelling]:
    named = {0.5: "half", 12: "a dozen", 24: "two dozen", 0.25: "a quarter", 1.5: "one and a half", 2.5: "two and a half"}
    if value in named:
        yield "named", named[value]
    if float(value).is_integer() and 60 <= value <= 24 * 60 and value % 30 == 0:  # a number of minutes, said in hours
        hours, half = divmod(int(value), 60)
        if half:
            yield "hours", "an hour and a half" if hours == 1 else f"{number_words(hours)} and a half hours"
            yield "hours in digits", f"{value / 60:g} hours"
        else:
            yield "hours", "an hour" if hours == 1 else f"{number_words(hours)} hours"
            yield "hours in digits", "1 hour" if hours == 1 else f"{hours} hours"
    if value == 30:
        yield "hours", "half an hour"
    if value == 90:
        yield "hours in words", "one and a half hours"


def _suffix(number: int) -> str:
    return "th" if 10 <= number % 100 <= 13 else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")


def _ordinal_words(number: int) -> str:
    head, _, last = number_words(number).rpartition("-")
    if last in _ORDINALS:
        last = _ORDINALS[last]
    else:
        last = f"{last[:-1]}ieth" if last.endswith("y") else f"{last}h" if last.endswith("t") else f"{last}th"
    return f"{head}-{last}" if head else last


def _text(value: str) -> Iterator[Spelling]:
    date = _date_of(value)
    if date is not None:
        yield from _date(date)
    time = _time_of(value)
    if time is not None:
        yield from _time(*time)
    yield "text", value
    spaced = re.sub(r"[_\-/]+", " ", re.sub(r"(?<=[a-z])(?=[A-Z])", " ", value)).strip()
    if spaced != value:
        yield "spaced", spaced
        yield "hyphens", spaced.replace(" ", "-")
    if value[-1:].isalpha() and len(value) > 2:
        yield "plural", _plural(spaced)
        if value.endswith("s") and not value.endswith("ss"):
            yield "singular", spaced[:-1]
    if re.fullmatch(r"#?\w+(-\w+)*", value) and any(sign.isdigit() for sign in value):
        yield "without signs", re.sub(r"[#-]", "", value)
        yield "signs as blanks", re.sub(r"[#-]", " ", value).strip()


def _plural(word: str) -> str:
    if re.search(r"(s|x|z|ch|sh)$", word):
        return f"{word}es"
    return f"{word[:-1]}ies" if re.search(r"[^aeiou]y$", word) else f"{word}s"


def _date_of(value: str) -> datetime.date | None:
    if not re.fullmatch(r"\d{4}-\d\d-\d\d", value):
        return None
    try:
        return datetime.date.fromisoformat(value)
    except ValueError:
        return None


def _date(date: datetime.date) -> Iterator[Spelling]:
    day, month, year = date.day, _MONTHS[date.month - 1], date.year
    nth = f"{day}{_suffix(day)}"
    yield "day month year", f"{day} {month} {year}"
    yield "month day year", f"{month} {day}, {year}"
    yield "month nth year", f"{month} {nth}, {year}"
    yield "month nth year plain", f"{month} {nth} {year}"
    yield "nth of month year", f"{nth} of {month} {year}"
    # Without the year the form carries it, so that only dates of that year are written so.
    for name, words in {
        "nth of month": f"{nth} of {month}",
        "nth month": f"{nth} {month}",
        "day month": f"{day} {month}",
        "month nth": f"{month} {nth}",
        "month day": f"{month} {day}",
        "short month nth": f"{month[:3]} {nth}",
        "short month day": f"{month[:3]} {day}",
        "day short month": f"{day} {month[:3]}",
    }.items():
        yield f"{name} of {year}", words
    yield "day/month/year", f"{day:02}/{date.month:02}/{year}"
    yield "d/m/year", f"{day}/{date.month}/{year}"
    yield "m/d/year", f"{date.month}/{day}/{year}"
    yield "d.m.year", f"{day}.{date.month}.{year}"
    yield "dd.mm.year", f"{day:02}.{date.month:02}.{year}"
    yield f"m/d of {year}", f"{date.month}/{day}"


def _time_of(value: str) -> tuple[int, int] | None:
    match = re.fullmatch(r"([01]?\d|2[0-3]):([0-5]\d)(:00)?", value)
    return (int(match[1]), int(match[2])) if match else None


def _time(hour: int, minute: int) -> Iterator[Spelling]:
    half, twelve, word = ("am" if hour < 12 else "pm"), (hour - 1) % 12 + 1, _HOUR_WORDS[hour % 12]
    yield "24 hours", f"{hour:02}:{minute:02}"
    yield "24 hours short", f"{hour}:{minute:02}"
    yield "12 hours", f"{twelve}:{minute:02} {half}"
    yield "12 hours close", f"{twelve}:{minute:02}{half}"
    yield "12 hours dot", f"{twelve}.{minute:02}{half}"
    if minute == 0:
        yield "hour", f"{twelve} {half}"
        yield "hour close", f"{twelve}{half}"
        if hour == 12:
            yield "named hour", "noon"
        if hour == 0:
            yield "named hour", "midnight"
        yield f"o'clock {half}", f"{twelve} o'clock"
        yield f"o'clock words {half}", f"{word} o'clock"
        yield f"in the {half}", f"{twelve} in the {'morning' if half == 'am' else 'afternoon' if hour < 18 else 'evening'}"
    # Without am or pm the form carries it, so that only hours of that half are written so.
    yield f"12 hours bare {half}", f"{twelve}:{minute:02}"
    if minute == 30:
        yield f"half past {half}", f"half past {word}"
    if minute == 15:
        yield f"quarter past {half}", f"quarter past {word}"
    if minute == 45:
        yield f"quarter to {half}", f"quarter to {_HOUR_WORDS[(hour + 1) % 12]}"
    if minute == 0:
        yield f"bare hour {half}", str(twelve)
        yield f"bare hour words {half}", word
