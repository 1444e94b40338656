"""Comparing, choosing, and time. The first line of each docstring is the tool's description, arguments in order."""

import datetime

from aria_ray.tools.values import Integer, Number, Numbers, Text, Texts, ToolError, parse_date, parse_time, plain

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
    if len(names) != len(scores):
        raise ToolError(f"{len(names)} names but {len(scores)} scores")
    top = max(scores)
    return " and ".join(name for name, score in zip(names, scores, strict=True) if score == top)


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
