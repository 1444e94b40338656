"""Content of the page beyond the report's figures, read from the files of a run directory. Missing files leave it empty."""

import json
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import zip_longest
from pathlib import Path
from typing import Any

import pyarrow.compute as pc
import pyarrow.dataset as ds

from aria_ray.artifacts import MANIFEST, read_manifest
from aria_ray.dataset.rows import USER_PREFIX
from aria_ray.errors import DataError
from aria_ray.records import Manifest, Report
from aria_ray.results import LoadSummary, ValidationResult

STAGES = ("dataset", "training", "validation")

Facts = Mapping[str, Any]


@dataclass(frozen=True)
class Waits:
    """Times of the single requests of one level of the load, in milliseconds, sorted."""

    concurrency: int
    ttft_ms: tuple[float, ...]
    e2e_ms: tuple[float, ...]


@dataclass(frozen=True)
class Evidence:
    """Data of the plots and of the list of failed cases. A field without data is empty."""

    steps: tuple[Facts, ...] = ()
    """Optimizer steps of `log.jsonl`, in order; a step that was repeated after a resume is there once."""
    evaluations: tuple[Facts, ...] = ()
    """Held-out evaluations, in order."""
    transitions: tuple[Facts, ...] = ()
    """Ends of the curriculum's stages, with their targets and minima."""
    rows: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    """Shares of the dataset's rows: {column: {value: share}}."""
    crossing: Mapping[tuple[str, str], int] = field(default_factory=dict)
    """Rows of each (scenario, category)."""
    validation: ValidationResult = field(default_factory=ValidationResult)
    """The result of the validation stage."""
    waits: tuple[Waits, ...] = ()
    """Times of each level of the closed-loop load that gave rates."""
    telemetry: Mapping[str, Facts] = field(default_factory=dict)
    """Samples of the machines, by stage."""
    num_cases: int = 0
    failed_cases: tuple[Facts, ...] = ()
    """Held-out cases that were not answered right, one of each scenario in turn."""
    left_out: tuple[str, ...] = ()
    """Stages whose files were not used, and why."""

    @property
    def levels(self) -> tuple[LoadSummary, ...]:
        """Closed-loop load, ascending concurrency."""
        return self.validation.speed.levels if self.validation.speed else ()


def read_evidence(report: Report, out: Path) -> Evidence:
    """The evidence for `report` in the run directory `out`.

    A file that is absent or damaged leaves its fields empty. A stage that was made again since (another fingerprint than the
    report names) is not used, and named in `left_out`.
    """
    prints = {stage: _json(out / stage / MANIFEST).get("fingerprint") for stage in STAGES}
    known = report.provenance.stages
    other = [stage for stage, there in prints.items() if stage in known and there and there != known[stage].fingerprint]
    used = [stage for stage in STAGES if stage not in other]
    dataset = _dataset(out / "dataset") if "dataset" in used else {}
    training = _training(out / "training") if "training" in used else {}
    validation = _validation(out / "validation") if "validation" in used else {}
    telemetry = {stage: _json(out / stage / "telemetry.json") for stage in used}
    return Evidence(
        **dataset,
        **training,
        **validation,
        telemetry={stage: samples for stage, samples in telemetry.items() if samples.get("t_s")},
        left_out=tuple(f"{stage}/ was made again after this report (fingerprint {prints[stage]})" for stage in other),
    )


def read_cases(path: Path) -> list[dict[str, Any]]:
    """The cases of a `cases*.jsonl`; empty where there is no such file. Damaged lines are left out."""
    return list(_json_lines(path))


def _dataset(directory: Path) -> dict[str, Any]:
    shares = _json(directory / "quality.json").get("shares") or {}
    crossing: Counter[tuple[str, str]] = Counter()
    if (directory / "parquet").is_dir():
        rows = ds.dataset(directory / "parquet", format="parquet")
        if {"scenario", "category", "template_id"} <= set(rows.schema.names):
            table = rows.to_table(["scenario", "category"], filter=~pc.starts_with(pc.field("template_id"), USER_PREFIX))
            crossing.update(zip(table["scenario"].to_pylist(), table["category"].to_pylist(), strict=True))
    return {"rows": shares, "crossing": dict(crossing)}


def _training(directory: Path) -> dict[str, Any]:
    curriculum = _json(directory / "curriculum.json")
    events: dict[Any, Facts] = {}
    for event in (*(curriculum.get("events") or ()), *_json_lines(directory / "log.jsonl")):
        if event.get("event") in ("step", "evaluation") and event.get("total_steps") is not None:
            events[event["event"], event["total_steps"]] = event
    ordered = [events[key] for key in sorted(events, key=lambda key: key[1])]
    return {
        "steps": tuple(event for event in ordered if event["event"] == "step"),
        "evaluations": tuple(event for event in ordered if event["event"] == "evaluation"),
        "transitions": tuple(curriculum.get("transitions") or ()),
    }


def _validation(directory: Path) -> dict[str, Any]:
    cases = read_cases(directory / "cases.jsonl")
    raw = _json(directory / "load.json")
    try:
        manifest = read_manifest(directory, Manifest[ValidationResult])
    except DataError:  # damaged, or of another version
        manifest = None
    result = manifest.result if manifest else ValidationResult()
    levels = [level for level in result.speed.levels if level.ttft_ms] if result.speed else []
    waits = [_waits(level.concurrency or 0, raw.get(f"{level.concurrency} streams") or {}) for level in levels]
    return {
        "validation": result,
        "waits": tuple(each for each in waits if each.ttft_ms),
        "num_cases": len(cases),
        "failed_cases": _taking_turns([case for case in cases if case.get("outcome") != "correct"]),
    }


def _waits(concurrency: int, batch: Facts) -> Waits:
    timings = [timing for timing in batch.get("timings") or () if {"started_s", "first_token_s", "ended_s"} <= set(timing)]
    return Waits(
        concurrency=concurrency,
        ttft_ms=tuple(sorted(1000 * (timing["first_token_s"] - timing["started_s"]) for timing in timings)),
        e2e_ms=tuple(sorted(1000 * (timing["ended_s"] - timing["started_s"]) for timing in timings)),
    )


def _taking_turns(cases: list[dict[str, Any]]) -> tuple[Facts, ...]:
    """The cases, one of each scenario at a time, so that the first few show every kind of failure."""
    groups: dict[str, list[Facts]] = defaultdict(list)
    for case in cases:
        groups[case.get("scenario", "")].append(case)
    return tuple(case for turn in zip_longest(*groups.values()) for case in turn if case is not None)


def _json(path: Path) -> dict[str, Any]:
    """A JSON object; empty where the file is absent or holds none."""
    try:
        value = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}


def _json_lines(path: Path) -> Iterator[dict[str, Any]]:
    try:
        lines = path.read_bytes().splitlines()
    except OSError:
        return
    for line in lines:
        try:
            value = json.loads(line)
        except ValueError:
            continue  # torn, as a killed process leaves one
        if isinstance(value, dict):
            yield value
