"""What every benchmark has in common: a section says what was found and how to find it again, and replaces its last version."""

import datetime
import platform
import re
import shlex
import statistics
import sys
from collections.abc import Callable, Sequence
from importlib import metadata
from pathlib import Path

import psutil

from aria_ray.artifacts import package_versions, source_commit, write_text

RESULTS = Path(__file__).with_name("RESULTS.md")
TITLE = "# Benchmarks\n\nEach section is written by the command it names and replaced when that is run again with `--write`.\n"


def publish(heading: str, run: Callable[[], str], packages: Sequence[str], write: bool) -> None:
    """Run a benchmark and print its section; `write` also puts it into RESULTS.md, in place of the one with its heading.

    `packages` are those whose versions matter beside the ones that every run notes.
    """
    text = _section(heading, run, packages)
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()
    if write:
        _put(heading, text)


def spread(values: Sequence[float], digits: int) -> str:
    """Mean, least and most."""
    return f"{statistics.mean(values):,.{digits}f} ({min(values):,.{digits}f} to {max(values):,.{digits}f})"


def _section(heading: str, run: Callable[[], str], packages: Sequence[str]) -> str:
    load = psutil.getloadavg()[0]
    text = run()
    versions = package_versions() | {package: metadata.version(package) for package in packages}
    found = ", ".join(f"{package} {version}" for package, version in sorted(versions.items()))
    memory = psutil.virtual_memory().total / 2**30
    return f"""\
## {heading}

{text}
- command: `{shlex.join(["python", f"benchmarks/{Path(sys.argv[0]).name}", *sys.argv[1:]])}`
- machine: {_cpu_model()}, {psutil.cpu_count()} cores, {memory:.0f} GiB of memory; load average {load:.1f} before
- versions: Python {platform.python_version()}, {found}; source {source_commit() or "unknown"}
- date: {datetime.date.today().isoformat()}
"""


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
