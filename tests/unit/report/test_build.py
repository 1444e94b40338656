"""The report says what was measured, and what was not."""

import json
from importlib import resources

import pytest
from jsonschema import Draft202012Validator

from aria_ray.config import load_config
from aria_ray.records import Manifest, Report
from aria_ray.report import build_report, render_text, write_report
from aria_ray.report.schema import report_schema


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
    "flops_per_s": 60e9,
    "peak_flops_per_s": 150e9,
    "memory_reduction": 0.5,
    "peak_memory_gib": 2.0,
    "full_finetuning_peak_gib": 4.0,
}
TIMES = {"mean": 1.0, "p50": 100.0, "p90": 2.0, "p95": 300.0, "p99": 4.0}


def level(concurrency, **facts):
    times = dict.fromkeys(("ttft_ms", "tpot_ms", "e2e_ms"), TIMES)
    return {"concurrency": concurrency, "output_tokens_per_s": 10.0 * concurrency, "client_cpu_share": 0.1, **times, **facts}


def share(value, cases=200):
    return {"value": value, "cases": cases, "interval": [value - 0.02, value + 0.02]}


def facts(**changes):
    shares = {
        "accuracy": share(0.9),
        "tool_compliance": share(0.79),
        "category:math": share(0.8),
        "missing_value": share(1.0, 4),
    }
    many = level(16, output_tokens_per_s_interval=[150.0, 170.0])
    return {
        "quality": {"shares": shares, "outcomes": {"correct": 180, "wrong": 20}},
        "paired": {"accuracy": {"value": 0.4, "cases": 150, "interval": [0.3, 0.5]}},
        "speed": {"levels": [level(1), many], "poisson": None, "prefix": None, "tool_calls": None},
        "stability": {"cv": 0.05, "drift_share": -0.3, "drift_interval": [-0.4, -0.2], "requests": 40, "failures": 2},
        "roofline": {"batched_bound_tokens_per_s": 200.0},
        "bfcl": {
            "simple_python": share(0.25, 40),
            "irrelevance": {"value": None, "cases": 0, "interval": None, "reason": "why"},
        },
        **changes,
    }


def built(validation, training=TRAINING):
    stages = {"dataset": manifest("dataset", {}), "validation": manifest("validation", validation)}
    if training:
        stages["training"] = manifest("training", training)
    return build_report(load_config("laptop"), "laptop", stages)


@pytest.fixture
def report():
    return built(facts())


def by_name(report):
    return {metric.name: metric for metric in report.metrics}


def test_figures_come_from_the_manifests(report):
    metrics = by_name(report)
    assert metrics["accuracy"].status == "met"
    assert metrics["accuracy"].cases == 200
    assert metrics["accuracy_over_base"].interval == (0.3, 0.5)
    assert metrics["tool_compliance"].status == "inconclusive"
    assert metrics["category_math"].value == 0.8
    assert metrics["output_tokens_per_s"].value == 160
    assert metrics["output_roofline_share"].value == pytest.approx(0.8)
    assert metrics["output_roofline_share"].interval == pytest.approx((0.75, 0.85))
    assert metrics["output_roofline_share"].status == "met"
    assert metrics["ttft_ms"].value == 100
    assert metrics["ttft_p95_ms"].value == 300
    assert metrics["train_step_ms"].value == 3000  # the first step is left out
    assert metrics["train_flop_utilization"].value == pytest.approx(0.4)
    assert metrics["train_flop_utilization"].status == "not_met"
    assert metrics["compute_utilization"].value == pytest.approx(27 / (18 * 2))
    assert metrics["stability_drift"].status == "not_met"
    assert (metrics["failed_requests"].value, metrics["failed_requests"].status) == (0.05, "not_met")
    assert metrics["bfcl_simple_python"].value == 0.25
    assert report.verdict == "not ready"
    assert {criterion.name: criterion.status for criterion in report.criteria} == {
        "inference": "met",
        "training": "not_met",
        "memory": "not_met",
        "hardware": "not_met",
        "stability": "not_met",
    }
    assert report.readiness_percent == 30


