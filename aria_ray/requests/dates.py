"""How people write dates, times of day, and both together.

Where the words leave something out (the year, am or pm), the name of the form carries it, so that only a value that agrees is
written so.
"""

import datetime
import re
from collections.abc import Iterator

from aria_ray.requests.numbers import ONES, Spelling, ordinal_words, suffix

_MONTHS = (
    "January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November", "December",
)  # fmt: skip  # written out, so that no row depends on the locale of the machine
_HOURS = ("twelve", *ONES[1:12])
_PAST = {5: "five", 10: "ten", 20: "twenty", 25: "twenty-five", 15: "quarter", 30: "half"}
_TIME = re.compile(r"([01]?\d|2[0-3]):([0-5]\d)(:00)?(?:Z)?")
_DATE_TIME = re.compile(r"(\d{4}-\d\d-\d\d)[T ]((?:[01]\d|2[0-3]):[0-5]\d(?::00(?:\.0+)?)?)(Z|[+-]\d\d:?\d\d)?")
DATE_TIME = "date and time/"
"""Start of the names of forms that say a date and a time: then the form of the date, the join, the form of the time, the rest.

The form of the date is `=YYYY-MM-DD` where the words say the time alone.
"""
JOINS = {
    "at": "{date} at {time}", "by": "{date} by {time}", "blank": "{date} {time}", "comma": "{date}, {time}",
    "on": "{time} on {date}", "at, on": "at {time} on {date}", "after": "{time} {date}", "comma, after": "{time}, {date}",
    "from": "{date} from {time}",
}  # fmt: skip
"""How a date and a time stand together."""


def date_of(value: str) -> datetime.date | None:
    """The date that `YYYY-MM-DD` stands for; None for other texts."""
    if not re.fullmatch(r"\d{4}-\d\d-\d\d", value):
        return None
    try:
        return datetime.date.fromisoformat(value)
    except ValueError:
        return None


def time_of(value: str) -> tuple[int, int] | None:
    """Hour and minute of `HH:MM` or `HH:MM:00`; None for other texts."""
    match = _TIME.fullmatch(value)
    return (int(match[1]), int(match[2])) if match else None


def date_time_of(value: str) -> tuple[datetime.date, tuple[int, int]] | None:
    """Date, hour and minute of an ISO date and time without seconds; None for other texts."""
    match = _DATE_TIME.fullmatch(value)
    date, time = (date_of(match[1]), time_of(match[2][:5])) if match else (None, None)
    return (date, time) if date is not None and time is not None else None


def write_date_time(value: str, form: str) -> str | None:
    """The words of an ISO date and time in a form of `date_time_form`; None where it has no such words."""
    both = date_time_of(value)
    date_form, join, time_form, rest = form.removeprefix(DATE_TIME).split("+", 3)
    if both is None or value[16:] != rest:
        return None
    time = dict(time_spellings(*both[1])).get(time_form)
    if date_form.startswith("="):
        return time if date_form[1:] == both[0].isoformat() else None
    date = dict(date_spellings(both[0])).get(date_form)
    return None if date is None or time is None else JOINS[join].format(date=date, time=time)


def date_time_form(value: str, date_form: str, join: str, time_form: str) -> str:
    """The name of the form in which a date and time is written."""
    return f"{DATE_TIME}{date_form}+{join}+{time_form}+{value[16:]}"


