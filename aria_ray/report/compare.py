"""What changed between two runs, and whether it is more than chance."""

import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import ValidationError

from aria_ray.errors import DataError
from aria_ray.intervals import paired_difference
from aria_ray.records import REPORT_SCHEMA_VERSION, Metric, Report
from aria_ray.report.evidence import Facts, read_cases
from aria_ray.validation.conversations import NO_ANSWER

Judgement = Literal["beyond noise", "within noise", "unknown"]
Interval = tuple[float, float]

MIN_COMMON_SHARE = 0.5
"""Least share of either run's cases that both must have for a paired difference. Below it, all cases say more than pairs."""
MEMORY_TOLERANCE = 0.02
"""Relative difference below which two memory sizes are of one machine: the size varies a little from boot to boot."""
_NOT_HARDWARE = ("system", "python")
BFCL = "bfcl_"
_SUFFIXES = ("_your_requests_base", "_your_requests_keywords", "_your_requests", "_base", "_unseen_tools", "")
"""Endings of a metric's name, which are those of the file with its cases."""
_JUDGED: Mapping[str, Callable[[Facts], bool | None]] = {
    "accuracy": lambda case: case["outcome"] == "correct",
    "tool_compliance": lambda case: case["compliant"],
    "tool_selection": lambda case: case.get("right_tools"),
    "argument_match": lambda case: case.get("right_arguments"),
    "irrelevance": lambda case: None if case["expects_call"] else not case["made_call"],
    "calls": lambda case: case["outcome"] == "correct" if case["expects_call"] else None,
    "refusals": lambda case: None if case["expects_call"] else case["outcome"] == "correct",
    "missing_value": lambda case: case["outcome"] == "correct" if case.get("expects_question") else None,
}
"""Whether a case is right for a share; None if it does not count. Used only if it reproduces the share of the report."""


@dataclass(frozen=True)
class Change:
    """One metric in both runs. `difference` is b less a, with its 95 % interval."""

    name: str
    unit: str
    a: float | None
    b: float | None
    difference: float | None
    interval: Interval | None
    judgement: Judgement
    how: str
    """Source of the interval, or why there is none."""


@dataclass(frozen=True)
class Comparison:
    """Two runs side by side."""

    names: tuple[str, str]
    verdicts: tuple[str, str]
    readiness_percent: tuple[float, float]
    changes: tuple[Change, ...]
    provenance: tuple[tuple[str, str, str], ...]
    """(what, in a, in b) of everything that differs: configuration, versions, commit, machine."""
    same_machine: bool
    """Whether speed is comparable."""


def compare(a: Path, b: Path) -> Comparison:
    """Compare two runs, each a run directory or its `report.json`.

    Raises:
        DataError: one of them is absent, is no report, or is one of another schema version.
    """
    one, other = _read(a), _read(b)
    before, after = ({metric.name: metric for metric in report.metrics} for report in (one, other))
    places = (_directory(a), _directory(b))
    machines = tuple(report.provenance.machine.model_dump() for report in (one, other))
    return Comparison(
        names=(str(a), str(b)),
        verdicts=(one.verdict, other.verdict),
        readiness_percent=(one.readiness_percent, other.readiness_percent),
        changes=tuple(_change(name, before.get(name), after.get(name), places) for name in {**before, **after}),
        provenance=tuple(_differences(one.provenance.model_dump(), other.provenance.model_dump())),
        same_machine=_same_machine(*machines),
    )


