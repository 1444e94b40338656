"""Attention over packed rows: each token attends to its ancestors in the prefix tree, and unused blocks are not computed.

On a CPU this is scaled dot-product attention in tiles of rows, each over the columns of its rows' ancestors. On a GPU it is
FlexAttention with a block mask of the same rule. Every model gets both through transformers' interfaces for attention and for
masks, so its own rule for what a token sees (a sliding window, chunks) holds too, with depths in the tree as positions.

    B = 1 row, A = attention heads, K = key-value heads, T = tokens of the row, D = head size
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.attention.flex_attention import BlockMask, create_block_mask
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel
from transformers.integrations.flex_attention import flex_attention_forward

from aria_ray.training.batch import Pack
from aria_ray.training.patches import attention_name

TILED, FLEX = "aria_prefix_tree", "aria_prefix_tree_flex"
"""Names of the two in transformers' interfaces: attention in tiles, and FlexAttention."""
TILE_ROWS = 128

MaskRule = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]
"""A model's rule, as transformers writes it: (batch, head, query position, key position) to whether the query sees the key."""


@dataclass(frozen=True)
class AttentionTile:
    """Consecutive rows of the attention matrix, and the C columns that they need."""

    start: int
    end: int
    columns: Tensor  # (C,) int64
    mask: Tensor  # (rows, C), 0 where the row's token attends to the column's, minus infinity elsewhere


def use_prefix_tree_attention(model: PreTrainedModel) -> None:
    """Set the attention of a model to that for packed rows: tiled on a CPU, FlexAttention on a GPU."""
    model.set_attn_implementation(FLEX if model.device.type == "cuda" else TILED)


def attention_arguments(pack: Pack, model: PreTrainedModel) -> dict[str, Any]:
    """Arguments of the model's forward pass for the attention that it uses, besides tokens and positions."""
    if attention_name(model) in (TILED, FLEX):
        tree = torch.stack([pack.position_ids, pack.subtree_end])[None]  # (1, 2, T), which `_tiles_of` and `_blocks_of` get
        return {"attention_mask": tree.to(model.device)}
    return {"attention_mask": pack.attention_mask[None, None].to(model.device)}  # (1, 1, T, T)


def block_mask(position_ids: Tensor, subtree_end: Tensor, rule: MaskRule) -> BlockMask:
    """FlexAttention's mask of a packed row, from each token's position (T,) and the end of its subtree (T,)."""

    def sees(batch: Tensor, head: Tensor, row: Tensor, column: Tensor) -> Tensor:
        in_tree = (column <= row) & (row < subtree_end[column])
        return in_tree & rule(batch, head, position_ids[row], position_ids[column])

    length = len(subtree_end)
    return create_block_mask(sees, 1, None, length, length, device=subtree_end.device.type)


def tiles(position_ids: Tensor, subtree_end: Tensor, rule: MaskRule, dtype: torch.dtype) -> tuple[AttentionTile, ...]:
    """A packed row in tiles of `TILE_ROWS`, each with the columns that its rows attend to. Arguments as `block_mask`."""
    index = torch.arange(len(subtree_end), device=subtree_end.device)
    first = index.new_zeros(())  # of the batch, and of the heads, which all follow the same rule
    made = []
    for rows in index.split(TILE_ROWS):
        start, end = int(rows[0]), int(rows[-1]) + 1
        earlier = index[:end]
        sees = (earlier <= rows[:, None]) & (rows[:, None] < subtree_end[earlier])
        sees &= rule(first, first, position_ids[rows][:, None], position_ids[earlier])
        columns = sees.any(dim=0).nonzero()[:, 0]
        mask = torch.zeros(end - start, len(columns), dtype=dtype, device=index.device)
        made.append(AttentionTile(start, end, columns, mask.masked_fill_(~sees[:, columns], float("-inf"))))
    return tuple(made)


def tiled_attention(
    _module: nn.Module,
    query: Tensor,  # (B, A, T, D)
    key: Tensor,  # (B, K, T, D)
    value: Tensor,  # (B, K, T, D)
    attention_mask: tuple[AttentionTile, ...],
    *,
    softcap: float | None = None,
    **options: Any,
) -> tuple[Tensor, None]:
    """Attention with the signature of transformers' attention functions; the result is (B, T, A, D)."""
    attend = functional.scaled_dot_product_attention if softcap is None else _capped(softcap)
    parts = []
    for tile in attention_mask:
        keys, values = (states.index_select(2, tile.columns) for states in (key, value))
        parts.append(
            attend(
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


def _capped(softcap: float) -> Callable[..., Tensor]:
    """Attention whose scores are bounded to +-`softcap` by a hyperbolic tangent (Gemma 2, arXiv 2408.00118, section 2)."""

    def attend(
        query: Tensor,
        key: Tensor,
        value: Tensor,
        *,
        attn_mask: Tensor,
        dropout_p: float,
        scale: float | None,
        enable_gqa: bool,
    ) -> Tensor:
        if enable_gqa:
            key, value = (states.repeat_interleave(query.shape[1] // key.shape[1], dim=1) for states in (key, value))
        scores = query @ key.transpose(2, 3) * (query.shape[-1] ** -0.5 if scale is None else scale)
        scores = softcap * torch.tanh(scores / softcap) + attn_mask
        # At least in float32, as transformers computes it.
        weights = functional.softmax(scores, dim=-1, dtype=torch.promote_types(scores.dtype, torch.float32)).to(query.dtype)
        return functional.dropout(weights, dropout_p) @ value

    return attend


def _tiles_of(*, mask_function: MaskRule, attention_mask: Tensor, dtype: torch.dtype, **_options: Any) -> Any:
    """Called by a model that makes its mask, with the tree from `attention_arguments` and the model's own rule."""
    position_ids, subtree_end = attention_mask[0]
    return tiles(position_ids, subtree_end, mask_function, dtype)


def _blocks_of(*, mask_function: MaskRule, attention_mask: Tensor, **_options: Any) -> BlockMask:
    """As `_tiles_of`, for FlexAttention."""
    position_ids, subtree_end = attention_mask[0]
    return block_mask(position_ids, subtree_end, mask_function)


AttentionInterface.register(TILED, tiled_attention)
AttentionInterface.register(FLEX, flex_attention_forward)
AttentionMaskInterface.register(TILED, _tiles_of)
AttentionMaskInterface.register(FLEX, _blocks_of)
