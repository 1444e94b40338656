"""The report as one page: self-contained HTML with plots, no script, and nothing that is fetched."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from aria_ray.metrics import is_lower_better
from aria_ray.records import Metric, Report
from aria_ray.report import plots, serving_plots
from aria_ray.report.evidence import STAGES, Evidence, Facts
from aria_ray.results import SHARES, Estimate, Gains, LoadSummary, Quality, Speed, YourRequests

MAX_CASES = 30
MAX_CHARACTERS = 1000
"""Most characters shown of one text of a case: thirty cases of long texts stay far below a megabyte."""
WORDS = {"met": "met", "not_met": "not met", "inconclusive": "inconclusive", "unmeasured": "unmeasured"}
VERDICT_STATUS = {"production ready": "met", "conditional": "inconclusive", "needs work": "not_met", "not ready": "not_met"}


@dataclass(frozen=True)
class Plot:
    """A picture, and the texts around it."""

    title: str
    draw: Callable[[Evidence], str | None]
    caption: str
    needs: str
    """The data that is missing, told in the picture's place where it cannot be drawn."""


PLOTS = (
    Plot(
        "Training",
        plots.curriculum,
        "Loss on a logarithmic scale. A gate ends its stage early at the target, and fails below the minimum.",
        "no steps in training/log.jsonl",
    ),
    Plot(
        "Throughput",
        serving_plots.throughput,
        "Closed loop: so many requests are in flight all the time. The roofline bound follows from this machine's "
        "measured memory bandwidth and arithmetic.",
        "no load at several concurrencies in the validation stage",
    ),
    Plot(
        "Latency",
        serving_plots.latency,
        "Percentiles over requests: half of them wait no longer than p50, 99 of 100 no longer than p99.",
        "no latencies in the validation stage",
    ),
    Plot(
        "Waiting",
        serving_plots.waits,
        "Cumulative: the share of requests that waited no longer, by the number of streams.",
        "no single timings in validation/load.json",
    ),
    Plot(
        "Accuracy",
        serving_plots.accuracy,
        "Held-out cases through the live endpoint, with 95 % intervals.",
        "no held-out cases in the validation stage",
    ),
    Plot(
        "Sustained load",
        serving_plots.sustained,
        "The first window holds the ramp-up.",
        "no sustained load in the validation stage",
    ),
    *(
        Plot(f"Machine during {stage}", plots.utilisation(stage), "", f"no samples in {stage}/telemetry.json")
        for stage in STAGES
    ),
    Plot(
        "Dataset by scenario and category",
        plots.crossing,
        "Share of all rows that were made from templates.",
        "no rows in dataset/parquet",
    ),
    Plot("Dataset", plots.composition, "Share of the rows that were made from templates.", "no shares in dataset/quality.json"),
)


def render_html(report: Report, evidence: Evidence) -> str:
    """The page, as text without characters that UTF-8 cannot hold. Everything that came from a model is escaped."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "figure": figure_text,
        "interval": interval_text,
        "target": target_text,
        "cut": cut,
        "seconds": _duration,
    }
    environment.tests["given"] = lambda value: value is not None
    page = environment.get_template("report.html.jinja").render(
        report=report,
        evidence=evidence,
        words=WORDS,
        verdict_status=VERDICT_STATUS[report.verdict],
        judged=_judged(report),
        others=[metric for metric in report.metrics if metric.target is None],
        pictures=[_picture(plot, evidence) for plot in PLOTS],
        requests=_request_rows(evidence.validation.your_requests),
        shares=_share_rows(evidence),
        bfcl=_pairs(evidence.validation.bfcl, evidence.validation.bfcl_base),
        outcomes=_outcomes(evidence),
        loads=_loads(evidence.validation.speed),
        provenance=report.provenance.model_dump(),
        cases=[_case(case) for case in evidence.failed_cases[:MAX_CASES]],
        config_yaml=yaml.safe_dump(report.provenance.config, sort_keys=False, allow_unicode=True),
    )
    return page.encode("utf-8", "replace").decode("utf-8")


def figure_text(value: float | None, unit: str = "") -> str:
    """A figure with its unit: shares in percent, others to three digits, without exponents below ten million."""
    if value is None:
        return "unmeasured"
    if unit == "share":
        return f"{100 * value:.1f} %"
    size = abs(value)
    if size >= 1e7:
        text = f"{value:.3e}"
    else:
        text = f"{value:,.0f}" if size >= 100 else f"{value:.1f}" if size >= 10 else f"{value:.3g}"
    return text if unit == "ratio" else f"{text} {unit}".rstrip()


def target_text(metric: Metric) -> str:
    """A metric's target, with its side."""
    if metric.target is None:
        return ""
    side = "at most" if is_lower_better(metric.name) else "at least"
    if metric.unit == "share":
        return f"{side} {100 * metric.target:g} %"
    return f"{side} {metric.target:g} {'' if metric.unit == 'ratio' else metric.unit}".rstrip()


def interval_text(interval: Sequence[float] | None, unit: str = "") -> str:
    """The ends of an interval, in its figure's unit."""
    if interval is None:
        return ""
    low, high = (figure_text(end, unit) for end in interval)
    return f"{low.removesuffix(f' {unit}').removesuffix(' %')} to {high}"


def cut(text: Any, most: int = MAX_CHARACTERS) -> str:
    """The beginning of a long text, and how much more there was."""
    text = str(text)
    return text if len(text) <= most else f"{text[:most]} … ({len(text) - most} more characters)"


