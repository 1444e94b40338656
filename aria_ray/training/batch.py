"""Packing: sequences that begin alike share their beginning in one row, and the result is exactly as if they did not.

A packed row is a prefix tree of sequences laid out flat. A token attends to its ancestors in the tree and to itself, and its
position is its depth, so each sequence sees what it would see alone. Rows of one tool list share the whole list.

    T = tokens of a packed row, S = supervised positions
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from aria_ray.training.tokens import TurnTokens


@dataclass(frozen=True)
class Pack:
    """One packed row."""

    input_ids: Tensor  # (T,) int64
    position_ids: Tensor  # (T,) int64, depth in the prefix tree
    attention_mask: Tensor  # (T, T) bool, True where the row's token may look at the column's
    predict_from: Tensor  # (S,) int64, index of the token whose hidden state predicts the target
    targets: Tensor  # (S,) int64, token ids
    turn_index: Tensor  # (S,) int64, index into `turns`
    is_decision: Tensor  # (S,) bool, whether the target belongs to the decision part of its turn
    turns: tuple[TurnTokens, ...]
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


def shared_length(left: Sequence[int], right: Sequence[int]) -> int:
    """How many leading tokens two sequences have in common."""
    length = 0
    for one, other in zip(left, right, strict=False):
        if one != other:
            break
        length += 1
    return length


def pack(turns: Sequence[TurnTokens]) -> Pack:
    """Lay sequences out as one prefix tree."""
    # In sorted order the longest beginning shared with any earlier sequence is shared with the one just before.
    ordered = sorted(turns, key=lambda turn: turn.ids)
    ids: list[int] = []
    positions: list[int] = []
    segments: list[tuple[int, int, list[int]]] = []  # start, end, indices of the ancestors
    predict_from: list[int] = []
    targets: list[int] = []
    owners: list[int] = []
    decisions: list[bool] = []
    path: list[int] = []  # index in the row of each token of the current sequence
    previous: Sequence[int] = ()
    for owner, turn in enumerate(ordered):
        shared = shared_length(previous, turn.ids)
        start, path = len(ids), path[:shared]
        ids += turn.ids[shared:]
        positions += range(shared, len(turn.ids))
        segments.append((start, len(ids), list(path)))
        path += range(start, len(ids))
        for depth in range(turn.num_prompt, len(turn.ids)):
            predict_from.append(path[depth - 1])
            targets.append(turn.ids[depth])
            owners.append(owner)
            decisions.append(turn.decision[0] <= depth < turn.decision[1])
        previous = turn.ids
    mask = torch.zeros(len(ids), len(ids), dtype=torch.bool)
    for start, end, ancestors in segments:
        mask[start:end, ancestors] = True
        mask[start:end, start:end] = torch.ones(end - start, end - start, dtype=torch.bool).tril()
    return Pack(
        input_ids=torch.tensor(ids),
        position_ids=torch.tensor(positions),
        attention_mask=mask,
        predict_from=torch.tensor(predict_from),
        targets=torch.tensor(targets),
        turn_index=torch.tensor(owners),
        is_decision=torch.tensor(decisions, dtype=torch.bool),
        turns=tuple(ordered),
        num_unshared_tokens=sum(len(turn.ids) for turn in ordered),
    )


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
