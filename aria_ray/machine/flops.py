"""Floating-point operations that a LoRA training step needs, from the shape of the model and what the step computes.

Counted is what the mathematics asks for, however it is computed: nothing recomputed, no masked pair, no padding. Divided by the
time of the step and the peak of the machine that is the model FLOP utilisation of PaLM (arXiv 2204.02311, appendix B). A
multiplication and an addition are two operations; matrix products only, as there.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Self


@dataclass(frozen=True)
class LlamaShape:
    """The sizes of a Llama that its matrix products depend on."""

    num_layers: int
    hidden_size: int
    intermediate_size: int
    num_heads: int
    num_key_value_heads: int
    head_size: int
    vocabulary_size: int

    @classmethod
    def of(cls, config: Mapping[str, Any]) -> Self:
        """From a model's `config.json` in Hugging Face layout."""
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
    def linear_layers(self) -> dict[str, tuple[int, int]]:
        """Inputs and outputs of each linear layer of one block, by name."""
        hidden, queries = self.hidden_size, self.num_heads * self.head_size
        keys = self.num_key_value_heads * self.head_size
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
    shape: LlamaShape,
    rank: int,
    target_modules: Collection[str],
    *,
    num_tokens: int,
    num_attention_pairs: int,
    num_supervised: int,
) -> int:
    """Operations of one forward and backward pass with a LoRA adapter of that rank on the linear layers named.

    `num_attention_pairs` are the pairs of tokens that the attention mask allows, of one head; `num_supervised` the positions
    that the output head sees.

    - Frozen linear layers of N weights: 2N per token forward and 2N for the gradient of their inputs; the 2N for that of the
      weights (6N in all: arXiv 2001.08361, section 2.1) are not needed. The first block's inputs count as well, which is right
      where embeddings are trained.
    - LoRA factors (arXiv 2106.09685), rank x (inputs + outputs) weights: 6 per weight and token, as they are trained.
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
