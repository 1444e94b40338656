"""What a recipe's training and serving may expect of given hardware: bounds, and estimates at shares that others reached."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

from aria_ray.config.schema import RunConfig
from aria_ray.hardware.flops import lora_step_flops
from aria_ray.hardware.kernels.choice import choose_kernels
from aria_ray.hardware.memory import (
    TYPE_BYTES,
    UTILIZATION,
    Memory,
    TrainingWork,
    full_training,
    lora_layer_bytes,
    lora_training,
    serving,
)
from aria_ray.hardware.models import ModelSize
from aria_ray.hardware.published import Kind, Published, achieved, peak_of
from aria_ray.hardware.roofline import (
    PLAIN,
    PRECISIONS,
    DecodeBounds,
    Precision,
    Speculation,
    TimeBound,
    causal_pairs,
    decode_bounds_at,
    decode_step_s,
    prefill_s,
    replicas_for,
    requests_per_s,
    train_step_s,
)
from aria_ray.hardware.specs import Accelerator

SUPERVISED_SHARE = 0.25
"""Assumed: tokens that loss is taken on, of those computed; 41 of 155 in benchmarks/RESULTS.md (Training, Ablations)."""
NGRAM = Speculation(drafted_tokens=4, tokens_per_step=1.33)
"""Assumed of n-gram speculation: what vLLM's proposer brings on the dataset's own answers (benchmarks/RESULTS.md, n-gram
speculation on the dataset)."""
_DECODING: Mapping[str, Kind] = {"bf16": "decoding bf16", "fp8": "decoding fp8", "fp32": "decoding fp32"}
BATCHED_TOKENS = 8192
"""What vLLM's server computes in one step at most on GPUs of this size, unless told otherwise."""


@dataclass(frozen=True)
class Site:
    """A recipe on given hardware: one device for each training worker, and as many for replicas."""

    config: RunConfig
    model: ModelSize
    accelerator: Accelerator

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
        return (self.base, PRECISIONS["fp8"]) if "fp8" in self.accelerator.peak_flops_per_s else (self.base,)

    @property
    def work(self) -> TrainingWork:
        """What one training worker holds."""
        training, dtype = self.config.training, self.config.model.dtype
        kernels = choose_kernels(self.config.hardware.kernels, use_gpu=self.accelerator.kind == "gpu", dtype=dtype)
        return TrainingWork(
            row_tokens=training.max_tokens,
            dtype=dtype,
            rank=training.lora.rank,
            target_modules=training.lora.target_modules,
            num_workers=training.num_workers,
            parallelism=training.parallelism,
            kernels=kernels,
        )

    def achieved(self, precision: Precision | None = None) -> Published:
        """What was reached: in training, or in decoding with that precision."""
        return achieved(self.accelerator, "training" if precision is None else _DECODING[precision.name])

    def bounds(self, precision: Precision, streams: int, speculation: Speculation = PLAIN) -> DecodeBounds:
        """Of decoding."""
        peak = peak_of(self.accelerator, precision.arithmetic)
        return decode_bounds_at(
            self.model.shape,
            peak,
            precision,
            streams=streams,
            context_tokens=self.context_tokens,
            speculation=speculation,
        )


@dataclass(frozen=True)
class TrainingOutlook:
    """Steps of all workers together, each at the same time."""

    num_workers: int
    num_steps: int
    tokens_per_worker: int
    flops_per_worker: float
    bound_ms: float
    bound_by: Literal["arithmetic", "memory"]
    bound_tokens_per_s: float
    bound_hours: float
    achieved_share: float
    achieved_by: str
    estimated_ms: float
    estimated_tokens_per_s: float
    estimated_hours: float


@dataclass(frozen=True)
class DecodingOutlook:
    """Output tokens per second of one replica."""

    precision: str
    speculation: str
    streams: int
    bound_tokens_per_s: float
    bound_by: Literal["arithmetic", "memory"]
    achieved_share: float
    estimated_tokens_per_s: float


@dataclass(frozen=True)
class LoadOutlook:
    """Replicas for a load."""

    precision: str
    requests_per_s: float
    prompt_tokens: int
    output_tokens: int
    streams: int
    replica_bound_per_s: float
    prefill_bound_ms: float
    replicas_at_bound: int
    replicas_estimated: int


def training_memory(site: Site) -> dict[str, Memory]:
    """LoRA as the recipe does it, the same with activations computed again, and all weights trained."""
    capacity = site.accelerator.memory_bytes
    checkpointed = replace(site.work, checkpointing=True)
    return {
        "LoRA": lora_training(site.model, site.work, capacity),
        "LoRA, checkpointed": lora_training(site.model, checkpointed, capacity),
        "full AdamW": full_training(site.model, site.work, capacity),
    }


