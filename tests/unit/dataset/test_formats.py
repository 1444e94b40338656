import random
from datetime import date, datetime

import pytest

from aria_ray.dataset.formats import other_notation


def write(value, seed=0):
    return other_notation(value, random.Random(seed))


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "zero"),
        (7, "seven"),
        (12, "twelve"),
        (13, "13"),
        (999, "999"),
        (1000, "1,000"),
        (1234567, "1,234,567"),
        (-5, "-5"),
        (-1200, "-1,200"),
        (2.5, "2.5"),
        (1234.5, "1,234.5"),
        (True, "True"),
        ([1, 2], "1 and 2"),
    ],
)
def test_numbers(value, text):
    assert write(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("00:05", "12:05 am"),
        ("09:00", "9:00 am"),
        ("11:59", "11:59 am"),
        ("12:00", "12:00 pm"),
        ("14:30", "2:30 pm"),
        ("23:55", "11:55 pm"),
    ],
)
def test_times(value, text):
    assert write(value) == text


@pytest.mark.parametrize(("value", "text"), [("kilometers", "km"), ("pounds", "lb"), ("minutes", "min"), ("liters", "l")])
def test_units(value, text):
    assert write(value) == text


def test_dates_in_two_ways():
    assert {write("2026-03-04", seed) for seed in range(20)} == {"4 March 2026", "March 4, 2026"}


def test_a_date_is_the_same_day():
    rng = random.Random(0)
    for seed in range(100):
        day = date.fromordinal(rng.randrange(date(2000, 1, 1).toordinal(), date(2030, 1, 1).toordinal()))
        text = write(day.isoformat(), seed)
        shape = "%B %d, %Y" if "," in text else "%d %B %Y"
        assert datetime.strptime(text, shape).date() == day


@pytest.mark.parametrize(
    "value", ["2026-02-30", "2025-02-29", "2026-13-01", "24:00", "12:60", "7:30", "apple", "FL-4821", "1200", "12-03-2026", ""]
)
def test_what_is_wrong_or_something_else_stays(value):
    assert {write(value, seed) for seed in range(5)} == {value}