def render_comparison(comparison: Comparison) -> str:
    """The comparison as text: verdicts, a table of the metrics, and what else differs."""
    lines = [
        f"A: {comparison.names[0]}",
        f"B: {comparison.names[1]}",
        f"Verdict:   {' -> '.join(comparison.verdicts)}",
        f"Readiness: {' -> '.join(f'{percent:.0f} %' for percent in comparison.readiness_percent)}",
    ]
    if not comparison.same_machine:
        lines.append("The machines differ: figures of speed and utilisation are not comparable.")
    rows = [("figure", "A", "B", "B - A", "change", "95 % interval of B - A")]
    for change in comparison.changes:
        interval = "" if change.interval is None else f"{change.interval[0]:+.4g} to {change.interval[1]:+.4g}, "
        difference = "" if change.difference is None else f"{change.difference:+.4g}"
        figures = (_figure(change.a, change.unit), _figure(change.b, change.unit), difference)
        rows.append((change.name, *figures, change.judgement, interval + change.how))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines.append("")
    for name, before, after, difference, judgement, how in rows:
        numbers = f"{before:>{widths[1]}}  {after:>{widths[2]}}  {difference:>{widths[3]}}"
        lines.append(f"{name:<{widths[0]}}  {numbers}  {judgement:<{widths[4]}}  {how}")
    lines += [
        "",
        "What else differs:" if comparison.provenance else "Configuration, versions, commit and machine are the same.",
    ]
    lines += [f"  {what}: {before} -> {after}" for what, before, after in comparison.provenance]
    return "\n".join([*lines, ""])


def difference_interval(a: float, in_a: Interval, b: float, in_b: Interval) -> Interval:
    """95 % interval of b - a from those of a and b, which are independent.

    The method of variance estimates recovery (Zou and Donner 2008); of two Wilson intervals it is Newcombe's (1998, method 10).
    """
    return (
        b - a - math.hypot(b - in_b[0], in_a[1] - a),
        b - a + math.hypot(in_b[1] - b, a - in_a[0]),
    )


def _read(path: Path) -> Report:
    file = path / "report.json" if path.is_dir() else path
    try:
        raw = json.loads(file.read_bytes())
    except OSError as error:
        why = error.strerror or type(error).__name__
        raise DataError(f"{file} must be a report ({why})", "give a finished run directory or its report.json") from None
    except ValueError:
        raise DataError(f"{file} must be JSON and is not", "give a finished run directory or its report.json") from None
    version = raw.get("schema_version") if isinstance(raw, dict) else None
    if version != REPORT_SCHEMA_VERSION:
        raise DataError(
            f"{file} has schema_version {version}, only {REPORT_SCHEMA_VERSION} can be compared",
            "write the report again with `aria report`",
        )
    try:
        return Report.model_validate(raw)
    except ValidationError as error:
        where = ".".join(str(part) for part in error.errors()[0]["loc"])
        raise DataError(
            f"{file} is no report ({where}: {error.errors()[0]['msg']})", "write it again with `aria report`"
        ) from None


def _directory(path: Path) -> Path:
    return path if path.is_dir() else path.parent


def _change(name: str, a: Metric | None, b: Metric | None, places: tuple[Path, Path]) -> Change:
    unit = next(side.unit for side in (b, a) if side is not None)
    values = (a.value if a else None, b.value if b else None)

    def change(difference: float | None, interval: Interval | None, how: str) -> Change:
        judgement: Judgement = "unknown"
        if interval is not None:
            judgement = "within noise" if interval[0] <= 0 <= interval[1] else "beyond noise"
        return Change(name, unit, *values, difference, interval, judgement, how)

    if a is None or b is None or a.value is None or b.value is None:
        return change(None, None, f"unmeasured in {_which(value is None for value in values)}")
    pairs = _pairs(a, b, places)
    if pairs:
        difference, low, high = paired_difference(ours=[after for _, after in pairs], base=[before for before, _ in pairs])
        return change(difference, (low, high), f"paired, {len(pairs)} common cases")
    if a.interval is None or b.interval is None:
        return change(b.value - a.value, None, f"no interval in {_which(side.interval is None for side in (a, b))}")
    return change(b.value - a.value, difference_interval(a.value, a.interval, b.value, b.interval), "from both intervals")


def _which(missing: Iterable[bool]) -> str:
    return " and ".join(label for label, is_missing in zip("AB", missing, strict=True) if is_missing)