def date_spellings(date: datetime.date) -> Iterator[Spelling]:
    """Every spelling of a date."""
    day, month, year = date.day, _MONTHS[date.month - 1], date.year
    nth, short = f"{day}{suffix(day)}", "Sept" if date.month == 9 else month[:3]
    yield "iso", date.isoformat()
    without_year = {
        "day month": f"{day} {month}",
        "month day": f"{month} {day}",
        "month nth": f"{month} {nth}",
        "nth month": f"{nth} {month}",
        "nth of month": f"{nth} of {month}",
        "day short": f"{day} {short}",
        "day three": f"{day} {month[:3]}",
        "nth short": f"{nth} {month[:3]}",
        "short day": f"{short} {day}",
        "three day": f"{month[:3]} {day}",
        "short nth": f"{month[:3]} {nth}",
        "month the nth": f"{month} the {nth}",
        "month nth words": f"{month} {ordinal_words(day)}",
        "nth words of month": f"{ordinal_words(day)} of {month}",
    }
    for name, words in without_year.items():
        yield f"{name} year", f"{words} {year}"
        yield f"{name}, year", f"{words}, {year}"
    yield "dd/mm/year", f"{day:02}/{date.month:02}/{year}"
    yield "d/m/year", f"{day}/{date.month}/{year}"
    yield "mm/dd/year", f"{date.month:02}/{day:02}/{year}"
    yield "m/d/year", f"{date.month}/{day}/{year}"
    yield "d.m.year", f"{day}.{date.month}.{year}"
    yield "dd.mm.year", f"{day:02}.{date.month:02}.{year}"
    yield "dd-mm-year", f"{day:02}-{date.month:02}-{year}"
    yield "year/mm/dd", f"{year}/{date.month:02}/{day:02}"
    yield f"d/m/yy of {year // 100}", f"{day}/{date.month}/{year % 100:02}"
    yield f"m/d/yy of {year // 100}", f"{date.month}/{day}/{year % 100:02}"
    for name, words in without_year.items():
        yield f"{name} of {year}", words
    yield f"d.m. of {year}", f"{day}.{date.month}."
    yield f"d/m of {year}", f"{day}/{date.month}"
    yield f"m/d of {year}", f"{date.month}/{day}"


def time_spellings(hour: int, minute: int) -> Iterator[Spelling]:
    """Every spelling of a time of day."""
    half, twelve = ("am" if hour < 12 else "pm"), (hour - 1) % 12 + 1
    yield "24 hours", f"{hour:02}:{minute:02}"
    yield "24 hours short", f"{hour}:{minute:02}"
    for name, after in {"": f" {half}", " close": half, " dots": f" {half[0]}.m.", " letter": half[0]}.items():
        yield f"12 hours{name}", f"{twelve}:{minute:02}{after}"
        yield f"12 hours with point{name}", f"{twelve}.{minute:02}{after}"
        if minute == 0:
            yield f"hour{name}", f"{twelve}{after}"
    yield "h", f"{hour}h{minute:02}"
    if minute == 0:
        yield from _full_hour(hour, twelve, half)
    yield from _spoken_time(hour, minute, half)
    # Without am or pm the form carries it, so that only hours of that half are written so.
    part = _part_of_day(hour)
    yield f"12 hours in the {part}", f"{twelve}:{minute:02} {part}"
    yield f"12 hours bare {half}", f"{twelve}:{minute:02}"
    yield f"12 hours bare with point {half}", f"{twelve}.{minute:02}"
    if minute == 0:
        yield f"bare hour {half}", str(twelve)
        yield f"bare hour words {half}", _HOURS[hour % 12]


def _full_hour(hour: int, twelve: int, half: str) -> Iterator[Spelling]:
    part, word = _part_of_day(hour), _HOURS[hour % 12]
    if hour in (0, 12):
        yield "named hour", "noon" if hour else "midnight"
        yield "named hour, longer", "midday" if hour else "12 midnight"
    yield f"hour {part}", f"{twelve} {part}"
    yield f"hour words {part}", f"{word} {part}"
    yield f"o'clock {part}", f"{twelve} o'clock {part}"
    yield f"o'clock {half}", f"{twelve} o'clock"
    yield f"o'clock words {half}", f"{word} o'clock"
    yield "hour words and half", f"{word} {half}"


def _spoken_time(hour: int, minute: int, half: str) -> Iterator[Spelling]:
    for name, after in ((f" {_part_of_day(hour)}",) * 2, (f" {half}", "")):
        if minute in _PAST:
            yield f"past{name}", f"{_PAST[minute]} past {_HOURS[hour % 12]}{after}"
            yield f"a quarter past{name}", f"a {_PAST[minute]} past {_HOURS[hour % 12]}{after}"
        if 60 - minute in _PAST and minute != 30:
            yield f"to{name}", f"{_PAST[60 - minute]} to {_HOURS[(hour + 1) % 12]}{after}"
        if minute == 30:
            yield f"half{name}", f"half {_HOURS[hour % 12]}{after}"
            yield f"thirty{name}", f"{_HOURS[hour % 12]} thirty{after}"


def _part_of_day(hour: int) -> str:
    if 5 <= hour < 12:
        return "in the morning"
    if 12 <= hour < 18:
        return "in the afternoon"
    return "in the evening" if 18 <= hour < 22 else "at night"
