"""What a recipe can expect of given hardware before any of it is booked: `aria plan`.

Bounds are from sizes and the vendor's peaks (`hardware.roofline`); estimates are bounds times shares that others published
(`hardware.published`), and say so. Nothing here runs a model, and for a GPU nothing is measured.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass

from aria_ray.config.schema import RunConfig
from aria_ray.errors import AriaError
from aria_ray.hardware.memory import GIB, Memory
from aria_ray.hardware.models import model_size
from aria_ray.hardware.outlook import (
    NGRAM,
    SUPERVISED_SHARE,
    DecodingOutlook,
    LoadOutlook,
    Site,
    TrainingOutlook,
    decoding_outlook,
    load_outlook,
    serving_memory,
    training_memory,
    training_outlook,
)
from aria_ray.hardware.peaks import measure_peaks
from aria_ray.hardware.specs import Accelerator, accelerator, measured_cpu
from aria_ray.hardware.targets import NO_ROOFLINE, TargetOutlook, serving_options, target_outlook, verdict

REQUESTS_PER_S = 10.0


@dataclass(frozen=True)
class MemoryFit:
    """Memory of one device."""

    part_gib: Mapping[str, float]
    total_gib: float
    capacity_gib: float
    fits: bool


@dataclass(frozen=True)
class Plan:
    """Everything that `aria plan` says."""

    recipe: str
    hardware: str
    num_devices: int
    memory_gb: float
    memory_tb_per_s: float
    peak_tflops: Mapping[str, float]
    tdp_w: float | None
    hardware_sources: Mapping[str, str]
    model: str
    num_parameters: int
    dtype: str
    training_memory: Mapping[str, MemoryFit]
    training: TrainingOutlook
    serving_memory: Mapping[str, MemoryFit]
    decoding: tuple[DecodingOutlook, ...]
    load: tuple[LoadOutlook, ...]
    targets: tuple[TargetOutlook, ...]
    recommendations: tuple[str, ...]
    assumptions: tuple[str, ...]
    unmeasured: tuple[str, ...]


def find_hardware(name: str) -> Accelerator:
    """The accelerator of that name; for `cpu` this machine, which takes seconds to measure.

    Raises:
        AriaError: there is none of that name.
    """
    if name.lower() == "cpu":
        return measured_cpu(measure_peaks(len(os.sched_getaffinity(0))))
    return accelerator(name)


def plan(recipe: str, config: RunConfig, hardware: Accelerator, load_per_s: float = REQUESTS_PER_S) -> Plan:
    """The plan of a recipe on given hardware, with replicas for so many requests a second.

    Raises:
        AriaError: the load is not above zero, or LoRA is put on a layer that a Llama does not have.
        ConfigError: the base model's size is not known.
    """
    if not 0 < load_per_s < float("inf"):
        raise AriaError(f"--load ({load_per_s:g}) must be requests per second, above 0")
    site = Site(config, model_size(config.model.source), hardware)
    unknown = [name for name in config.training.lora.target_modules if name not in site.model.shape.linear_layers]
    if unknown:
        layers = ", ".join(site.model.shape.linear_layers)
        raise AriaError(f"training.lora.target_modules: '{unknown[0]}' is no linear layer of a Llama; there are: {layers}")
    memory, training = training_memory(site), training_outlook(site)
    return Plan(
        recipe=recipe,
        hardware=hardware.name,
        num_devices=config.training.num_workers,
        memory_gb=hardware.memory_gb,
        memory_tb_per_s=hardware.memory_bytes_per_s / 1e12,
        peak_tflops={name: flops / 1e12 for name, flops in hardware.peak_flops_per_s.items()},
        tdp_w=hardware.tdp_w,
        hardware_sources=dict(hardware.sources),
        model=site.model.name,
        num_parameters=site.model.num_parameters,
        dtype=config.model.dtype,
        training_memory={name: _fit(each) for name, each in memory.items()},
        training=training,
        serving_memory={name: _fit(each) for name, each in serving_memory(site).items()},
        decoding=tuple(decoding_outlook(site)),
        load=tuple(load_outlook(site, load_per_s)),
        targets=tuple(target_outlook(site, training, memory)),
        recommendations=tuple(_recommendations(site)),
        assumptions=_assumptions(site),
        unmeasured=_unmeasured(site),
    )


def _fit(memory: Memory) -> MemoryFit:
    parts = {name: size / GIB for name, size in memory.part_bytes.items()}
    return MemoryFit(parts, memory.total_bytes / GIB, memory.capacity_bytes / GIB, memory.fits)


def _recommendations(site: Site) -> list[str]:
    """What the bounds say on how to serve, from the least change to the most."""
    target, streams = site.config.validation.targets.output_tokens_per_s, site.config.validation.concurrency
    options = serving_options(site)
    base, best = options[0], max(options, key=lambda option: option.bound_tokens_per_s)
    found = []
    if target is None:
        gains = [f"{option.name} {option.bound_tokens_per_s:,.0f}" for option in options]
        return [f"bounds of one stream, tokens/s: {', '.join(gains)}"]
    share = target / site.bounds(site.base, streams).tokens_per_s
    if verdict(share, site.achieved(site.base).share) == "attainable":
        found.append(f"{streams} streams at {target:g} tokens/s need no change: {site.base.name} without speculation")
    if verdict(target / base.bound_tokens_per_s, base.achieved_share) == "attainable":
        return [*found, f"one stream at {target:g} tokens/s too"]
    needed = target / best.bound_tokens_per_s
    met = verdict(needed, best.achieved_share) == "attainable"
    found.append(
        f"one stream at {target:g} tokens/s: {best.name} comes nearest; it needs {needed:.0%} of its bound, and "
        f"{best.achieved_share:.0%} is published{'' if met else ': measure it before it is promised'}"
    )
    if best.precision.name == "fp8":
        found.append(
            "FP8 can change answers: take it only if accuracy and tool compliance of the FP8 endpoint still meet theirs"
        )
    if best.speculation == NGRAM:
        found.append(
            "speculation keeps the answers; it costs nothing while memory is the bound, and is lost where arithmetic is"
        )
    return found


def _assumptions(site: Site) -> tuple[str, ...]:
    shares = [(precision, site.achieved(precision)) for precision in site.precisions]
    return (
        f"prompts of {site.prompt_tokens:,} tokens (training.max_tokens), answers of {site.config.validation.output_tokens}"
        " (validation.output_tokens), nothing cached",
        f"loss on {SUPERVISED_SHARE:.0%} of the tokens; each packed row one example",
        f"n-gram speculation: {NGRAM.drafted_tokens} drafted, {NGRAM.tokens_per_step:g} tokens a step (the dataset's answers)",
        "FP8: weights of the blocks in 8 bits, embedding, head and cache in 16",
        "memory in vendors' decimal GB; estimates: the bound times the best share published of like work, for any streams",
        *(f"{precision.name}: {reached.share:.0%} is of {reached.what} ({reached.source})" for precision, reached in shares),
    )


def _unmeasured(site: Site) -> tuple[str, ...]:
    nothing = f"on {site.accelerator.name} nothing of this was run by the project: every figure above is a bound or an estimate"
    busy = "this machine's peaks were measured just now: beside other work they come out too low, so run this while it is idle"
    return (
        busy if site.accelerator.kind == "cpu" else nothing,
        "left out: start of kernels, traffic between devices, drivers' and libraries' memory, fragments",
        f"no roofline tells {', '.join(NO_ROOFLINE)}: measured on the endpoint",
    )
