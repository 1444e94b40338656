"""Sizes of a model of any family, counted on the model that transformers builds without values."""

from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import AutoConfig, AutoModelForCausalLM

from aria_ray.errors import ConfigError
from aria_ray.machine.flops import DecoderShape

DENSE = "give a dense model that writes text, for example Llama, Mistral, Qwen, Gemma, Granite, Phi-3 or SmolLM"
BUILDING = (
    OSError,
    ValueError,
    TypeError,
    KeyError,
    ImportError,
    AttributeError,
    RuntimeError,
    AssertionError,
    ArithmeticError,
)
"""What transformers and torch raise for a configuration that makes no model; there is no class of their own for this."""


def family_size(config_file: Path) -> tuple[DecoderShape, bool, int]:
    """Shape, whether the output head shares the embedding's weights, and the number of norms' and biases' parameters.

    Raises:
        ConfigError: transformers makes no such model, or it does not consist of equal blocks of linear layers.
    """
    config, model = _built(config_file)
    rows, hidden = model.get_input_embeddings().weight.shape
    head = model.get_output_embeddings()
    if head is None or config.is_encoder_decoder:
        raise ConfigError(f"{config_file}: a {type(model).__name__} does not write text token by token", DENSE)
    layers = _layers_of_block(config_file, config.num_hidden_layers, model)
    heads = config.num_attention_heads
    shape = DecoderShape(
        num_layers=config.num_hidden_layers,
        hidden_size=hidden,
        intermediate_size=getattr(config, "intermediate_size", None) or max(outputs for _, _, outputs in layers),
        num_heads=heads,
        num_key_value_heads=getattr(config, "num_key_value_heads", None) or heads,
        head_size=getattr(config, "head_dim", None) or hidden // heads,
        vocabulary_size=rows,
        other_layers=layers,
    )
    tied = bool(config.tie_word_embeddings)
    counted = shape.num_layers * sum(inputs * outputs for _, inputs, outputs in layers) + rows * hidden * (1 if tied else 2)
    return shape, tied, sum(each.numel() for each in model.parameters()) - counted


def _built(config_file: Path) -> tuple[Any, Any]:
    """Configuration and model, on the meta device."""
    try:
        config = AutoConfig.from_pretrained(config_file.parent, trust_remote_code=False)
        with torch.device("meta"):
            return config, AutoModelForCausalLM.from_config(config, trust_remote_code=False)
    except BUILDING as error:
        reason = " ".join(str(error).split())[:200]
        raise ConfigError(f"{config_file}: transformers makes no model that writes text of it ({reason})", DENSE) from None


def _layers_of_block(config_file: Path, num_blocks: int, model: Any) -> tuple[tuple[str, int, int], ...]:
    """Name, inputs and outputs of the linear layers of one block; all blocks have the same."""
    lists = (each for each in model.base_model.children() if isinstance(each, nn.ModuleList) and len(each) == num_blocks)
    blocks = next(lists, None)
    kind = f"{config_file}: {model.config.model_type}"
    if blocks is None:
        raise ConfigError(f"{kind} has no list of {num_blocks} blocks", DENSE)
    found = {_linear_layers(kind, block) for block in blocks}
    if len(found) > 1:
        raise ConfigError(f"{kind} has blocks of {len(found)} different shapes, which sizes are not counted for", DENSE)
    return found.pop()


def _linear_layers(kind: str, block: nn.Module) -> tuple[tuple[str, int, int], ...]:
    layers = {name.rsplit(".", 1)[-1]: each for name, each in block.named_modules() if isinstance(each, nn.Linear)}
    of_layers = {id(each.weight) for each in layers.values()}
    for name, weight in block.named_parameters():
        if weight.dim() > 1 and id(weight) not in of_layers:
            raise ConfigError(
                f"{kind}: {name} {tuple(weight.shape)} is no linear layer with its own name (GPT-2's Conv1D, experts, a "
                "convolution), so an adapter would leave it out",
                DENSE,
            )
    if not layers:
        raise ConfigError(f"{kind} has no linear layers", DENSE)
    return tuple((name, each.in_features, each.out_features) for name, each in layers.items())
