"""The verdict follows from the figures, and nothing unmeasured ever counts."""

import pytest

from aria_ray.measured import Measured
from aria_ray.metrics import FIGURES, deciding
from aria_ray.records import Metric
from aria_ray.report.verdict import WEIGHTS, conditions, criteria, judge, readiness_percent, reasons, verdict


def metrics(**statuses):
    judged = [name for criterion in WEIGHTS for name in deciding(criterion)]
    wanted = {**dict.fromkeys(judged, "met"), "accuracy": "met", "tool_compliance": "met", **statuses}
    return [
        Metric(name=name, value=None if status == "unmeasured" else 1.0, unit="", target=1.0, status=status)
        for name, status in wanted.items()
    ]


def figure(name):
    return next(figure for figure in FIGURES if figure.name == name)


@pytest.mark.parametrize(
    ("name", "value", "target", "interval", "status"),
    [
        ("accuracy", 0.9, 0.85, None, "met"),
        ("output_tokens_per_s", 400.0, 310.0, None, "inconclusive"),  # too short for an interval
        ("output_tokens_per_s", 300.0, 310.0, None, "not_met"),
        ("output_tokens_per_s", 400.0, 310.0, (390.0, 410.0), "met"),
        ("accuracy", 0.85, 0.85, None, "met"),
        ("accuracy", 0.8, 0.85, None, "not_met"),
        ("accuracy", 0.9, 0.85, (0.8, 0.95), "inconclusive"),
        ("accuracy", 0.9, 0.85, (0.86, 0.95), "met"),
        ("accuracy", 0.8, 0.85, (0.75, 0.84), "not_met"),
        ("accuracy", None, 0.85, None, "unmeasured"),
        ("accuracy", 0.9, None, None, None),
        ("train_step_ms", 140.0, 150.0, (139.0, 141.0), "met"),
        ("train_step_ms", 160.0, 150.0, None, "not_met"),
        ("stability_cv", 0.1, 0.15, (0.05, 0.2), "inconclusive"),
    ],
)
def test_a_figure_against_its_target(name, value, target, interval, status):
    assert judge(figure(name), Measured(value, interval), target) == status


def test_few_cases_decide_nothing():
    assert judge(figure("accuracy"), Measured(1.0, (0.7, 1.0), cases=9), 0.5) == "inconclusive"
    assert judge(figure("accuracy"), Measured(1.0, (0.7, 1.0), cases=10), 0.5) == "met"


def test_the_weights_are_whole():
    assert sum(WEIGHTS.values()) == 100


@pytest.mark.parametrize(
    ("statuses", "percent", "expected"),
    [
        ({}, 100, "production ready"),
        ({"stability_cv": "not_met"}, 90, "conditional"),
        ({"stability_drift": "not_met"}, 90, "conditional"),
        ({"memory_growth": "inconclusive"}, 90, "conditional"),
        ({"failed_requests": "unmeasured"}, 90, "conditional"),
        ({"train_step_ms": "not_met"}, 75, "needs work"),
        ({"output_tokens_per_s": "inconclusive", "stability_cv": "unmeasured"}, 60, "not ready"),
        ({"accuracy": "not_met"}, 100, "not ready"),
        ({"tool_compliance": "inconclusive"}, 100, "not ready"),
        ({"accuracy": "unmeasured"}, 100, "not ready"),
    ],
)
def test_the_verdict(statuses, percent, expected):
    figures = metrics(**statuses)
    found = criteria(figures)
    assert readiness_percent(found) == percent
    assert verdict(conditions(figures), percent) == expected
    told = reasons(figures, found, conditions(figures))
    assert len(told) == len(statuses)
    for name in statuses:
        assert any(name in reason for reason in told)


def test_a_criterion_stands_as_the_worst_of_its_metrics_with_a_target():
    figures = metrics(stability_cv="inconclusive", stability_drift="not_met", memory_growth="unmeasured")
    assert {item.name: item.status for item in criteria(figures)}["stability"] == "not_met"
    figures = [replace_target(metric) if metric.name == "train_step_ms" else metric for metric in figures]
    found = {item.name: item for item in criteria(figures)}
    assert found["training"].metrics == ("train_flop_utilization",)  # the other has no target, so it is only shown
    assert found["training"].status == "met"


def test_a_criterion_of_which_nothing_was_measured_is_unmeasured():
    assert {item.status for item in criteria([])} == {"unmeasured"}
    told = reasons([], criteria([]), conditions([]))
    assert any("train_step_ms was not measured" in reason for reason in told)


def replace_target(metric):
    return metric.model_copy(update={"target": None, "status": None})


def test_a_condition_without_a_figure_is_unmeasured():
    assert conditions([]) == {"accuracy": "unmeasured", "tool_compliance": "unmeasured"}


@pytest.mark.parametrize(
    ("value", "status", "condition"),
    [(0.9, "met", "accuracy_your_requests"), (0.5, "not_met", "accuracy_your_requests"), (None, "unmeasured", "accuracy")],
)
def test_requests_in_peoples_words_decide_where_they_were_measured(value, status, condition):
    """In place of the conversations of our own making, whichever of the two is better."""
    own = Metric(name="accuracy", value=0.7, unit="share", target=0.85, status="not_met")
    people = Metric(name="accuracy_your_requests", value=value, unit="share", target=0.85, status=status)
    found = conditions([own, people])
    assert found == {condition: "not_met" if condition == "accuracy" else status, "tool_compliance": "unmeasured"}
