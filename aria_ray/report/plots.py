"""Pictures of training, of the machine and of the dataset: one function each, from the evidence to inline SVG, or None where
nothing was measured."""

import math
import statistics
from collections.abc import Callable, Sequence
from itertools import groupby
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator, PercentFormatter

from aria_ray.report.evidence import Evidence, Facts
from aria_ray.report.svg import (
    BAD,
    FONT_POINTS,
    GOOD,
    GRID,
    INK,
    MUTED,
    SERIES,
    SURFACE,
    drawing,
    name_text,
    note_above,
    percent_text,
    plain,
    thinned,
    to_svg,
)

SMALL = FONT_POINTS - 0.5
MAX_SAMPLES = 120
"""Most points of one line of telemetry: changes from second to second are noise."""


def curriculum(evidence: Evidence) -> str | None:
    """Loss, held-out decision accuracy with the gates' verdicts, and learning rate, by optimizer step."""
    if not evidence.steps:
        return None
    steps = [step["total_steps"] for step in evidence.steps]
    losses = [step["loss"] for step in evidence.steps]
    with drawing(4.9, 3, ratios=(4, 5, 2)) as (figure, panels):
        _shade_stages(evidence.steps, panels)
        _draw_loss(panels[0], evidence, steps, losses)
        panels[0].set_title("loss (nats)", pad=26 if _crowded(evidence.steps) else 20)
        _draw_gates(panels[1], evidence)
        panels[1].set_title("held-out decisions right")
        panels[2].plot(*thinned(steps, [step["learning_rate"] for step in evidence.steps]), color=SERIES[2])
        panels[2].set_ylim(bottom=0)
        panels[2].yaxis.offsetText.set_visible(False)
        panels[2].ticklabel_format(axis="y", style="sci", scilimits=(0, 0))
        panels[2].set_title(f"learning rate{_power(panels[2], figure)}")
        panels[2].set_xlabel("optimizer step")
        panels[2].xaxis.set_major_locator(MaxNLocator(6, integer=True))
        panels[2].set_xlim(0, steps[-1])
        ends = [each for each in evidence.evaluations if each.get("ended")]
        told = ", ".join(f"{each['stage']} {each['stage_accuracy']:.0%} {each['ended']}" for each in ends)
        label = f"Training: {len(steps)} steps, loss from {losses[0]:.2f} to {losses[-1]:.2f}. Gates: {told or 'none'}."
        return to_svg(figure, "curriculum", label)


def _draw_loss(panel: Axes, evidence: Evidence, steps: Sequence[int], losses: Sequence[float]) -> None:
    panel.plot(*thinned(steps, losses), color=SERIES[0], alpha=0.35, linewidth=0.8)
    panel.plot(*thinned(steps, _running_mean(losses)), color=SERIES[0], label="training, running mean")
    held_out = [(each["total_steps"], each["held_out_loss"]) for each in evidence.evaluations if each.get("held_out_loss")]
    if held_out:
        x, y = zip(*held_out, strict=True)
        panel.plot(x, y, color=SERIES[1], linestyle="--", marker="s", label="held out", clip_on=False)
    panel.set_yscale("log")
    _plain_log_ticks(panel, [*losses, *(value for _, value in held_out)])
    panel.legend(loc="best")


def _shade_stages(steps: Sequence[Facts], panels: Sequence[Axes]) -> None:
    """A band behind every other stage, and the stages' names above the first panel, in two rows where they would touch."""
    for index, (name, start, end) in enumerate(_stages(steps)):
        for panel in panels:
            if index % 2 == 0:
                panel.axvspan(start, end, color=GRID, alpha=0.45, linewidth=0)
        lift = 4 + 10 * (index % 2) if _crowded(steps) else 4
        note_above(panels[0], plain(name), (start + end) / 2, lift)


