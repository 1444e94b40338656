"""The kernel in Triton's interpreter."""

import os
import subprocess
import sys
from pathlib import Path

CASES = Path(__file__).with_name("product_cases.py")


def test_the_cases_in_the_interpreter():
    """In a process of its own: Triton takes its interpreter for good or not at all when it is imported."""
    command = [sys.executable, "-m", "pytest", "-q", str(CASES)]
    done = subprocess.run(command, env={**os.environ, "TRITON_INTERPRET": "1"}, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
