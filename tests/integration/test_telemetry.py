"""The samplers of a Ray cluster, in a process in which no Ray was before: `telemetry_cases.py`."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.integration

CASES = Path(__file__).with_name("telemetry_cases.py")
TIMEOUT_S = 600


def test_the_cases_pass_in_a_process_of_their_own():
    """Where an earlier test of the same process had a Ray of its own, actors of the second cluster stayed pending."""
    environment = os.environ | {"RAY_AUTH_MODE": "disabled"}
    command = [sys.executable, "-m", "pytest", str(CASES)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=TIMEOUT_S)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    assert re.search(r"\b4 passed", done.stdout), done.stdout[-2000:]
