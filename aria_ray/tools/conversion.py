"""Conversions. The first line of each docstring is the tool's description and names the arguments in order."""

import datetime
import difflib
import functools
import zoneinfo
from importlib import resources
from typing import Any

from aria_ray.tools.values import Integer, Number, Text, ToolError, parse_date_time

MAX_UNIT_CHARACTERS = 30
MAX_BASE_DIGITS = 60
MAX_PLACE_CHARACTERS = 40
_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"
_ROMAN = (
    (1000, "M"), (900, "CM"), (500, "D"), (400, "CD"), (100, "C"), (90, "XC"),
    (50, "L"), (40, "XL"), (10, "X"), (9, "IX"), (5, "V"), (4, "IV"), (1, "I"),
)  # fmt: skip  # a table reads better in rows than one pair per line
_CITIES = {
    "Athens": "Europe/Athens",
    "Auckland": "Pacific/Auckland",
    "Bangkok": "Asia/Bangkok",
    "Beijing": "Asia/Shanghai",
    "Berlin": "Europe/Berlin",
    "Buenos Aires": "America/Argentina/Buenos_Aires",
    "Cairo": "Africa/Cairo",
    "Chennai": "Asia/Kolkata",
    "Chicago": "America/Chicago",
    "Delhi": "Asia/Kolkata",
    "Denver": "America/Denver",
    "Dubai": "Asia/Dubai",
    "Ho Chi Minh City": "Asia/Ho_Chi_Minh",
    "Hong Kong": "Asia/Hong_Kong",
    "Honolulu": "Pacific/Honolulu",
    "Istanbul": "Europe/Istanbul",
    "Johannesburg": "Africa/Johannesburg",
    "Kolkata": "Asia/Kolkata",
    "Kyiv": "Europe/Kyiv",
    "Lagos": "Africa/Lagos",
    "Lisbon": "Europe/Lisbon",
    "London": "Europe/London",
    "Los Angeles": "America/Los_Angeles",
    "Madrid": "Europe/Madrid",
    "Mexico City": "America/Mexico_City",
    "Moscow": "Europe/Moscow",
    "Mumbai": "Asia/Kolkata",
    "Nairobi": "Africa/Nairobi",
    "New York": "America/New_York",
    "Oslo": "Europe/Oslo",
    "Paris": "Europe/Paris",
    "Rome": "Europe/Rome",
    "Sao Paulo": "America/Sao_Paulo",
    "Seoul": "Asia/Seoul",
    "Shanghai": "Asia/Shanghai",
    "Singapore": "Asia/Singapore",
    "Sydney": "Australia/Sydney",
    "Tokyo": "Asia/Tokyo",
    "Toronto": "America/Toronto",
    "Yangon": "Asia/Yangon",
}
_OLD_NAMES = {
    "Bombay": "Mumbai",
    "Calcutta": "Kolkata",
    "Christiania": "Oslo",
    "Constantinople": "Istanbul",
    "Edo": "Tokyo",
    "Kiev": "Kyiv",
    "Madras": "Chennai",
    "New Amsterdam": "New York",
    "Peking": "Beijing",
    "Rangoon": "Yangon",
    "Saigon": "Ho Chi Minh City",
}


@functools.cache
def _units() -> Any:
    # Importing pint and reading its unit definitions takes about half a second, so only a conversion pays for it.
    import pint

    return pint.UnitRegistry()


def convert_units(value: Number, from_unit: Text, to_unit: Text) -> float:
    """Convert a value from one unit to another unit."""
    import pint

    for unit in (from_unit, to_unit):
        # One name only: an expression such as `m**999999` is not a unit to convert.
        if not unit.replace("_", "").isalpha() or len(unit) > MAX_UNIT_CHARACTERS or unit not in _units():
            raise ToolError(f"no such unit '{unit}'")
    try:
        magnitude = _units().Quantity(value, from_unit).to(to_unit).magnitude
    except pint.DimensionalityError:
        raise ToolError(f"cannot convert {from_unit} to {to_unit}") from None
    except OverflowError:
        raise ToolError("the result is too large") from None
    return float(magnitude)


