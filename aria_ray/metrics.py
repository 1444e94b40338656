"""Every figure of the report, one row each: the only place that knows its name, unit, meaning, target and weight.

To add a figure, add a row. The report, the verdict, the comparison of runs and the page `docs/metrics.md` follow from the
rows; how a figure is taken from the results is a function of `measured`. `python -m aria_ray.metrics` prints that page.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from aria_ray import measured
from aria_ray.config.schema import RunConfig, TargetsConfig
from aria_ray.measured import Measured
from aria_ray.results import Estimate, Gains, Quality, RequestQuality, Results, YourRequests

Unit = Literal["share", "ratio", "ms", "tokens/s", "1/s", "GiB", "turns"]
CriterionName = Literal["condition", "inference", "training", "memory", "hardware", "stability"]
"""What a figure decides: a condition of the verdict, or one of its weighted criteria (`report.verdict`)."""


@dataclass(frozen=True)
class Figure:
    """One row: one figure."""

    name: str
    unit: Unit
    what: str
    """What it is, for people."""
    take: measured.Take
    """How it is taken from the results of a run."""
    target: Callable[[TargetsConfig], float | None] = lambda _targets: None
    better: Literal["higher", "lower"] = "higher"
    criterion: CriterionName | None = None
    needs_interval: bool = False
    """Whether it is an estimate that can fail its target without an interval, and not meet it."""
    instead_of: str | None = None
    """Condition in whose place this one stands where it was measured."""


@dataclass(frozen=True)
class Family:
    """One row for figures of which only a run tells how many there are, such as one for each category."""

    prefix: str
    """How their names begin."""
    unit: Unit
    what: str
    take: measured.TakeMany
    """The figures by the rest of their names."""


def measured_figures(config: RunConfig, results: Results) -> Iterator[tuple[Figure, Measured]]:
    """Every figure of a run in the report's order. One that was not measured has a value of None."""
    for row in ROWS:
        if isinstance(row, Figure):
            yield row, row.take(config, results)
        else:
            for rest, figure in row.take(config, results).items():
                yield Figure(f"{row.prefix}{rest}", row.unit, row.what, lambda _config, _results: measured.UNMEASURED), figure


def is_lower_better(name: str) -> bool:
    """Whether a smaller value of the figure of that name is the better one."""
    return any(figure.name == name and figure.better == "lower" for figure in FIGURES)


def deciding(criterion: CriterionName) -> tuple[str, ...]:
    """Names of the figures that decide a criterion, in the report's order."""
    return tuple(figure.name for figure in FIGURES if figure.criterion == criterion)


_SHARES: Mapping[str, tuple[str, Callable[[Quality], Estimate | None]]] = {
    "accuracy": ("conversations whose calls and answer are right", lambda quality: quality.accuracy),
    "tool_compliance": (
        "conversations whose calls all name a listed tool, fit its schema, and are made only where one is needed",
        lambda quality: quality.tool_compliance,
    ),
    "tool_selection": (
        "conversations that need calls in which the right tools are called",
        lambda quality: quality.tool_selection,
    ),
    "irrelevance": ("conversations that need no tool in which none is called", lambda quality: quality.irrelevance),
}
"""Shares that the base model is measured by too."""
_OURS_ONLY: Mapping[str, tuple[str, Callable[[Quality], Estimate | None]]] = {
    "tool_selection": _SHARES["tool_selection"],
    "argument_match": (
        "conversations with the right tools in which the arguments are right",
        lambda quality: quality.argument_match,
    ),
    "schema_validity": ("calls whose arguments fit the tool's schema", lambda quality: quality.schema_validity),
    "thinking_prefix": ("assistant turns that open with a thought in the fixed shape", lambda quality: quality.thinking_prefix),
    "irrelevance": _SHARES["irrelevance"],
    "missing_value": ("conversations that lack a value in which the model asks for it", lambda quality: quality.missing_value),
}
_OF_REQUESTS: Mapping[str, tuple[str, Callable[[RequestQuality], Estimate | None]]] = {
    "accuracy": (
        "requests for which the right calls are made, and none where none is wanted",
        lambda quality: quality.accuracy,
    ),
    "calls": ("requests that want a call for which the right calls are made", lambda quality: quality.calls),
    "refusals": ("requests that want no call for which none is made", lambda quality: quality.refusals),
}
"""Shares of requests in people's words by which the base model and the keyword baseline are measured too."""
_GAINS: Mapping[str, Callable[[Gains], Estimate | None]] = {
    "accuracy": lambda gains: gains.accuracy,
    "tool_compliance": lambda gains: gains.tool_compliance,
    "tool_selection": lambda gains: gains.tool_selection,
    "irrelevance": lambda gains: gains.irrelevance,
}

