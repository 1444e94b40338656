"""Bounds and estimates for a recipe on given hardware. An estimate is the bound times the share that a reference reached."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from aria_ray.config.schema import RunConfig
from aria_ray.kernels.choice import Kernels, choose_kernels
from aria_ray.machine.flops import lora_step_flops
from aria_ray.machine.roofline import (
    PLAIN,
    PRECISIONS,
    DecodeBounds,
    Precision,
    Speculation,
    causal_pairs,
    decode_bounds_at,
    decode_step_s,
    prefill_s,
    replicas_for,
    requests_per_s,
    train_step_s,
)
from aria_ray.machine.specs import Accelerator
from aria_ray.planning.memory import (
    TYPE_BYTES,
    UTILIZATION,
    Memory,
    TrainingWork,
    full_training,
    lora_training,
    serving,
)
from aria_ray.planning.model_sizes import ModelSize
from aria_ray.planning.reference_speeds import ReferenceSpeed, WorkKind, best_reference, peak_of

SUPERVISED_SHARE = 0.26
"""Share of the computed tokens that the loss is taken on. Assumed: 41 of a turn's 155 (benchmarks/RESULTS.md: Ablations,
Training)."""
NGRAM = Speculation(drafted_tokens=4, tokens_per_step=1.33)
"""N-gram speculation. Assumed: what vLLM's proposer reaches on the dataset's own answers (benchmarks/RESULTS.md, n-gram
speculation on the dataset)."""
_DECODING: Mapping[str, WorkKind] = {"bf16": "decoding bf16", "fp8": "decoding fp8", "fp32": "decoding fp32"}
_THROUGHPUT: Mapping[str, WorkKind] = {"fp8": "throughput fp8"}
BATCHED_TOKENS = 8192
"""Most tokens that vLLM's server computes in one step on GPUs of this size, by default."""


@dataclass(frozen=True)
class Hardware:
    """The device of one engine and that of one training worker: the same GPU, or the processor and a worker's part of it."""

    engine: Accelerator
    worker: Accelerator


@dataclass(frozen=True)
class RecipeOnHardware:
    """A recipe on given hardware: one device per training worker, and as many for replicas."""

    config: RunConfig
    model: ModelSize
    hardware: Hardware

    @property
    def on_gpu(self) -> bool:
        """Whether the hardware is a GPU, whatever the recipe is meant for."""
        return self.hardware.engine.kind == "gpu"

    @property
    def prompt_tokens(self) -> int:
        """Length of every prompt. Assumed: that of the longest row in training."""
        return self.config.training.max_tokens

    @property
    def context_tokens(self) -> float:
        """Mean context of a stream: the prompt and half of the answer."""
        return self.prompt_tokens + self.config.validation.output_tokens / 2

    @property
    def base(self) -> Precision:
        """Precision of the recipe's `model.dtype`."""
        return PRECISIONS["bf16" if self.config.model.dtype == "bfloat16" else "fp32"]

    @property
    def precisions(self) -> tuple[Precision, ...]:
        """The recipe's own precision, and FP8 where the hardware has it."""
        return (self.base, PRECISIONS["fp8"]) if "fp8" in self.hardware.engine.peak_flops_per_s else (self.base,)

    @property
    def target_modules(self) -> tuple[str, ...]:
        """Names of the linear layers that get an adapter."""
        return self.config.training.lora.chosen(self.model.shape.linear_layers)

    @property
    def work(self) -> TrainingWork:
        """Work of one training worker, with the kernels that a run of the recipe uses; on a processor always torch's.

        Raises:
            AriaError: the recipe asks for kernels that need a GPU, and trains on none.
        """
        training, dtype = self.config.training, self.config.model.dtype
        kernels: Kernels = "torch"
        if self.on_gpu or not training.use_gpu:
            kernels = choose_kernels(self.config.hardware.kernels, use_gpu=training.use_gpu)
        return TrainingWork(
            row_tokens=training.max_tokens,
            dtype=dtype,
            rank=training.lora.rank,
            target_modules=self.target_modules,
            num_workers=training.num_workers,
            parallelism=training.parallelism,
            kernels=kernels,
        )

    def reference(self, precision: Precision | None = None) -> ReferenceSpeed | None:
        """The best reference for training, or for decoding in `precision`; None where no source was found."""
        return best_reference(self.hardware.engine, "training" if precision is None else _DECODING[precision.name])

    def reference_under_load(self, precision: Precision) -> ReferenceSpeed | None:
        """The best reference for an engine with as many streams as fit; where there is none, the one for few streams."""
        kind = _THROUGHPUT.get(precision.name)
        return (best_reference(self.hardware.engine, kind) if kind else None) or self.reference(precision)

    def serving_memory(self, precision: Precision, streams: int) -> Memory:
        """Memory of one engine with that many streams, each at its full length."""
        return serving(
            self.model,
            precision,
            streams=streams,
            context_tokens=self.prompt_tokens + self.config.validation.output_tokens,
            batched_tokens=BATCHED_TOKENS if self.on_gpu else BATCHED_TOKENS // 4,
            capacity_bytes=self.hardware.engine.memory_bytes * (UTILIZATION if self.on_gpu else 1),
        )

    def most_streams(self, precision: Precision) -> int:
        """Number of streams of full length that fit into one engine at a time; 0 where none does."""
        free, left = (self.serving_memory(precision, streams).free_bytes for streams in (1, 2))
        return 0 if free < 0 else 1 + int(free / (free - left))

    def bounds(self, precision: Precision, streams: int, speculation: Speculation = PLAIN) -> DecodeBounds:
        """Bounds of decoding, in output tokens per second over all streams."""
        peak = peak_of(self.hardware.engine, precision.arithmetic)
        return decode_bounds_at(
            self.model.shape,
            peak,
            precision,
            streams=streams,
            context_tokens=self.context_tokens,
            speculation=speculation,
        )


