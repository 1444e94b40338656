"""What a recipe can expect of given hardware before any of it is booked: `aria plan`.

Bounds are from sizes and the vendor's peaks (`machine.roofline`); estimates are bounds times shares that others published
(`planning.reference_speeds`), and say so. Nothing here runs a model, and for a GPU nothing is measured.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from aria_ray.config.schema import RunConfig, TrainingConfig
from aria_ray.errors import AriaError
from aria_ray.machine.peaks import Peaks, measure_peaks
from aria_ray.machine.roofline import Precision
from aria_ray.machine.specs import ACCELERATORS, accelerator, measured_cpu
from aria_ray.planning.attainability import (
    NO_ROOFLINE,
    Option,
    TargetAttainability,
    serving_options,
    target_attainability,
    verdict,
)
from aria_ray.planning.estimates import (
    NGRAM,
    SUPERVISED_SHARE,
    DecodingEstimate,
    Hardware,
    LoadOutlook,
    RecipeOnHardware,
    TrainingEstimate,
    decoding_outlook,
    load_outlook,
    rounded,
    serving_memory,
    training_estimate,
    training_memory,
)
from aria_ray.planning.memory import GIB, Memory
from aria_ray.planning.model_sizes import model_size

REQUESTS_PER_S = 10.0
MOST_REQUESTS_PER_S = 1e9


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
    training: TrainingEstimate | None
    """None where it does not fit."""
    serving_memory: Mapping[str, MemoryFit]
    decoding: tuple[DecodingEstimate, ...]
    load: tuple[LoadOutlook, ...]
    targets: tuple[TargetAttainability, ...]
    recommendations: tuple[str, ...]
    assumptions: tuple[str, ...]
    unmeasured: tuple[str, ...]


def find_hardware(name: str | None, config: RunConfig) -> Hardware:
    """The hardware of that name, or else the recipe's; for `cpu` this machine, which takes seconds to measure.

    Raises:
        AriaError: there is none of that name; the recipe trains on GPUs and does not say on which; measuring failed.
    """
    chosen = config.hardware.accelerator if name is None else name
    if chosen.lower() != "cpu":
        found = accelerator(chosen)
        return Hardware(found, found)
    if name is None and config.training.use_gpu:
        raise AriaError(
            "hardware.accelerator (cpu) must be a GPU where training.use_gpu is true; set it, or give --hardware: "
            f"{', '.join(ACCELERATORS)}"
        )
    return _processor(config.training)


def _processor(training: TrainingConfig) -> Hardware:
    """The processor at hand, all of it for one engine. A worker has its threads, and never more than its part of all."""
    cores, workers = len(os.sched_getaffinity(0)), training.num_workers
    whole = measure_peaks(cores)
    one = whole if training.cpus_per_worker == cores else measure_peaks(training.cpus_per_worker)
    gemm = min(one.gemm_flops_per_s, whole.gemm_flops_per_s / workers)
    part = Peaks(one.threads, gemm, min(one.copy_bytes_per_s, whole.copy_bytes_per_s / workers))
    return Hardware(measured_cpu(whole), measured_cpu(part, num_workers=workers))


def plan(recipe: str, config: RunConfig, hardware: Hardware, load_per_s: float = REQUESTS_PER_S) -> Plan:
    """The plan of a recipe on given hardware, with replicas for so many requests a second.

    Raises:
        AriaError: the load is not above zero or absurd, LoRA is put on a layer that a Llama does not have, or the hardware has
            no peak for the recipe's type.
        ConfigError: the base model's size is not known.
    """
    if not 0 < load_per_s <= MOST_REQUESTS_PER_S:
        raise AriaError(f"--load ({load_per_s:g}) must be requests per second, above 0 and at most {MOST_REQUESTS_PER_S:g}")
    site = RecipeOnHardware(config, model_size(config.model.source), hardware)
    _check(site)
    memory, device = training_memory(site), hardware.engine
    training = training_estimate(site) if memory["LoRA"].fits else None
    targets = tuple(target_attainability(site, training, memory))
    return Plan(
        recipe=recipe,
        hardware=device.name,
        num_devices=config.training.num_workers if site.on_gpu else 1,
        memory_gb=device.memory_gb,
        memory_tb_per_s=device.memory_bytes_per_s / 1e12,
        peak_tflops={name: flops / 1e12 for name, flops in device.peak_flops_per_s.items()},
        tdp_w=device.tdp_w,
        hardware_sources=dict(device.sources),
        model=site.model.name,
        num_parameters=site.model.num_parameters,
        dtype=config.model.dtype,
        training_memory={name: _fit(each) for name, each in memory.items()},
        training=training,
        serving_memory={name: _fit(each) for name, each in serving_memory(site).items()},
        decoding=tuple(decoding_outlook(site)),
        load=tuple(load_outlook(site, load_per_s)),
        targets=targets,
        recommendations=tuple(_recommendations(site, targets)),
        assumptions=_assumptions(site),
        unmeasured=_unmeasured(site),
    )


def _check(site: RecipeOnHardware) -> None:
    layers = site.model.shape.linear_layers
    unknown = [name for name in site.config.training.lora.target_modules if name not in layers]
    if unknown:
        there = ", ".join(layers)
        raise AriaError(f"training.lora.target_modules: '{unknown[0]}' is no linear layer of a Llama; there are: {there}")
    if site.base.arithmetic not in site.hardware.engine.peak_flops_per_s:
        raise AriaError(
            f"model.dtype ({site.config.model.dtype}) must be float32 on a processor, whose peak is measured in nothing else; "
            f"set it, or give --hardware: {', '.join(ACCELERATORS)}"
        )


def _fit(memory: Memory) -> MemoryFit:
    parts = {name: size / GIB for name, size in memory.part_bytes.items()}
    return MemoryFit(parts, memory.total_bytes / GIB, memory.capacity_bytes / GIB, memory.fits)


def _recommendations(site: RecipeOnHardware, targets: Sequence[TargetAttainability]) -> list[str]:
    """What the bounds say on how to serve, from the least change to the most."""
    target, options = site.config.validation.targets.output_tokens_per_s, serving_options(site)
    if not options:
        return ["serving: one engine has no room for one stream, see the memory above"]
    if target is None:
        gains = [f"{option.name} {rounded(option.bound_tokens_per_s)}" for option in options]
        return [f"bounds of one stream, tokens/s: {', '.join(gains)}"]
    met = [row for row in targets if row.name.startswith("output_tokens_per_s") and row.verdict == "attainable"]
    found = [f"{target:g} tokens/s need no change: {row.why}" for row in met]
    return found if any(row.name.endswith("one stream") for row in met) else found + _faster_stream(target, options)


def _faster_stream(target: float, options: Sequence[Option]) -> list[str]:
    """How one stream comes to the target: the first way that is known to reach it, else the one that comes nearest."""
    reaching = [each for each in options if verdict(target / each.bound_tokens_per_s, each.achieved_share) == "attainable"]
    best = (reaching or [max(options, key=lambda each: each.bound_tokens_per_s)])[0]
    needed = target / best.bound_tokens_per_s
    if needed > 1:
        bound = rounded(best.bound_tokens_per_s)
        return [f"one stream at {target:g} tokens/s is out of reach: even {best.name} is bound at {bound}"]
    published = "nothing of the kind" if best.achieved_share is None else f"{best.achieved_share:.0%}"
    found = [
        f"one stream at {target:g} tokens/s: {best.name} {'does' if reaching else 'comes nearest'}; it needs {needed:.0%} of "
        f"its bound, and {published} is published{'' if reaching else ': measure it before it is promised'}"
    ]
    if best.precision.name == "fp8":
        found.append(
            "FP8 can change answers: take it only if accuracy and tool compliance of the FP8 endpoint still meet theirs"
        )
    if best.speculation == NGRAM:
        found.append(
            "speculation keeps the answers; it costs nothing while memory is the bound, and is lost where arithmetic is"
        )
    return found


def _assumptions(site: RecipeOnHardware) -> tuple[str, ...]:
    return (
        f"prompts of {site.prompt_tokens:,} tokens (training.max_tokens), answers of {site.config.validation.output_tokens}"
        " (validation.output_tokens), nothing cached",
        f"loss on {SUPERVISED_SHARE:.0%} of the tokens; each packed row one example",
        f"n-gram speculation: {NGRAM.drafted_tokens} drafted, {NGRAM.tokens_per_step:g} tokens a step (the dataset's answers)",
        *(("FP8: weights of the blocks in 8 bits, embedding, head and cache in 16",) if len(site.precisions) > 1 else ()),
        *(() if site.hardware.worker == site.hardware.engine else (_part_of_machine(site),)),
        "memory in decimal GB; estimates: the bound times the best share published of the same kind of work, for any streams",
        *(line for precision in site.precisions for line in _shares(site, precision)),
    )


def _part_of_machine(site: RecipeOnHardware) -> str:
    worker = site.hardware.worker
    return (
        f"a training worker (of {site.config.training.num_workers}) has its part of the machine: "
        f"{worker.peak_flops_per_s['fp32'] / 1e9:,.0f} GFLOP/s, {worker.memory_gb:.3g} GB at "
        f"{worker.memory_bytes_per_s / 1e9:.3g} GB/s"
    )


def _shares(site: RecipeOnHardware, precision: Precision) -> Iterator[str]:
    """Whose shares the estimates of a precision take."""
    name, single, load = precision.name, site.achieved(precision), site.achieved_under_load(precision)
    if single is None:
        yield f"{name} on {site.hardware.engine.name}: of decoding few streams nothing is published, so there is no estimate"
    else:
        yield f"{name}: {single.share:.0%} is of {single.what} ({single.source})"
    if load is not None and load != single:
        yield f"{name}, replicas: {load.share:.0%} is of {load.what} ({load.source})"


def _unmeasured(site: RecipeOnHardware) -> tuple[str, ...]:
    device = site.hardware.engine.name
    nothing = f"on {device} nothing of this was run by the project: every figure above is a bound or an estimate"
    busy = "this machine's peaks were measured just now: beside other work they come out too low, so run this while it is idle"
    return (
        nothing if site.on_gpu else busy,
        "left out: start of kernels, traffic between devices, drivers' and libraries' memory, fragments; of training's minutes "
        "evaluations and gates tried again",
        f"no roofline tells {', '.join(NO_ROOFLINE)}: measured on the endpoint",
    )
