"""What a recipe's training and serving may expect of given hardware: bounds, and estimates at shares that others reached."""

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
from aria_ray.planning.reference_speeds import ReferenceSpeed, WorkKind, achieved, peak_of

SUPERVISED_SHARE = 0.26
"""Assumed: tokens that loss is taken on, of those computed: 41 of a turn's 155 (benchmarks/RESULTS.md: Ablations, Training)."""
NGRAM = Speculation(drafted_tokens=4, tokens_per_step=1.33)
"""Assumed of n-gram speculation: what vLLM's proposer brings on the dataset's own answers (benchmarks/RESULTS.md, n-gram
speculation on the dataset)."""
_DECODING: Mapping[str, WorkKind] = {"bf16": "decoding bf16", "fp8": "decoding fp8", "fp32": "decoding fp32"}
_THROUGHPUT: Mapping[str, WorkKind] = {"fp8": "throughput fp8"}
BATCHED_TOKENS = 8192
"""What vLLM's server computes in one step at most on GPUs of this size, unless told otherwise."""


@dataclass(frozen=True)
class Hardware:
    """What one engine has, and what one training worker has: the same GPU, or the processor and a worker's part of it."""

    engine: Accelerator
    worker: Accelerator


@dataclass(frozen=True)
class RecipeOnHardware:
    """A recipe on given hardware: one device for each training worker, and as many for replicas."""

    config: RunConfig
    model: ModelSize
    hardware: Hardware

    @property
    def on_gpu(self) -> bool:
        """Whether the hardware is a GPU, whatever the recipe is meant for."""
        return self.hardware.engine.kind == "gpu"

    @property
    def prompt_tokens(self) -> int:
        """Assumed of every request: as long as the longest row of training."""
        return self.config.training.max_tokens

    @property
    def context_tokens(self) -> float:
        """What a stream looks back at on average: the prompt and half of the answer."""
        return self.prompt_tokens + self.config.validation.output_tokens / 2

    @property
    def base(self) -> Precision:
        """The precision of the recipe's own type."""
        return PRECISIONS["bf16" if self.config.model.dtype == "bfloat16" else "fp32"]

    @property
    def precisions(self) -> tuple[Precision, ...]:
        """The recipe's own, and FP8 where the hardware has it."""
        return (self.base, PRECISIONS["fp8"]) if "fp8" in self.hardware.engine.peak_flops_per_s else (self.base,)

    @property
    def work(self) -> TrainingWork:
        """What one training worker holds, with the kernels that a run of the recipe takes; on a processor always torch's.

        Raises:
            AriaError: the recipe asks for kernels that need a GPU, and trains on none.
        """
        training, dtype = self.config.training, self.config.model.dtype
        kernels: Kernels = "torch"
        if self.on_gpu or not training.use_gpu:
            kernels = choose_kernels(self.config.hardware.kernels, use_gpu=training.use_gpu, dtype=dtype)
        return TrainingWork(
            row_tokens=training.max_tokens,
            dtype=dtype,
            rank=training.lora.rank,
            target_modules=training.lora.target_modules,
            num_workers=training.num_workers,
            parallelism=training.parallelism,
            kernels=kernels,
        )

    def achieved(self, precision: Precision | None = None) -> ReferenceSpeed | None:
        """What was reached: in training, or in decoding with that precision; None where nobody was found to say."""
        return achieved(self.hardware.engine, "training" if precision is None else _DECODING[precision.name])

    def achieved_under_load(self, precision: Precision) -> ReferenceSpeed | None:
        """What a full engine reached, or else streams that are few."""
        kind = _THROUGHPUT.get(precision.name)
        return (achieved(self.hardware.engine, kind) if kind else None) or self.achieved(precision)

    def serving_memory(self, precision: Precision, streams: int) -> Memory:
        """One engine with so many streams, each at its longest."""
        return serving(
            self.model,
            precision,
            streams=streams,
            context_tokens=self.prompt_tokens + self.config.validation.output_tokens,
            batched_tokens=BATCHED_TOKENS if self.on_gpu else BATCHED_TOKENS // 4,
            capacity_bytes=self.hardware.engine.memory_bytes * (UTILIZATION if self.on_gpu else 1),
        )

    def most_streams(self, precision: Precision) -> int:
        """Streams that fit into one engine at a time, each at its longest; 0 where not one does."""
        free, left = (self.serving_memory(precision, streams).free_bytes for streams in (1, 2))
        return 0 if free < 0 else 1 + int(free / (free - left))

    def bounds(self, precision: Precision, streams: int, speculation: Speculation = PLAIN) -> DecodeBounds:
        """Of decoding."""
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
    """Steps of all workers together, each at the same time."""

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
    """Output tokens per second of one replica. What does not fit has no bound, of which nothing is published no estimate."""

    precision: str
    speculation: str
    streams: int
    fitting_streams: int
    """Of those, how many fit at a time: the bound is of these."""
    bound_tokens_per_s: float | None
    bound_by: Literal["arithmetic", "memory"] | None
    achieved_share: float | None
    estimated_tokens_per_s: float | None


