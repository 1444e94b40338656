"""The samplers of a Ray cluster: one test for each function of `telemetry_cases.py`."""

from pathlib import Path

import pytest
from own_process import case_names, check

pytestmark = [pytest.mark.ray, pytest.mark.xdist_group("telemetry_cases")]

CASES = Path(__file__).with_name("telemetry_cases.py")


@pytest.mark.parametrize("function", case_names(CASES))
def test_on_a_cluster(function):
    """In a process in which no Ray was before: after an earlier Ray of the same process, actors of a second stayed pending."""
    check(CASES, function, RAY_AUTH_MODE="disabled")
