"""What no software can exceed on given hardware (roofline model, Williams et al. 2009, doi 10.1145/1498765.1498785).

Work takes at least as long as its arithmetic at the peak of the matrix units, and at least as long as its bytes at the peak of
memory; the longer of the two is the bound. Left out, which makes the bounds better than can be had: starting kernels, norms,
softmax and sampling, traffic between devices, and what a tile reads twice.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from aria_ray.machine.flops import LlamaShape


@dataclass(frozen=True)
class Precision:
    """How weights and cached keys and values are held, and which peak their products have."""

    name: str
    linear_bytes: int
    """Of a weight of the blocks' linear layers."""
    head_bytes: int
    """Of a weight of output head and embedding, which FP8 checkpoints and vLLM's `fp8` leave in 16 bits."""
    kv_bytes: int
    arithmetic: str
    """A type of `Accelerator.peak_flops_per_s`."""


PRECISIONS: Mapping[str, Precision] = {
    "fp32": Precision("fp32", 4, 4, 4, "fp32"),
    "bf16": Precision("bf16", 2, 2, 2, "bf16"),
    "fp8": Precision("fp8", 1, 2, 2, "fp8"),
    "fp8 + fp8 cache": Precision("fp8 + fp8 cache", 1, 2, 1, "fp8"),
}


@dataclass(frozen=True)
class Speculation:
    """Tokens that are guessed ahead and checked together in one step of the model (arXiv 2211.17192)."""

    drafted_tokens: int = 0
    tokens_per_step: float = 1.0
    """That a step brings on average, with the one that the model adds itself: a property of the text, to be measured."""


PLAIN = Speculation()


@dataclass(frozen=True)
class DecodeBounds:
    """Output tokens per second, summed over the streams, that no engine can exceed."""

    by_memory: float
    by_arithmetic: float

    @property
    def tokens_per_s(self) -> float:
        """The lower of the two."""
        return min(self.by_memory, self.by_arithmetic)

    @property
    def bound_by(self) -> Literal["arithmetic", "memory"]:
        """Which of the two that is."""
        return "memory" if self.by_memory <= self.by_arithmetic else "arithmetic"


@dataclass(frozen=True)
class TimeBound:
    """Seconds that no software can stay below."""

    by_memory_s: float
    by_arithmetic_s: float

    @property
    def seconds(self) -> float:
        """The longer of the two."""
        return max(self.by_memory_s, self.by_arithmetic_s)


@dataclass(frozen=True)
class Peak:
    """What a device can do at most in one precision."""

    bytes_per_s: float
    flops_per_s: float


def num_multiplied_weights(shape: LlamaShape) -> int:
    """Weights that every token is multiplied with: linear layers and output head. An embedding is only looked up."""
    layers = sum(inputs * outputs for inputs, outputs in shape.linear_layers.values())
    return shape.num_layers * layers + shape.hidden_size * shape.vocabulary_size


def decode_bounds(
    shape: LlamaShape, streams: int, *, bytes_per_weight: int, bytes_per_s: float, flops_per_s: float
) -> DecodeBounds:
    """Bounds for so many streams at a time with no context: streams x bandwidth / bytes of the weights, and arithmetic / 2
    per weight."""
    precision = Precision("", bytes_per_weight, bytes_per_weight, 0, "")
    return decode_bounds_at(shape, Peak(bytes_per_s, flops_per_s), precision, streams=streams, context_tokens=0)


def decode_bounds_at(
    shape: LlamaShape,
    peak: Peak,
    precision: Precision,
    *,
    streams: int,
    context_tokens: float,
    speculation: Speculation = PLAIN,
) -> DecodeBounds:
    """Bounds for streams that look back at `context_tokens` each on average.

    A step reads every weight once for all streams, and the keys and values of each stream's context; for every token that it
    adds or checks it multiplies with every weight (2 operations), and with the context's keys and values (4 per value of a
    head). So one stream is bound by memory, many by arithmetic or by their keys and values.
    """
    step = decode_step_s(
        shape, peak, precision, streams=streams, context_tokens=context_tokens, checked_tokens=1 + speculation.drafted_tokens
    )
    tokens = streams * speculation.tokens_per_step
    return DecodeBounds(by_memory=tokens / step.by_memory_s, by_arithmetic=tokens / step.by_arithmetic_s)


def decode_step_s(
    shape: LlamaShape,
    peak: Peak,
    precision: Precision,
    *,
    streams: int,
    context_tokens: float,
    checked_tokens: int = 1,
) -> TimeBound:
    """The bound of one step of decoding, in which each stream computes `checked_tokens`."""
    head = shape.hidden_size * shape.vocabulary_size
    weights = num_multiplied_weights(shape)
    kv_values = 2 * shape.num_layers * shape.num_key_value_heads * shape.head_size
    num_bytes = (weights - head) * precision.linear_bytes + head * precision.head_bytes
    num_bytes += int(streams * context_tokens * kv_values * precision.kv_bytes)
    attention = 4 * shape.num_layers * shape.num_heads * shape.head_size * context_tokens
    flops = streams * checked_tokens * (2 * weights + attention)
    return TimeBound(by_memory_s=num_bytes / peak.bytes_per_s, by_arithmetic_s=flops / peak.flops_per_s)


def prefill_s(shape: LlamaShape, peak: Peak, precision: Precision, *, prompt_tokens: int) -> TimeBound:
    """The bound of reading a prompt of which nothing is cached: the weights once, each token once through every linear layer,
    each pair of tokens once through attention, the output head for the last token alone."""
    head = shape.hidden_size * shape.vocabulary_size
    linear = num_multiplied_weights(shape) - head
    attention = 4 * shape.num_layers * shape.num_heads * shape.head_size * causal_pairs(prompt_tokens)
    flops = 2 * linear * prompt_tokens + attention + 2 * head
    num_bytes = linear * precision.linear_bytes + head * precision.head_bytes
    return TimeBound(by_memory_s=num_bytes / peak.bytes_per_s, by_arithmetic_s=flops / peak.flops_per_s)


def causal_pairs(num_tokens: int) -> int:
    """Pairs of tokens of which the later sees the earlier, itself included, in one row that is one example."""
    return num_tokens * (num_tokens + 1) // 2


def train_step_s(peak: Peak, *, flops: float, weight_bytes: float, num_trained: int) -> TimeBound:
    """The bound of one optimizer step of one worker.

    Memory: weights read once forward and once backward for all rows of the step, and for each trained parameter, in float32,
    AdamW reads weight, gradient and two averages and writes all but the gradient (arXiv 1711.05101). No activations: how many
    of them pass through memory is up to the software.
    """
    num_bytes = 2 * weight_bytes + 7 * 4 * num_trained
    return TimeBound(by_memory_s=num_bytes / peak.bytes_per_s, by_arithmetic_s=flops / peak.flops_per_s)


def requests_per_s(prompt: TimeBound, step: TimeBound, *, streams: int, output_tokens: float) -> float:
    """Requests that a replica can finish in a second: each takes its prompt, and its share of the steps of `streams`.

    An engine may read prompts in the steps that decode (chunked prefill, arXiv 2308.16369). So the arithmetic of one can
    overlap with the memory traffic of the other, and the prompts need no reading of the weights of their own.
    """
    share = output_tokens / streams
    return 1 / max(prompt.by_arithmetic_s + share * step.by_arithmetic_s, share * step.by_memory_s)


def replicas_for(load_per_s: float, replica_per_s: float, *, achieved_share: float = 1.0) -> int:
    """Replicas that a load needs if each reaches that share of its bound."""
    return max(1, math.ceil(load_per_s / (replica_per_s * achieved_share)))
