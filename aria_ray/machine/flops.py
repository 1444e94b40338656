"""Floating-point operations of a LoRA training step, from the shape of the model and the work of the step.

The count is what the mathematics needs, however it is computed: no recomputation, no masked pairs, no padding. Divided by the
time of the step and the peak of the machine, it gives the model FLOP utilisation of PaLM (arXiv 2204.02311, appendix B). As
there, only matrix products count, and a multiplication and an addition are two operations.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Self


@dataclass(frozen=True)
class DecoderShape:
    """Sizes of a decoder-only model that its matrix products depend on."""

    num_layers: int
    hidden_size: int
    intermediate_size: int
    num_heads: int
    num_key_value_heads: int
    head_size: int
    vocabulary_size: int
    other_layers: tuple[tuple[str, int, int], ...] = ()
    """Name, inputs and outputs of each linear layer of one block, where they are not the seven of a Llama."""

    @classmethod
    def of(cls, config: Mapping[str, Any]) -> Self:
        """The shape given by a Llama's `config.json` in Hugging Face layout."""
        hidden, heads = config["hidden_size"], config["num_attention_heads"]
        return cls(
            num_layers=config["num_hidden_layers"],
            hidden_size=hidden,
            intermediate_size=config["intermediate_size"],
            num_heads=heads,
            num_key_value_heads=config.get("num_key_value_heads") or heads,
            head_size=config.get("head_dim") or hidden // heads,
            vocabulary_size=config["vocab_size"],
        )

    @property
    def query_size(self) -> int:
        """Size of the queries of one token, over all heads."""
        return self.num_heads * self.head_size

    @property
    def key_size(self) -> int:
        """Size of the keys of one token, and of the values, over all heads."""
        return self.num_key_value_heads * self.head_size

    @property
    def linear_layers(self) -> dict[str, tuple[int, int]]:
        """Number of inputs and outputs of each linear layer of one block, by name."""
        if self.other_layers:
            return {name: (inputs, outputs) for name, inputs, outputs in self.other_layers}
        hidden, queries, keys = self.hidden_size, self.query_size, self.key_size
        return {
            "q_proj": (hidden, queries),
            "k_proj": (hidden, keys),
            "v_proj": (hidden, keys),
            "o_proj": (queries, hidden),
            "gate_proj": (hidden, self.intermediate_size),
            "up_proj": (hidden, self.intermediate_size),
            "down_proj": (self.intermediate_size, hidden),
        }


def lora_step_flops(
    shape: DecoderShape,
    rank: int,
    target_modules: Collection[str],
    *,
    num_tokens: int,
    num_attention_pairs: int,
    num_supervised: int,
) -> int:
    """Operations of one forward and backward pass with a LoRA adapter of `rank` on the `target_modules`.

    `num_attention_pairs` is the number of token pairs that the attention mask allows, for one head; `num_supervised` the number
    of positions that the output head computes.

    - Frozen linear layers of N weights: 2N per token forward and 2N for the gradient of their inputs. The 2N for the gradient
      of the weights (6N in all: arXiv 2001.08361, section 2.1) are not needed. The inputs of the first block count too, which
      is right because embeddings are trained.
    - LoRA factors (arXiv 2106.09685), rank x (inputs + outputs) weights: 6 per weight and token, because they are trained.
    - Attention: scores and weighted values, 4 x head size per pair and head forward and twice that backward.
    - Output head, frozen: 2 per weight and supervised position forward and 2 for the gradient of its inputs.
    """
    layers = shape.linear_layers
    frozen = sum(inputs * outputs for inputs, outputs in layers.values())
    factors = sum(rank * sum(layers[name]) for name in target_modules)
    per_token = 4 * frozen + 6 * factors
    per_pair = 12 * shape.num_heads * shape.head_size
    head = 4 * shape.hidden_size * shape.vocabulary_size
    return shape.num_layers * (per_token * num_tokens + per_pair * num_attention_pairs) + head * num_supervised
