"""The forward pass of a packed row, by the model's own code: its embedding, its layers, and its way from states to logits.

T = tokens of a packed row, S = positions that the output head computes, H = hidden size, V = vocabulary
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from peft import PeftModel
from peft.utils.other import TrainableTokensWrapper
from torch import Tensor, nn
from torch.nn import functional
from transformers.modeling_outputs import BaseModelOutputWithPast

from aria_ray.training.attention import attention_arguments
from aria_ray.training.batch import Pack
from aria_ray.training.patches import trained_token_rows


def hidden_states(model: nn.Module, pack: Pack) -> Tensor:
    """Last hidden states (1, T, H) of a packed row. The caller applies the output head, to the few that need it."""
    causal = causal_lm(model)
    return causal.base_model(
        input_ids=pack.input_ids.to(causal.device)[None],  # (1, T)
        position_ids=pack.position_ids.to(causal.device)[None],  # (1, T)
        use_cache=False,
        **attention_arguments(pack, causal),
    ).last_hidden_state


def logits(model: nn.Module, states: Tensor) -> Tensor:
    """Logits (S, V) of hidden states (S, H), by the model's own forward pass without its layers.

    So whatever a family does between head and logits is done too: a scale (Granite), a soft cap (Gemma 2).
    """
    causal = causal_lm(model)
    with _layers_give(causal.base_model, states[None]):
        result: Tensor = causal(inputs_embeds=states[None], use_cache=False).logits[0]
    return result


@contextmanager
def _layers_give(layers: Any, states: Tensor) -> Iterator[None]:
    """Have the model below the head return given states (1, S, H) in place of a computation."""
    layers.forward = lambda *_args, **_options: BaseModelOutputWithPast(last_hidden_state=states)
    try:
        yield
    finally:
        del layers.forward  # the class's own is in sight again


def causal_lm(model: nn.Module) -> Any:
    """The transformers model, whether or not it has an adapter."""
    return model.get_base_model() if isinstance(model, PeftModel) else model


def use_fast_token_rows(model: PeftModel) -> None:
    """Replace the forward pass of PEFT's wrappers for trained tokens by one that copies no weight (`trained_token_rows`)."""
    for module in model.modules():
        if isinstance(module, TrainableTokensWrapper):
            embeds = isinstance(module.token_adapter.base_layer, nn.Embedding)
            module.forward = partial(_embedded if embeds else _head_logits, module)


def _embedded(embedding: TrainableTokensWrapper, ids: Tensor) -> Tensor:
    """Embeddings (1, T, H) of token ids (1, T)."""
    layer = embedding.token_adapter.base_layer
    weight, index, rows = _trained_rows(embedding)
    hits = ids[..., None] == index  # (1, T, trained tokens)
    ours = rows[hits.int().argmax(dim=-1)]  # (1, T, H)
    if hasattr(layer, "embed_scale"):  # a layer that multiplies what it has looked up, as Gemma's does
        ours = ours * torch.as_tensor(layer.embed_scale, device=weight.device).to(weight.dtype)
    return torch.where(hits.any(dim=-1, keepdim=True), ours, layer(ids))


def _head_logits(head: TrainableTokensWrapper, states: Tensor) -> Tensor:
    """Output of the head (1, S, V) for hidden states (1, S, H)."""
    layer = head.token_adapter.base_layer
    _, index, rows = _trained_rows(head)
    ours = functional.linear(states, rows, None if layer.bias is None else layer.bias[index])
    result: Tensor = layer(states).index_copy_(-1, index, ours)
    return result


def _trained_rows(module: TrainableTokensWrapper) -> tuple[Tensor, Tensor, Tensor]:
    """The frozen weight (V, H), the indices (N,) of the tokens that are trained, and their rows (N, H)."""
    weight, indices, rows = trained_token_rows(module)
    return weight, torch.tensor(indices, device=weight.device), rows.to(weight.dtype)
