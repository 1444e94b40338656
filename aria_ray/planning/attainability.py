"""Which targets of a recipe the hardware can meet: the share of the bound that each needs, beside the share reached so far."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Literal

from aria_ray.machine.roofline import PLAIN, Precision, Speculation, replicas_for
from aria_ray.planning.estimates import NGRAM, RecipeOnHardware, TrainingEstimate, rounded, training_estimate
from aria_ray.planning.memory import Memory

Attainability = Literal[
    "attainable", "above reference speeds", "unknown", "out of reach", "does not fit", "not estimated", "unmeasured"
]


@dataclass(frozen=True)
class TargetAttainability:
    """One target, and whether the hardware can meet it."""

    name: str
    target: float
    bound: float | None
    """Bound in the target's unit; None where there is none."""
    needed_share: float | None
    """Share of the bound that the target needs."""
    achieved_share: float | None
    """Share of its bound that a published or measured run of the same kind of work reached."""
    verdict: Attainability
    why: str
    way: str
    """What would make the target attainable; empty where it is."""


@dataclass(frozen=True)
class ServingOption:
    """One way to serve, with its bound for one stream."""

    precision: Precision
    speculation: Speculation
    bound_tokens_per_s: float
    achieved_share: float | None

    @property
    def name(self) -> str:
        """Name for people: `bf16`, `fp8 + n-gram`."""
        return self.precision.name + ("" if self.speculation == PLAIN else " + n-gram")


def serving_options(setup: RecipeOnHardware) -> list[ServingOption]:
    """The options that fit into memory, from the smallest change to the largest.

    The order is: no change; speculation, which keeps the answers; FP8, which may change them; both.
    """
    fitting = [(precision, setup.reference(precision)) for precision in setup.precisions if setup.most_streams(precision)]
    return [
        ServingOption(
            precision,
            speculation,
            setup.bounds(precision, 1, speculation).tokens_per_s,
            reference.share if reference else None,
        )
        for precision, reference in fitting
        for speculation in (PLAIN, NGRAM)
    ]


def attainability(needed_share: float, achieved_share: float | None) -> Attainability:
    """Whether a share of the bound can be had.

    More than the whole bound is out of reach, and no more than what a reference reached is attainable. Nobody knows about what
    lies between.
    """
    if needed_share > 1:
        return "out of reach"
    if achieved_share is None:
        return "unknown"
    return "attainable" if needed_share <= achieved_share else "above reference speeds"


def target_attainability(
    setup: RecipeOnHardware, training: TrainingEstimate | None, memory: Mapping[str, Memory]
) -> list[TargetAttainability]:
    """One row for each target that the recipe sets, and a second for its speed, read as that of one stream.

    `training` is None where training does not fit into memory.
    """
    targets = setup.config.validation.targets
    rows = []
    if (speed := targets.output_tokens_per_s) is not None:
        rows += [_concurrent(setup, speed)] if setup.config.validation.concurrency > 1 else []
        rows.append(_single_stream(setup, speed))
    if targets.output_roofline_share is not None:
        fits = setup.most_streams(setup.base) > 0
        of = "the bound without context, as in the report"
        rows.append(_share(setup, "output_roofline_share", targets.output_roofline_share, setup.base, of, fits=fits))
    if targets.train_step_ms is not None:
        rows.append(_train_step(setup, targets.train_step_ms, training))
    if targets.train_flop_utilization is not None:
        target, of, fits = targets.train_flop_utilization, "the peak of matrix products", training is not None
        rows.append(_share(setup, "train_flop_utilization", target, None, of, fits=fits))
    rows.append(_memory_reduction(setup, targets.memory_reduction, memory))
    busy = "the share of time that the units are busy is measured during the run; no peak limits it"
    rows.append(
        TargetAttainability("compute_utilization", targets.compute_utilization, None, None, None, "not estimated", busy, "")
    )
    return rows


def _concurrent(setup: RecipeOnHardware, target: float) -> TargetAttainability:
    requested, most = setup.config.validation.concurrency, setup.most_streams(setup.base)
    name, streams = f"output_tokens_per_s, {requested} streams", min(requested, most)
    if not streams:
        return _does_not_fit(setup, name, target)
    bounds, reference = setup.bounds(setup.base, streams), setup.reference(setup.base)
    share, bound = reference.share if reference else None, bounds.tokens_per_s
    verdict = attainability(target / bound, share)
    counted = f"{streams} streams" if streams == requested else f"{streams} of {requested} streams fit at a time"
    why = f"{counted} on one replica in {setup.base.name}, bound {rounded(bound)} tokens/s"
    way = ""
    if verdict in ("out of reach", "above reference speeds"):
        way = f"{replicas_for(target, bound, achieved_share=share or 1)} replicas"
        way += ", or more streams" if bounds.bound_by == "memory" and streams < most else ""
    return TargetAttainability(name, target, bound, target / bound, share, verdict, why, way)


