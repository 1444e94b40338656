"""Which targets of a recipe given hardware can meet: the share of the bound that each needs, beside what was reached."""

from dataclasses import dataclass
from typing import Literal

from aria_ray.hardware.memory import Memory
from aria_ray.hardware.outlook import NGRAM, Site, TrainingOutlook
from aria_ray.hardware.roofline import PLAIN, Precision, Speculation, replicas_for

Verdict = Literal["attainable", "needs more than was reached", "out of reach", "no roofline"]
NO_ROOFLINE = ("accuracy", "tool_compliance", "stability_cv", "stability_drift", "memory_growth")
"""Targets of which sizes and peaks say nothing."""


@dataclass(frozen=True)
class TargetOutlook:
    """One target against what the hardware can do."""

    name: str
    target: float
    bound: float | None
    """In the target's unit."""
    needed_share: float | None
    """Of the bound."""
    achieved_share: float | None
    """Of its bound that like work reached."""
    verdict: Verdict
    why: str
    way: str
    """What would make it attainable; empty where it is."""


@dataclass(frozen=True)
class Option:
    """One way to serve, for one stream."""

    precision: Precision
    speculation: Speculation
    bound_tokens_per_s: float
    achieved_share: float

    @property
    def name(self) -> str:
        """For people."""
        return self.precision.name + ("" if self.speculation == PLAIN else " + n-gram")


def serving_options(site: Site) -> list[Option]:
    """From the least to the most that is changed: nothing, speculation, which keeps the answers, FP8, which may not, both."""
    return [
        Option(precision, how, site.bounds(precision, 1, how).tokens_per_s, site.achieved(precision).share)
        for precision in site.precisions
        for how in (PLAIN, NGRAM)
    ]


def verdict(needed_share: float, achieved_share: float) -> Verdict:
    """More than all of the bound is out of reach; up to what was reached is attainable; between the two nobody knows."""
    if needed_share > 1:
        return "out of reach"
    return "attainable" if needed_share <= achieved_share else "needs more than was reached"


def target_outlook(site: Site, training: TrainingOutlook, memory: dict[str, Memory]) -> list[TargetOutlook]:
    """Every target of the recipe that is set, and its speed read as that of one stream."""
    targets = site.config.validation.targets
    found = []
    if targets.output_tokens_per_s is not None:
        found += [_concurrent(site, targets.output_tokens_per_s), _single_stream(site, targets.output_tokens_per_s)]
    if targets.output_roofline_share is not None:
        found.append(_share(site, "output_roofline_share", targets.output_roofline_share, site.base))
    if targets.train_step_ms is not None:
        found.append(_train_step(targets.train_step_ms, training))
    if targets.train_flop_utilization is not None:
        found.append(_share(site, "train_flop_utilization", targets.train_flop_utilization, None))
    found.append(_memory_reduction(site, targets.memory_reduction, memory))
    busy = "a share of time that units are busy, not of their peak: measured while it runs"
    found.append(TargetOutlook("compute_utilization", targets.compute_utilization, None, None, None, "no roofline", busy, ""))
    return found


def _concurrent(site: Site, target: float) -> TargetOutlook:
    streams = site.config.validation.concurrency
    bound, reached = site.bounds(site.base, streams).tokens_per_s, site.achieved(site.base)
    needed = target / bound
    found = verdict(needed, reached.share)
    why = f"{streams} streams on one replica in {site.base.name} are bound at {bound:,.0f} tokens/s"
    way = (
        ""
        if found == "attainable"
        else f"{replicas_for(target, bound, achieved_share=reached.share)} replicas, or more streams"
    )
    return TargetOutlook(f"output_tokens_per_s, {streams} streams", target, bound, needed, reached.share, found, why, way)


def _single_stream(site: Site, target: float) -> TargetOutlook:
    base, *others = serving_options(site)
    needed = target / base.bound_tokens_per_s
    found = verdict(needed, base.achieved_share)
    why = f"one stream in {base.name} is bound by memory at {base.bound_tokens_per_s:,.0f} tokens/s"
    shares = [f"{option.name} {target / option.bound_tokens_per_s:.0%}" for option in others]
    way = "" if found == "attainable" else f"needed with {', '.join(shares)}"
    name = "output_tokens_per_s, one stream"
    return TargetOutlook(name, target, base.bound_tokens_per_s, needed, base.achieved_share, found, why, way)


def _share(site: Site, name: str, target: float, precision: Precision | None) -> TargetOutlook:
    reached = site.achieved(precision)
    found = verdict(target, reached.share)
    way = "" if found == "attainable" else "faster software than what was measured"
    return TargetOutlook(name, target, 1.0, target, reached.share, found, "the target is a share of the bound", way)


def _train_step(target_ms: float, training: TrainingOutlook) -> TargetOutlook:
    needed = training.bound_ms / target_ms
    found = verdict(needed, training.achieved_share)
    tokens = training.tokens_per_worker
    why = (
        f"{tokens:,} tokens a worker take {training.bound_ms:,.0f} ms at the peak, {training.estimated_ms:,.0f} ms as estimated"
    )
    way = ""
    if found != "attainable":
        fewer = int(tokens * training.achieved_share / needed)
        way = f"at the share that was reached {fewer:,} tokens a worker"
        way += f", or {-(-training.num_workers * tokens // fewer)} workers" if fewer else ": other hardware"
    return TargetOutlook("train_step_ms", target_ms, training.bound_ms, needed, training.achieved_share, found, why, way)


def _memory_reduction(site: Site, target: float, memory: dict[str, Memory]) -> TargetOutlook:
    full = memory["full AdamW"].total_bytes
    # The project's own baseline keeps the optimizer's averages in bfloat16, and no second copy of the weights.
    leaner = full - (8 * site.model.num_parameters if site.base.name == "bf16" else 0)
    lora, least, checkpointed = (
        1 - memory[name].total_bytes / whole
        for name, whole in (("LoRA", full), ("LoRA", leaner), ("LoRA, checkpointed", leaner))
    )
    why = f"the sum of parts is {lora:.0%} less than that of full AdamW"
    if leaner < full:
        why += f" in mixed precision, {least:.0%} less than with everything in bfloat16"
    found: Verdict = "attainable" if lora >= target else "out of reach"
    way = "" if least >= target else f"with activations computed again {checkpointed:.0%}"
    return TargetOutlook("memory_reduction", target, lora, None, None, found, why, way)