def serving_memory(site: Site) -> dict[str, Memory]:
    """One engine with as many streams as the recipe measures at most, each at its longest; by precision."""
    gpu = site.accelerator.kind == "gpu"
    validation = site.config.validation
    return {
        precision.name: serving(
            site.model,
            precision,
            streams=max(validation.levels),
            context_tokens=site.prompt_tokens + validation.output_tokens,
            batched_tokens=BATCHED_TOKENS if gpu else BATCHED_TOKENS // 4,
            capacity_bytes=site.accelerator.memory_bytes * (UTILIZATION if gpu else 1),
        )
        for precision in site.precisions
    }


def training_outlook(site: Site) -> TrainingOutlook:
    """The recipe's steps, every row one example, which is the most that attention can have to do."""
    training = site.config.training
    tokens = -(-training.tokens_per_step // training.num_workers)
    rows = -(-tokens // training.max_tokens)
    flops = lora_step_flops(
        site.model.shape,
        training.lora.rank,
        training.lora.target_modules,
        num_tokens=tokens,
        num_attention_pairs=rows * causal_pairs(tokens // rows),
        num_supervised=int(SUPERVISED_SHARE * tokens),
    )
    bound = train_step_s(
        peak_of(site.accelerator, site.base.arithmetic),
        flops=flops,
        weight_bytes=rows * TYPE_BYTES[site.config.model.dtype] * site.model.num_parameters,
        activation_bytes=tokens * site.model.shape.num_layers * lora_layer_bytes(site.model, site.work),
        num_trained=site.model.adapter_weights(training.lora.rank, training.lora.target_modules),
    )
    reached = site.achieved()
    estimated_s = bound.seconds / reached.share
    return TrainingOutlook(
        num_workers=training.num_workers,
        num_steps=training.num_steps,
        tokens_per_worker=tokens,
        flops_per_worker=flops,
        bound_ms=bound.seconds * 1000,
        bound_by=_longer(bound),
        bound_tokens_per_s=training.tokens_per_step / bound.seconds,
        bound_hours=training.num_steps * bound.seconds / 3600,
        achieved_share=reached.share,
        achieved_by=f"{reached.what} on {reached.hardware}",
        estimated_ms=estimated_s * 1000,
        estimated_tokens_per_s=training.tokens_per_step / estimated_s,
        estimated_hours=training.num_steps * estimated_s / 3600,
    )


def decoding_outlook(site: Site) -> list[DecodingOutlook]:
    """Every precision, plain and with speculation, for one stream and for as many as the recipe judges and measures."""
    validation = site.config.validation
    found = []
    for precision in site.precisions:
        share = site.achieved(precision).share
        for name, speculation in (("none", PLAIN), ("n-gram", NGRAM)):
            for streams in sorted({1, validation.concurrency, max(validation.levels)}):
                bound = site.bounds(precision, streams, speculation)
                by: Literal["arithmetic", "memory"] = "memory" if bound.by_memory <= bound.by_arithmetic else "arithmetic"
                rate = bound.tokens_per_s
                found.append(DecodingOutlook(precision.name, name, streams, rate, by, share, rate * share))
    return found


def load_outlook(site: Site, load_per_s: float) -> list[LoadOutlook]:
    """Replicas for so many requests a second, none of whose prompt is cached, by precision."""
    validation, found = site.config.validation, []
    streams = max(validation.levels)
    for precision in site.precisions:
        peak = peak_of(site.accelerator, precision.arithmetic)
        prompt = prefill_s(site.model.shape, peak, precision, prompt_tokens=site.prompt_tokens)
        step = decode_step_s(site.model.shape, peak, precision, streams=streams, context_tokens=site.context_tokens)
        each = requests_per_s(prompt, step, streams=streams, output_tokens=validation.output_tokens)
        found.append(
            LoadOutlook(
                precision=precision.name,
                requests_per_s=load_per_s,
                prompt_tokens=site.prompt_tokens,
                output_tokens=validation.output_tokens,
                streams=streams,
                replica_bound_per_s=each,
                prefill_bound_ms=prompt.seconds * 1000,
                replicas_at_bound=replicas_for(load_per_s, each),
                replicas_estimated=replicas_for(load_per_s, each, achieved_share=site.achieved(precision).share),
            )
        )
    return found


def _longer(bound: TimeBound) -> Literal["arithmetic", "memory"]:
    return "arithmetic" if bound.by_arithmetic_s >= bound.by_memory_s else "memory"