def _stages(steps: Sequence[Facts]) -> list[tuple[str, int, int]]:
    """(name, first step, last step) of each stage, all its attempts together."""
    spans = []
    for name, group in groupby(steps, key=lambda step: step["stage"]):
        numbers = [step["total_steps"] for step in group]
        spans.append((name, numbers[0] - 1, numbers[-1]))
    return spans


def _crowded(steps: Sequence[Facts]) -> bool:
    """Whether names of stages side by side would touch: 300 points for all steps, 6 for a letter."""
    spans, total = _stages(steps), steps[-1]["total_steps"]
    return any(300 * (end - start) / total < 6.5 * len(name) for name, start, end in spans)


def _draw_gates(panel: Axes, evidence: Evidence) -> None:
    evaluations = evidence.evaluations
    limits = {(end["stage"], end["attempt"]): (end["minimum"], end["target"]) for end in evidence.transitions}
    x, y = [each["total_steps"] for each in evaluations], [each["stage_accuracy"] for each in evaluations]
    panel.plot(x, y, color=MUTED, linewidth=1, marker=".", zorder=2, clip_on=False)
    for attempt, group in groupby(evidence.steps, key=lambda step: (step["stage"], step["attempt"])):
        numbers = [step["total_steps"] for step in group]
        for limit, dashes in zip(limits.get(attempt, ()), (":", "--"), strict=False):
            panel.hlines(limit, numbers[0] - 1, numbers[-1], color=INK, linewidth=1, linestyle=dashes)
    for each in evaluations:
        if each.get("ended"):
            _draw_gate(panel, each["total_steps"], each["stage_accuracy"], passed=each["ended"] != "failed")
    floor = max(0.0, min([0.7, *y, *(minimum for minimum, _ in limits.values())]) - 0.05)
    # A third of the panel below the data is for the legend, and the room above 1 for a number.
    panel.set_ylim(floor - (1 - floor) / 2, 1.1)
    panel.set_yticks([tick / 100 for tick in range(0, 101, 20) if tick / 100 >= floor])
    panel.yaxis.set_major_formatter(PercentFormatter(1, decimals=0, symbol=" %"))
    panel.legend(
        handles=[
            Line2D([], [], color=GOOD, marker="o", linestyle="none", label="gate passed"),
            Line2D([], [], color=INK, linestyle="--", linewidth=1, label="target"),
            Line2D([], [], color=BAD, marker="X", linestyle="none", label="gate failed"),
            Line2D([], [], color=INK, linestyle=":", linewidth=1, label="minimum"),
        ],
        loc="lower left",
        ncols=2,
    )


def _draw_gate(panel: Axes, step: int, right: float, *, passed: bool) -> None:
    """A mark, and the figure above it, on a ground of its own so that no line runs through it."""
    colour, marker = (GOOD, "o") if passed else (BAD, "X")
    panel.plot(step, right, marker=marker, markersize=8, color=colour, zorder=3, clip_on=False)
    panel.annotate(
        f"{100 * right:.0f} %",
        (step, right),
        xytext=(0, 7),
        textcoords="offset points",
        ha="center",
        fontsize=SMALL,
        bbox={"facecolor": SURFACE, "edgecolor": "none", "pad": 0.8, "alpha": 0.8},
        annotation_clip=False,
    )


def _power(panel: Axes, figure: Figure) -> str:
    """The power of ten that the tick labels of the y axis are to be multiplied by, as words for the title."""
    figure.canvas.draw()
    offset = panel.yaxis.get_offset_text().get_text()
    return f" (in {offset})" if offset else ""


