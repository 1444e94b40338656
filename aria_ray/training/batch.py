"""Packing: sequences with a common prefix share it in one row. Results are the same as for separate sequences.

A packed row is a prefix tree of sequences laid out flat, each token before its descendants. A token attends to itself and its
ancestors in the tree, and its position is its depth, so each sequence is computed as if it were alone. Sequences with the same
tool list share all of it. (Prefix sharing in training: arXiv 2410.20305, 2506.05433.)

    T = tokens of a packed row, S = supervised positions
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from aria_ray.config.schema import LossWeights
from aria_ray.training.tokens import TurnTokens

EVEN = LossWeights()
"""The default weights, 1 for every target."""


@dataclass(frozen=True)
class Pack:
    """One packed row."""

    input_ids: Tensor  # (T,) int64
    position_ids: Tensor  # (T,) int64, depth in the prefix tree
    subtree_end: Tensor  # (T,) int64, index after the token's last descendant
    predict_from: Tensor  # (S,) int64, index of the token whose hidden state predicts the target
    targets: Tensor  # (S,) int64, token ids
    weights: Tensor  # (S,) float32, of the targets in the loss
    turn_index: Tensor  # (S,) int64, index into `turns`
    is_decision: Tensor  # (S,) bool, whether the target belongs to the decision part of its turn
    turns: tuple[TurnTokens, ...]
    loss_weights: LossWeights
    num_unshared_tokens: int
    """Number of tokens of the same sequences without sharing."""

    @property
    def num_tokens(self) -> int:
        """T, the number of tokens that are computed."""
        return len(self.input_ids)

    @property
    def num_targets(self) -> int:
        """S, the number of supervised positions."""
        return len(self.targets)

    @property
    def num_attention_pairs(self) -> int:
        """Number of token pairs that the mask allows: each token attends to itself and its ancestors."""
        return int((self.position_ids + 1).sum())

    @property
    def weight(self) -> float:
        """Sum of the targets' weights, which normalises the loss."""
        return float(self.weights.sum())

    @property
    def attention_mask(self) -> Tensor:
        """(T, T) bool, True where the row's token attends to the column's: to itself and to its ancestors."""
        index = torch.arange(self.num_tokens)
        return (index[None, :] <= index[:, None]) & (index[:, None] < self.subtree_end[None, :])


def shared_length(left: Sequence[int], right: Sequence[int]) -> int:
    """Length of the common prefix of two sequences."""
    low, high = 0, min(len(left), len(right))
    while low < high:  # bisection: comparing slices is many times faster than comparing single tokens
        middle = (low + high + 1) // 2
        if left[low:middle] == right[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low


def pack(turns: Sequence[TurnTokens], loss_weights: LossWeights = EVEN) -> Pack:
    """Pack sequences into one row."""
    # In sorted order, the longest prefix shared with any earlier sequence is shared with the one just before.
    ordered = sorted(turns, key=lambda turn: turn.ids)
    ids: list[int] = []
    positions: list[int] = []
    ends: list[int] = []
    predict_from: list[int] = []
    targets: list[int] = []
    weights: list[float] = []
    owners: list[int] = []
    decisions: list[bool] = []
    path: list[int] = []  # index in the row of each token of the current sequence
    previous: Sequence[int] = ()
    for owner, turn in enumerate(ordered):
        shared = shared_length(previous, turn.ids)
        path = [*path[:shared], *range(len(ids), len(ids) + len(turn.ids) - shared)]
        ids += turn.ids[shared:]
        positions += range(shared, len(turn.ids))
        ends += [0] * (len(ids) - len(ends))
        for index in path:
            ends[index] = len(ids)
        said = loss_weights.tool_call if turn.calls else loss_weights.answer
        for depth in range(turn.num_prompt, len(turn.ids)):
            predict_from.append(path[depth - 1])
            targets.append(turn.ids[depth])
            weights.append(loss_weights.thinking if depth < turn.thought_end else said)
            owners.append(owner)
            decisions.append(turn.decision[0] <= depth < turn.decision[1])
        previous = turn.ids
    return Pack(
        input_ids=torch.tensor(ids),
        position_ids=torch.tensor(positions),
        subtree_end=torch.tensor(ends),
        predict_from=torch.tensor(predict_from),
        targets=torch.tensor(targets),
        weights=torch.tensor(weights, dtype=torch.float32),
        turn_index=torch.tensor(owners),
        is_decision=torch.tensor(decisions, dtype=torch.bool),
        turns=tuple(ordered),
        loss_weights=loss_weights,
        num_unshared_tokens=sum(len(turn.ids) for turn in ordered),
    )


def dealt(packs: Sequence[Pack], rank: int, num_workers: int) -> list[Pack]:
    """The packs of one worker. They are dealt from the largest on, back and forth, so that workers have similar work."""
    order = [*range(num_workers), *reversed(range(num_workers))]
    ordered = sorted(packs, key=lambda pack: pack.num_tokens, reverse=True)
    return [each for index, each in enumerate(ordered) if order[index % len(order)] == rank]


def weightless(whole: Pack) -> Pack:
    """A pack that takes the same computation as the given one but counts neither in the loss nor in the accuracy."""
    return replace(whole, weights=torch.zeros_like(whole.weights), turns=(), num_unshared_tokens=0)


def halves(whole: Pack) -> list[Pack]:
    """The turns of a pack in two packs of about half its tokens each; the pack itself where it holds one turn."""
    if len(whole.turns) == 1:
        return [whole]
    lengths = [len(turn.ids) for turn in whole.turns]
    middle = min(range(1, len(lengths)), key=lambda cut: abs(sum(lengths[:cut]) - sum(lengths[cut:])))
    return [pack(whole.turns[:middle], whole.loss_weights), pack(whole.turns[middle:], whole.loss_weights)]


def group_turns(turns: Sequence[TurnTokens], max_tokens: int, rng: random.Random) -> list[list[TurnTokens]]:
    """Split sequences into groups that pack into at most `max_tokens` each, with neighbours in the prefix tree together.

    Every sequence must itself have at most `max_tokens`. The choice of a group's sequences among those of one tool list, and
    the order of the groups, are random, so that steps differ in composition from pass to pass.
    """
    shuffled = list(turns)
    rng.shuffle(shuffled)
    # The tokens of the system turn, which holds the tool list, are the sort key. The sort is stable, so it groups sequences
    # by tool list and keeps the shuffled order within a list.
    shuffled.sort(key=lambda turn: turn.ids[: _list_length(turn)])
    groups: list[list[TurnTokens]] = []
    size = 0
    for turn in shuffled:
        added = len(turn.ids)
        if groups:
            added -= max(shared_length(other.ids, turn.ids) for other in groups[-1])
        if not groups or size + added > max_tokens:
            groups.append([])
            size, added = 0, len(turn.ids)
        groups[-1].append(turn)
        size += added
    rng.shuffle(groups)
    return groups


def _list_length(turn: TurnTokens) -> int:
    """Length of the system turn, which holds the tool list: up to the first end-of-turn token, the last id of every turn."""
    return turn.ids.index(turn.ids[-1]) + 1
