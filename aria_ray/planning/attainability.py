"""Which targets of a recipe given hardware can meet: the share of the bound that each needs, beside what was reached."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Literal

from aria_ray.machine.roofline import PLAIN, Precision, Speculation, replicas_for
from aria_ray.planning.estimates import NGRAM, RecipeOnHardware, TrainingEstimate, rounded, training_estimate
from aria_ray.planning.memory import Memory

Attainability = Literal[
    "attainable", "needs more than was reached", "unknown", "out of reach", "does not fit", "no roofline", "unmeasured"
]
NO_ROOFLINE = ("accuracy", "tool_compliance", "stability_cv", "stability_drift", "memory_growth")
"""Targets of which sizes and peaks say nothing."""


@dataclass(frozen=True)
class TargetAttainability:
    """One target against what the hardware can do."""

    name: str
    target: float
    bound: float | None
    """In the target's unit."""
    needed_share: float | None
    """Of the bound."""
    achieved_share: float | None
    """Of its bound that like work reached."""
    verdict: Attainability
    why: str
    way: str
    """What would make it attainable; empty where it is."""


@dataclass(frozen=True)
class Option:
    """One way to serve, for one stream."""

    precision: Precision
    speculation: Speculation
    bound_tokens_per_s: float
    achieved_share: float | None

    @property
    def name(self) -> str:
        """For people."""
        return self.precision.name + ("" if self.speculation == PLAIN else " + n-gram")


def serving_options(site: RecipeOnHardware) -> list[Option]:
    """From the least to the most that is changed: nothing, speculation, which keeps the answers, FP8, which may not, both; of
    those that fit."""
    fitting = [(precision, site.achieved(precision)) for precision in site.precisions if site.most_streams(precision)]
    return [
        Option(precision, how, site.bounds(precision, 1, how).tokens_per_s, reached.share if reached else None)
        for precision, reached in fitting
        for how in (PLAIN, NGRAM)
    ]


def verdict(needed_share: float, achieved_share: float | None) -> Attainability:
    """More than all of the bound is out of reach; up to what was reached is attainable; between the two nobody knows."""
    if needed_share > 1:
        return "out of reach"
    if achieved_share is None:
        return "unknown"
    return "attainable" if needed_share <= achieved_share else "needs more than was reached"


def target_attainability(
    site: RecipeOnHardware, training: TrainingEstimate | None, memory: Mapping[str, Memory]
) -> list[TargetAttainability]:
    """Every target of the recipe that is set, and its speed read as that of one stream. No `training` is one that does not
    fit."""
    targets = site.config.validation.targets
    found = []
    if (speed := targets.output_tokens_per_s) is not None:
        found += [_concurrent(site, speed)] if site.config.validation.concurrency > 1 else []
        found.append(_single_stream(site, speed))
    if targets.output_roofline_share is not None:
        fits = site.most_streams(site.base) > 0
        why = "of the bound without context, as the report has it"
        found.append(_share(site, "output_roofline_share", targets.output_roofline_share, site.base, why, fits=fits))
    if targets.train_step_ms is not None:
        found.append(_train_step(site, targets.train_step_ms, training))
    if targets.train_flop_utilization is not None:
        wanted, fits = targets.train_flop_utilization, training is not None
        found.append(_share(site, "train_flop_utilization", wanted, None, "of the matrix products' peak", fits=fits))
    found.append(_memory_reduction(site, targets.memory_reduction, memory))
    busy = "a share of time that units are busy, not of their peak: measured while it runs"
    found.append(
        TargetAttainability("compute_utilization", targets.compute_utilization, None, None, None, "no roofline", busy, "")
    )
    return found


def _concurrent(site: RecipeOnHardware, target: float) -> TargetAttainability:
    asked, most = site.config.validation.concurrency, site.most_streams(site.base)
    name, streams = f"output_tokens_per_s, {asked} streams", min(asked, most)
    if not streams:
        return _does_not_fit(site, name, target)
    bounds, reached = site.bounds(site.base, streams), site.achieved(site.base)
    share, bound = reached.share if reached else None, bounds.tokens_per_s
    found = verdict(target / bound, share)
    counted = f"{streams} streams" if streams == asked else f"{streams} of {asked} streams fit at a time"
    why = f"{counted} on one replica in {site.base.name}, bound at {rounded(bound)} tokens/s"
    way = ""
    if found in ("out of reach", "needs more than was reached"):
        way = f"{replicas_for(target, bound, achieved_share=share or 1)} replicas"
        way += ", or more streams" if bounds.bound_by == "memory" and streams < most else ""
    return TargetAttainability(name, target, bound, target / bound, share, found, why, way)


