"""A plan as one page of text (`aria plan`)."""

import io
import textwrap

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from aria_ray.planning.estimates import DecodingEstimate, rounded
from aria_ray.planning.plan import Plan

WIDTH = 128


def render_plan(plan: Plan) -> str:
    """The page, at most `WIDTH` characters wide, without colours: it reads the same in a terminal, a file and a ticket."""
    page = io.StringIO()
    console = Console(file=page, width=WIDTH, highlight=False, markup=False, emoji=False)
    peaks = ", ".join(f"{name} {rounded(tflops)}" for name, tflops in plan.peak_tflops.items())
    watts = f", {plan.tdp_w:g} W" if plan.tdp_w else ""
    many = f"{plan.num_devices} x " if plan.num_devices > 1 else ""
    each = "each " if plan.num_devices > 1 else ""
    memory = f"{plan.memory_gb:.0f} GB at {plan.memory_tb_per_s:.3g} TB/s"
    console.print(f"Plan of {plan.recipe}: {plan.model}, {plan.num_parameters / 1e9:.3g} billion parameters, {plan.dtype}")
    console.print(f"{many}{plan.hardware}, {each}{memory}{watts}; peak TFLOP/s: {peaks}")
    for title, table in (_memory(plan), _training(plan), _decoding(plan), _load(plan), _targets(plan)):
        console.print(title)
        console.print(table)
    for title, lines in (
        ("Recommended", plan.recommendations),
        ("Assumed", plan.assumptions),
        ("Unmeasured", plan.unmeasured),
    ):
        console.print(f"{title}:")
        for line in lines:
            console.print(textwrap.fill(line, WIDTH - 1, initial_indent="  - ", subsequent_indent="    "))
    return "\n".join(line.rstrip() for line in page.getvalue().splitlines())


def _table(*columns: str) -> Table:
    table = Table(header_style="", box=SIMPLE_HEAD, pad_edge=False)
    for index, column in enumerate(columns):
        table.add_column(column, justify="left" if index == 0 else "right")
    return table


def _memory(plan: Plan) -> tuple[str, Table]:
    table = _table("", "parts", "sum", "available", "")
    table.columns[1].justify = "left"
    named = [(f"train, {name}", fit) for name, fit in plan.training_memory.items()]
    for name, fit in [*named, *((f"serve, {name}", fit) for name, fit in plan.serving_memory.items())]:
        parts = ", ".join(f"{part} {rounded(gib)}" for part, gib in fit.part_gib.items())
        rest = fit.capacity_gib - fit.total_gib
        result = f"fits, {rest:,.0f} free" if fit.fits else f"does not fit, {-rest:,.0f} missing"
        table.add_row(name, parts, rounded(fit.total_gib), f"{fit.capacity_gib:,.0f}", result)
    return "Memory per device, GiB", table


def _training(plan: Plan) -> tuple[str, Table | str]:
    training = plan.training
    if training is None:
        return "Training: does not fit into memory, so there is no speed", ""
    each = f" on each of {training.num_workers} workers" if training.num_workers > 1 else ""
    title = f"Training: {training.num_steps} steps of {training.tokens_per_worker:,} tokens{each}"
    table = _table("", "ms per step", "tokens/s", "minutes", "")
    table.columns[4].justify = "left"
    reference = "no reference for this work"
    if training.achieved_share is not None:
        reference = f"{training.achieved_share:.0%} of the bound, reached by {training.achieved_by}"
    work = f"limited by {training.bound_by}: {training.flops_per_worker / 1e12:.3g} TFLOP per worker"
    for name, step_ms, rate, hours, note in (
        ("bound", training.bound_ms, training.bound_tokens_per_s, training.bound_hours, work),
        ("estimate", training.estimated_ms, training.estimated_tokens_per_s, training.estimated_hours, reference),
    ):
        table.add_row(name, _known(step_ms), _known(rate), _known(None if hours is None else hours * 60), note)
    return title, table


def _decoding(plan: Plan) -> tuple[str, Table]:
    streams = sorted({row.streams for row in plan.decoding})
    title = "Decoding, output tokens/s per replica: bound (estimate), limited by m = memory or a = arithmetic"
    table = _table(
        "",
        *(f"{each} stream{'s' if each > 1 else ''}" for each in streams),
        "estimate/bound",
    )
    for precision, speculation in dict.fromkeys((row.precision, row.speculation) for row in plan.decoding):
        rows = [row for row in plan.decoding if (row.precision, row.speculation) == (precision, speculation)]
        name = precision if speculation == "none" else f"{precision} + {speculation}"
        share = rows[0].achieved_share
        table.add_row(name, *map(_rate, rows), "unknown" if share is None else f"{share:.0%}")
    return title, table


def _rate(row: DecodingEstimate) -> str:
    if row.bound_tokens_per_s is None or row.bound_by is None:
        return "does not fit"
    estimate = "" if row.estimated_tokens_per_s is None else f" ({rounded(row.estimated_tokens_per_s)})"
    fitting = "" if row.fitting_streams == row.streams else f", {row.fitting_streams} fit"
    return f"{rounded(row.bound_tokens_per_s)}{estimate} {row.bound_by[0]}{fitting}"


def _load(plan: Plan) -> tuple[str, Table]:
    first = plan.load[0]
    lengths = f"{first.prompt_tokens:,} prompt tokens and {first.output_tokens} output tokens"
    title = f"Replicas for {first.requests_per_s:g} requests/s of {lengths}: bounds, and the estimated number of replicas"
    table = _table("", "streams per replica", "requests/s per replica", "ms per prompt", "replicas", "replicas, estimate")
    for row in plan.load:
        if row.replica_bound_per_s is None:
            table.add_row(row.precision, "does not fit")
            continue
        table.add_row(
            row.precision,
            str(row.streams),
            rounded(row.replica_bound_per_s),
            _known(row.prefill_bound_ms),
            f"{row.replicas_at_bound:,}",
            "unknown" if row.replicas_estimated is None else f"{row.replicas_estimated:,}",
        )
    return title, table


def _targets(plan: Plan) -> tuple[str, Table]:
    table = _table("", "target", "bound", "needed", "reached", "")
    table.columns[5].justify = "left"
    for row in plan.targets:
        result = f"{row.verdict}: {row.why}" + (f"; {row.way}" if row.way else "")
        table.add_row(
            row.name, f"{row.target:g}", _known(row.bound), _percent(row.needed_share), _percent(row.achieved_share), result
        )
    return "Targets; share of the bound that each needs, and that the reference reached", table


def _known(value: float | None) -> str:
    return "" if value is None else rounded(value)


def _percent(value: float | None) -> str:
    return "" if value is None else f"{value:.0%}"
