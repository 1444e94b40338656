"""Conversions. The first line of each docstring is the tool's description and names the arguments in order."""

import functools
from typing import Any

from aria_ray.tools.values import Integer, Number, Text, ToolError

MAX_UNIT_CHARACTERS = 30
_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"
_ROMAN = (
    (1000, "M"), (900, "CM"), (500, "D"), (400, "CD"), (100, "C"), (90, "XC"),
    (50, "L"), (40, "XL"), (10, "X"), (9, "IX"), (5, "V"), (4, "IV"), (1, "I"),
)  # fmt: skip  # a table reads better in rows than one pair per line


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


def number_to_roman(number: Integer) -> str:
    """Write a whole number in Roman numerals."""
    if not 1 <= number <= 3999:
        raise ToolError("Roman numerals go from 1 to 3999")
    roman, rest = "", number
    for value, letters in _ROMAN:
        roman += letters * (rest // value)
        rest %= value
    return roman
