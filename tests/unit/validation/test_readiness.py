"""The verdict follows from the figures, and nothing unmeasured ever counts."""

import pytest

from aria_ray.records import Metric
from aria_ray.validation.readiness import WEIGHTS, conditions, judge, readiness_percent, verdict


def metrics(**statuses):
    wanted = {**dict.fromkeys(WEIGHTS, "met"), "accuracy": "met", "tool_compliance": "met", **statuses}
    return [
        Metric(name=name, value=None if status == "unmeasured" else 1.0, unit="", target=1.0, status=status)
        for name, status in wanted.items()
    ]


@pytest.mark.parametrize(
    ("name", "value", "target", "interval", "status"),
    [
        ("accuracy", 0.9, 0.85, None, "met"),
        ("accuracy", 0.85, 0.85, None, "met"),
        ("accuracy", 0.8, 0.85, None, "not_met"),
        ("accuracy", 0.9, 0.85, (0.8, 0.95), "inconclusive"),
        ("accuracy", 0.9, 0.85, (0.86, 0.95), "met"),
        ("accuracy", 0.8, 0.85, (0.75, 0.84), "not_met"),
        ("accuracy", None, 0.85, None, "unmeasured"),
        ("accuracy", 0.9, None, None, None),
        ("train_step_ms", 140.0, 150.0, None, "met"),
        ("train_step_ms", 160.0, 150.0, None, "not_met"),
        ("stability_cv", 0.1, 0.15, (0.05, 0.2), "inconclusive"),
    ],
)
def test_a_figure_against_its_target(name, value, target, interval, status):
    assert judge(name, value, target, interval) == status


def test_the_weights_are_whole():
    assert sum(WEIGHTS.values()) == 100


@pytest.mark.parametrize(
    ("statuses", "percent", "expected"),
    [
        ({}, 100, "production ready"),
        ({"stability_cv": "not_met"}, 90, "conditional"),
        ({"train_step_ms": "not_met"}, 75, "needs work"),
        ({"output_tokens_per_s": "inconclusive", "stability_cv": "unmeasured"}, 60, "not ready"),
        ({"accuracy": "not_met"}, 100, "not ready"),
        ({"tool_compliance": "inconclusive"}, 100, "not ready"),
        ({"accuracy": "unmeasured"}, 100, "not ready"),
    ],
)
def test_the_verdict(statuses, percent, expected):
    figures = metrics(**statuses)
    assert readiness_percent(figures) == percent
    assert verdict(figures) == expected


def test_a_condition_without_a_figure_is_unmeasured():
    assert conditions([]) == {"accuracy": "unmeasured", "tool_compliance": "unmeasured"}
    assert verdict([]) == "not ready"