def convert_currency(amount: Number, rate: Number) -> float:
    """Convert an amount of money at an exchange rate."""
    if rate <= 0:
        raise ToolError("the rate must be above zero")
    return round(amount * rate, 2)


def number_to_base(number: Integer, base: Integer) -> str:
    """Write a whole number in another base."""
    if not 2 <= base <= len(_DIGITS):
        raise ToolError(f"the base must be 2 to {len(_DIGITS)}")
    digits, rest = "", abs(number)
    while rest:
        rest, digit = divmod(rest, base)
        digits = _DIGITS[digit] + digits
    return ("-" if number < 0 else "") + (digits or "0")


def base_to_number(digits: Text, base: Integer) -> float:
    """Read the digits of a whole number written in another base."""
    if not 2 <= base <= len(_DIGITS):
        raise ToolError(f"the base must be 2 to {len(_DIGITS)}")
    if len(digits) > MAX_BASE_DIGITS:
        raise ToolError(f"the number must have at most {MAX_BASE_DIGITS} digits")
    # int() alone would also read underscores, blanks and prefixes such as 0x.
    bare = digits.lower().removeprefix("-")
    if not bare or not set(bare) <= set(_DIGITS[:base]):
        raise ToolError(f"'{digits}' is not a number in base {base}")
    return int(digits, base)


def number_to_roman(number: Integer) -> str:
    """Write a whole number in Roman numerals."""
    if not 1 <= number <= 3999:
        raise ToolError("Roman numerals go from 1 to 3999")
    roman, rest = "", number
    for value, letters in _ROMAN:
        roman += letters * (rest // value)
        rest %= value
    return roman


def roman_to_number(roman: Text) -> float:
    """Read a Roman numeral as a whole number."""
    number, rest = 0, roman.upper()
    for value, letters in _ROMAN:
        while rest.startswith(letters):
            number += value
            rest = rest.removeprefix(letters)
    # Written back, so that IIII and IC, which the loop can read in part, are refused.
    if not 1 <= number <= 3999 or number_to_roman(number) != roman.upper():
        raise ToolError(f"'{roman}' is not a Roman numeral")
    return number


def convert_time_zone(moment: Text, from_place: Text, to_place: Text) -> str:
    """Convert a moment, YYYY-MM-DD HH:MM, from the time of one city or time zone to another."""
    there = parse_date_time(moment).replace(tzinfo=_zone(from_place))
    to_zone = _zone(to_place)
    try:
        utc = there.astimezone(datetime.UTC)
        back = utc.astimezone(there.tzinfo)
        here = utc.astimezone(to_zone)
    except OverflowError:
        raise ToolError("the calendar ends before that") from None
    if back.replace(tzinfo=None) != there.replace(tzinfo=None):
        raise ToolError(f"the clocks in {from_place} skip {moment}")
    return here.isoformat(" ", "minutes")[:16]


@functools.cache
def _zone_names() -> frozenset[str]:
    # Names of the tzdata package, not of the machine, so that a result is the same everywhere.
    return frozenset(resources.files("tzdata").joinpath("zones").read_text(encoding="utf-8").split())


def _zone(place: str) -> zoneinfo.ZoneInfo:
    by_name = {city.casefold(): city for city in _CITIES}
    city = by_name.get(place.casefold())
    if city is not None:
        return zoneinfo.ZoneInfo(_CITIES[city])
    if place in _zone_names():
        return zoneinfo.ZoneInfo(place)
    meant = _OLD_NAMES.get(place.title())
    if meant is None and len(place) <= MAX_PLACE_CHARACTERS:
        meant = by_name.get(next(iter(difflib.get_close_matches(place.casefold(), by_name, 1, 0.75)), ""))
    raise ToolError(f"no such city '{place}'" + (f"; did you mean '{meant}'?" if meant else ""))
