"""Every test is held to its markers (pyproject.toml lists them): `pytest -m "not vllm"` has to mean what it says.

What a test file imports is read from its source; that a test starts a process, or brings vLLM in through the package, is seen
while it and its fixtures run.
"""

import ast
import functools
import sys
from pathlib import Path
from typing import Any

import pytest

IMPORTS = {"vllm": "vllm", "triton": "triton", "ray": "ray", "trl": "training", "playwright": "browser"}
"""The marker that a test has to have where its file imports this package."""
STARTERS = {"subprocess", "ray", "vllm", "triton", "training", "browser", "index", "gpu"}
"""Markers of tests that may start processes."""
QUICK_PROGRAMS = {"git", "uname", "file"}
"""Programs of milliseconds, which any test may start: `artifacts.source_commit` asks git, Python's `platform` the other two."""

_started: list[str] = []


def _note_process(event: str, arguments: tuple[Any, ...]) -> None:
    if event in ("subprocess.Popen", "os.posix_spawn", "os.fork", "os.system"):
        program = str(arguments[0]) if arguments else event
        if Path(program).name not in QUICK_PROGRAMS:
            _started.append(program)


sys.addaudithook(_note_process)


@functools.cache
def parts_of(path: Path) -> dict[str, tuple[set[str], set[str]]]:
    """By function at a file's top: the packages of IMPORTS that it imports, and all names in it; "" is the rest of the file."""
    parts: dict[str, tuple[set[str], set[str]]] = {"": (set(), set())}
    for part in ast.parse(path.read_text(encoding="utf-8")).body:
        packages, names = parts.setdefault(part.name if isinstance(part, ast.FunctionDef) else "", (set(), set()))
        for node in ast.walk(part):
            modules = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            modules += [node.module or ""] if isinstance(node, ast.ImportFrom) and not node.level else []
            packages |= {module.split(".")[0] for module in modules} & IMPORTS.keys()
            names |= {node.id} if isinstance(node, ast.Name) else {node.arg} if isinstance(node, ast.arg) else set()
    return parts


def imported(path: Path, function: str) -> set[str]:
    """The packages of IMPORTS that a test imports: its file, itself, and the file's functions and fixtures that it names."""
    parts = parts_of(path)
    seen, ahead = set[str](), {"", function}
    while ahead:
        seen |= ahead
        ahead = set().union(*(parts[name][1] for name in ahead if name)) & parts.keys() - seen
    return set().union(*(parts[name][0] for name in seen))


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Function) -> None:
    """Fail a test whose file imports what its markers do not say."""
    _started.clear()
    for package in imported(item.path, getattr(item, "originalname", item.name)):
        if not item.get_closest_marker(IMPORTS[package]):
            pytest.fail(f"imports {package}; add @pytest.mark.{IMPORTS[package]} (tests/README.md)", pytrace=False)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Any:
    """Fail a test that used what its markers do not say."""
    had_vllm = "vllm" in sys.modules
    result = yield
    markers = {mark.name for mark in item.iter_markers()}
    if _started and not markers & STARTERS:
        pytest.fail(f"starts {_started[0]}; add @pytest.mark.subprocess (tests/README.md)", pytrace=False)
    if not had_vllm and "vllm" in sys.modules and "vllm" not in markers:
        pytest.fail("imports vLLM through the package; add @pytest.mark.vllm (tests/README.md)", pytrace=False)
    return result