@dataclass(frozen=True)
class LoadOutlook:
    """Replicas for a load, None for what does not fit; no estimate where nothing is published."""

    precision: str
    requests_per_s: float
    prompt_tokens: int
    output_tokens: int
    streams: int
    """At a time on each: as many as are asked for and fit."""
    replica_bound_per_s: float | None
    prefill_bound_ms: float | None
    replicas_at_bound: int | None
    replicas_estimated: int | None


def rounded(value: float) -> str:
    """For people: whole numbers from a hundred on, else two digits."""
    return f"{value:,.0f}" if value >= 99.5 else f"{value:.2g}"


def training_memory(site: RecipeOnHardware) -> dict[str, Memory]:
    """LoRA as the recipe does it, and all weights trained, each on what one worker has."""
    capacity = site.hardware.worker.memory_bytes
    return {
        "LoRA": lora_training(site.model, site.work, capacity),
        "full AdamW": full_training(site.model, site.work, capacity),
    }


def serving_memory(site: RecipeOnHardware) -> dict[str, Memory]:
    """One engine with as many streams as the recipe measures at most, by precision."""
    streams = max(site.config.validation.levels)
    return {precision.name: site.serving_memory(precision, streams) for precision in site.precisions}


def training_estimate(site: RecipeOnHardware) -> TrainingEstimate:
    """The recipe's steps, every row one example, which is the most that attention can have to do."""
    training, model = site.config.training, site.model
    tokens = -(-training.tokens_per_step // training.num_workers)
    rows = -(-tokens // training.max_tokens)
    flops = lora_step_flops(
        model.shape,
        training.lora.rank,
        training.lora.target_modules,
        num_tokens=tokens,
        num_attention_pairs=rows * causal_pairs(tokens // rows),
        num_supervised=int(SUPERVISED_SHARE * tokens),
    )
    bound = train_step_s(
        peak_of(site.hardware.worker, site.base.arithmetic),
        flops=flops,
        weight_bytes=TYPE_BYTES[site.config.model.dtype] * (model.linear_weights + model.head_weights),
        num_trained=model.adapter_weights(training.lora.rank, training.lora.target_modules),
    )
    reached = site.achieved()
    estimated_s = bound.seconds / reached.share if reached else None
    return TrainingEstimate(
        num_workers=training.num_workers,
        num_steps=training.num_steps,
        tokens_per_worker=tokens,
        flops_per_worker=flops,
        bound_ms=bound.seconds * 1000,
        bound_by="arithmetic" if bound.by_arithmetic_s >= bound.by_memory_s else "memory",
        bound_tokens_per_s=training.tokens_per_step / bound.seconds,
        bound_hours=training.num_steps * bound.seconds / 3600,
        achieved_share=reached.share if reached else None,
        achieved_by=f"{reached.what} on {reached.hardware}" if reached else "",
        estimated_ms=estimated_s * 1000 if estimated_s else None,
        estimated_tokens_per_s=training.tokens_per_step / estimated_s if estimated_s else None,
        estimated_hours=training.num_steps * estimated_s / 3600 if estimated_s else None,
    )


def decoding_outlook(site: RecipeOnHardware) -> list[DecodingEstimate]:
    """Every precision, plain and with speculation, for one stream and for as many as the recipe judges and measures."""
    validation = site.config.validation
    return [
        _decoding(site, precision, name, speculation, streams)
        for precision in site.precisions
        for name, speculation in (("none", PLAIN), ("n-gram", NGRAM))
        for streams in sorted({1, validation.concurrency, max(validation.levels)})
    ]


def _decoding(
    site: RecipeOnHardware, precision: Precision, name: str, speculation: Speculation, streams: int
) -> DecodingEstimate:
    fitting, reached = min(streams, site.most_streams(precision)), site.achieved(precision)
    share = reached.share if reached else None
    if not fitting:
        return DecodingEstimate(precision.name, name, streams, 0, None, None, share, None)
    bound = site.bounds(precision, fitting, speculation)
    rate = bound.tokens_per_s
    return DecodingEstimate(
        precision.name, name, streams, fitting, rate, bound.bound_by, share, rate * share if share is not None else None
    )


def load_outlook(site: RecipeOnHardware, load_per_s: float) -> list[LoadOutlook]:
    """Replicas for so many requests a second, none of whose prompt is cached, by precision."""
    return [_load(site, load_per_s, precision) for precision in site.precisions]


def _load(site: RecipeOnHardware, load_per_s: float, precision: Precision) -> LoadOutlook:
    shape, output_tokens = site.model.shape, site.config.validation.output_tokens
    streams = min(max(site.config.validation.levels), site.most_streams(precision))
    asked = (precision.name, load_per_s, site.prompt_tokens, output_tokens, streams)
    if not streams:
        return LoadOutlook(*asked, None, None, None, None)
    peak = peak_of(site.hardware.engine, precision.arithmetic)
    prompt = prefill_s(shape, peak, precision, prompt_tokens=site.prompt_tokens)
    step = decode_step_s(shape, peak, precision, streams=streams, context_tokens=site.context_tokens)
    each = requests_per_s(prompt, step, streams=streams, output_tokens=output_tokens)
    reached = site.achieved_under_load(precision)
    estimated = replicas_for(load_per_s, each, achieved_share=reached.share) if reached else None
    return LoadOutlook(*asked, each, prompt.seconds * 1000, replicas_for(load_per_s, each), estimated)
