import math

import pytest

from aria_ray.tools import ToolResult, execute


@pytest.mark.parametrize(
    ("name", "arguments", "text"),
    [
        ("subtract", {"a": 0.3, "b": 0.1}, "0.2"),
        ("subtract", {"a": 3, "b": 10}, "-7"),
        ("remainder", {"a": 17, "b": 5}, "2"),
        ("remainder", {"a": -7, "b": 5}, "3"),
        ("factorial", {"number": 0}, "1"),
        ("factorial", {"number": 17}, "355687428096000"),
        ("lcm", {"a": 4, "b": 6}, "12"),
        ("lcm", {"a": 0, "b": 6}, "0"),
        ("lcm", {"a": -4, "b": 6}, "12"),
        ("prime_factors", {"number": 360}, "2, 2, 2, 3, 3, 5"),
        ("prime_factors", {"number": 2}, "2"),
        ("prime_factors", {"number": 49}, "7, 7"),
        ("prime_factors", {"number": 999999999989}, "999999999989"),
        ("standard_deviation", {"numbers": [2, 4, 4, 4, 5, 5, 7, 9]}, "2"),
        ("standard_deviation", {"numbers": [5]}, "0"),
        ("round_number", {"number": 2.5, "decimals": 0}, "3"),
        ("round_number", {"number": 2.675, "decimals": 2}, "2.68"),
        ("round_number", {"number": 1234.56789, "decimals": 4}, "1234.5679"),
        ("round_number", {"number": 7, "decimals": 2}, "7.00"),
        ("round_number", {"number": -0.001, "decimals": 2}, "0.00"),
        ("round_number", {"number": 1e15, "decimals": 10}, "1000000000000000.0000000000"),
        ("add_fractions", {"a": "1/2", "b": "3/4"}, "5/4"),
        ("add_fractions", {"a": "-1/3", "b": "1/3"}, "0"),
        ("add_fractions", {"a": "2", "b": "1/3"}, "7/3"),
        ("add_days", {"date": "2024-02-28", "days": 2}, "2024-03-01"),
        ("add_days", {"date": "2024-03-01", "days": -1}, "2024-02-29"),
        ("compound_interest", {"amount": 1000, "percent": 5, "years": 3}, "1157.63"),
        ("compound_interest", {"amount": 1000, "percent": 5, "years": 0}, "1000"),
        ("compound_interest", {"amount": 1000, "percent": -100, "years": 1}, "0"),
    ],
)
def test_results(name, arguments, text):
    assert execute(name, arguments) == ToolResult(True, text)


@pytest.mark.parametrize(
    ("name", "arguments", "text"),
    [
        ("remainder", {"a": 5, "b": 0}, "division by zero"),
        ("factorial", {"number": 18}, "factorials go from 0 to 17"),
        ("factorial", {"number": -1}, "factorials go from 0 to 17"),
        ("lcm", {"a": 10**15, "b": 10**15 - 1}, "the result is too large"),
        ("prime_factors", {"number": 1}, "the number must be 2 to 1000000000000"),
        ("prime_factors", {"number": 10**12 + 1}, "the number must be 2 to 1000000000000"),
        ("standard_deviation", {"numbers": []}, "numbers: list must have 1 to 100 entries"),
        ("round_number", {"number": 1, "decimals": 11}, "the decimals must be 0 to 10"),
        ("round_number", {"number": 1, "decimals": -1}, "the decimals must be 0 to 10"),
        ("add_fractions", {"a": "1/0", "b": "1/2"}, "1/0 divides by zero"),
        ("add_fractions", {"a": "half", "b": "1/2"}, "'half' is not a fraction such as 3/4"),
        ("add_fractions", {"a": "1e999999999", "b": "1/2"}, "'1e999999999' is not a fraction such as 3/4"),
        ("add_fractions", {"a": "1/2", "b": "1/12345678"}, "'1/12345678' is not a fraction such as 3/4"),
        ("add_days", {"date": "2023-02-29", "days": 1}, "no such date 2023-02-29"),
        ("add_days", {"date": "9999-12-31", "days": 1}, "the calendar ends before that"),
        ("add_days", {"date": "2024-01-01", "days": 10**15}, "the calendar ends before that"),
        ("compound_interest", {"amount": 1, "percent": 5, "years": 101}, "the years must be 0 to 100"),
        ("compound_interest", {"amount": 1, "percent": 101, "years": 1}, "the percent must be -100 to 100"),
        ("compound_interest", {"amount": 1e15, "percent": 100, "years": 100}, "the result is too large"),
    ],
)
def test_failures(name, arguments, text):
    assert execute(name, arguments) == ToolResult(False, f"error: {text}")


@pytest.mark.parametrize("number", [12, 97, 1001, 65536, 999999])
def test_prime_factors_multiply_back_and_are_prime(number):
    factors = [int(factor) for factor in execute("prime_factors", {"number": number}).text.split(", ")]
    assert math.prod(factors) == number
    assert all(execute("is_prime", {"number": factor}).text.endswith("is prime") for factor in factors)
