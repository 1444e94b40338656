"""From figures to a verdict. Pure arithmetic over what was measured; nothing here measures."""

from collections.abc import Mapping, Sequence

from aria_ray.records import Criterion, Metric, Status, Verdict

CRITERIA: Mapping[str, tuple[float, tuple[str, ...]]] = {
    "inference": (30, ("output_tokens_per_s", "output_roofline_share")),
    "training": (25, ("train_step_ms", "train_flop_utilization")),
    "memory": (20, ("memory_reduction",)),
    "hardware": (15, ("compute_utilization",)),
    "stability": (10, ("stability_cv", "stability_drift", "memory_growth", "failed_requests")),
}
"""Percent of readiness that each criterion brings, and the metrics of which those with a target must be met."""

CONDITIONS = ("accuracy", "tool_compliance")
"""Without these met, no other merit makes a model ready."""

LOWER_IS_BETTER = frozenset({"train_step_ms", "stability_cv", "ttft_ms", "memory_growth", "failed_requests"})

ESTIMATES = frozenset(
    {"output_tokens_per_s", "output_roofline_share", "train_step_ms", "stability_cv", "stability_drift", "memory_growth"}
)
"""Figures of which too little was seen where they have no interval: such a one may miss its target, but not meet it."""

MIN_CASES = 10
"""Fewer cases than these decide nothing."""

TIERS: tuple[tuple[float, Verdict], ...] = ((95, "production ready"), (85, "conditional"), (70, "needs work"))

_WORST_FIRST: tuple[Status, ...] = ("not_met", "unmeasured", "inconclusive")


def judge(
    name: str,
    value: float | None,
    target: float | None,
    interval: tuple[float, float] | None = None,
    cases: int | None = None,
) -> Status | None:
    """How a figure stands against its target; None where it has none to stand against.

    With an interval, the whole of it must be on the right side: one that straddles the target is inconclusive, and so is a
    figure of fewer than `MIN_CASES` cases. One of `ESTIMATES` without an interval is inconclusive where it would be met.
    """
    if value is None:
        return "unmeasured"
    if target is None:
        return None
    if cases is not None and cases < MIN_CASES:
        return "inconclusive"
    low, high = interval or (value, value)
    if name in LOWER_IS_BETTER:
        low, high, target = -high, -low, -target
    if low >= target:
        return "inconclusive" if interval is None and name in ESTIMATES else "met"
    return "not_met" if high < target else "inconclusive"


def criteria(metrics: Sequence[Metric]) -> tuple[Criterion, ...]:
    """How each criterion stands: met if all its metrics with a target are, unmeasured if none has one, else as the worst."""
    with_target = {metric.name: metric.status for metric in metrics if metric.target is not None and metric.status}
    found = []
    for name, (weight, names) in CRITERIA.items():
        judged = tuple(each for each in names if each in with_target)
        statuses: set[Status] = {with_target[each] for each in judged} or {"unmeasured"}
        status: Status = next((each for each in _WORST_FIRST if each in statuses), "met")
        found.append(Criterion(name=name, weight=weight, metrics=judged or names[:1], status=status))
    return tuple(found)


def readiness_percent(found: Sequence[Criterion]) -> float:
    """Sum of the weights of the criteria that are met, 0 to 100. Inconclusive and unmeasured count as not met."""
    return float(sum(criterion.weight for criterion in found if criterion.status == "met"))


def conditions(metrics: Sequence[Metric]) -> dict[str, Status]:
    """How the conditions stand; one that has no figure or no target is unmeasured."""
    statuses: Mapping[str, Status | None] = {metric.name: metric.status for metric in metrics}
    return {name: statuses.get(name) or "unmeasured" for name in CONDITIONS}


def verdict(stand: Mapping[str, Status], percent: float) -> Verdict:
    """The tier of the readiness, or "not ready" where a condition is not met."""
    if any(status != "met" for status in stand.values()):
        return "not ready"
    return next((name for least, name in TIERS if percent >= least), "not ready")


def reasons(metrics: Sequence[Metric], found: Sequence[Criterion], stand: Mapping[str, Status]) -> tuple[str, ...]:
    """Why the verdict is no better: a sentence for each condition and each criterion that is not met, worst first."""
    by_name = {metric.name: metric for metric in metrics}
    told = [f"condition {_sentence(name, status, by_name.get(name))}" for name, status in stand.items() if status != "met"]
    for criterion in sorted(found, key=lambda each: -each.weight):
        for name in criterion.metrics:
            metric = by_name.get(name)
            status = (metric.status if metric else None) or "unmeasured"
            if status != "met":
                told.append(f"{criterion.name} ({criterion.weight:.0f} %): {_sentence(name, status, metric)}")
    return tuple(told)


def _sentence(name: str, status: Status, metric: Metric | None) -> str:
    if metric is None or metric.value is None or metric.target is None:
        why = f" ({metric.detail})" if metric and metric.detail else ""
        what = "has no target" if metric and metric.value is not None else "was not measured"
        return f"{name} {what}{why}"
    side = "at most" if name in LOWER_IS_BETTER else "at least"
    wanted = f"{metric.value:.4g}, wanted {side} {metric.target:.4g} {metric.unit}".rstrip()
    if status == "not_met":
        return f"{name} is {wanted}"
    spread = f" (95 % {metric.interval[0]:.4g} to {metric.interval[1]:.4g})" if metric.interval else ""
    return f"{name} is inconclusive: {wanted}{spread}"
