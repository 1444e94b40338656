"""Pictures of what the live endpoint did: one function each, from the evidence to inline SVG, or None where unmeasured."""

import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator, PercentFormatter

from aria_ray.report.evidence import Evidence
from aria_ray.report.svg import DASHES, INK, MAX_POINTS, MUTED, SERIES, drawing, plain, thinned, to_svg
from aria_ray.results import DecodeRoofline, Distribution, Estimate, LoadSummary, Quality

_BOUND: dict[str, Any] = {"linestyle": "none", "marker": "_", "markersize": 13, "markeredgewidth": 2.2, "color": SERIES[1]}


def throughput(evidence: Evidence) -> str | None:
    """Output tokens per second by concurrency: of all streams, with 95 % intervals and the machine's bound, and of each."""
    levels = [level for level in evidence.levels if level.output_tokens_per_s is not None]
    if not levels:
        return None
    x = [level.concurrency or 0 for level in levels]
    rates = [level.output_tokens_per_s or 0.0 for level in levels]
    with drawing(3.9, 2, ratios=(3, 2)) as (figure, (total, each)):
        total.errorbar(x, rates, yerr=_bars(levels, rates), color=SERIES[0], marker="o", label="measured, 95 % interval")
        bounds = _bounds(evidence.validation.roofline)
        if bounds:
            x_bound, y_bound = [at for at, _ in bounds], [bound for _, bound in bounds]
            total.plot(x_bound, y_bound, **_BOUND, label="roofline bound")
        total.set_title("output tokens/s, all streams")
        each.plot(x, [rate / streams for streams, rate in zip(x, rates, strict=True)], color=SERIES[2], marker="s")
        each.set_title("output tokens/s, each stream")
        total.legend(loc="upper left")
        _leave_headroom(total, 1.3)
        _leave_headroom(each, 1.1)
        _concurrency_axis(each, x)
        told = ", ".join(f"{rate:.4g} with {streams}" for streams, rate in zip(x, rates, strict=True))
        return to_svg(figure, "throughput", f"Output tokens per second by number of streams: {told}.")


def _bars(levels: Sequence[LoadSummary], rates: Sequence[float]) -> list[list[float]]:
    """Lengths of the bars below and above each rate, none where there is no interval."""
    ends = [level.output_tokens_per_s_interval or (rate, rate) for level, rate in zip(levels, rates, strict=True)]
    below = [max(0.0, rate - low) for rate, (low, _) in zip(rates, ends, strict=True)]
    return [below, [max(0.0, high - rate) for rate, (_, high) in zip(rates, ends, strict=True)]]


def _bounds(roofline: DecodeRoofline | None) -> list[tuple[int, float]]:
    """(streams, most tokens/s of all of them)."""
    if roofline is None:
        return []
    bounds = {1: roofline.single_stream_tokens_per_s, roofline.concurrency: roofline.concurrent_tokens_per_s}
    return list(bounds.items())


def latency(evidence: Evidence) -> str | None:
    """Median, 90th and 99th percentile of the three latencies by concurrency."""
    times: dict[str, Callable[[LoadSummary], Distribution | None]] = {
        "time to first token": lambda level: level.ttft_ms,
        "time per output token": lambda level: level.tpot_ms,
        "end to end": lambda level: level.e2e_ms,
    }
    levels = [level for level in evidence.levels if level.ttft_ms]
    if not levels:
        return None
    with drawing(4.9, 3) as (figure, panels):
        for panel, (title, time_of) in zip(panels, times.items(), strict=True):
            measured = [(level.concurrency or 0, time) for level in levels if (time := time_of(level))]
            seconds = max((time.p99 for _, time in measured), default=0) >= 10_000
            x = [streams for streams, _ in measured]
            for index, quantile in enumerate(("p50", "p90", "p99")):
                y = [getattr(time, quantile) / (1000 if seconds else 1) for _, time in measured]
                panel.plot(x, y, color=SERIES[index], linestyle=DASHES[index], marker="os^"[index], label=quantile)
            panel.set_title(f"{title} ({'s' if seconds else 'ms'})")
            _leave_headroom(panel, 1.05)
            panel.yaxis.set_major_locator(MaxNLocator(4))
        _concurrency_axis(panels[-1], [level.concurrency or 0 for level in levels])
        figure.legend(*panels[0].get_legend_handles_labels(), loc="outside upper right", ncols=3)
        told = ", ".join(f"{level.ttft_ms.p50:.4g} ms with {level.concurrency}" for level in levels if level.ttft_ms)
        return to_svg(figure, "latency", f"Latency by number of streams. Median time to first token: {told}.")


