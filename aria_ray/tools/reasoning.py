"""Comparing, choosing, and time. The first line of each docstring is the tool's description, arguments in order."""

import datetime
import math

from aria_ray.tools.values import (
    Integer,
    Number,
    Numbers,
    Text,
    Texts,
    ToolError,
    parse_date,
    parse_minutes,
    parse_time,
    plain,
)

MAX_MINUTES = 100_000
WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
"""Written out, so that a result does not depend on the locale of the machine."""


def compare_numbers(a: Number, b: Number) -> str:
    """Tell which of two numbers is greater."""
    if a == b:
        return f"{plain(a)} and {plain(b)} are equal"
    return f"{plain(max(a, b))} is greater than {plain(min(a, b))}"


def filter_above(numbers: Numbers, threshold: Number) -> list[float]:
    """Keep the numbers above a threshold."""
    return [number for number in numbers if number > threshold]


def sort_numbers(numbers: Numbers) -> list[float]:
    """Sort a list of numbers from low to high."""
    return sorted(numbers)


def highest(names: Texts, scores: Numbers) -> str:
    """Which of the names has the highest of the scores."""
    return _names_with(max(scores), names, scores)


def lowest(names: Texts, scores: Numbers) -> str:
    """Which of the names has the lowest of the scores."""
    return _names_with(min(scores), names, scores)


def rank(names: Texts, scores: Numbers) -> list[str]:
    """Order the names by their scores, the highest first."""
    _check_same_length(names, scores, "scores")
    return [name for name, _ in sorted(zip(names, scores, strict=True), key=lambda pair: -pair[1])]


def sum_where(names: Texts, amounts: Numbers, name: Text) -> float:
    """In a table of names and amounts, sum the amounts of one name."""
    _check_same_length(names, amounts, "amounts")
    matching = [amount for each, amount in zip(names, amounts, strict=True) if each.casefold() == name.casefold()]
    if not matching:
        raise ToolError(f"no '{name}' in the table")
    return math.fsum(matching)


def _names_with(score: float, names: list[str], scores: list[float]) -> str:
    _check_same_length(names, scores, "scores")
    return " and ".join(name for name, each in zip(names, scores, strict=True) if each == score)


def _check_same_length(names: list[str], numbers: list[float], numbers_are: str) -> None:
    if len(names) != len(numbers):
        raise ToolError(f"{len(names)} names but {len(numbers)} {numbers_are}")


def end_time(start: Text, minutes: Integer) -> str:
    """Time of day some minutes after a start time, HH:MM."""
    if abs(minutes) > MAX_MINUTES:
        raise ToolError(f"the minutes must be at most {MAX_MINUTES}")
    # Any day will do: only the time of day is shown.
    begin = datetime.datetime.combine(datetime.date(2000, 1, 1), parse_time(start))
    return (begin + datetime.timedelta(minutes=minutes)).strftime("%H:%M")


def weekday(date: Text) -> str:
    """Day of the week of a date, YYYY-MM-DD."""
    return WEEKDAYS[parse_date(date).weekday()]


def earliest_date(dates: Texts) -> str:
    """Earliest of some dates, YYYY-MM-DD."""
    return min(parse_date(date) for date in dates).isoformat()


def latest_date(dates: Texts) -> str:
    """Latest of some dates, YYYY-MM-DD."""
    return max(parse_date(date) for date in dates).isoformat()


def overlaps(start: Text, end: Text, other_start: Text, other_end: Text) -> str:
    """Tell whether one time range, start to end, overlaps another, HH:MM."""
    begin, finish = parse_minutes(start, end)
    other_begin, other_finish = parse_minutes(other_start, other_end)
    shared = min(finish, other_finish) - max(begin, other_begin)
    return f"they overlap by {shared} minutes" if shared > 0 else "they do not overlap"


def fits_schedule(start: Text, end: Text, minutes: Integer) -> str:
    """Tell whether between a start and an end, HH:MM, there is time for a meeting of some minutes."""
    if not 1 <= minutes <= MAX_MINUTES:
        raise ToolError(f"the minutes must be 1 to {MAX_MINUTES}")
    begin, finish = parse_minutes(start, end)
    return f"it {'fits' if minutes <= finish - begin else 'does not fit'}: there are {finish - begin} minutes"


def free_minutes(start: Text, end: Text, busy: Numbers) -> float:
    """Minutes that stay free between a start and an end, HH:MM, after a list of busy minutes."""
    begin, finish = parse_minutes(start, end)
    if min(busy) < 0:
        raise ToolError("busy minutes cannot be below zero")
    free = finish - begin - math.fsum(busy)
    if free < 0:
        raise ToolError(f"there are only {finish - begin} minutes")
    return free