def utilisation(stage: str) -> Callable[[Evidence], str | None]:
    """The picture of one stage: busy share of processors and memory over time, with numbers where a part began."""

    def draw(evidence: Evidence) -> str | None:
        samples = evidence.telemetry.get(stage)
        if not samples:
            return None
        unit, unit_s = ("minutes", 60) if samples["t_s"][-1] > 300 else ("seconds", 1)
        times = [second / unit_s for second in samples["t_s"]]
        gpus, nodes = samples.get("gpus") or (), samples.get("nodes") or ()
        with drawing(3.9, 2) as (figure, (busy, memory)):
            for panel, cores, column in ((busy, "cpu_share", "busy_share"), (memory, "memory_gib", "memory_gib")):
                # A cluster's own columns are over all nodes; beside those of one GPU a node is what compares.
                each = [node.get(cores) or () for node in nodes] or [samples.get(cores) or ()]
                what = f"mean of {len(nodes)} nodes" if len(nodes) > 1 else "processors and their memory"
                _draw_mean(panel, times, each, SERIES[0], what)
                many = f"mean of {len(gpus)} GPUs" if len(gpus) > 1 else "GPU"
                _draw_mean(panel, times, [gpu.get(column) or () for gpu in gpus], SERIES[1], many)
            _draw_marks((busy, memory), [at / unit_s for at, _ in samples.get("marks") or ()], times[-1])
            busy.set_title("busy share", pad=19 if samples.get("marks") else 8)
            busy.set_ylim(0, 1.05)
            busy.yaxis.set_major_formatter(PercentFormatter(1, decimals=0, symbol=" %"))
            memory.set_title("memory (GiB)")
            memory.set_ylim(bottom=0)
            memory.set_xlim(0, times[-1] or 1)
            memory.set_xlabel(unit)
            if gpus or len(nodes) > 1:
                figure.legend(*memory.get_legend_handles_labels(), loc="outside upper right", ncols=2)
            shares = [share for share in samples.get("cpu_share") or () if share is not None]
            told = f"busy share of the cores {statistics.fmean(shares):.0%} on average" if shares else "busy share unmeasured"
            return to_svg(figure, f"utilisation-{stage}", f"Utilisation and memory during {stage}: {told}.")

    return draw


def _draw_mean(panel: Axes, times: Sequence[float], each: Sequence[Sequence[Any]], colour: str, label: str) -> None:
    """The mean of several nodes or GPUs, and a band from the least to the most of them; one alone is a line."""
    rows = [[value for value in moment if value is not None] for moment in zip(*each, strict=False)]
    if not any(rows):
        return
    means = [statistics.fmean(row) if row else math.nan for row in rows]
    panel.plot(*thinned(times, means, MAX_SAMPLES), color=colour, linewidth=1.4, label=label)
    if len(each) > 1:
        x, low = thinned(times, [min(row, default=math.nan) for row in rows], MAX_SAMPLES)
        _, high = thinned(times, [max(row, default=math.nan) for row in rows], MAX_SAMPLES)
        panel.fill_between(x, low, high, color=colour, alpha=0.2, linewidth=0)


def _draw_marks(panels: Sequence[Axes], marks: Sequence[float], end: float) -> None:
    """Numbered lines. Marks that stand closer together than their numbers are wide share one label, such as 2-3."""
    groups: list[list[int]] = []
    for number, at in enumerate(marks, 1):
        for panel in panels:
            panel.axvline(at, color=MUTED, linewidth=0.8, linestyle=":")
        if groups and at - marks[groups[-1][0] - 1] < 0.06 * end:
            groups[-1].append(number)
        else:
            groups.append([number])
    for group in groups:
        at = (marks[group[0] - 1] + marks[group[-1] - 1]) / 2
        text = str(group[0]) if len(group) == 1 else f"{group[0]}\N{EN DASH}{group[-1]}"
        note_above(panels[0], text, at, 4)


