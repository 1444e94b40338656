"""Attention over packed rows: each token attends to its ancestors in the prefix tree, and unused blocks are not computed.

On a CPU this is scaled dot-product attention in tiles of rows, each over the columns of its rows' ancestors. On a GPU it is
FlexAttention with a block mask of the same rule. The stock model gets both through transformers' attention interface.

    B = 1 row, A = attention heads, K = key-value heads, T = tokens of the row, D = head size
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.attention.flex_attention import BlockMask, create_block_mask
from transformers import AttentionInterface, PreTrainedModel

from aria_ray.training.batch import Pack
from aria_ray.training.patches import attention_name

TILED = "aria_prefix_tree"
"""Name of the tiled attention in transformers' attention interface."""
TILE_ROWS = 128


@dataclass(frozen=True)
class AttentionTile:
    """Consecutive rows of the attention matrix, and the C columns that they need."""

    start: int
    end: int
    columns: Tensor  # (C,) int64
    mask: Tensor  # (rows, C), 0 where the row's token attends to the column's, minus infinity elsewhere


def use_prefix_tree_attention(model: PreTrainedModel) -> None:
    """Set the attention of a model to that for packed rows: tiled on a CPU, FlexAttention on a GPU."""
    model.set_attn_implementation("flex_attention" if model.device.type == "cuda" else TILED)


def attention_arguments(pack: Pack, model: PreTrainedModel) -> dict[str, Any]:
    """Arguments of the model's forward pass for the attention that it uses, besides tokens and positions."""
    name = attention_name(model)
    if name == "flex_attention":
        return {"attention_mask": block_mask(pack.subtree_end.to(model.device))}
    if name == TILED:
        return {"tiles": tiles(pack, model.dtype, model.device)}
    return {"attention_mask": pack.attention_mask[None, None].to(model.device)}  # (1, 1, T, T)


def block_mask(subtree_end: Tensor) -> BlockMask:
    """FlexAttention's mask of a packed row, from the end of each token's subtree (T,)."""

    def sees(_batch: Tensor, _head: Tensor, row: Tensor, column: Tensor) -> Tensor:
        return (column <= row) & (row < subtree_end[column])

    length = len(subtree_end)
    return create_block_mask(sees, 1, None, length, length, device=subtree_end.device.type)


def tiles(pack: Pack, dtype: torch.dtype, device: torch.device) -> tuple[AttentionTile, ...]:
    """The rows of a pack in tiles of `TILE_ROWS`, each with the columns that any of its rows attends to."""
    sees = pack.attention_mask
    made = []
    for start in range(0, pack.num_tokens, TILE_ROWS):
        end = min(start + TILE_ROWS, pack.num_tokens)
        columns = sees[start:end].any(dim=0).nonzero()[:, 0]
        mask = torch.zeros(end - start, len(columns), dtype=dtype)
        mask.masked_fill_(~sees[start:end, columns], float("-inf"))
        made.append(AttentionTile(start, end, columns.to(device), mask.to(device)))
    return tuple(made)


def tiled_attention(
    _module: nn.Module,
    query: Tensor,  # (B, A, T, D)
    key: Tensor,  # (B, K, T, D)
    value: Tensor,  # (B, K, T, D)
    _attention_mask: None,
    *,
    tiles: tuple[AttentionTile, ...],
    **options: Any,
) -> tuple[Tensor, None]:
    """Attention with the signature of transformers' attention functions; the result is (B, T, A, D)."""
    parts = []
    for tile in tiles:
        keys, values = (states.index_select(2, tile.columns) for states in (key, value))
        parts.append(
            functional.scaled_dot_product_attention(
                query[:, :, tile.start : tile.end],
                keys,
                values,
                attn_mask=tile.mask,
                dropout_p=options["dropout"],
                scale=options["scaling"],
                enable_gqa=query.shape[1] != key.shape[1],
            )
        )
    return torch.cat(parts, dim=2).transpose(1, 2).contiguous(), None


AttentionInterface.register(TILED, tiled_attention)
