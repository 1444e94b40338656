"""Reference speeds: published by others or measured by this project, each beside the roofline's bound for the same work.

A speed above its bound would show that the roofline model is wrong. An estimate is a bound times the share that a reference
reached, for the same kind of work on the same vendor's hardware only: a share says nothing about other work.
"""

from dataclasses import dataclass
from typing import Literal

from aria_ray.machine.flops import DecoderShape, lora_step_flops
from aria_ray.machine.roofline import (
    PRECISIONS,
    Peak,
    causal_pairs,
    decode_bounds_at,
    decode_step_s,
    num_multiplied_weights,
    prefill_s,
    requests_per_s,
)
from aria_ray.machine.specs import H100, H200, MI300X, Accelerator
from aria_ray.planning.memory import most_streams
from aria_ray.planning.model_sizes import ModelSize, model_size

WorkKind = Literal["training", "decoding bf16", "decoding fp8", "decoding fp32", "throughput fp8"]
"""Kinds of work. "decoding" is the speed of few streams, "throughput" the most that an engine with full memory reaches."""

LLAMA_8B = model_size("meta-llama/Llama-3.1-8B")
"""The size by its config.json, as for the next."""
LLAMA_2_70B = ModelSize("meta-llama/Llama-2-70b-hf", DecoderShape(80, 8192, 28_672, 64, 8, 128, 32_000), tied=False)

ROCM_BLOG = "rocm-blogs, vllm-optimize (ROCm 6.2); batch of 8 by the tool's default"
MLPERF = "mlcommons/training_results_v5.1, AMD, MI300X_EPYC_9575F_pytorch_llama2_70b, result_0"
TENSORRT = "NVIDIA/TensorRT-LLM, docs/source/performance/perf-overview.md"
TORCHTITAN = "pytorch/torchtitan, benchmarks/llama3_h100_202412_torchtitan.md (96 GB, 500 W)"
CPU_TRAINING_SHARE = 0.45
"""Share of the arithmetic bound reached on a processor: "ours" in benchmarks/RESULTS.md, Training."""
CPU_DECODING_SHARE = 0.16
"""CPU decoding efficiency at 16 streams, the `output_roofline_share` of a report: the throughput of "ours" in
benchmarks/RESULTS.md, Serving, over the bound in its section "Roofline against published figures"."""


@dataclass(frozen=True)
class ReferenceSpeed:
    """One speed, in a unit where higher is better, with its bound and its source."""

    what: str
    hardware: str
    kind: WorkKind
    value: float
    unit: str
    bound: float
    """Bound in the same unit, by `machine.roofline`."""
    source: str

    @property
    def share(self) -> float:
        """Share of the bound that was reached."""
        return self.value / self.bound


def peak_of(accelerator: Accelerator, arithmetic: str) -> Peak:
    """Memory bandwidth and arithmetic peak of a device, the latter for a type of its `peak_flops_per_s`."""
    return Peak(accelerator.memory_bytes_per_s, accelerator.peak_flops_per_s[arithmetic])


def reference_speeds() -> tuple[ReferenceSpeed, ...]:
    """All reference speeds."""
    return (*_training(), *_streams(), *_throughputs(), *_own())


def best_reference(accelerator: Accelerator, kind: WorkKind) -> ReferenceSpeed | None:
    """The reference with the largest share for a kind of work, on that hardware or else on its vendor's; None without one."""
    vendor = {"MI300X", "MI325X"} if accelerator.name.startswith("MI") else {"H100", "H200"}
    vendor = {accelerator.name} if accelerator.kind == "cpu" else vendor
    like = [each for each in reference_speeds() if each.kind == kind and each.hardware in vendor]
    same = [each for each in like if each.hardware == accelerator.name]
    return max(same or like, key=lambda each: each.share, default=None)


