"""Private parts of PEFT and transformers that training relies on. Any release may move them; a test says so then."""

from typing import Any

from peft import LoraConfig
from peft.tuners.lora.layer import Linear
from peft.utils.other import TrainableTokensWrapper
from torch import Tensor, nn

SEEN_WITH = {"peft": "0.21.2", "transformers": "5.23.0"}


def use_lora_layer(config: LoraConfig, layer: type[Linear]) -> None:
    """Have PEFT put adapters on linear layers by a LoRA layer of ours.

    `LoraConfig._register_custom_module` (seen with peft 0.21.2) is PEFT's documented way to bring one, "experimental" in its
    own words; there is no public one.
    """
    config._register_custom_module({nn.Linear: layer})


def trained_token_rows(module: TrainableTokensWrapper) -> tuple[Tensor, list[int], Tensor]:
    """The frozen weight (V, H) under PEFT's wrapper, the indices of the N tokens that are trained, and their rows (N, H).

    The wrapper's own forward pass copies the weight to put the rows in, and makes a gradient for all of it: a tenth of a 135M
    model's step, for eight tokens. PEFT has no public way to the parts, so they are taken from `token_adapter`, its
    `base_layer`, `token_indices` and `trainable_tokens_delta` (seen with peft 0.21.2).
    """
    tokens = module.token_adapter
    (name,) = tokens.active_adapters
    return tokens.base_layer.weight, tokens.token_indices[name], tokens.trainable_tokens_delta[name]


def attention_name(model: Any) -> str:
    """The name of the attention implementation that a transformers model uses.

    `PreTrainedModel.set_attn_implementation` is public; to read it back there is only `config._attn_implementation` (seen with
    transformers 5.23.0).
    """
    name: str = model.config._attn_implementation
    return name
