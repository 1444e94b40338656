import pytest

from aria_ray.tools import ToolResult, execute


def in_zone(moment, from_place, to_place):
    return execute("convert_time_zone", {"moment": moment, "from_place": from_place, "to_place": to_place})


@pytest.mark.parametrize(
    ("digits", "base", "text"),
    [("ff", 16, "255"), ("FF", 16, "255"), ("-101", 2, "-5"), ("0", 2, "0"), ("zz", 36, "1295"), ("007", 8, "7")],
)
def test_base_to_number(digits, base, text):
    assert execute("base_to_number", {"digits": digits, "base": base}) == ToolResult(True, text)


@pytest.mark.parametrize(
    ("digits", "base", "text"),
    [
        ("102", 2, "'102' is not a number in base 2"),
        ("", 2, "'' is not a number in base 2"),
        ("1_0", 2, "'1_0' is not a number in base 2"),
        ("0x1f", 16, "'0x1f' is not a number in base 16"),
        (" 1", 2, "' 1' is not a number in base 2"),
        ("--1", 2, "'--1' is not a number in base 2"),
        ("1", 1, "the base must be 2 to 36"),
        ("1", 37, "the base must be 2 to 36"),
        ("1" * 61, 2, "the number must have at most 60 digits"),
        ("f" * 60, 16, "the result is too large"),
    ],
)
def test_wrong_digits(digits, base, text):
    assert execute("base_to_number", {"digits": digits, "base": base}) == ToolResult(False, f"error: {text}")


def test_every_roman_numeral_reads_back():
    for number in range(1, 4000):
        roman = execute("number_to_roman", {"number": number}).text
        assert execute("roman_to_number", {"roman": roman}).text == str(number)


def test_small_roman_letters():
    assert execute("roman_to_number", {"roman": "mcmxciv"}) == ToolResult(True, "1994")


@pytest.mark.parametrize("roman", ["IIII", "VV", "IC", "IIX", "MMMM", "ABC", "", "X I", "M" * 1000])
def test_wrong_roman_numerals(roman):
    assert execute("roman_to_number", {"roman": roman}) == ToolResult(False, f"error: '{roman}' is not a Roman numeral")


@pytest.mark.parametrize(
    ("moment", "from_place", "to_place", "text"),
    [
        ("2025-03-04 09:30", "Berlin", "Tokyo", "2025-03-04 17:30"),
        ("2025-07-04 09:30", "Berlin", "Tokyo", "2025-07-04 16:30"),
        ("2025-12-31 23:00", "new york", "MUMBAI", "2026-01-01 09:30"),
        ("2025-03-04 09:30", "Europe/Oslo", "UTC", "2025-03-04 08:30"),
        ("2025-03-04 09:30", "Sydney", "America/Los_Angeles", "2025-03-03 14:30"),
        ("2025-03-04 09:30", "Rome", "Rome", "2025-03-04 09:30"),
        # Autumn shows 02:30 twice in Berlin; the first one counts, which is summer time.
        ("2025-10-26 02:30", "Berlin", "UTC", "2025-10-26 00:30"),
    ],
)
def test_time_zones(moment, from_place, to_place, text):
    assert in_zone(moment, from_place, to_place) == ToolResult(True, text)


@pytest.mark.parametrize(
    ("moment", "from_place", "to_place", "text"),
    [
        ("2025-03-04 09:30", "Bombay", "Tokyo", "no such city 'Bombay'; did you mean 'Mumbai'?"),
        ("2025-03-04 09:30", "Tokyo", "peking", "no such city 'peking'; did you mean 'Beijing'?"),
        ("2025-03-04 09:30", "Singapur", "Tokyo", "no such city 'Singapur'; did you mean 'Singapore'?"),
        ("2025-03-04 09:30", "Atlantis", "Tokyo", "no such city 'Atlantis'"),
        ("2025-03-04 09:30", "", "Tokyo", "no such city ''"),
        ("2025-03-04 09:30", "America", "Tokyo", "no such city 'America'"),
        ("2025-03-04 09:30", "../Europe/Rome", "Tokyo", "no such city '../Europe/Rome'"),
        ("2025-03-04", "Rome", "Tokyo", "no such date and time 2025-03-04"),
        ("2025-02-29 09:30", "Rome", "Tokyo", "no such date and time 2025-02-29 09:30"),
        ("2025-03-30 02:30", "Berlin", "Tokyo", "the clocks in Berlin skip 2025-03-30 02:30"),
        ("9999-12-31 23:59", "UTC", "Tokyo", "the calendar ends before that"),
        ("0001-01-01 00:00", "Tokyo", "UTC", "the calendar ends before that"),
    ],
)
def test_moments_and_places_that_are_not_there(moment, from_place, to_place, text):
    assert in_zone(moment, from_place, to_place) == ToolResult(False, f"error: {text}")
