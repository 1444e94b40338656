"""What every benchmark has in common: a section says what was found and how to find it again, and replaces its last version.

Figures that code or tests go by are also in `results/NAME.json`, so that nothing has to read them out of the Markdown.
"""

import datetime
import json
import platform
import re
import shlex
import statistics
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

import psutil

from aria_ray.artifacts import package_versions, source_commit, write_json, write_text

RESULTS = Path(__file__).with_name("RESULTS.md")
TITLE = "# Benchmarks\n\nEach section is written by the command it names and replaced when that is run again with `--write`.\n"


FIGURES = Path(__file__).with_name("results")


@dataclass(frozen=True)
class Section:
    """What a benchmark found."""

    text: str
    """Markdown."""
    figures: Mapping[str, Any] = field(default_factory=dict)
    """Figures by name, with their units in the names; no JSON file is written where there are none."""


def publish(heading: str, run: Callable[[], str | Section], packages: Sequence[str], write: bool) -> None:
    """Run a benchmark and print its section; `write` also puts it into RESULTS.md, in place of the one with its heading.

    `write` puts the section's figures, if it has any, into `results/`. `packages` are those whose versions matter beside the
    ones that every run notes.
    """
    load = psutil.getloadavg()[0]
    found = run()
    section = found if isinstance(found, Section) else Section(found)
    origin = _origin(load, packages)
    text = f"## {heading}\n\n{section.text}\n{_origin_text(origin)}"
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()
    if write:
        _put(heading, text)
    if write and section.figures:
        FIGURES.mkdir(exist_ok=True)
        write_json(figures_file(heading), {"heading": heading, "figures": section.figures, **origin})


def figures_file(heading: str) -> Path:
    """The JSON file of a section: its heading in lower case, with hyphens."""
    return FIGURES / f"{re.sub(r'[^a-z0-9]+', '-', heading.lower())}.json"


def figures(heading: str) -> dict[str, Any]:
    """The figures of a section as it was last written."""
    found: dict[str, Any] = json.loads(figures_file(heading).read_text(encoding="utf-8"))["figures"]
    return found


def _origin_text(origin: Mapping[str, str]) -> str:
    """How a section ends: `command`, `machine`, `versions` and `date`, a line each."""
    return "".join(f"- {name}: {f'`{value}`' if name == 'command' else value}\n" for name, value in origin.items())


def spread(values: Sequence[float], digits: int) -> str:
    """Mean, least and most."""
    return f"{statistics.mean(values):,.{digits}f} ({min(values):,.{digits}f} to {max(values):,.{digits}f})"


def _origin(load: float, packages: Sequence[str]) -> dict[str, str]:
    """How to find the same again. `load` is the load average before the run."""
    versions = package_versions() | {package: metadata.version(package) for package in packages}
    named = ", ".join(f"{package} {version}" for package, version in sorted(versions.items()))
    memory = psutil.virtual_memory().total / 2**30
    return {
        "command": shlex.join(["python", f"benchmarks/{Path(sys.argv[0]).name}", *sys.argv[1:]]),
        "machine": f"{_cpu_model()}, {psutil.cpu_count()} cores, {memory:.0f} GiB of memory; load average {load:.1f} before",
        "versions": f"Python {platform.python_version()}, {named}; source {source_commit() or 'unknown'}",
        "date": datetime.date.today().isoformat(),
    }


def _cpu_model() -> str:
    """The processor's name, as Linux gives it, or else the architecture."""
    info = Path("/proc/cpuinfo")
    found = re.search(r"^model name\s*:\s*(.+)$", info.read_text(encoding="utf-8"), re.M) if info.is_file() else None
    return found[1] if found else platform.machine()


def _put(heading: str, text: str) -> None:
    old = RESULTS.read_text(encoding="utf-8") if RESULTS.is_file() else TITLE
    parts = [part.rstrip() + "\n" for part in re.split(r"^(?=## )", old, flags=re.M)]
    place = next((index for index, part in enumerate(parts) if part.startswith(f"## {heading}\n")), len(parts))
    parts[place : place + 1] = [text]
    write_text(RESULTS, "\n".join(parts))
