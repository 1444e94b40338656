"""Arithmetic. The first line of each docstring is the tool's description and names the arguments in order."""

import datetime
import math
import statistics
from decimal import ROUND_HALF_UP, Decimal

from aria_ray.tools.values import Integer, Number, Numbers, Text, ToolError, parse_date, parse_fraction, plain

MAX_EXPONENT = 1000
MAX_FACTORIAL = 17
"""The last factorial below `values.MAX_MAGNITUDE`."""
MAX_DECIMALS = 10
MAX_YEARS = 100
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


def subtract(a: Number, b: Number) -> float:
    """First number minus the second."""
    return a - b


def remainder(a: Integer, b: Integer) -> float:
    """What is left over when the first whole number is divided by the second."""
    if b == 0:
        raise ToolError("division by zero")
    return a % b


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


def factorial(number: Integer) -> float:
    """Factorial of a whole number."""
    if not 0 <= number <= MAX_FACTORIAL:
        raise ToolError(f"factorials go from 0 to {MAX_FACTORIAL}")
    return math.factorial(number)


def round_number(number: Number, decimals: Integer) -> str:
    """Round a number to some decimals."""
    if not 0 <= decimals <= MAX_DECIMALS:
        raise ToolError(f"the decimals must be 0 to {MAX_DECIMALS}")
    # Halves go up, as at school; adding zero turns a minus zero into zero.
    return format(Decimal(str(number)).quantize(Decimal(1).scaleb(-decimals), ROUND_HALF_UP) + 0, "f")


def add_fractions(a: Text, b: Text) -> str:
    """Exact sum of two fractions, each written like 3/4."""
    return str(parse_fraction(a) + parse_fraction(b))


def compound_interest(amount: Number, percent: Number, years: Integer) -> float:
    """What an amount grows to at a yearly percent of interest after some years."""
    if not 0 <= years <= MAX_YEARS:
        raise ToolError(f"the years must be 0 to {MAX_YEARS}")
    if not -100 <= percent <= 100:
        raise ToolError("the percent must be -100 to 100")
    return round(amount * (1 + percent / 100) ** years, 2)


def add_numbers(numbers: Numbers) -> float:
    """Sum of a list of numbers."""
    return math.fsum(numbers)


def average(numbers: Numbers) -> float:
    """Average of a list of numbers."""
    return math.fsum(numbers) / len(numbers)


def median(numbers: Numbers) -> float:
    """Middle value of a list of numbers."""
    return statistics.median(numbers)


def standard_deviation(numbers: Numbers) -> float:
    """Standard deviation of a list of numbers, taken as the whole population."""
    return statistics.pstdev(numbers)


def gcd(a: Integer, b: Integer) -> float:
    """Greatest common divisor of two whole numbers."""
    return math.gcd(a, b)


def lcm(a: Integer, b: Integer) -> float:
    """Least common multiple of two whole numbers."""
    return math.lcm(a, b)


def is_prime(number: Integer) -> str:
    """Tell whether a whole number is prime."""
    if number > MAX_PRIME_CANDIDATE:
        raise ToolError(f"the number must be at most {MAX_PRIME_CANDIDATE}")
    prime = number == 2 or (number > 2 and number % 2 == 1 and _has_no_odd_divisor(number))
    return f"{plain(number)} is {'prime' if prime else 'not prime'}"


def _has_no_odd_divisor(number: int) -> bool:
    return all(number % divisor for divisor in range(3, math.isqrt(number) + 1, 2))


def prime_factors(number: Integer) -> list[float]:
    """Prime factors of a whole number."""
    if not 2 <= number <= MAX_PRIME_CANDIDATE:
        raise ToolError(f"the number must be 2 to {MAX_PRIME_CANDIDATE}")
    factors: list[float] = []
    rest, divisor = number, 2
    while divisor * divisor <= rest:
        while rest % divisor == 0:
            factors.append(divisor)
            rest //= divisor
        divisor += 1 if divisor == 2 else 2
    return [*factors, rest] if rest > 1 else factors


def days_between(start: Text, end: Text) -> float:
    """Days from a start date to an end date, YYYY-MM-DD."""
    return (parse_date(end) - parse_date(start)).days


def add_days(date: Text, days: Integer) -> str:
    """Date some days after a date, YYYY-MM-DD."""
    try:
        return (parse_date(date) + datetime.timedelta(days=days)).isoformat()
    except OverflowError:
        raise ToolError("the calendar ends before that") from None
