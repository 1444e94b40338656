"""Arithmetic. The first line of each docstring is the tool's description and names the arguments in order."""

import math
import statistics

from aria_ray.tools.values import Integer, Number, Numbers, Text, ToolError, parse_date, plain

MAX_EXPONENT = 1000
MAX_PRIME_CANDIDATE = 10**12
"""Trial division by odd numbers up to a million takes well under a second."""


def percent_of(percent: Number, value: Number) -> float:
    """A given percent of a value."""
    return percent * value / 100


def percent_change(old: Number, new: Number) -> float:
    """Percent change from an old number to a new one."""
    if old == 0:
        raise ToolError("no percent change from zero")
    return (new - old) / abs(old) * 100


def divide(a: Number, b: Number) -> float:
    """Divide the first number by the second."""
    if b == 0:
        raise ToolError("division by zero")
    return a / b


def multiply(a: Number, b: Number) -> float:
    """Multiply two numbers."""
    return a * b


def power(base: Number, exponent: Number) -> float:
    """Raise a base to an exponent."""
    if abs(exponent) > MAX_EXPONENT:
        raise ToolError(f"the exponent must be at most {MAX_EXPONENT}")
    if base == 0 and exponent < 0:
        raise ToolError("division by zero")
    if base < 0 and not float(exponent).is_integer():
        raise ToolError("fractional power of a negative number")
    try:
        return math.pow(base, exponent)
    except OverflowError:
        raise ToolError("the result is too large") from None


def square_root(number: Number) -> float:
    """Square root of a number."""
    if number < 0:
        raise ToolError("square root of a negative number")
    return math.sqrt(number)


def add_numbers(numbers: Numbers) -> float:
    """Sum of a list of numbers."""
    return math.fsum(numbers)


def average(numbers: Numbers) -> float:
    """Average of a list of numbers."""
    return math.fsum(numbers) / len(numbers)


def median(numbers: Numbers) -> float:
    """Middle value of a list of numbers."""
    return statistics.median(numbers)


def gcd(a: Integer, b: Integer) -> float:
    """Greatest common divisor of two whole numbers."""
    return math.gcd(a, b)


def is_prime(number: Integer) -> str:
    """Tell whether a whole number is prime."""
    if number > MAX_PRIME_CANDIDATE:
        raise ToolError(f"the number must be at most {MAX_PRIME_CANDIDATE}")
    prime = number == 2 or (number > 2 and number % 2 == 1 and _has_no_odd_divisor(number))
    return f"{plain(number)} is {'prime' if prime else 'not prime'}"


def _has_no_odd_divisor(number: int) -> bool:
    return all(number % divisor for divisor in range(3, math.isqrt(number) + 1, 2))


def days_between(start: Text, end: Text) -> float:
    """Days from a start date to an end date, YYYY-MM-DD."""
    return (parse_date(end) - parse_date(start)).days
