"""The report as a record: every figure of `metrics` with its target and how it stands, from the results of a run's stages."""

import os
import platform
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil

from aria_ray.artifacts import package_versions, source_commit
from aria_ray.config import RunConfig
from aria_ray.measured import Measured
from aria_ray.metrics import Figure, measured_figures
from aria_ray.records import Machine, Manifest, Metric, Provenance, Report, StageProvenance
from aria_ray.report.verdict import conditions, criteria, judge, readiness_percent, reasons, verdict
from aria_ray.report.your_requests import summarise
from aria_ray.results import DatasetResult, Results, TrainingResult, ValidationResult


def build_report(
    config: RunConfig,
    recipe: str,
    *,
    dataset: Manifest[DatasetResult] | None = None,
    training: Manifest[TrainingResult] | None = None,
    validation: Manifest[ValidationResult] | None = None,
) -> Report:
    """The report of a run from the manifests of its stages.

    A stage that is not there, as the training of an endpoint that somebody else made, leaves its figures unmeasured.
    """
    results = Results(
        dataset=dataset.result if dataset else None,
        training=training.result if training else None,
        validation=validation.result if validation else None,
    )
    metrics = tuple(_metric(config, figure, measured) for figure, measured in measured_figures(config, results))
    standing, by_condition = criteria(metrics), conditions(metrics)
    percent = readiness_percent(standing)
    requests = results.validation.your_requests if results.validation else None
    return Report(
        verdict=verdict(by_condition, percent),
        readiness_percent=percent,
        conditions=by_condition,
        criteria=standing,
        reasons=reasons(metrics, standing, by_condition),
        your_requests=summarise(requests, metrics) if requests else None,
        provenance=_provenance(
            config, recipe, results, {each.stage: each for each in (dataset, training, validation) if each is not None}
        ),
        metrics=metrics,
    )


def machine() -> Machine:
    """What the run was made on, as far as the operating system tells."""
    return Machine(
        cores=len(os.sched_getaffinity(0)),
        memory_gib=round(psutil.virtual_memory().total / 2**30, 1),
        processor=_processor(),
        system=f"{platform.system()} {platform.release()}",
        python=platform.python_version(),
    )


def _metric(config: RunConfig, figure: Figure, measured: Measured) -> Metric:
    target = figure.target(config.validation.targets)
    return Metric(
        name=figure.name,
        value=measured.value,
        unit=figure.unit,
        target=target,
        status=judge(figure, measured, target),
        interval=measured.interval,
        cases=measured.cases,
        detail=measured.detail,
    )


def _provenance(config: RunConfig, recipe: str, results: Results, stages: Mapping[str, Manifest[Any]]) -> Provenance:
    return Provenance(
        recipe=recipe,
        config=config.model_dump(mode="json"),
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        commit=source_commit(),
        versions=package_versions(),
        machine=machine(),
        endpoint=results.validation.endpoint if results.validation else None,
        stages={
            name: StageProvenance(
                fingerprint=manifest.fingerprint,
                commit=manifest.commit,
                wall_s=manifest.wall_s,
                peak_memory_gib=manifest.peak_memory_gib,
            )
            for name, manifest in stages.items()
        },
    )


def _processor() -> str:
    path = Path("/proc/cpuinfo")
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
