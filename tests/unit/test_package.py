"""What the package says of itself: its Pythons, its version, its licence."""

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def test_every_python_that_is_allowed_is_named_and_resolved():
    least, below = re.fullmatch(r">=3\.(\d+),<3\.(\d+)", PROJECT["requires-python"]).groups()
    pythons = [f"3.{minor}" for minor in range(int(least), int(below))]
    prefix = "Programming Language :: Python :: "
    assert [name.removeprefix(prefix) for name in PROJECT["classifiers"] if name.startswith(f"{prefix}3.")] == pythons
    assert f"PYTHONS := {' '.join(pythons)}\n" in (ROOT / "Makefile").read_text(encoding="utf-8")


def test_the_changelog_begins_with_this_version():
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert re.findall(r"^## (\S+)", changelog, re.MULTILINE)[0] == PROJECT["version"]


def test_the_licence_is_the_one_that_is_named():
    assert PROJECT["license"] == "Apache-2.0"
    (file,) = PROJECT["license-files"]
    assert "Apache License\n                           Version 2.0" in (ROOT / file).read_text(encoding="utf-8")
