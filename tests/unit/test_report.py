"""The report says what was measured, and what was not."""

import json

import pytest

from aria_ray.config import load_config
from aria_ray.records import Manifest, Report
from aria_ray.report import build_report, render_text, write_report


def manifest(stage, facts):
    return Manifest(
        stage=stage,
        fingerprint="f" * 16,
        upstream={},
        config={},
        files={},
        versions={},
        commit=None,
        created="2026-01-01T00:00:00+00:00",
        wall_s=12.0,
        facts=facts,
    )


TRAINING = {
    "step_wall_s": [9.0, 2.0, 4.0, 3.0],
    "cpu_s": 27.0,
    "tokens": 1800,
    "memory_reduction": 0.5,
    "peak_memory_gib": 2.0,
    "full_finetuning_peak_gib": 4.0,
}


def share(value, cases=200):
    return {"value": value, "cases": cases, "interval": [value - 0.02, value + 0.02]}


@pytest.fixture
def report():
    speed = {"output_tokens_per_s": 400.0, "concurrency": 8, "stability_cv": None, "num_failures": 3}
    shares = {"accuracy": share(0.9), "tool_compliance": share(0.79), "category:math": share(0.8)}
    stages = {
        "dataset": manifest("dataset", {}),
        "training": manifest("training", TRAINING),
        "validation": manifest("validation", {"quality": {"shares": shares}, "speed": speed}),
    }
    return build_report(load_config("laptop"), "laptop", stages)


def test_figures_come_from_the_manifests(report):
    metrics = {metric.name: metric for metric in report.metrics}
    assert metrics["accuracy"].status == "met"
    assert metrics["accuracy"].cases == 200
    assert metrics["tool_compliance"].status == "inconclusive"
    assert metrics["category_math"].value == 0.8
    assert metrics["output_tokens_per_s"].status == "met"
    assert metrics["train_step_ms"].value == 3000  # the first step is left out
    assert metrics["compute_utilization"].value == pytest.approx(27 / (18 * 2))
    assert report.verdict == "not ready"


def test_what_was_not_measured_is_null_and_unmeasured(report):
    metrics = {metric.name: metric for metric in report.metrics}
    for name in ("accuracy_base", "stability_cv", "ttft_ms", "serving_peak_memory_gib", "accuracy_unseen_tools"):
        assert metrics[name].value is None
        assert metrics[name].status == "unmeasured"


def test_the_files_say_the_same(report, tmp_path):
    write_report(report, tmp_path)
    assert Report.model_validate_json((tmp_path / "report.json").read_text()) == report
    text = (tmp_path / "system_report.txt").read_text()
    assert text == render_text(report)
    assert "NOT READY" in text
    assert json.loads((tmp_path / "report.json").read_text())["schema_version"] == 1
    for metric in report.metrics:
        assert metric.name in text
