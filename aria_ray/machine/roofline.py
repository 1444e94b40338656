"""Bounds that no software can exceed on given hardware (roofline model, Williams et al. 2009, doi 10.1145/1498765.1498785).

Work takes at least the time of its arithmetic at the peak of the matrix units, and at least the time of its bytes at the peak
of memory; the longer of the two is the bound. Real runs are slower, because the bounds leave out kernel launches, norms,
softmax, sampling, traffic between devices, and repeated reads of a tile.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from aria_ray.machine.flops import DecoderShape


@dataclass(frozen=True)
class Precision:
    """Bytes per weight and per cached value, and the type that sets the arithmetic peak."""

    name: str
    linear_bytes: int
    """Bytes of a weight in the blocks' linear layers."""
    head_bytes: int
    """Bytes of a weight in output head and embedding, which FP8 checkpoints and vLLM's `fp8` keep in 16 bits."""
    kv_bytes: int
    arithmetic: str
    """A key of `Accelerator.peak_flops_per_s`."""


PRECISIONS: Mapping[str, Precision] = {
    "fp32": Precision("fp32", 4, 4, 4, "fp32"),
    "bf16": Precision("bf16", 2, 2, 2, "bf16"),
    "fp8": Precision("fp8", 1, 2, 2, "fp8"),
    "fp8 + fp8 cache": Precision("fp8 + fp8 cache", 1, 2, 1, "fp8"),
}


@dataclass(frozen=True)
class Speculation:
    """Speculative decoding: drafted tokens are checked together in one step of the model (arXiv 2211.17192)."""

    drafted_tokens: int = 0
    tokens_per_step: float = 1.0
    """Mean number of tokens that a step produces, with the model's own one. It depends on the text and must be measured."""


PLAIN = Speculation()
"""Decoding without speculation."""


@dataclass(frozen=True)
class DecodeBounds:
    """Output tokens per second over all streams that no engine can exceed."""

    by_memory: float
    by_arithmetic: float

    @property
    def tokens_per_s(self) -> float:
        """The lower of the two bounds."""
        return min(self.by_memory, self.by_arithmetic)

    @property
    def bound_by(self) -> Literal["arithmetic", "memory"]:
        """Which of the two bounds is the lower."""
        return "memory" if self.by_memory <= self.by_arithmetic else "arithmetic"


@dataclass(frozen=True)
class TimeBound:
    """Seconds that the work takes at least."""

    by_memory_s: float
    by_arithmetic_s: float

    @property
    def seconds(self) -> float:
        """The longer of the two times."""
        return max(self.by_memory_s, self.by_arithmetic_s)


@dataclass(frozen=True)
class Peak:
    """Peaks of a device in one precision."""

    bytes_per_s: float
    flops_per_s: float


def num_multiplied_weights(shape: DecoderShape) -> int:
    """Number of weights that every token is multiplied with: linear layers and output head. An embedding is only looked up."""
    layers = sum(inputs * outputs for inputs, outputs in shape.linear_layers.values())
    return shape.num_layers * layers + shape.hidden_size * shape.vocabulary_size


def decode_bounds(
    shape: DecoderShape, streams: int, *, bytes_per_weight: int, bytes_per_s: float, flops_per_s: float
) -> DecodeBounds:
    """Bounds of decoding `streams` streams at a time without context.

    By memory: streams x bandwidth / bytes of the weights. By arithmetic: peak / (2 x number of weights).
    """
    precision = Precision("", bytes_per_weight, bytes_per_weight, 0, "")
    return decode_bounds_at(shape, Peak(bytes_per_s, flops_per_s), precision, streams=streams, context_tokens=0)