def _training() -> list[ReferenceSpeed]:
    """Training speeds per GPU.

    Pretraining takes the loss on every position. That is assumed for the LoRA run too, which raises its share by 1 %.
    """
    row = 8192
    lora = lora_step_flops(
        LLAMA_2_70B.shape,
        16,
        ("q_proj", "k_proj", "v_proj", "o_proj"),
        num_tokens=row,
        num_attention_pairs=causal_pairs(row),
        num_supervised=row,
    )
    speeds = [
        ReferenceSpeed(
            "Llama-2-70B LoRA, rank 16, rows of 8,192, FP8, 8 GPUs",
            "MI300X",
            "training",
            2.115 * row / 8,
            "tokens/s/GPU",
            MI300X.peak_flops_per_s["fp8"] / (lora / row),
            MLPERF,
        )
    ]
    full = lora_step_flops(
        LLAMA_8B.shape, 0, (), num_tokens=row, num_attention_pairs=causal_pairs(row), num_supervised=row
    ) + 2 * row * num_multiplied_weights(LLAMA_8B.shape)
    for what, value, kind, source in (
        ("Llama-3.1-8B, all weights, bf16, FSDP", 5762, "bf16", TORCHTITAN),
        ("Llama-3.1-8B, all weights, bf16, FSDP, compiled", 6667, "bf16", TORCHTITAN),
        ("Llama-3.1-8B, all weights, float8, FSDP, compiled", 8532, "fp8", TORCHTITAN),
        ("Llama-3-8B, all weights, FP8", 14_451, "fp8", "NVIDIA-NeMo/Megatron-Bridge, docs/performance-summary.md, 25.11"),
    ):
        bound = H100.peak_flops_per_s[kind] / (full / row)
        speeds.append(ReferenceSpeed(what, "H100", "training", value, "tokens/s/GPU", bound, source))
    te = "ROCm/TransformerEngine, issue 79, preliminary"
    for accelerator, value in ((MI300X, 474), (H200, 898)):
        what, bound = "Llama-3-8B, all weights, FSDP, FP8", accelerator.peak_flops_per_s["fp8"] / 1e12
        speeds.append(ReferenceSpeed(what, accelerator.name, "training", value, "TFLOP/s", bound, te))
    return speeds


def _streams() -> list[ReferenceSpeed]:
    """Decoding speeds of few streams. The mean context is the prompt and half of the answer.

    A figure for 32 streams of Qwen3Guard-Gen-8B on MI300X (vllm-project/recipes, pull request 431) is left out: its source does
    not give the number of GPUs.
    """
    speeds = []
    works: tuple[tuple[str, WorkKind, str, float], ...] = (
        ("Llama-3-8B, fp16, 8 streams, 512 in, 512 out", "decoding bf16", "bf16", 951),
        ("Llama-3-8B, FP8, 8 streams, 512 in, 512 out", "decoding fp8", "fp8", 1205),
    )
    streams, context = 8, 768
    for what, kind, precision, value in works:
        chosen = PRECISIONS[precision]
        peak = peak_of(MI300X, chosen.arithmetic)
        bound = decode_bounds_at(LLAMA_8B.shape, peak, chosen, streams=streams, context_tokens=context).tokens_per_s
        speeds.append(ReferenceSpeed(what, "MI300X", kind, value, "tokens/s", bound, ROCM_BLOG))
    return speeds


def _throughputs() -> list[ReferenceSpeed]:
    """The most output tokens per second of one GPU, time for the prompts included.

    The bound assumes an 8-bit cache and as many streams as the memory holds.
    """
    precision = PRECISIONS["fp8 + fp8 cache"]
    speeds = []
    for accelerator, values in (
        (H100, (28_312, 22_714, 15_220, 9_305, 3_459, 1_351)),
        (H200, (27_911, 26_221, 17_744, 12_194, 3_902, 1_804)),
    ):
        peak = peak_of(accelerator, precision.arithmetic)
        lengths = ((128, 128), (128, 2048), (1000, 1000), (2048, 2048), (5000, 500), (20_000, 2000))
        for (inputs, outputs), value in zip(lengths, values, strict=True):
            context = inputs + outputs / 2
            streams = most_streams(LLAMA_8B, precision, context_tokens=context, capacity_bytes=accelerator.memory_bytes)
            step = decode_step_s(LLAMA_8B.shape, peak, precision, streams=streams, context_tokens=context)
            prompt = prefill_s(LLAMA_8B.shape, peak, precision, prompt_tokens=inputs)
            bound = outputs * requests_per_s(prompt, step, streams=streams, output_tokens=outputs)
            what = f"Llama-3.1-8B, FP8, {inputs:,} in, {outputs:,} out, most tokens"
            speeds.append(ReferenceSpeed(what, accelerator.name, "throughput fp8", value, "tokens/s", bound, TENSORRT))
    return speeds


def _own() -> list[ReferenceSpeed]:
    """This project's speeds on a processor, as shares: the results beside them give the peaks of the machines."""
    training, decoding = "SmolLM2-135M LoRA, float32", "SmolLM2-135M, float32, 16 streams, by the bound without context"
    return [
        ReferenceSpeed(training, "CPU", "training", CPU_TRAINING_SHARE, "of the bound", 1, "benchmarks/RESULTS.md, Training"),
        ReferenceSpeed(
            decoding, "CPU", "decoding fp32", CPU_DECODING_SHARE, "of the bound", 1, "benchmarks/RESULTS.md, Serving"
        ),
    ]
