"""From figures to a verdict. Pure arithmetic over what was measured; nothing here measures."""

from collections.abc import Mapping, Sequence

from aria_ray.records import Metric, Status, Verdict

WEIGHTS = {
    "output_tokens_per_s": 30,
    "train_step_ms": 25,
    "memory_reduction": 20,
    "compute_utilization": 15,
    "stability_cv": 10,
}
"""Percent of readiness that each criterion brings when it is met: inference, training, memory, hardware, stability."""

CONDITIONS = ("accuracy", "tool_compliance")
"""Without these met, no other merit makes a model ready."""

LOWER_IS_BETTER = frozenset({"train_step_ms", "stability_cv", "ttft_ms"})

TIERS: tuple[tuple[float, Verdict], ...] = ((95, "production ready"), (85, "conditional"), (70, "needs work"))


def judge(name: str, value: float | None, target: float | None, interval: tuple[float, float] | None = None) -> Status | None:
    """How a figure stands against its target; None where there is no target.

    With an interval, the whole of it must be on the right side: one that straddles the target is inconclusive.
    """
    if value is None:
        return "unmeasured"
    if target is None:
        return None
    low, high = interval or (value, value)
    if name in LOWER_IS_BETTER:
        low, high, target = -high, -low, -target
    if low >= target:
        return "met"
    return "not_met" if high < target else "inconclusive"


def readiness_percent(metrics: Sequence[Metric]) -> float:
    """Sum of the weights of the criteria that are met, 0 to 100. Inconclusive and unmeasured count as not met."""
    return float(sum(WEIGHTS.get(metric.name, 0) for metric in metrics if metric.status == "met"))


def conditions(metrics: Sequence[Metric]) -> dict[str, Status]:
    """How the conditions stand; one that has no figure or no target is unmeasured."""
    statuses: Mapping[str, Status | None] = {metric.name: metric.status for metric in metrics}
    return {name: statuses.get(name) or "unmeasured" for name in CONDITIONS}


def verdict(metrics: Sequence[Metric]) -> Verdict:
    """The tier of the readiness, or "not ready" where a condition is not met."""
    if any(status != "met" for status in conditions(metrics).values()):
        return "not ready"
    percent = readiness_percent(metrics)
    return next((name for least, name in TIERS if percent >= least), "not ready")
