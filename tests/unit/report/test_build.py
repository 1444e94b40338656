"""The report says what was measured, and what was not."""

import json
from importlib import resources

import pytest
from jsonschema import Draft202012Validator
from manifests import manifest_of

from aria_ray import metrics as metrics_table
from aria_ray.config import load_config
from aria_ray.config.schema import ObjectivesConfig
from aria_ray.measured import Measured
from aria_ray.metrics import Figure
from aria_ray.records import Report, ServedModel, WrongRequest
from aria_ray.report import build_report, render_text, write_report
from aria_ray.report.schema import report_schema
from aria_ray.results import (
    DatasetResult,
    DecodeRoofline,
    Distribution,
    Estimate,
    Gains,
    LoadSummary,
    Quality,
    RequestQuality,
    Speed,
    Stability,
    TrainingResult,
    ValidationResult,
    YourRequests,
)

TRAINING = TrainingResult(
    transitions=(),
    best_accuracy=0.8,
    step_wall_s=(9.0, 2.0, 4.0, 3.0),
    cpu_s=27.0,
    tokens=1800,
    unshared_tokens=2000,
    dropped_too_long=0,
    flops_per_s=60e9,
    peak_flops_per_s=150e9,
    peak_memory_gib=2.0,
    full_finetuning_peak_gib=4.0,
)
TIMES = Distribution(mean=1.0, p50=100.0, p90=2.0, p95=300.0, p99=4.0)


def level(concurrency, **changes):
    return LoadSummary(
        arrivals="closed",
        concurrency=concurrency,
        rate_per_s=None,
        requests=32,
        failures=0,
        retries=0,
        wall_s=40.0,
        output_tokens=2048,
        prompt_tokens=9000,
        objectives=ObjectivesConfig(),
        client_cpu_share=0.1,
        client_limited=False,
        output_tokens_per_s=10.0 * concurrency,
        ttft_ms=TIMES,
        tpot_ms=TIMES,
        e2e_ms=TIMES,
    ).model_copy(update=changes)


def share(value, cases=200):
    return Estimate(value=value, cases=cases, interval=(value - 0.02, value + 0.02))


STABILITY = Stability(
    duration_s=60,
    window_s=5,
    rates=(),
    cv=0.05,
    cv_interval=None,
    drift_share=-0.3,
    drift_interval=(-0.4, -0.2),
    memory_gib=(),
    memory_growth_share=None,
    memory_growth_interval=None,
    requests=40,
    failures=2,
    client_limited=False,
)
VALIDATION = ValidationResult(
    quality=Quality(
        outcomes={"correct": 180, "wrong": 20},
        accuracy=share(0.9),
        tool_compliance=share(0.79),
        missing_value=share(1.0, 4),
        by_category={"math": share(0.8)},
    ),
    gains=Gains(accuracy=Estimate(value=0.4, cases=150, interval=(0.3, 0.5))),
    speed=Speed(levels=(level(1), level(16, output_tokens_per_s_interval=(150.0, 170.0)))),
    stability=STABILITY,
    roofline=DecodeRoofline(
        threads=2,
        gemm_flops_per_s=1e11,
        copy_bytes_per_s=1e10,
        concurrency=16,
        single_stream_tokens_per_s=20.0,
        concurrent_tokens_per_s=200.0,
    ),
    bfcl={"simple_python": share(0.25, 40), "irrelevance": Estimate(value=None, cases=0, interval=None, reason="why")},
)
DATASET = DatasetResult(num_rows=100, num_templates=20, near_duplicate_share=0.0)


def built(training=TRAINING, recipe="laptop", **changes):
    return build_report(
        load_config(recipe),
        recipe,
        dataset=manifest_of("dataset", DATASET),
        training=manifest_of("training", training) if training else None,
        validation=manifest_of("validation", VALIDATION.model_copy(update=changes)),
    )


@pytest.fixture
def report():
    return built()


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
    on_gpus = {"gpu_share": 0.93, "peak_gpu_memory_gib": 61.5, "peak_memory_gib": None, "full_finetuning_peak_gib": None}
    training = TRAINING.model_copy(update=on_gpus)
    speed = Speed(levels=(), gpu_share=0.71, cpu_share=0.1, peak_gpu_memory_gib=172.8)
    metrics = by_name(built(training, "mi300x", speed=speed))
    assert (metrics["compute_utilization"].value, metrics["compute_utilization"].status) == (0.93, "met")
    assert "8 workers' GPUs" in metrics["compute_utilization"].detail
    assert metrics["training_peak_gpu_memory_gib"].value == 61.5
    assert metrics["serving_peak_gpu_memory_gib"].value == 172.8
    assert metrics["serving_gpu_share"].value == 0.71
    assert metrics["serving_peak_memory_gib"].status == "unmeasured"

    silent = by_name(built(training.model_copy(update={"gpu_share": None}), "mi300x"))
    assert silent["compute_utilization"].status == "unmeasured"


def test_a_figure_needs_one_row(monkeypatch):
    """Report, target, verdict and text follow from the row."""
    row = Figure(
        "rows_per_template",
        "ratio",
        "Rows made from a base template.",
        lambda _config, results: Measured(results.dataset.num_rows / results.dataset.num_templates),
        target=lambda _targets: 6.0,
        criterion="hardware",
    )
    monkeypatch.setattr(metrics_table, "ROWS", (*metrics_table.ROWS, row))
    monkeypatch.setattr(metrics_table, "FIGURES", (*metrics_table.FIGURES, row))
    report = built()
    metric = by_name(report)["rows_per_template"]
    assert (metric.value, metric.target, metric.status) == (5.0, 6.0, "not_met")
    assert any(reason.startswith("hardware (15 %): rows_per_template is 5, wanted at least 6") for reason in report.reasons)
    assert "rows_per_template" in render_text(report)


