"""Requests in people's words, told in sentences: how many are right, and whether the model beats what it has to beat."""

from collections.abc import Mapping, Sequence

from aria_ray.records import Metric, RequestsSummary
from aria_ray.report.verdict import MIN_CASES
from aria_ray.results import YourRequests

_OTHERS = {"keywords": "the keyword baseline", "declining": "always declining", "base": "the base model"}
"""Ending of the figures, and the name, of what the model is measured beside."""


def summarise(requests: YourRequests, metrics: Sequence[Metric]) -> RequestsSummary:
    """The figures of requests in people's words as sentences, with the wrong answers."""
    by_name = {metric.name: metric for metric in metrics}
    return RequestsSummary(
        sentences=(_headline(by_name), *filter(None, (_beats(by_name, *other) for other in _OTHERS.items()))),
        next_step=_next_step(requests),
        wrong=requests.wrong,
    )


def _headline(metrics: Mapping[str, Metric]) -> str:
    accuracy = metrics["accuracy_your_requests"]
    if accuracy.value is None or accuracy.cases is None:
        return f"Requests in people's words were not measured ({accuracy.detail})."
    right = f"{round(accuracy.value * accuracy.cases)} of {accuracy.cases} requests in people's words are right"
    parts = [
        f"{what} {_percent(each.value)} of {each.cases}"
        for name, what in {"calls_your_requests": "right calls", "refusals_your_requests": "right refusals"}.items()
        if (each := metrics[name]).value is not None
    ]
    notes = [accuracy.detail, f"fewer than {MIN_CASES} requests decide nothing" if accuracy.cases < MIN_CASES else ""]
    told = "; ".join([", ".join(parts), *filter(None, notes)])
    return f"{right}, {_percent(accuracy.value)} ({_spread(accuracy)}): {told}."


def _beats(metrics: Mapping[str, Metric], ending: str, other: str) -> str | None:
    """Whether the model beats another beyond noise: whether the interval of the paired difference is above 0.

    None where the other was not measured.
    """
    theirs, gain = metrics[f"accuracy_your_requests_{ending}"], metrics[f"accuracy_your_requests_over_{ending}"]
    if theirs.value is None or gain.value is None or gain.interval is None:
        return None
    low, high = gain.interval
    told = "beats" if low > 0 else "is worse than" if high < 0 else "does not beat"
    points = f"{100 * gain.value:+.1f} points, 95 % {100 * low:+.1f} to {100 * high:+.1f}"
    return f"The model {told} {other} ({_percent(theirs.value)} right) beyond noise: {points}."


def _percent(share: float | None) -> str:
    return "unmeasured" if share is None else f"{100 * share:.1f} %"


def _spread(metric: Metric) -> str:
    return f"95 % {100 * metric.interval[0]:.1f} to {_percent(metric.interval[1])}" if metric.interval else "no interval"


def _next_step(requests: YourRequests) -> str:
    number = sum(requests.num_wrong.values())
    if not number:
        return ""
    kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(requests.num_wrong.items(), key=lambda item: -item[1]))
    return f"{number} wrong ({kinds}): add example requests of these kinds to dataset.requests and run again."
