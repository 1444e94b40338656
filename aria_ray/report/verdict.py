"""From figures to a verdict. Pure arithmetic over what was measured; nothing here measures.

Which figures decide what is in `metrics`; here are the weights and the rules.
"""

from collections.abc import Mapping, Sequence

from aria_ray.measured import Measured
from aria_ray.metrics import FIGURES, CriterionName, Figure, deciding, is_lower_better
from aria_ray.records import Criterion, Metric, Status, Verdict

WEIGHTS: Mapping[CriterionName, float] = {"inference": 30, "training": 25, "memory": 20, "hardware": 15, "stability": 10}
"""Percent of readiness that each criterion brings when all its figures with a target are met."""
CONDITIONS: Mapping[str, str | None] = {
    figure.name: next((other.name for other in FIGURES if other.instead_of == figure.name), None)
    for figure in FIGURES
    if figure.criterion == "condition" and figure.instead_of is None
}
"""Figures without which no other merit makes a model ready, each with the one that decides in its place where it was measured.

That one is of requests in people's words: how a model does on conversations of our own making says less.
"""
MIN_CASES = 10
"""Fewer cases than these decide nothing."""
TIERS: tuple[tuple[float, Verdict], ...] = ((95, "production ready"), (85, "conditional"), (70, "needs work"))
_WORST_FIRST: tuple[Status, ...] = ("not_met", "unmeasured", "inconclusive")


def judge(figure: Figure, measured: Measured, target: float | None) -> Status | None:
    """How a figure stands against its target; None where it has no target.

    With an interval, the whole of it must be on the right side: one that straddles the target is inconclusive. Inconclusive
    too, where it would be met, is a figure of fewer than `MIN_CASES` cases, one that needs an interval and has none, and one
    that is partial because some of its cases failed.
    """
    if measured.value is None:
        return "unmeasured"
    if target is None:
        return None
    if measured.cases is not None and measured.cases < MIN_CASES:
        return "inconclusive"
    low, high = measured.interval or (measured.value, measured.value)
    if figure.better == "lower":
        low, high, target = -high, -low, -target
    if low >= target:
        is_unsure = measured.is_partial or (measured.interval is None and figure.needs_interval)
        return "inconclusive" if is_unsure else "met"
    return "not_met" if high < target else "inconclusive"


def criteria(metrics: Sequence[Metric]) -> tuple[Criterion, ...]:
    """How each criterion stands: met if all its metrics with a target are, unmeasured if none has one, else as the worst."""
    with_target = {metric.name: metric.status for metric in metrics if metric.target is not None and metric.status}
    standing = []
    for name, weight in WEIGHTS.items():
        names = deciding(name)
        judged = tuple(each for each in names if each in with_target)
        statuses: set[Status] = {with_target[each] for each in judged} or {"unmeasured"}
        status: Status = next((each for each in _WORST_FIRST if each in statuses), "met")
        standing.append(Criterion(name=name, weight=weight, metrics=judged or names[:1], status=status))
    return tuple(standing)


def readiness_percent(standing: Sequence[Criterion]) -> float:
    """Sum of the weights of the criteria that are met, 0 to 100. Inconclusive and unmeasured count as not met."""
    return float(sum(criterion.weight for criterion in standing if criterion.status == "met"))


def conditions(metrics: Sequence[Metric]) -> dict[str, Status]:
    """How the conditions stand; one that has no figure or no target is unmeasured."""
    statuses: Mapping[str, Status | None] = {metric.name: metric.status for metric in metrics}
    measured = {metric.name for metric in metrics if metric.value is not None}
    names = [instead if instead in measured else name for name, instead in CONDITIONS.items()]
    return {name: statuses.get(name) or "unmeasured" for name in names}


def verdict(conditions: Mapping[str, Status], percent: float) -> Verdict:
    """The tier of the readiness, or "not ready" where a condition is not met."""
    if any(status != "met" for status in conditions.values()):
        return "not ready"
    return next((name for least, name in TIERS if percent >= least), "not ready")


def reasons(metrics: Sequence[Metric], standing: Sequence[Criterion], conditions: Mapping[str, Status]) -> tuple[str, ...]:
    """Why the verdict is no better: a sentence for each condition and each criterion that is not met, heaviest first."""
    by_name = {metric.name: metric for metric in metrics}
    sentences = [
        f"condition {_sentence(name, status, by_name.get(name))}" for name, status in conditions.items() if status != "met"
    ]
    for criterion in sorted(standing, key=lambda each: -each.weight):
        for name in criterion.metrics:
            metric = by_name.get(name)
            status = (metric.status if metric else None) or "unmeasured"
            if status != "met":
                sentences.append(f"{criterion.name} ({criterion.weight:.0f} %): {_sentence(name, status, metric)}")
    return tuple(sentences)


def _sentence(name: str, status: Status, metric: Metric | None) -> str:
    if metric is None or metric.value is None or metric.target is None:
        why = f" ({metric.detail})" if metric and metric.detail else ""
        what = "has no target" if metric and metric.value is not None else "was not measured"
        return f"{name} {what}{why}"
    side = "at most" if is_lower_better(name) else "at least"
    wanted = f"{metric.value:.4g}, wanted {side} {metric.target:.4g} {metric.unit}".rstrip()
    if status == "not_met":
        return f"{name} is {wanted}"
    spread = f" (95 % {metric.interval[0]:.4g} to {metric.interval[1]:.4g})" if metric.interval else ""
    return f"{name} is inconclusive: {wanted}{spread}"