def waits(evidence: Evidence) -> str | None:
    """Cumulative distributions of single requests, by concurrency: time to first token, and end to end."""
    if not evidence.waits:
        return None
    shown = _spread_out(evidence.waits, len(SERIES))
    with drawing(4.3, 2, sharex=False) as (figure, panels):
        for index, level in enumerate(shown):
            for panel, values in zip(panels, (level.ttft_ms, level.e2e_ms), strict=True):
                y = [rank / len(values) for rank in range(1, len(values) + 1)]
                x, y = _every([value / 1000 for value in values]), _every(y)
                panel.step(
                    x,
                    y,
                    where="post",
                    color=SERIES[index],
                    linestyle=DASHES[index],
                    label=f"streams: {level.concurrency}" if index == 0 else f"{level.concurrency}",
                )
        for panel, title in zip(panels, ("time to first token (s)", "end to end (s)"), strict=True):
            panel.set_title(f"share of requests by {title}")
            panel.yaxis.set_major_formatter(PercentFormatter(1, decimals=0, symbol=" %"))
            panel.set_ylim(0, 1.02)
            panel.set_xlim(left=0)
        handles = panels[0].get_legend_handles_labels()
        figure.legend(*handles, loc="outside upper right", ncols=len(shown))
        told = ", ".join(f"{level.concurrency} streams {len(level.ttft_ms)} requests" for level in shown)
        return to_svg(figure, "waits", f"Cumulative distribution of waits, by number of streams: {told}.")


def accuracy(evidence: Evidence) -> str | None:
    """Share of held-out cases right, ours against the base model, with 95 % intervals: over all, and by kind of case."""
    result, none = evidence.validation, Quality(outcomes={})
    ours, base, unseen = result.quality or none, result.quality_base or none, result.quality_unseen
    rows: list[tuple[str, list[Estimate | None]]] = []
    if result.your_requests:
        theirs = result.your_requests.base
        rows.append(("your requests", [result.your_requests.ours.accuracy, theirs.accuracy if theirs else None]))
    if ours.accuracy:
        rows.append(("all", [ours.accuracy, base.accuracy]))
    if not rows:
        return None
    if unseen and unseen.accuracy:
        rows.append(("unseen tools", [unseen.accuracy, None]))
    for title, shares, of_base in (
        ("category", ours.by_category, base.by_category),
        ("scenario", ours.by_scenario, base.by_scenario),
        ("difficulty", ours.by_difficulty, base.by_difficulty),
    ):
        rows += [(title, [])] if shares else []
        rows += [(name.replace("_", " "), [shares[name], of_base.get(name)]) for name in sorted(shares)]
    with drawing(0.9 + 0.23 * len(rows)) as (figure, (panel,)):
        panel.grid(visible=False, axis="y")
        panel.grid(visible=True, axis="x")
        for index, (colour, marker, label) in enumerate([(SERIES[0], "o", "this model"), (SERIES[1], "s", "base model")]):
            drawn = {row: share for row, (_, each) in enumerate(rows) if each and (share := each[index])}
            _draw_shares(panel, drawn, 0.14 * (2 * index - 1), {"color": colour, "marker": marker, "label": label})
        panel.set_yticks(range(len(rows)), [plain(name) for name, _ in rows])
        for tick, (_, each) in zip(panel.get_yticklabels(), rows, strict=True):
            tick.set_color(INK if each else MUTED)
        panel.set_ylim(len(rows) - 0.4, -0.6)
        panel.set_xlim(-0.02, 1.02)
        panel.xaxis.set_major_formatter(PercentFormatter(1, decimals=0, symbol=" %"))
        figure.legend(loc="outside upper right", ncols=2)
        names = ("this model", "base model")
        told = ", ".join(
            f"{name} {share.value:.0%}"
            for name, share in zip(names, rows[0][1], strict=True)
            if share and share.value is not None
        )
        return to_svg(figure, "accuracy", f"Share of held-out cases right, {rows[0][0]}: {told}.")