def _judged(report: Report) -> list[tuple[str, Metric]]:
    """Metrics with a target, each with what it decides; those of the criteria first, in their order, then the conditions."""
    by_name = {metric.name: metric for metric in report.metrics}
    decides = {
        name: f"{criterion.name} ({criterion.weight:g} %)" for criterion in report.criteria for name in criterion.metrics
    }
    decides |= {name: "condition" for name in report.conditions}
    rows = [(what, by_name[name]) for name, what in decides.items() if name in by_name]
    return rows + [("", metric) for metric in report.metrics if metric.target is not None and metric.name not in decides]


def _picture(plot: Plot, evidence: Evidence) -> dict[str, Any]:
    svg = plot.draw(evidence)
    marks: list[Any] = []
    if svg and plot.title.startswith("Machine during "):
        marks = list(evidence.telemetry[plot.title.removeprefix("Machine during ")].get("marks") or ())
    return {
        "title": plot.title,
        "svg": Markup(svg) if svg else None,  # of numbers and of labels that matplotlib escaped
        "caption": plot.caption,
        "needs": plot.needs,
        "marks": [what for _, what in marks],
    }


def _share_rows(evidence: Evidence) -> list[dict[str, Any]]:
    """Rows of the table of shares, each with the group that it stands under."""
    result = evidence.validation
    if result.quality is None:
        return []
    ours, base = result.quality, result.quality_base or Quality(outcomes={})
    rows = _pairs(_shares(ours), _shares(base), dict(result.gains or Gains()))
    whole = [row | {"group": "all held-out cases"} for row in rows]
    for title, shares, of_base in (
        ("category", ours.by_category, base.by_category),
        ("scenario", ours.by_scenario, base.by_scenario),
        ("difficulty", ours.by_difficulty, base.by_difficulty),
    ):
        whole += [row | {"group": f"right, by {title}"} for row in _pairs(dict(sorted(shares.items())), of_base)]
    unseen = _pairs(_shares(result.quality_unseen), {}) if result.quality_unseen else []
    return whole + [row | {"group": "tools never seen in training"} for row in unseen]


def _request_rows(requests: YourRequests | None) -> list[dict[str, Any]]:
    """Rows of the table of requests in people's words: this model, the base model and the controls."""
    if requests is None:
        return []
    rows = [
        ("this model", requests.ours, None),
        ("keyword baseline", requests.keywords, requests.over_keywords),
        ("always declining", requests.declining, requests.over_declining),
    ]
    if requests.base:
        rows.append(("base model", requests.base, requests.over_base))
    return [
        {"name": name, "shares": [each.accuracy, each.calls, each.refusals, each.tool_selection, over]}
        for name, each, over in rows
    ]


def _shares(quality: Quality) -> dict[str, Estimate]:
    """The shares of all cases that were measured, by name."""
    return {name: share for name in SHARES if (share := getattr(quality, name)) is not None}


def _pairs(
    ours: Mapping[str, Estimate], base: Mapping[str, Estimate], gains: Mapping[str, Estimate | None] | None = None
) -> list[dict[str, Any]]:
    """Shares of ours beside those of the base model, in the order they were measured."""
    return [
        {"name": name, "ours": share, "base": base.get(name), "difference": (gains or {}).get(name)}
        for name, share in ours.items()
    ]


def _outcomes(evidence: Evidence) -> list[tuple[str, Mapping[str, int]]]:
    """Number of cases by how they ended, for each model that was asked."""
    result = evidence.validation
    requests = result.your_requests
    titles = {
        "your requests": requests.ours if requests else None,
        "your requests, base model": requests.base if requests else None,
        "this model": result.quality,
        "base model": result.quality_base,
        "this model, unseen tools": result.quality_unseen,
    }
    return [(title, quality.outcomes) for title, quality in titles.items() if quality and quality.outcomes]


def _loads(speed: Speed | None) -> list[tuple[str, LoadSummary]]:
    """Loads that were measured, each with a name."""
    if speed is None:
        return []
    loads = [(f"closed, {level.concurrency} streams", level) for level in speed.levels]
    poisson = speed.poisson
    rate = figure_text(poisson.rate_per_s, "requests/s") if poisson else ""
    named = [
        (f"open, {rate} (Poisson)", poisson),
        ("tool calls", speed.tool_calls),
        ("one stream, prompt not cached", speed.cold),
        ("one stream, prompt all cached", speed.warm),
    ]
    return loads + [(name, load) for name, load in named if load is not None]


def _case(case: Facts) -> dict[str, Any]:
    transcript = case.get("transcript") or ()
    question = next((turn.get("content") for turn in transcript if turn.get("role") == "user"), None)
    return {
        "id": case.get("id", ""),
        "labels": [cut(case.get(key) or "", 40) for key in ("category", "scenario", "outcome")],
        "question": question or "",
        "detail": case.get("detail", ""),
        "parts": [part for turn in transcript for part in _parts(turn)],
    }


def _parts(turn: Facts) -> Iterator[tuple[str, str]]:
    """(what it is, text) of one message of a transcript."""
    if turn.get("role") != "assistant":
        words = {"user": "question", "tool": "tool result"}
        yield words.get(str(turn.get("role")), "other"), _text(turn.get("content"))
        return
    if turn.get("reasoning"):
        yield "thought", _text(turn["reasoning"])
    for call in turn.get("tool_calls") or ():
        function = call.get("function") or {}
        yield "call", f"{function.get('name')}({_text(function.get('arguments'))})"
    if turn.get("content") or not turn.get("tool_calls"):
        yield "answer", _text(turn.get("content")) or "(empty)"


def _text(value: Any) -> str:
    return value if isinstance(value, str) else "" if value is None else json.dumps(value, ensure_ascii=False)


def _duration(seconds: float | None) -> str:
    if seconds is None:
        return "unmeasured"
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"