def _single_stream(site: RecipeOnHardware, target: float) -> TargetAttainability:
    name, options = "output_tokens_per_s, one stream", serving_options(site)
    if not site.most_streams(site.base):
        return _does_not_fit(site, name, target)
    base, *others = options
    needed = target / base.bound_tokens_per_s
    found = verdict(needed, base.achieved_share)
    why = f"one stream in {base.name} is bound at {rounded(base.bound_tokens_per_s)} tokens/s"
    shares = [f"{option.name} {target / option.bound_tokens_per_s:.0%}" for option in others]
    way = "" if found == "attainable" else f"needed with {', '.join(shares)}"
    return TargetAttainability(name, target, base.bound_tokens_per_s, needed, base.achieved_share, found, why, way)


def _does_not_fit(site: RecipeOnHardware, name: str, target: float) -> TargetAttainability:
    others = sorted({option.precision.name for option in serving_options(site)})
    why, way = f"one engine in {site.base.name} has no room for one stream", " or ".join([*others, "larger memory"])
    return TargetAttainability(name, target, None, None, None, "does not fit", why, way)


def _share(
    site: RecipeOnHardware, name: str, target: float, precision: Precision | None, why: str, *, fits: bool
) -> TargetAttainability:
    """One of the two targets that are shares of what the report measures the machine to reach at most."""
    if site.on_gpu:
        return TargetAttainability(name, target, None, None, None, "unmeasured", "of a GPU no run measures the peaks", "")
    if not fits:
        return TargetAttainability(name, target, None, None, None, "does not fit", "see the memory above", "")
    reached = site.achieved(precision)
    share = reached.share if reached else None
    found = verdict(target, share)
    way = "" if found == "attainable" else "faster software than what was measured"
    return TargetAttainability(name, target, 1.0, target, share, found, f"a share {why}", way)


def _train_step(site: RecipeOnHardware, target_ms: float, training: TrainingEstimate | None) -> TargetAttainability:
    if training is None:
        return TargetAttainability("train_step_ms", target_ms, None, None, None, "does not fit", "see the memory above", "")
    needed, share = training.bound_ms / target_ms, training.achieved_share
    found = verdict(needed, share)
    why = f"{training.tokens_per_worker:,} tokens a worker take {rounded(training.bound_ms)} ms at the peak"
    why += f", {rounded(training.estimated_ms)} ms as estimated" if training.estimated_ms else ""
    way = ""
    if found in ("out of reach", "needs more than was reached") and share is not None:
        ways = list(_shorter_steps(site, target_ms, int(training.tokens_per_worker * share / needed)))
        way = f"at the share that was reached {', or '.join(ways)} (longer examples are dropped)" if ways else "other hardware"
    return TargetAttainability("train_step_ms", target_ms, training.bound_ms, needed, share, found, why, way)


def _shorter_steps(site: RecipeOnHardware, target_ms: float, tokens: int) -> Iterator[str]:
    """Changes of the recipe that come to so many tokens a worker, as overrides, of which each makes the target attainable."""
    now = site.config.training
    if not tokens:
        return
    workers = -(-now.tokens_per_step // tokens)
    changes = [{"tokens_per_step": now.num_workers * tokens, "max_tokens": min(now.max_tokens, tokens)}]
    if site.on_gpu and now.tokens_per_step >= workers:  # a processor's workers share it, however many they are
        changes.append({"num_workers": workers, "max_tokens": min(now.max_tokens, now.tokens_per_step // workers)})
    for change in changes:
        config = site.config.model_copy(update={"training": now.model_copy(update=change)})
        shorter = training_estimate(replace(site, config=config))
        if verdict(shorter.bound_ms / target_ms, shorter.achieved_share) == "attainable":
            yield " ".join(f"training.{name}={value}" for name, value in change.items())


def _memory_reduction(site: RecipeOnHardware, target: float, memory: Mapping[str, Memory]) -> TargetAttainability:
    baseline, against = memory["full AdamW"].total_bytes, "full AdamW"
    if site.base.name == "bf16":  # the project's own baseline has no second copy of the weights
        baseline -= 8 * site.model.num_parameters
        against = "full AdamW with everything in bfloat16"
    less = 1 - memory["LoRA"].total_bytes / baseline
    why = f"the sum of parts is {less:.0%} less than that of {against}"
    found: Attainability = "attainable" if less >= target else "out of reach"
    if site.on_gpu:
        found, why = "unmeasured", f"no run on GPUs measures it, so it is not met; {why}"
    else:
        why += "; libraries, which both have beside the parts, make it less"
    return TargetAttainability("memory_reduction", target, less, None, None, found, why, "")
