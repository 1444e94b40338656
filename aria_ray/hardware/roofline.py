"""The most tokens that decoding can make on given hardware (roofline model, Williams et al. 2009).

Each step of decoding reads every weight once, for all streams of the batch together, and multiplies with it once per stream. So
one stream is bound by memory, many by arithmetic. Left out, which makes the bounds higher than can be had: keys and values,
attention, activations, and the prompts, which take arithmetic as well.
"""

from dataclasses import dataclass

from aria_ray.hardware.flops import LlamaShape


@dataclass(frozen=True)
class DecodeBounds:
    """Output tokens per second, summed over the streams, that no engine can exceed."""

    by_memory: float
    by_arithmetic: float

    @property
    def tokens_per_s(self) -> float:
        """The lower of the two."""
        return min(self.by_memory, self.by_arithmetic)


def num_multiplied_weights(shape: LlamaShape) -> int:
    """Weights that every token is multiplied with: linear layers and output head. An embedding is only looked up."""
    layers = sum(inputs * outputs for inputs, outputs in shape.linear_layers.values())
    return shape.num_layers * layers + shape.hidden_size * shape.vocabulary_size


def decode_bounds(
    shape: LlamaShape, streams: int, *, bytes_per_weight: int, bytes_per_s: float, flops_per_s: float
) -> DecodeBounds:
    """Bounds for so many streams at a time: streams x bandwidth / bytes of the weights, and arithmetic / 2 per weight."""
    weights = num_multiplied_weights(shape)
    return DecodeBounds(
        by_memory=streams * bytes_per_s / (weights * bytes_per_weight), by_arithmetic=flops_per_s / (2 * weights)
    )
