"""The kernel in Triton's interpreter: one test for each function of `product_cases.py`."""

from pathlib import Path

import pytest
from own_process import case_names, check

CASES = Path(__file__).with_name("product_cases.py")


@pytest.mark.triton
@pytest.mark.xdist_group("product_cases")
@pytest.mark.parametrize("function", case_names(CASES))
def test_in_the_interpreter(function):
    """In a process of its own: Triton chooses between interpreter and compiler once, when it is imported."""
    check(CASES, function, TRITON_INTERPRET="1")
