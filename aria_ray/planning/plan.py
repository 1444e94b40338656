"""The plan of a recipe on given hardware, made before any of it is booked (`aria plan`).

Bounds follow from sizes and the vendor's peaks (`machine.roofline`). Estimates are bounds times the share that a reference
reached (`planning.reference_speeds`). No model runs for a plan, and nothing is measured on a GPU.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from aria_ray.config.schema import RunConfig, TrainingConfig
from aria_ray.errors import AriaError
from aria_ray.machine.peaks import Peaks, measure_peaks
from aria_ray.machine.roofline import Precision
from aria_ray.machine.specs import ACCELERATORS, accelerator, measured_cpu
from aria_ray.metrics import FIGURES
from aria_ray.planning.attainability import (
    ServingOption,
    TargetAttainability,
    attainability,
    serving_options,
    target_attainability,
)
from aria_ray.planning.estimates import (
    NGRAM,
    SUPERVISED_SHARE,
    DecodingEstimate,
    Hardware,
    LoadEstimate,
    RecipeOnHardware,
    TrainingEstimate,
    decoding_estimates,
    load_estimates,
    rounded,
    serving_memory,
    training_estimate,
    training_memory,
)
from aria_ray.planning.memory import GIB, Memory
from aria_ray.planning.model_sizes import model_size

REQUESTS_PER_S = 10.0
"""Default load that replicas are counted for."""
MOST_REQUESTS_PER_S = 1e9


@dataclass(frozen=True)
class MemoryFit:
    """Memory of one device by part, its total, and the capacity, in GiB."""

    part_gib: Mapping[str, float]
    total_gib: float
    capacity_gib: float
    fits: bool


@dataclass(frozen=True)
class Plan:
    """Content of `aria plan`, and of `aria plan --json`."""

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
    """None where training does not fit into memory."""
    serving_memory: Mapping[str, MemoryFit]
    decoding: tuple[DecodingEstimate, ...]
    load: tuple[LoadEstimate, ...]
    targets: tuple[TargetAttainability, ...]
    recommendations: tuple[str, ...]
    assumptions: tuple[str, ...]
    unmeasured: tuple[str, ...]


def find_hardware(name: str | None, config: RunConfig) -> Hardware:
    """The hardware of a name, by default the recipe's. `cpu` is this machine, whose peaks take seconds to measure.

    Raises:
        AriaError: no hardware has that name; the recipe trains on GPUs and names none; the measurement failed.
    """
    chosen = config.hardware.accelerator if name is None else name
    if chosen.lower() != "cpu":
        device = accelerator(chosen)
        return Hardware(device, device)
    if name is None and config.training.use_gpu:
        raise AriaError(
            "hardware.accelerator (cpu) must be a GPU where training.use_gpu is true",
            f"set it, or give --hardware: {', '.join(ACCELERATORS)}",
        )
    return _processor(config.training)


def _processor(training: TrainingConfig) -> Hardware:
    """This machine's processor: all of it for an engine, the threads of one worker, and at most its part, for a worker."""
    cores, workers = len(os.sched_getaffinity(0)), training.num_workers
    whole = measure_peaks(cores)
    one = whole if training.cpus_per_worker == cores else measure_peaks(training.cpus_per_worker)
    gemm = min(one.gemm_flops_per_s, whole.gemm_flops_per_s / workers)
    part = Peaks(one.threads, gemm, min(one.copy_bytes_per_s, whole.copy_bytes_per_s / workers))
    return Hardware(measured_cpu(whole), measured_cpu(part, num_workers=workers))


def plan(recipe: str, config: RunConfig, hardware: Hardware, load_per_s: float = REQUESTS_PER_S) -> Plan:
    """The plan of a recipe on given hardware, with the replicas for `load_per_s` requests per second.

    Raises:
        AriaError: the load is outside its range, a LoRA target is no layer of the model, or the hardware has no peak for the
            recipe's type.
        ConfigError: the size of the base model is unknown.
    """
    if not 0 < load_per_s <= MOST_REQUESTS_PER_S:
        raise AriaError(
            f"--load ({load_per_s:g}) must be requests per second, above 0 and at most {MOST_REQUESTS_PER_S:g}",
            "give a number such as 10",
        )
    setup = RecipeOnHardware(config, model_size(config.model.source), hardware)
    _check(setup)
    memory, device = training_memory(setup), hardware.engine
    training = training_estimate(setup) if memory["LoRA"].fits else None
    targets = tuple(target_attainability(setup, training, memory))
    return Plan(
        recipe=recipe,
        hardware=device.name,
        num_devices=config.training.num_workers if setup.on_gpu else 1,
        memory_gb=device.memory_gb,
        memory_tb_per_s=device.memory_bytes_per_s / 1e12,
        peak_tflops={name: flops / 1e12 for name, flops in device.peak_flops_per_s.items()},
        tdp_w=device.tdp_w,
        hardware_sources=dict(device.sources),
        model=setup.model.name,
        num_parameters=setup.model.num_parameters,
        dtype=config.model.dtype,
        training_memory={name: _fit(each) for name, each in memory.items()},
        training=training,
        serving_memory={name: _fit(each) for name, each in serving_memory(setup).items()},
        decoding=tuple(decoding_estimates(setup)),
        load=tuple(load_estimates(setup, load_per_s)),
        targets=targets,
        recommendations=tuple(_recommendations(setup, targets)),
        assumptions=_assumptions(setup),
        unmeasured=_unmeasured(setup, targets),
    )