def decode_bounds_at(
    shape: DecoderShape,
    peak: Peak,
    precision: Precision,
    *,
    streams: int,
    context_tokens: float,
    speculation: Speculation = PLAIN,
) -> DecodeBounds:
    """Bounds of decoding for streams with a mean context of `context_tokens`.

    A step reads every weight once for all streams, and the keys and values of each stream's context. Every token that it adds
    or checks is multiplied with every weight (2 operations), and with the keys and values of the context (4 per value of a
    head). So memory limits one stream; arithmetic, or reading keys and values, limits many.
    """
    step = decode_step_s(
        shape, peak, precision, streams=streams, context_tokens=context_tokens, checked_tokens=1 + speculation.drafted_tokens
    )
    tokens = streams * speculation.tokens_per_step
    return DecodeBounds(by_memory=tokens / step.by_memory_s, by_arithmetic=tokens / step.by_arithmetic_s)


def decode_step_s(
    shape: DecoderShape,
    peak: Peak,
    precision: Precision,
    *,
    streams: int,
    context_tokens: float,
    checked_tokens: int = 1,
) -> TimeBound:
    """Bound of one decoding step, in which each stream computes `checked_tokens`."""
    head = shape.hidden_size * shape.vocabulary_size
    weights = num_multiplied_weights(shape)
    kv_values = 2 * shape.num_layers * shape.num_key_value_heads * shape.head_size
    num_bytes = (weights - head) * precision.linear_bytes + head * precision.head_bytes
    num_bytes += int(streams * context_tokens * kv_values * precision.kv_bytes)
    attention = 4 * shape.num_layers * shape.num_heads * shape.head_size * context_tokens
    flops = streams * checked_tokens * (2 * weights + attention)
    return TimeBound(by_memory_s=num_bytes / peak.bytes_per_s, by_arithmetic_s=flops / peak.flops_per_s)


def prefill_s(shape: DecoderShape, peak: Peak, precision: Precision, *, prompt_tokens: int) -> TimeBound:
    """Bound of reading a prompt of which nothing is cached.

    It reads the weights once, puts each token through every linear layer and each pair of tokens through attention, and
    computes the output head for the last token alone.
    """
    head = shape.hidden_size * shape.vocabulary_size
    linear = num_multiplied_weights(shape) - head
    attention = 4 * shape.num_layers * shape.num_heads * shape.head_size * causal_pairs(prompt_tokens)
    flops = 2 * linear * prompt_tokens + attention + 2 * head
    num_bytes = linear * precision.linear_bytes + head * precision.head_bytes
    return TimeBound(by_memory_s=num_bytes / peak.bytes_per_s, by_arithmetic_s=flops / peak.flops_per_s)


def causal_pairs(num_tokens: int) -> int:
    """Number of pairs of a token and one that it attends to, itself included, in a row that is one example."""
    return num_tokens * (num_tokens + 1) // 2


def train_step_s(peak: Peak, *, flops: float, weight_bytes: float, num_trained: int) -> TimeBound:
    """Bound of one optimizer step of one worker.

    Memory traffic: the weights are read once forward and once backward for all rows of the step. For each trained parameter
    AdamW reads weight, gradient and two averages in float32, and writes all but the gradient (arXiv 1711.05101). Activations
    do not count, because the software decides how many of them pass through memory.
    """
    num_bytes = 2 * weight_bytes + 7 * 4 * num_trained
    return TimeBound(by_memory_s=num_bytes / peak.bytes_per_s, by_arithmetic_s=flops / peak.flops_per_s)


def requests_per_s(prompt: TimeBound, step: TimeBound, *, streams: int, output_tokens: float) -> float:
    """Bound on the requests per second of a replica. A request costs its prompt, and its share of the steps of `streams`.

    An engine may read prompts within decoding steps (chunked prefill, arXiv 2308.16369). So the arithmetic of prompts can
    overlap with the memory traffic of decoding, and prompts need no reading of the weights of their own.
    """
    share = output_tokens / streams
    return 1 / max(prompt.by_arithmetic_s + share * step.by_arithmetic_s, share * step.by_memory_s)


def replicas_for(load_per_s: float, replica_per_s: float, *, achieved_share: float = 1.0) -> int:
    """Number of replicas that a load needs if each reaches `achieved_share` of its bound; at least 1."""
    return max(1, math.ceil(load_per_s / (replica_per_s * achieved_share)))
