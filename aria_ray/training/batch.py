"""Packing: sequences that begin alike share their beginning in one row, and the result is exactly as if they did not.

A packed row is a prefix tree of sequences laid out flat, each token before its descendants. A token attends to its ancestors in
the tree and to itself, and its position is its depth, so each sequence sees what it would see alone. Rows of one tool list
share the whole list. (Prefix sharing in training: arXiv 2410.20305, 2506.05433.)

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
    """Tokens that the same sequences would take one by one."""

    @property
    def num_tokens(self) -> int:
        """Tokens computed."""
        return len(self.input_ids)

    @property
    def num_targets(self) -> int:
        """Supervised positions."""
        return len(self.targets)

    @property
    def num_attention_pairs(self) -> int:
        """Pairs of tokens that the mask allows: each looks at itself and at all that it descends from."""
        return int((self.position_ids + 1).sum())

    @property
    def weight(self) -> float:
        """Sum of the targets' weights: what the loss is divided by."""
        return float(self.weights.sum())

    @property
    def attention_mask(self) -> Tensor:
        """(T, T) bool, True where the row's token may look at the column's: at itself and at what it descends from."""
        index = torch.arange(self.num_tokens)
        return (index[None, :] <= index[:, None]) & (index[:, None] < self.subtree_end[None, :])


def shared_length(left: Sequence[int], right: Sequence[int]) -> int:
    """How many leading tokens two sequences have in common."""
    low, high = 0, min(len(left), len(right))
    while low < high:  # by halves: comparing slices is many times faster than comparing tokens one by one
        middle = (low + high + 1) // 2
        if left[low:middle] == right[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low


def pack(turns: Sequence[TurnTokens], loss_weights: LossWeights = EVEN) -> Pack:
    """Lay sequences out as one prefix tree."""
    # In sorted order the longest beginning shared with any earlier sequence is shared with the one just before.
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
    """The packs of one worker, dealt from the largest on, to and fro, so that no worker waits long for another."""
    order = [*range(num_workers), *reversed(range(num_workers))]
    ordered = sorted(packs, key=lambda pack: pack.num_tokens, reverse=True)
    return [each for index, each in enumerate(ordered) if order[index % len(order)] == rank]


def weightless(whole: Pack) -> Pack:
    """A pack that is computed like the given one and counts for nothing, neither in a loss nor in a share of turns."""
    return replace(whole, weights=torch.zeros_like(whole.weights), turns=(), num_unshared_tokens=0)


def halves(whole: Pack) -> list[Pack]:
    """The turns of a pack in two packs of about half its tokens; the pack itself where it holds one turn."""
    if len(whole.turns) == 1:
        return [whole]
    lengths = [len(turn.ids) for turn in whole.turns]
    middle = min(range(1, len(lengths)), key=lambda cut: abs(sum(lengths[:cut]) - sum(lengths[cut:])))
    return [pack(whole.turns[:middle], whole.loss_weights), pack(whole.turns[middle:], whole.loss_weights)]


def group_turns(turns: Sequence[TurnTokens], max_tokens: int, rng: random.Random) -> list[list[TurnTokens]]:
    """Split sequences into groups that each pack into at most `max_tokens`, neighbours in the prefix tree together.

    Every sequence must itself be within `max_tokens`. Which sequences of one tool list meet in a group, and the order of the
    groups, are random; so a step does not always see the same company.
    """
    shuffled = list(turns)
    rng.shuffle(shuffled)
    # Sequences of one tool list get a common key: their first tokens up to where lists differ are equal, so sorting by a
    # fixed-length beginning keeps lists together while the shuffle decides the order within one.
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
    """Tokens of the system turn, which holds the tool list: up to the first end-of-turn token, the last id of every turn."""
    return turn.ids.index(turn.ids[-1]) + 1