_CONTROLS: tuple[tuple[str, str, tuple[str, ...], Callable[[YourRequests], RequestQuality | None], str], ...] = (
    ("base", "Base model, in people's words", tuple(_OF_REQUESTS), lambda requests: requests.base, ""),
    (
        "keywords",
        "Keyword baseline, in people's words",
        tuple(_OF_REQUESTS),
        lambda requests: requests.keywords,
        "BM25 over names and descriptions, values by rules",
    ),
    ("declining", "Never a call, in people's words", ("accuracy",), lambda requests: requests.declining, "no call at all"),
)
"""What the model is measured beside: ending of the figures, whose they are, which figures, where they are, how."""
YOUR_REQUESTS: tuple[Figure | Family, ...] = (
    Figure(
        "accuracy_your_requests",
        "share",
        f"In people's words, never trained on: share of {_OF_REQUESTS['accuracy'][0]}. The headline.",
        measured.request_share_by(lambda requests: requests.ours, lambda quality: quality.accuracy),
        target=lambda targets: targets.accuracy,
        criterion="condition",
        instead_of="accuracy",
    ),
    Figure(
        "tool_compliance_your_requests",
        "share",
        "In people's words: share of requests whose calls all name a listed tool, fit its schema, and are made only where one "
        "is wanted.",
        measured.request_share_by(lambda requests: requests.ours, lambda quality: quality.tool_compliance),
        target=lambda targets: targets.tool_compliance,
        criterion="condition",
        instead_of="tool_compliance",
    ),
    *(
        Figure(
            f"{name}_your_requests",
            "share",
            f"In people's words: share of {what}.",
            measured.request_share_by(lambda requests: requests.ours, pick),
        )
        for name, (what, pick) in {
            "calls": _OF_REQUESTS["calls"],
            "refusals": _OF_REQUESTS["refusals"],
            "tool_selection": (
                "requests that want a call in which the right tools are called",
                lambda each: each.tool_selection,
            ),
            "questions": (
                "requests that lack a value in which the answer names its parameter or asks a question",
                lambda each: each.questions,
            ),
        }.items()
    ),
    *(
        Figure(
            f"{name}_your_requests_{control}",
            "share",
            f"{whose}: share of {_OF_REQUESTS[name][0]}.",
            measured.request_share_by(model, _OF_REQUESTS[name][1], how),
        )
        for control, whose, names, model, how in _CONTROLS
        for name in names
    ),
    *(
        Figure(
            f"accuracy_your_requests_over_{control}",
            "share",
            f"`accuracy_your_requests` less that of {other}, over the same requests.",
            measured.request_gain_by(pick, other),
        )
        for control, other, pick in (
            ("base", "the base model", lambda requests: requests.over_base),
            ("keywords", "the keyword baseline", lambda requests: requests.over_keywords),
            ("declining", "always declining", lambda requests: requests.over_declining),
        )
    ),
)
QUALITY: tuple[Figure | Family, ...] = (
    Figure(
        "accuracy",
        "share",
        f"Share of {_SHARES['accuracy'][0]}.",
        measured.share_by(lambda result: result.quality, lambda quality: quality.accuracy, says_strict=True),
        target=lambda targets: targets.accuracy,
        criterion="condition",
    ),
    Figure(
        "tool_compliance",
        "share",
        f"Share of {_SHARES['tool_compliance'][0]}.",
        measured.share_by(lambda result: result.quality, lambda quality: quality.tool_compliance, says_strict=True),
        target=lambda targets: targets.tool_compliance,
        criterion="condition",
    ),
    *(
        Figure(name, "share", f"Share of {what}.", measured.share_by(lambda result: result.quality, pick))
        for name, (what, pick) in _OURS_ONLY.items()
    ),
    *(
        Figure(
            f"{name}_base",
            "share",
            f"Base model: share of {what}.",
            measured.share_by(lambda result: result.quality_base, pick, says_strict=True),
        )
        for name, (what, pick) in _SHARES.items()
    ),
    *(
        Figure(
            f"{name}_over_base", "share", f"`{name}` less that of the base model, over the same cases.", measured.gain_by(pick)
        )
        for name, pick in _GAINS.items()
    ),
    *(
        Figure(
            f"{name}_unseen_tools",
            "share",
            f"Tools never trained on: share of {_SHARES[name][0]}.",
            measured.share_by(lambda result: result.quality_unseen, _SHARES[name][1], says_strict=True),
        )
        for name in ("accuracy", "tool_compliance")
    ),
    Family("category_", "share", "`accuracy` by category.", measured.shares_by_group(lambda quality: quality.by_category)),
    Family(
        "difficulty_",
        "share",
        "`accuracy` by difficulty, 1 to 4.",
        measured.shares_by_group(lambda quality: quality.by_difficulty),
    ),
    Family("scenario_", "share", "`accuracy` by scenario.", measured.shares_by_group(lambda quality: quality.by_scenario)),
    Family(
        "bfcl_",
        "share",
        "Questions of the Berkeley leaderboard that are answered right, by category; with `_base` those of the base model.",
        lambda _config, results: {
            f"{name}{suffix}": measured.share_of(each, None)
            for suffix, shares in (("", measured.validation(results).bfcl), ("_base", measured.validation(results).bfcl_base))
            for name, each in shares.items()
        },
    ),
)
SPEED: tuple[Figure | Family, ...] = (
    Figure(
        "output_tokens_per_s",
        "tokens/s",
        "Output tokens per second of `validation.concurrency` streams together.",
        measured.output_rate,
        target=lambda targets: targets.output_tokens_per_s,
        criterion="inference",
        needs_interval=True,
    ),
    Figure(
        "output_roofline_share",
        "share",
        "`output_tokens_per_s` divided by the upper bound that this machine's measured peaks allow.",
        measured.output_roofline_share,
        target=lambda targets: targets.output_roofline_share,
        criterion="inference",
        needs_interval=True,
    ),
    Figure(
        "single_stream_tokens_per_s",
        "tokens/s",
        "Output tokens per second of one request at a time.",
        measured.speed_by(lambda speed: one.output_tokens_per_s if (one := speed.level(1)) else None, ""),
    ),
    Figure(
        "ttft_ms",
        "ms",
        "Time from a request to its first token.",
        lambda _config, results: measured.time_of(
            measured.speed(results).level(1), lambda load: load.ttft_ms, "median, one stream"
        ),
        better="lower",
    ),
    Figure(
        "ttft_p95_ms",
        "ms",
        "Time to the first token that 95 % of requests stay below, under the concurrent load.",
        lambda config, results: measured.time_of(
            measured.concurrent_load(results, config),
            lambda load: load.ttft_ms,
            f"95 % of requests, {config.validation.concurrency} streams",
            p95=True,
        ),
        better="lower",
    ),
    Figure(
        "ttft_cold_ms",
        "ms",
        "Time to the first token of a prompt that the prefix cache does not know.",
        lambda _config, results: measured.time_of(
            measured.speed(results).cold, lambda load: load.ttft_ms, "median, nothing of the prompt cached"
        ),
        better="lower",
    ),
    Figure(
        "ttft_warm_ms",
        "ms",
        "Time to the first token of a prompt that the prefix cache knows whole.",
        lambda _config, results: measured.time_of(
            measured.speed(results).warm, lambda load: load.ttft_ms, "median, the whole prompt cached"
        ),
        better="lower",
    ),
    Figure(
        "tpot_ms",
        "ms",
        "Time per output token after the first chunk, under the concurrent load.",
        lambda config, results: measured.time_of(
            measured.concurrent_load(results, config),
            lambda load: load.tpot_ms,
            f"median, {config.validation.concurrency} streams",
        ),
        better="lower",
    ),
    Figure(
        "e2e_p95_ms",
        "ms",
        "Time to the end of the answer that 95 % of requests stay below, under the concurrent load.",
        lambda config, results: measured.time_of(
            measured.concurrent_load(results, config),
            lambda load: load.e2e_ms,
            f"95 % of requests, {config.validation.concurrency} streams",
            p95=True,
        ),
        better="lower",
    ),
    Figure(
        "first_tool_call_ms",
        "ms",
        "Time to the first whole tool call.",
        lambda _config, results: measured.time_of(
            measured.speed(results).tool_calls, lambda load: load.first_call_ms, "median, one stream"
        ),
        better="lower",
    ),
    Figure("goodput_per_s", "1/s", "Requests per second that keep every objective, of Poisson arrivals.", measured.goodput),
    Figure(
        "client_cpu_share",
        "share",
        "Share of one core that the busiest client process takes; above 0.8 its figures are refused.",
        lambda config, results: Measured(
            load.client_cpu_share if (load := measured.concurrent_load(results, config)) else None,
            detail="busiest client process, of one core",
        ),
        better="lower",
    ),
    Figure(
        "serving_cpu_share",
        "share",
        "Busy share of all cores under load.",
        measured.speed_by(lambda speed: speed.cpu_share, "busy share of all cores under load"),
    ),
    Figure(
        "serving_gpu_share",
        "share",
        "Share of time in which the GPUs run anything, under load.",
        measured.speed_by(lambda speed: speed.gpu_share, f"{measured.BUSY_GPU}, mean of all GPUs under load"),
    ),
)
STABILITY: tuple[Figure | Family, ...] = (
    Figure(
        "stability_cv",
        "ratio",
        "Coefficient of variation of throughput over the windows of the sustained load.",
        measured.stability_by(lambda stability: (stability.cv, stability.cv_interval)),
        target=lambda targets: targets.stability_cv,
        better="lower",
        criterion="stability",
        needs_interval=True,
    ),
    Figure(
        "stability_drift",
        "share",
        "Rise of throughput over the sustained load, divided by its mean; negative where it falls.",
        measured.stability_by(
            lambda stability: (stability.drift_share, stability.drift_interval), "rise of throughput, by its mean"
        ),
        target=lambda targets: targets.stability_drift,
        criterion="stability",
        needs_interval=True,
    ),
    Figure(
        "memory_growth",
        "share",
        "Rise of the serving processes' memory over the sustained load, divided by its mean.",
        measured.stability_by(
            lambda stability: (stability.memory_growth_share, stability.memory_growth_interval),
            "of the run's processes, the engine's among them",
        ),
        target=lambda targets: targets.memory_growth,
        better="lower",
        criterion="stability",
        needs_interval=True,
    ),
    Figure(
        "failed_requests",
        "share",
        "Share of the sustained load's requests that failed.",
        measured.failed_requests,
        target=lambda _targets: 0.0,
        better="lower",
        criterion="stability",
    ),
)
TRAINING: tuple[Figure | Family, ...] = (
    Figure(
        "train_step_ms",
        "ms",
        "Time of an optimizer step.",
        measured.step_time,
        target=lambda targets: targets.train_step_ms,
        better="lower",
        criterion="training",
        needs_interval=True,
    ),
    Figure(
        "train_step_p95_ms", "ms", "Time that 95 % of the optimizer steps stay below.", measured.step_time_p95, better="lower"
    ),
    Figure(
        "train_flop_utilization",
        "share",
        "Operations that training needs, divided by those that matrix products alone would have done in the same time.",
        measured.flop_utilization,
        target=lambda targets: targets.train_flop_utilization,
        criterion="training",
    ),
    Figure("train_tokens_per_s", "tokens/s", "Packed tokens per second of the optimizer steps.", measured.tokens_rate),
    Figure(
        "turns_too_long",
        "turns",
        "Turns that are not trained on, or judged in training, for taking more than `training.max_tokens`.",
        measured.training_by(lambda training: training.dropped_too_long, "left out of training"),
        better="lower",
    ),
    Figure(
        "compute_utilization",
        "share",
        "Busy share of the cores, or of the GPUs, that train.",
        measured.busy_share,
        target=lambda targets: targets.compute_utilization,
        criterion="hardware",
    ),
    Figure(
        "memory_reduction",
        "share",
        "Share of full fine-tuning's peak memory that LoRA does without.",
        measured.training_by(lambda training: training.memory_reduction, "against full fine-tuning"),
        target=lambda targets: targets.memory_reduction,
        criterion="memory",
    ),
)
MEMORY: tuple[Figure | Family, ...] = (
    Figure(
        "training_peak_memory_gib",
        "GiB",
        "Largest memory of the first training worker.",
        measured.training_by(lambda training: training.peak_memory_gib, "first worker"),
        better="lower",
    ),
    Figure(
        "training_peak_gpu_memory_gib",
        "GiB",
        "Most memory taken on one GPU during training.",
        measured.training_by(lambda training: training.peak_gpu_memory_gib, "fullest GPU, by any program"),
        better="lower",
    ),
    Figure(
        "full_finetuning_peak_memory_gib",
        "GiB",
        "Largest memory of full fine-tuning on the same rows.",
        measured.training_by(lambda training: training.full_finetuning_peak_gib, "baseline, really run"),
        better="lower",
    ),
    Figure(
        "serving_peak_memory_gib",
        "GiB",
        "Most memory that the run's processes take together under load.",
        measured.speed_by(lambda speed: speed.peak_memory_gib, "all processes, Ray included"),
        better="lower",
    ),
    Figure(
        "serving_peak_gpu_memory_gib",
        "GiB",
        "Most memory taken on one GPU under load.",
        measured.speed_by(lambda speed: speed.peak_gpu_memory_gib, "fullest GPU, by any program"),
        better="lower",
    ),
)
ROWS: tuple[Figure | Family, ...] = (*YOUR_REQUESTS, *QUALITY, *SPEED, *STABILITY, *TRAINING, *MEMORY)
FIGURES: tuple[Figure, ...] = tuple(row for row in ROWS if isinstance(row, Figure))


def page() -> str:
    """The table of all figures as Markdown: the content of `docs/metrics.md`."""
    lines = [
        "# Figures of the report",
        "",
        "Every figure that a report can have, by its name in `report.json`. Shares are fractions, 0 to 1. What was not",
        "measured is `unmeasured`, which never counts as met. The targets are settings of the section `validation.targets`.",
        "",
        "| figure | unit | what it is | better | decides |",
        "|---|---|---|---|---|",
    ]
    for row in ROWS:
        if isinstance(row, Family):
            lines.append(f"| `{row.prefix}...` | {row.unit} | {row.what} | | |")
        else:
            lines.append(f"| `{row.name}` | {row.unit} | {row.what} | {row.better} | {row.criterion or ''} |")
    return "\n".join([*lines, ""])


if __name__ == "__main__":
    print(page(), end="")  # noqa: T201 - printing the page is what the command is for
