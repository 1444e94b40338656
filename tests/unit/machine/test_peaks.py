"""The measurement of this machine: what it says when it fails. What it finds is in no test, as it is of no other machine."""

import pytest

from aria_ray.errors import AriaError
from aria_ray.machine.peaks import measure_peaks


@pytest.mark.subprocess
def test_a_measurement_that_fails_gets_one_clear_line():
    with pytest.raises(
        AriaError, match=r"could not be measured \(.*\); `python -m aria_ray.machine.peaks 0` shows why"
    ) as caught:
        measure_peaks(0)  # torch takes no fewer than one thread
    assert "\n" not in str(caught.value)
