"""Test functions of a module that needs a process of its own: run once by a pytest below this one, reported one by one.

Such a module is called `*_cases.py`, so that pytest does not collect it; a `test_*.py` beside it has one test for each of its
functions. To see more of one, run it by itself with the same environment:

    TRITON_INTERPRET=1 python -m pytest tests/unit/kernels/product_cases.py -k any_strides
"""

import ast
import os
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path
from xml.etree import ElementTree

import pytest

TIMEOUT_S = 600


def case_names(path):
    """Names of the test functions of a module, without importing it."""
    nodes = ast.parse(path.read_text(encoding="utf-8")).body
    return [node.name for node in nodes if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")]


def check(path, function, **environment):
    """Fail with what the function's failed cases say. `environment` is set for the process; None unsets a variable."""
    outcomes, output = _run(path, tuple(environment.items()))
    of_function = {case: outcome for case, outcome in outcomes.items() if case.partition("[")[0] == function}
    if not of_function:
        pytest.fail(f"{path.name} ended without a result of {function}\n{output}", pytrace=False)
    failed = {case: text for case, (kind, text) in of_function.items() if kind in ("failure", "error")}
    if failed:
        pytest.fail("\n\n".join(f"{path.name}::{case}\n{text}" for case, text in failed.items()), pytrace=False)
    if all(kind == "skipped" for kind, _ in of_function.values()):
        pytest.skip(next(iter(of_function.values()))[1])


@cache
def _run(path, environment):
    """Kind of outcome and its text for each case, and the end of what the process printed."""
    changes = dict(environment)
    variables = {name: value for name, value in (os.environ | changes).items() if value is not None}
    with tempfile.TemporaryDirectory() as directory:
        results = Path(directory) / "results.xml"
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--junitxml={results}", str(path)]
        done = subprocess.run(command, env=variables, capture_output=True, text=True, check=False, timeout=TIMEOUT_S)
        outcomes = _outcomes(results) if results.is_file() else {}
    return outcomes, (done.stdout + done.stderr)[-6000:]


def _outcomes(results):
    outcomes = {}
    for case in ElementTree.parse(results).iter("testcase"):
        trouble = [child for child in case if child.tag in ("failure", "error", "skipped")]
        texts = "\n".join(child.text or child.get("message", "") for child in trouble)
        outcomes[case.get("name")] = (trouble[0].tag if trouble else "passed", texts)
    return outcomes