def crossing(evidence: Evidence) -> str | None:
    """Share of the dataset's rows in each pair of scenario and category."""
    if not evidence.crossing:
        return None
    total = sum(evidence.crossing.values())
    scenarios = sorted({scenario for scenario, _ in evidence.crossing})
    categories = sorted({category for _, category in evidence.crossing})
    most = max(evidence.crossing.values())
    with drawing(0.7 + 0.34 * (len(categories) + 1)) as (figure, (panel,)):
        panel.grid(visible=False)
        panel.spines[:].set_visible(False)
        for row, category in enumerate(categories):
            for column, scenario in enumerate(scenarios):
                count = evidence.crossing.get((scenario, category), 0)
                # At most 45 %, so that the page's ink on it keeps its contrast.
                panel.add_patch(
                    Rectangle(
                        (column - 0.47, row - 0.44), 0.94, 0.88, facecolor=SERIES[0], alpha=0.45 * count / most, linewidth=0
                    )
                )
                panel.text(column, row, percent_text(count / total), ha="center", va="center", color=INK if count else MUTED)
            _total(panel, evidence, total, category=category, at=(len(scenarios), row))
        for column, scenario in enumerate(scenarios):
            _total(panel, evidence, total, scenario=scenario, at=(column, len(categories)))
        panel.set_xticks(range(len(scenarios) + 1), [*map(name_text, scenarios), "all"])
        panel.set_yticks(range(len(categories) + 1), [*map(name_text, categories), "all"])
        panel.xaxis.tick_top()
        panel.set_xlim(-0.5, len(scenarios) + 0.5)
        panel.set_ylim(len(categories) + 0.5, -0.5)
        return to_svg(figure, "crossing", f"{total} rows of the dataset by scenario ({', '.join(scenarios)}) and category.")


def _total(
    panel: Axes, evidence: Evidence, total: int, *, at: tuple[float, float], scenario: str = "", category: str = ""
) -> None:
    count = sum(number for key, number in evidence.crossing.items() if scenario in ("", key[0]) and category in ("", key[1]))
    panel.text(*at, percent_text(count / total), ha="center", va="center", color=MUTED)


def composition(evidence: Evidence) -> str | None:
    """Shares of the dataset's rows by difficulty, split and augmentation; by scenario and category too without `crossing`."""
    columns = ("difficulty", "split", "augmentation") if evidence.crossing else tuple(evidence.rows)
    bars: list[tuple[str, float | None]] = []
    for column in columns:
        shares = evidence.rows.get(column) or {}
        bars += [(column, None)] if shares else []
        bars += [(name_text(name), share) for name, share in shares.items()]
    if not bars:
        return None
    with drawing(0.5 + 0.22 * len(bars)) as (figure, (panel,)):
        panel.grid(visible=False)
        panel.spines["bottom"].set_visible(False)
        for row, (_, share) in enumerate(bars):
            if share is not None:
                panel.barh(row, share, height=0.72, color=SERIES[0], alpha=0.55, linewidth=0)
                panel.annotate(
                    percent_text(share), (share, row), xytext=(4, 0), textcoords="offset points", va="center", fontsize=SMALL
                )
        panel.set_yticks(range(len(bars)), [name for name, _ in bars])
        for tick, (_, share) in zip(panel.get_yticklabels(), bars, strict=True):
            tick.set_color(MUTED if share is None else INK)
        panel.set_xticks([])
        panel.set_xlim(0, 1.18 * max(share for _, share in bars if share is not None))
        panel.set_ylim(len(bars) - 0.4, -0.6)
        return to_svg(figure, "composition", f"Shares of the dataset's rows by {', '.join(columns)}.")


def _plain_log_ticks(panel: Axes, values: Sequence[float]) -> None:
    """Tick labels such as 0.1 and 5 on a logarithmic axis, without exponents."""
    known = [value for value in values if value > 0 and math.isfinite(value)]
    if known:
        low, high = math.floor(math.log10(min(known))), math.ceil(math.log10(max(known)))
        ticks = [10.0**power for power in range(low, high + 1)]
        panel.set_yticks(ticks, [f"{tick:g}" for tick in ticks])
        panel.set_ylim(min(known) / 1.3, max(known) * 1.3)


def _running_mean(values: Sequence[float]) -> list[float]:
    """Mean of each value and those before it, over a fortieth of the series."""
    width = max(1, len(values) // 40)
    return [statistics.fmean(values[max(0, end - width) : end]) for end in range(1, len(values) + 1)]