def test_on_gpus_the_compute_utilization_is_what_their_samplers_saw():
    config = load_config("mi300x", [])
    training = TRAINING | {"gpu_share": 0.93, "peak_gpu_memory_gib": 61.5, "peak_memory_gib": None, "memory_reduction": None}
    speed = {"levels": [], "gpu_share": 0.71, "cpu_share": 0.1, "peak_memory_gib": None, "peak_gpu_memory_gib": 172.8}
    stages = {"training": manifest("training", training), "validation": manifest("validation", facts(speed=speed))}
    metrics = by_name(build_report(config, "mi300x", stages))
    assert (metrics["compute_utilization"].value, metrics["compute_utilization"].status) == (0.93, "met")
    assert "8 workers' GPUs" in metrics["compute_utilization"].detail
    assert metrics["training_peak_gpu_memory_gib"].value == 61.5
    assert metrics["serving_peak_gpu_memory_gib"].value == 172.8
    assert metrics["serving_gpu_share"].value == 0.71
    assert metrics["serving_peak_memory_gib"].status == "unmeasured"

    silent = {"training": manifest("training", training | {"gpu_share": None})}
    assert by_name(build_report(config, "mi300x", silent))["compute_utilization"].status == "unmeasured"


def test_what_was_not_measured_is_null_and_unmeasured(report):
    metrics = by_name(report)
    for name in ("accuracy_base", "memory_growth", "goodput_per_s", "serving_peak_memory_gib", "bfcl_irrelevance"):
        assert metrics[name].value is None
        assert metrics[name].status == "unmeasured"
    assert metrics["bfcl_irrelevance"].detail == "why"


def test_a_figure_that_the_client_limited_is_refused_and_the_report_says_so():
    refused = {"concurrency": 16, "output_tokens_per_s": None, "client_limited": True, "client_cpu_share": 0.97}
    metrics = by_name(built(facts(speed={"levels": [level(1), refused]})))
    assert metrics["output_tokens_per_s"].value is None
    assert "the client was the limit" in metrics["output_tokens_per_s"].detail
    assert metrics["output_roofline_share"].status == "unmeasured"


@pytest.mark.parametrize("outcome", ["request_failed", "check_failed"])
def test_a_share_of_which_cases_are_missing_is_never_met(outcome):
    quality = {"shares": {"accuracy": share(0.99)}, "outcomes": {"correct": 198, outcome: 1}}
    metrics = by_name(built(facts(quality=quality)))
    assert metrics["accuracy"].status == "inconclusive"
    assert "failed" in metrics["accuracy"].detail


def test_an_endpoint_of_somebody_else_has_no_training_and_is_not_ready():
    report = built(facts(endpoint={"base_url": "http://host/v1", "model": "m"}), training=None)
    metrics = by_name(report)
    for name in (
        "train_step_ms",
        "train_flop_utilization",
        "memory_reduction",
        "compute_utilization",
        "training_peak_memory_gib",
    ):
        assert metrics[name].status == "unmeasured"
    assert report.provenance["endpoint"]["model"] == "m"
    assert "http://host/v1" in render_text(report)
    assert any("train_flop_utilization was not measured" in reason for reason in report.reasons)


def test_the_files_say_the_same(report, tmp_path):
    write_report(report, tmp_path)
    assert Report.model_validate_json((tmp_path / "report.json").read_text()) == report
    text = (tmp_path / "system_report.txt").read_text()
    assert text == render_text(report)
    assert "NOT READY" in text
    assert json.loads((tmp_path / "report.json").read_text())["schema_version"] == 2
    for metric in report.metrics:
        assert metric.name in text
    page = (tmp_path / "report.html").read_text()
    assert "not ready" in page.casefold()
    assert "unmeasured: " in page  # the plots, whose files are not there


def test_the_json_keeps_to_the_schema_that_comes_with_it(report, tmp_path):
    schema = json.loads((resources.files("aria_ray.report") / "report.schema.json").read_text())
    assert schema == report_schema(), "run `python -m aria_ray.report.schema` after a change of the records"
    write_report(report, tmp_path)
    content = json.loads((tmp_path / "report.json").read_text())
    validator = Draft202012Validator(schema)
    validator.validate(content)
    for broken in ({**content, "verdict": "fine"}, {**content, "metrics": [{"name": "x"}]}, {**content, "more": 1}):
        assert not validator.is_valid(broken)


def test_the_first_screen_says_it_all(report):
    first = render_text(report).split("figure ", 1)[0]
    assert len(first.splitlines()) <= 30
    for what in ("NOT READY", "30 %", "tool_compliance", "inconclusive", "stability 10 %", "Why it is no better"):
        assert what in first