def _draw_shares(panel: Axes, shares: Mapping[int, Estimate], offset: float, style: Mapping[str, Any]) -> None:
    """Shares by row, each with its interval; one without a value is left out."""
    measured = {row: (share.value, share.interval) for row, share in shares.items()}
    drawn = {row: (value, ends) for row, (value, ends) in measured.items() if value is not None and ends is not None}
    if drawn:
        below = [max(0.0, value - low) for value, (low, _) in drawn.values()]
        above = [max(0.0, high - value) for value, (_, high) in drawn.values()]
        at, values = [row + offset for row in drawn], [value for value, _ in drawn.values()]
        panel.errorbar(values, at, xerr=[below, above], linestyle="none", capsize=0, **style)


def sustained(evidence: Evidence) -> str | None:
    """Throughput of each window of the sustained load, its mean, and memory."""
    stability = evidence.validation.stability
    if stability is None or not stability.rates:
        return None
    rates, memory, width_s = stability.rates, stability.memory_gib, stability.window_s
    with drawing(3.7 if memory else 2.4, 2 if memory else 1, ratios=(3, 2) if memory else None) as (figure, panels):
        edges = [width_s * index for index in range(len(rates) + 1)]
        panels[0].stairs(rates, edges, fill=True, color=SERIES[0], alpha=0.3)
        panels[0].stairs(rates, edges, color=SERIES[0], linewidth=1.8)
        panels[0].axhline(
            statistics.fmean(rates[1:] or rates), color=INK, linewidth=1, linestyle="--", label="mean after the first"
        )
        panels[0].set_ylim(0, 1.3 * max(rates) or 1)
        panels[0].set_title("output tokens/s by window")
        panels[0].legend(loc="upper right")
        if memory:
            x = [edges[-1] * (index + 0.5) / len(memory) for index in range(len(memory))]
            panels[1].plot(*thinned(x, memory), color=SERIES[2])
            panels[1].set_ylim(0, 1.15 * max(memory))
            panels[1].set_title("memory (GiB)")
        panels[-1].set_xlim(0, edges[-1])
        panels[-1].set_xlabel("seconds of sustained load")
        told = f"{len(rates)} windows of {width_s:g} s, {min(rates):.4g} to {max(rates):.4g} output tokens per second"
        return to_svg(figure, "sustained", f"Sustained load: {told}.")


def _concurrency_axis(panel: Axes, streams: Sequence[int]) -> None:
    panel.set_xscale("log", base=2)
    panel.set_xticks(streams, [str(each) for each in streams])
    panel.set_xticks([], minor=True)
    panel.set_xlabel("requests in flight (streams)")
    panel.margins(x=0.06)


def _leave_headroom(panel: Axes, factor: float) -> None:
    """Room above the data for the legend."""
    panel.set_ylim(0, factor * panel.get_ylim()[1])


def _every(values: Sequence[float]) -> list[float]:
    """At most `MAX_POINTS` of the values, the first and the last among them."""
    kept = min(len(values), MAX_POINTS)
    return [values[round(index * (len(values) - 1) / max(1, kept - 1))] for index in range(kept)]


def _spread_out(items: Sequence[Any], most: int) -> list[Any]:
    """A limited number of the items, evenly spread, with the first and the last."""
    kept = min(len(items), most)
    return [items[round(index * (len(items) - 1) / max(1, kept - 1))] for index in range(kept)]