def _single_stream(setup: RecipeOnHardware, target: float) -> TargetAttainability:
    name, options = "output_tokens_per_s, one stream", serving_options(setup)
    if not setup.most_streams(setup.base):
        return _does_not_fit(setup, name, target)
    base, *others = options
    needed = target / base.bound_tokens_per_s
    verdict = attainability(needed, base.achieved_share)
    why = f"one stream in {base.name}, bound {rounded(base.bound_tokens_per_s)} tokens/s"
    shares = [f"{target / option.bound_tokens_per_s:.0%} with {option.name}" for option in others]
    way = "" if verdict == "attainable" else f"it needs {', '.join(shares)}"
    return TargetAttainability(name, target, base.bound_tokens_per_s, needed, base.achieved_share, verdict, why, way)


def _does_not_fit(setup: RecipeOnHardware, name: str, target: float) -> TargetAttainability:
    others = sorted({option.precision.name for option in serving_options(setup)})
    why, way = f"one engine in {setup.base.name} has no memory for one stream", " or ".join([*others, "larger memory"])
    return TargetAttainability(name, target, None, None, None, "does not fit", why, way)


def _share(
    setup: RecipeOnHardware, name: str, target: float, precision: Precision | None, of: str, *, fits: bool
) -> TargetAttainability:
    """A target that is itself a share of a bound that the run measures on the processor."""
    if setup.on_gpu:
        return TargetAttainability(name, target, None, None, None, "unmeasured", "no run measures the peaks of a GPU", "")
    if not fits:
        return TargetAttainability(name, target, None, None, None, "does not fit", "see the memory table", "")
    reference = setup.reference(precision)
    share = reference.share if reference else None
    verdict = attainability(target, share)
    way = "" if verdict == "attainable" else "software faster than the reference"
    return TargetAttainability(name, target, 1.0, target, share, verdict, f"share of {of}", way)


def _train_step(setup: RecipeOnHardware, target_ms: float, training: TrainingEstimate | None) -> TargetAttainability:
    if training is None:
        return TargetAttainability("train_step_ms", target_ms, None, None, None, "does not fit", "see the memory table", "")
    needed, share = training.bound_ms / target_ms, training.achieved_share
    verdict = attainability(needed, share)
    why = f"{training.tokens_per_worker:,} tokens per worker take {rounded(training.bound_ms)} ms at the peak"
    why += f", {rounded(training.estimated_ms)} ms by the estimate" if training.estimated_ms else ""
    way = ""
    if verdict in ("out of reach", "above reference speeds") and share is not None:
        ways = list(_shorter_steps(setup, target_ms, int(training.tokens_per_worker * share / needed)))
        way = f"attainable with {', or '.join(ways)} (longer examples are dropped)" if ways else "other hardware"
    return TargetAttainability("train_step_ms", target_ms, training.bound_ms, needed, share, verdict, why, way)


def _shorter_steps(setup: RecipeOnHardware, target_ms: float, tokens: int) -> Iterator[str]:
    """Overrides of the recipe that leave each worker `tokens` per step, those alone that make the target attainable."""
    now = setup.config.training
    if not tokens:
        return
    workers = -(-now.tokens_per_step // tokens)
    changes = [{"tokens_per_step": now.num_workers * tokens, "max_tokens": min(now.max_tokens, tokens)}]
    if setup.on_gpu and now.tokens_per_step >= workers:  # workers on a processor share it, so more of them bring nothing
        changes.append({"num_workers": workers, "max_tokens": min(now.max_tokens, now.tokens_per_step // workers)})
    for change in changes:
        config = setup.config.model_copy(update={"training": now.model_copy(update=change)})
        shorter = training_estimate(replace(setup, config=config))
        if attainability(shorter.bound_ms / target_ms, shorter.achieved_share) == "attainable":
            yield " ".join(f"training.{name}={value}" for name, value in change.items())


def _memory_reduction(setup: RecipeOnHardware, target: float, memory: Mapping[str, Memory]) -> TargetAttainability:
    baseline_bytes, baseline = memory["full AdamW"].total_bytes, "full AdamW"
    if setup.base.name == "bf16":  # the project's own baseline has no second copy of the weights
        baseline_bytes -= 8 * setup.model.num_parameters
        baseline = "full AdamW with everything in bfloat16"
    reduction = 1 - memory["LoRA"].total_bytes / baseline_bytes
    why = f"the planned parts take {reduction:.0%} less than {baseline}"
    verdict: Attainability = "attainable" if reduction >= target else "out of reach"
    if setup.on_gpu:
        verdict, why = "unmeasured", f"runs on GPUs do not measure it, so it is never met; {why}"
    else:
        why += "; both also hold libraries, which makes the measured reduction smaller"
    return TargetAttainability("memory_reduction", target, reduction, None, None, verdict, why, "")
