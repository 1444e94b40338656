"""The report as text (`system_report.txt`): the verdict and what it rests on fit one screen, all figures come after it."""

from collections.abc import Iterator, Mapping

from aria_ray.records import Metric, Report, Status

MARKS: Mapping[Status | None, str] = {
    "met": "met",
    "not_met": "NOT MET",
    "inconclusive": "inconclusive",
    "unmeasured": "unmeasured",
    None: "",
}
MAX_CHARACTERS = 200
"""Most characters shown of a request or an answer."""
_WIDTH = 104


def render_text(report: Report) -> str:
    """The report as text."""
    return "\n".join([*_first_screen(report), "", *_wrong(report), *_figures(report), "", *_stages(report), ""])


def _first_screen(report: Report) -> Iterator[str]:
    yield "ARIA system report"
    yield "=================="
    if report.your_requests:
        yield "Your requests:"
        yield from (f"  {sentence}" for sentence in report.your_requests.sentences)
    yield f"Verdict:    {report.verdict.upper()}"
    yield f"Readiness:  {report.readiness_percent:.0f} % of the weighted criteria met"
    by_name = {metric.name: metric for metric in report.metrics}
    yield "Conditions, without which nothing is ready:"
    for name, status in report.conditions.items():
        yield _row(name, "", status, by_name.get(name))
    yield "Criteria:"
    for criterion in report.criteria:
        for index, name in enumerate(criterion.metrics):
            title = f"{criterion.name} {criterion.weight:.0f} %" if index == 0 else ""
            metric = by_name.get(name)
            yield _row(name, title, (metric.status if metric else None) or "unmeasured", metric)
    if report.reasons:
        yield "Why it is no better:"
        yield from (f"  - {reason}" for reason in report.reasons)


def _wrong(report: Report) -> Iterator[str]:
    """The requests that were wrong, with what was wanted and what came."""
    if report.your_requests is None or not report.your_requests.wrong:
        return
    yield "Requests that were wrong"
    yield report.your_requests.next_step
    for wrong in report.your_requests.wrong:
        yield f"  {_one_line(wrong.request)}"
        yield f"    {wrong.kind}"
        yield f"    wanted  {_one_line(wrong.wanted)}"
        yield f"    got     {_one_line(wrong.got)}"
    yield ""


def _one_line(text: str) -> str:
    """The beginning of a text of a person or of a model, on one line and without control characters."""
    plain = " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())
    return plain if len(plain) <= MAX_CHARACTERS else f"{plain[: MAX_CHARACTERS - 3]}..."


def _row(name: str, title: str, status: Status | None, metric: Metric | None) -> str:
    told = "unmeasured" if metric is None or metric.value is None else f"{metric.value:.4g} {metric.unit}"
    target = f"target {metric.target:.4g}" if metric is not None and metric.target is not None else "no target"
    return f"  {title:<15} {name:<30} {told:>18}  {target:<14} {MARKS[status]}".rstrip()


def _figures(report: Report) -> Iterator[str]:
    yield f"{'figure':<38} {'value':>12} {'unit':<10} {'target':>8}  {'status':<13} 95 % interval (cases)"
    yield "-" * _WIDTH
    for metric in report.metrics:
        value = "unmeasured" if metric.value is None else f"{metric.value:.4g}"
        target = "" if metric.target is None else f"{metric.target:.4g}"
        cases = f" ({metric.cases})" if metric.cases is not None else ""
        interval = "" if metric.interval is None else f"{metric.interval[0]:.4g} to {metric.interval[1]:.4g}{cases}"
        line = f"{metric.name:<38} {value:>12} {metric.unit:<10} {target:>8}  {MARKS[metric.status]:<13} {interval}"
        yield f"{line}  {metric.detail}".rstrip()


def _stages(report: Report) -> Iterator[str]:
    provenance = report.provenance
    yield "Stages"
    for name, stage in provenance.stages.items():
        peak = "unmeasured" if stage.peak_memory_gib is None else f"{stage.peak_memory_gib:.1f} GiB"
        yield f"  {name:<12} {stage.wall_s:8.0f} s   peak memory {peak}   fingerprint {stage.fingerprint}"
    yield ""
    if provenance.endpoint:
        yield "Endpoint: " + ", ".join(f"{key} {value}" for key, value in provenance.endpoint)
    yield "Machine:  " + ", ".join(f"{key} {value}" for key, value in provenance.machine)
    yield "Versions: " + ", ".join(f"{name} {version}" for name, version in provenance.versions.items())
    yield f"Made:     {provenance.created}, recipe {provenance.recipe}"