def _check(setup: RecipeOnHardware) -> None:
    layers = setup.model.shape.linear_layers
    unknown = [name for name in setup.config.training.lora.chosen(layers) if name not in layers]
    if unknown:
        there = ", ".join(layers)
        raise AriaError(
            f"training.lora.target_modules: '{unknown[0]}' is no linear layer of {setup.model.name}", f"there are: {there}"
        )
    if setup.base.arithmetic not in setup.hardware.engine.peak_flops_per_s:
        raise AriaError(
            f"model.dtype ({setup.config.model.dtype}) must be float32 on a processor, whose peak is measured in nothing else",
            f"set it, or give --hardware: {', '.join(ACCELERATORS)}",
        )


def _fit(memory: Memory) -> MemoryFit:
    parts = {name: size / GIB for name, size in memory.part_bytes.items()}
    return MemoryFit(parts, memory.total_bytes / GIB, memory.capacity_bytes / GIB, memory.fits)


def _recommendations(setup: RecipeOnHardware, targets: Sequence[TargetAttainability]) -> list[str]:
    """How to serve, as far as the bounds tell, from the smallest change to the largest."""
    target, options = setup.config.validation.targets.output_tokens_per_s, serving_options(setup)
    if not options:
        return ["serving: one engine has no memory for one stream, see the memory table"]
    if target is None:
        bounds = [f"{option.name} {rounded(option.bound_tokens_per_s)}" for option in options]
        return [f"bounds for one stream, tokens/s: {', '.join(bounds)}"]
    met = [row for row in targets if row.name.startswith("output_tokens_per_s") and row.verdict == "attainable"]
    lines = [f"{target:g} tokens/s need no change: {row.why}" for row in met]
    return lines if any(row.name.endswith("one stream") for row in met) else lines + _faster_stream(target, options)


def _faster_stream(target: float, options: Sequence[ServingOption]) -> list[str]:
    """The first option that is known to reach the target with one stream, else the one that comes nearest."""
    reaching = [
        each for each in options if attainability(target / each.bound_tokens_per_s, each.achieved_share) == "attainable"
    ]
    best = (reaching or [max(options, key=lambda each: each.bound_tokens_per_s)])[0]
    needed, bound = target / best.bound_tokens_per_s, rounded(best.bound_tokens_per_s)
    one = f"one stream at {target:g} tokens/s"
    if needed > 1:
        return [f"{one} is out of reach: even {best.name} has a bound of {bound}"]
    reached = "no reference" if best.achieved_share is None else f"the reference reached {best.achieved_share:.0%}"
    shares = f"needs {needed:.0%} of its bound, {reached}"
    lines = [
        f"{one}: use {best.name} ({shares})" if reaching else f"{one}: {best.name} comes nearest ({shares}); measure it first"
    ]
    if best.precision.name == "fp8":
        lines.append(
            "FP8 can change answers: use it only if accuracy and tool compliance of the FP8 endpoint meet their targets"
        )
    if best.speculation == NGRAM:
        lines.append("speculation keeps the answers; it is free while memory is the limit, and no gain where arithmetic is")
    return lines


def _assumptions(setup: RecipeOnHardware) -> tuple[str, ...]:
    return (
        f"prompts of {setup.prompt_tokens:,} tokens (training.max_tokens) and answers of "
        f"{setup.config.validation.output_tokens} (validation.output_tokens), nothing cached",
        f"loss on {SUPERVISED_SHARE:.0%} of the tokens; one example in each packed row",
        f"n-gram speculation: {NGRAM.drafted_tokens} tokens drafted and {NGRAM.tokens_per_step:g} produced per step, "
        "as measured on the dataset's answers",
        *(("FP8: linear layers in 8 bits; embedding, output head and cache in 16",) if len(setup.precisions) > 1 else ()),
        *(() if setup.hardware.worker == setup.hardware.engine else (_part_of_machine(setup),)),
        "memory sizes in decimal GB; an estimate is the bound times the share that the best reference for the same kind of "
        "work reached, whatever the number of streams",
        *(line for precision in setup.precisions for line in _references(setup, precision)),
    )


def _part_of_machine(setup: RecipeOnHardware) -> str:
    worker = setup.hardware.worker
    return (
        f"each of {setup.config.training.num_workers} training workers has its part of the machine: "
        f"{worker.peak_flops_per_s['fp32'] / 1e9:,.0f} GFLOP/s, {worker.memory_gb:.3g} GB at "
        f"{worker.memory_bytes_per_s / 1e9:.3g} GB/s"
    )


def _references(setup: RecipeOnHardware, precision: Precision) -> Iterator[str]:
    """The references behind the estimates of a precision."""
    name, few, load = precision.name, setup.reference(precision), setup.reference_under_load(precision)
    if few is None:
        yield f"{name} on {setup.hardware.engine.name}: no reference for decoding few streams, so no estimate"
    else:
        yield f"{name}: {few.share:.0%} was reached by {few.what} ({few.source})"
    if load is not None and load != few:
        yield f"{name}, replicas: {load.share:.0%} was reached by {load.what} ({load.source})"


def _unmeasured(setup: RecipeOnHardware, targets: Sequence[TargetAttainability]) -> tuple[str, ...]:
    estimated = {target.name.partition(",")[0] for target in targets}
    of_recipe = [figure.name for figure in FIGURES if figure.target(setup.config.validation.targets) is not None]
    device = setup.hardware.engine.name
    gpu = f"this project has run nothing of the plan on {device}: every figure above is a bound or an estimate"
    cpu = "the peaks of this machine were measured just now: other work makes them too low, so plan while the machine is idle"
    return (
        gpu if setup.on_gpu else cpu,
        "not included: kernel launches, traffic between devices, memory of drivers and libraries, fragmentation; in the "
        "minutes of training, evaluations and repeated stages",
        f"not estimated: {', '.join(name for name in of_recipe if name not in estimated)}; a run measures them on the endpoint",
    )