@dataclass(frozen=True)
class TrainingEstimate:
    """Bound and estimate of the training steps, which all workers take together.

    Rates in tokens/s are sums over the workers. `achieved_share` and the estimates are None where there is no reference.
    """

    num_workers: int
    num_steps: int
    tokens_per_worker: int
    flops_per_worker: float
    bound_ms: float
    bound_by: Literal["arithmetic", "memory"]
    bound_tokens_per_s: float
    bound_hours: float
    achieved_share: float | None
    achieved_by: str
    estimated_ms: float | None
    estimated_tokens_per_s: float | None
    estimated_hours: float | None


@dataclass(frozen=True)
class DecodingEstimate:
    """Output tokens per second of one replica, over all streams.

    The bound is None where not one stream fits, the estimate where there is no reference.
    """

    precision: str
    speculation: str
    streams: int
    fitting_streams: int
    """Number of those streams that fit at a time; the bound is theirs."""
    bound_tokens_per_s: float | None
    bound_by: Literal["arithmetic", "memory"] | None
    achieved_share: float | None
    estimated_tokens_per_s: float | None


@dataclass(frozen=True)
class LoadEstimate:
    """Number of replicas for a load. Figures are None where no stream fits, the estimate also where there is no reference."""

    precision: str
    requests_per_s: float
    prompt_tokens: int
    output_tokens: int
    streams: int
    """Streams on each replica at a time: the most that the recipe measures, as far as they fit."""
    replica_bound_per_s: float | None
    prefill_bound_ms: float | None
    replicas_at_bound: int | None
    replicas_estimated: int | None


def rounded(value: float) -> str:
    """A figure for people: whole numbers from 100 on, two significant digits below."""
    return f"{value:,.0f}" if value >= 99.5 else f"{value:.2g}"


def training_memory(setup: RecipeOnHardware) -> dict[str, Memory]:
    """Memory of one worker, for the recipe's LoRA training and for training all weights."""
    capacity = setup.hardware.worker.memory_bytes
    return {
        "LoRA": lora_training(setup.model, setup.work, capacity),
        "full AdamW": full_training(setup.model, setup.work, capacity),
    }


def serving_memory(setup: RecipeOnHardware) -> dict[str, Memory]:
    """Memory of one engine by precision, with the most streams that the recipe measures."""
    streams = max(setup.config.validation.levels)
    return {precision.name: setup.serving_memory(precision, streams) for precision in setup.precisions}