def test_each_figure_has_a_name_of_its_own_and_says_what_it_is():
    names = [figure.name for figure in metrics_table.FIGURES]
    assert len(set(names)) == len(names)
    assert all(row.what.endswith(".") for row in metrics_table.ROWS)


def test_what_was_not_measured_is_null_and_unmeasured(report):
    metrics = by_name(report)
    for name in ("accuracy_base", "memory_growth", "goodput_per_s", "serving_peak_memory_gib", "bfcl_irrelevance"):
        assert metrics[name].value is None
        assert metrics[name].status == "unmeasured"
    assert metrics["bfcl_irrelevance"].detail == "why"


def test_a_figure_that_the_client_limited_is_refused_and_the_report_says_so():
    refused = level(16, output_tokens_per_s=None, client_limited=True, client_cpu_share=0.97)
    metrics = by_name(built(speed=Speed(levels=(level(1), refused))))
    assert metrics["output_tokens_per_s"].value is None
    assert "the client was the limit" in metrics["output_tokens_per_s"].detail
    assert metrics["output_roofline_share"].status == "unmeasured"


@pytest.mark.parametrize("outcome", ["request_failed", "check_failed"])
def test_a_share_of_which_cases_are_missing_is_never_met(outcome):
    metrics = by_name(built(quality=Quality(outcomes={"correct": 198, outcome: 1}, accuracy=share(0.99))))
    assert metrics["accuracy"].status == "inconclusive"
    assert "failed" in metrics["accuracy"].detail


def test_an_endpoint_of_somebody_else_has_no_training_and_is_not_ready():
    report = built(training=None, endpoint=ServedModel(base_url="http://host/v1", model="m"))
    metrics = by_name(report)
    for name in (
        "train_step_ms",
        "train_flop_utilization",
        "memory_reduction",
        "compute_utilization",
        "training_peak_memory_gib",
    ):
        assert metrics[name].status == "unmeasured"
    assert report.provenance.endpoint.model == "m"
    assert "http://host/v1" in render_text(report)
    assert any("train_flop_utilization was not measured" in reason for reason in report.reasons)


def test_the_files_say_the_same(report, tmp_path):
    write_report(report, tmp_path)
    assert Report.model_validate_json((tmp_path / "report.json").read_text()) == report
    text = (tmp_path / "system_report.txt").read_text()
    assert text == render_text(report)
    assert "NOT READY" in text
    assert json.loads((tmp_path / "report.json").read_text())["schema_version"] == 3
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


def requests(ours=0.9, keywords=0.4, gain=(0.5, 0.3, 0.7), **changes):
    """Requests in people's words, measured."""
    value, *ends = gain
    cases = changes.pop("cases", 60)
    base = YourRequests(
        ours=RequestQuality(
            outcomes={"correct": 54, "wrong": 6},
            accuracy=share(ours, cases),
            calls=share(0.88, 45),
            refusals=share(0.96, 15),
            tool_compliance=share(0.95, cases),
        ),
        keywords=RequestQuality(outcomes={}, accuracy=share(keywords, cases)),
        declining=RequestQuality(outcomes={}, accuracy=share(0.25, cases)),
        over_keywords=Estimate(value=value, cases=cases, interval=tuple(ends)),
        over_declining=Estimate(value=0.65, cases=cases, interval=(0.5, 0.8)),
        num_wrong={"other values": 4, "no call": 2},
        wrong=(WrongRequest(request="lights\u202e\nout", kind="no call", wanted="set_light({})", got="I cannot."),),
    )
    return built(your_requests=base.model_copy(update=changes))


def test_requests_in_peoples_words_come_first_and_decide():
    report = requests()
    assert report.metrics[0].name == "accuracy_your_requests"
    assert report.conditions == {"accuracy_your_requests": "met", "tool_compliance_your_requests": "met"}
    first, *others = report.your_requests.sentences
    assert first == (
        "54 of 60 requests in people's words are right, 90.0 % (95 % 88.0 to 92.0 %): right calls 88.0 % of 45, "
        "right refusals 96.0 % of 15."
    )
    assert others == [
        "The model beats the keyword baseline (40.0 % right) beyond noise: +50.0 points, 95 % +30.0 to +70.0.",
        "The model beats always declining (25.0 % right) beyond noise: +65.0 points, 95 % +50.0 to +80.0.",
    ]
    text = render_text(report)
    assert text.index(first) < text.index("Verdict:")
    assert "6 wrong (4 other values, 2 no call): add example requests of these kinds to dataset.requests" in text
    assert "  lights out\n    no call\n    wanted  set_light({})\n    got     I cannot.\n" in text


@pytest.mark.parametrize(
    ("gain", "said"), [((0.1, -0.1, 0.3), "does not beat the keyword"), ((-0.3, -0.5, -0.1), "is worse than the keyword")]
)
def test_a_control_that_is_not_beaten_is_named(gain, said):
    assert said in requests(gain=gain).your_requests.sentences[1]


def test_few_requests_decide_nothing():
    report = requests(cases=6)
    assert report.conditions["accuracy_your_requests"] == "inconclusive"
    assert "fewer than 10 requests decide nothing" in report.your_requests.sentences[0]


def test_without_requests_in_peoples_words_the_headline_is_unmeasured(report):
    headline = by_name(report)["accuracy_your_requests"]
    assert (headline.value, headline.status, headline.detail) == (None, "unmeasured", "no requests in people's words")
    assert report.your_requests is None
    assert set(report.conditions) == {"accuracy", "tool_compliance"}
    assert "Your requests" not in render_text(report)