def _pairs(a: Metric, b: Metric, places: tuple[Path, Path]) -> list[tuple[bool, bool]] | None:
    """(right in a, right in b) of their common cases; None where the cases do not give the metric, or too few are common."""
    before, after = (_decisions(metric, place) for metric, place in zip((a, b), places, strict=True))
    common = [key for key in before if key in after]
    if not common or len(common) < MIN_COMMON_SHARE * max(len(before), len(after)):
        return None
    return [(before[key], after[key]) for key in common]


def _decisions(metric: Metric, place: Path) -> dict[tuple[str, str], bool]:
    """{(id, question): right} of the cases behind a share; empty where they do not give just this share.

    An id alone does not make a case: another seed of the dataset fills the same template with other values.
    """
    suffix = next(suffix for suffix in _SUFFIXES if metric.name.endswith(suffix))
    name = metric.name.removesuffix(suffix)
    file = f"{'bfcl' if name.startswith(BFCL) else 'cases'}{suffix}.jsonl"
    found = {}
    for case in read_cases(place / "validation" / file):
        right = _decision(name, case)
        if right is not None:
            found[case["id"], _question(case)] = right
    if not found or metric.cases != len(found) or metric.value is None:
        return {}
    return found if math.isclose(sum(found.values()) / len(found), metric.value, abs_tol=1e-9) else {}


def _decision(name: str, case: Facts) -> bool | None:
    """Whether a case counts as right for a share; None if it does not count."""
    if case["outcome"] in NO_ANSWER:
        return None
    if name in _JUDGED:
        return _JUDGED[name](case)
    groups = {f"{column}_{case.get(column)}" for column in ("category", "scenario", "difficulty")}
    return _JUDGED["accuracy"](case) if name in {*groups, f"{BFCL}{case.get('category')}"} else None


def _question(case: Facts) -> str:
    return next((str(turn.get("content")) for turn in case.get("transcript") or () if turn.get("role") == "user"), "")


def _same_machine(a: Facts, b: Facts) -> bool:
    keys = {key for key in (*a, *b) if key not in _NOT_HARDWARE}
    return all(_same(a.get(key), b.get(key)) if key == "memory_gib" else a.get(key) == b.get(key) for key in keys)


def _same(a: Any, b: Any) -> bool:
    return isinstance(a, (int, float)) and isinstance(b, (int, float)) and math.isclose(a, b, rel_tol=MEMORY_TOLERANCE)


def _differences(a: Facts, b: Facts) -> Iterator[tuple[str, str, str]]:
    """Leaves of two provenances that differ; what differs between any two runs (times, fingerprints) is left out."""
    for part in ("recipe", "commit", "endpoint", "config", "versions", "machine"):
        before, after = (dict(_leaves(part, side.get(part))) for side in (a, b))
        for key in {**before, **after}:
            if before.get(key) != after.get(key):
                yield key.removeprefix("config."), _short(before, key), _short(after, key)


def _leaves(name: str, value: Any) -> Iterator[tuple[str, Any]]:
    """Dotted names and values; lists of mappings are walked through, other lists are values."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from _leaves(f"{name}.{key}", item)
    elif isinstance(value, Sequence) and value and all(isinstance(item, Mapping) for item in value):
        for index, item in enumerate(value):
            yield from _leaves(f"{name}.{item.get('name', index)}", item)
    else:
        yield name, value


def _short(leaves: Facts, key: str) -> str:
    text = json.dumps(leaves[key], ensure_ascii=False) if key in leaves else "(absent)"
    return text if len(text) <= 80 else f"{text[:77]}..."


def _figure(value: float | None, unit: str) -> str:
    if value is None:
        return "unmeasured"
    text = f"{value:.4g}" if abs(value) < 1e4 else f"{value:.0f}"
    return text if unit in ("share", "ratio") else f"{text} {unit}".rstrip()