def training_estimate(setup: RecipeOnHardware) -> TrainingEstimate:
    """Bound and estimate of the recipe's steps. Every row is taken as one example, the most work for attention."""
    training, model = setup.config.training, setup.model
    tokens = -(-training.tokens_per_step // training.num_workers)
    rows = -(-tokens // training.max_tokens)
    flops = lora_step_flops(
        model.shape,
        training.lora.rank,
        setup.target_modules,
        num_tokens=tokens,
        num_attention_pairs=rows * causal_pairs(tokens // rows),
        num_supervised=int(SUPERVISED_SHARE * tokens),
    )
    bound = train_step_s(
        peak_of(setup.hardware.worker, setup.base.arithmetic),
        flops=flops,
        weight_bytes=TYPE_BYTES[setup.config.model.dtype] * (model.linear_weights + model.head_weights),
        num_trained=model.adapter_weights(training.lora.rank, setup.target_modules),
    )
    reference = setup.reference()
    estimated_s = bound.seconds / reference.share if reference else None
    return TrainingEstimate(
        num_workers=training.num_workers,
        num_steps=training.num_steps,
        tokens_per_worker=tokens,
        flops_per_worker=flops,
        bound_ms=bound.seconds * 1000,
        bound_by="arithmetic" if bound.by_arithmetic_s >= bound.by_memory_s else "memory",
        bound_tokens_per_s=training.tokens_per_step / bound.seconds,
        bound_hours=training.num_steps * bound.seconds / 3600,
        achieved_share=reference.share if reference else None,
        achieved_by=f"{reference.what} on {reference.hardware}" if reference else "",
        estimated_ms=estimated_s * 1000 if estimated_s else None,
        estimated_tokens_per_s=training.tokens_per_step / estimated_s if estimated_s else None,
        estimated_hours=training.num_steps * estimated_s / 3600 if estimated_s else None,
    )


def decoding_estimates(setup: RecipeOnHardware) -> list[DecodingEstimate]:
    """Every precision, with and without speculation, for one stream and for the recipe's `concurrency` and largest level."""
    validation = setup.config.validation
    return [
        _decoding(setup, precision, name, speculation, streams)
        for precision in setup.precisions
        for name, speculation in (("none", PLAIN), ("n-gram", NGRAM))
        for streams in sorted({1, validation.concurrency, max(validation.levels)})
    ]


def _decoding(
    setup: RecipeOnHardware, precision: Precision, name: str, speculation: Speculation, streams: int
) -> DecodingEstimate:
    fitting, reference = min(streams, setup.most_streams(precision)), setup.reference(precision)
    share = reference.share if reference else None
    if not fitting:
        return DecodingEstimate(precision.name, name, streams, 0, None, None, share, None)
    bound = setup.bounds(precision, fitting, speculation)
    rate = bound.tokens_per_s
    return DecodingEstimate(
        precision.name, name, streams, fitting, rate, bound.bound_by, share, rate * share if share is not None else None
    )


def load_estimates(setup: RecipeOnHardware, load_per_s: float) -> list[LoadEstimate]:
    """Replicas for `load_per_s` requests per second by precision, with nothing of the prompts cached."""
    return [_load(setup, load_per_s, precision) for precision in setup.precisions]


def _load(setup: RecipeOnHardware, load_per_s: float, precision: Precision) -> LoadEstimate:
    shape, output_tokens = setup.model.shape, setup.config.validation.output_tokens
    streams = min(max(setup.config.validation.levels), setup.most_streams(precision))
    load = (precision.name, load_per_s, setup.prompt_tokens, output_tokens, streams)
    if not streams:
        return LoadEstimate(*load, None, None, None, None)
    peak = peak_of(setup.hardware.engine, precision.arithmetic)
    prompt = prefill_s(shape, peak, precision, prompt_tokens=setup.prompt_tokens)
    step = decode_step_s(shape, peak, precision, streams=streams, context_tokens=setup.context_tokens)
    each = requests_per_s(prompt, step, streams=streams, output_tokens=output_tokens)
    reference = setup.reference_under_load(precision)
    estimated = replicas_for(load_per_s, each, achieved_share=reference.share) if reference else None
    return LoadEstimate(*load, each, prompt.seconds * 1000, replicas_for(load_per_s, each), estimated)
