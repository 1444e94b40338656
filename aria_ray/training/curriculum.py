"""Which examples a stage sees, and what its gate says."""

import itertools
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from aria_ray.config.schema import StageConfig, TrainingConfig
from aria_ray.errors import TrainingError
from aria_ray.training.batch import Pack, group_turns, pack
from aria_ray.training.tokens import TurnTokens

GateResult = Literal["target", "passed", "failed"]


@dataclass(frozen=True)
class Evaluation:
    """Held-out decision accuracy: shares of turns whose decision tokens are all predicted right."""

    stage_accuracy: float
    """Over the difficulties met so far: what the gate judges."""
    accuracy: float
    """Over all difficulties."""
    loss: float
    """Mean over all held-out targets, in nats. It chooses the best checkpoint and tells patience: on some dozens of turns
    chance moves it less than the shares."""
    num_turns: int


def stage_steps(config: TrainingConfig) -> list[int]:
    """Optimizer steps of each stage: their shares, rounded so that they add up and none is empty."""
    edges, total = [0], 0.0
    for stage in config.stages:
        total += stage.steps_share
        edges.append(max(edges[-1] + 1, round(total * config.num_steps)))
    edges[-1] = max(edges[-1], config.num_steps)
    return [end - start for start, end in itertools.pairwise(edges)]


def stage_packs(
    turns: Sequence[TurnTokens], stage: int, num_steps: int, config: TrainingConfig, attempt: int = 0
) -> list[list[Pack]]:
    """The packs of each optimizer step of a stage: turns of its own difficulty, with a share of earlier ones replayed.

    Stage s (from 0) introduces difficulty s + 1; the last stage introduces all that is left. Difficulty says which scenarios
    (`dataset.scenarios.difficulty`): calls and answers first, then errors, then several calls. With `order: shuffled` every
    stage has turns of all difficulties. Passes over the data repeat, in another order and company, until the steps are full.

    Raises:
        TrainingError: there are no turns for the stage.
    """
    own, earlier = _stage_turns(turns, stage, config)
    if not own:
        raise TrainingError(
            f"curriculum stage '{config.stages[stage].name}' has no training examples of difficulty {stage + 1}; "
            "raise dataset.num_templates"
        )
    rng = random.Random(f"{config.seed}:{stage}" + (f":{attempt}" if attempt else ""))
    steps: list[list[Pack]] = []
    current: list[Pack] = []
    size = 0
    while len(steps) < num_steps:
        num_replayed = round(len(own) * config.replay_share / (1 - config.replay_share)) if earlier else 0
        replayed = [rng.choice(earlier) for _ in range(num_replayed)]
        for group in group_turns(own + replayed, config.max_tokens, rng):
            packed = pack(group, config.loss_weights)
            if current and size + packed.num_tokens > config.tokens_per_step:
                steps.append(current)
                current, size = [], 0
                if len(steps) == num_steps:
                    break
            current.append(packed)
            size += packed.num_tokens
    return steps


def _stage_turns(turns: Sequence[TurnTokens], stage: int, config: TrainingConfig) -> tuple[list[TurnTokens], list[TurnTokens]]:
    """A stage's own turns, and those that it may replay."""
    if config.order == "shuffled":
        return list(turns), []
    last = stage == len(config.stages) - 1
    own = [turn for turn in turns if turn.difficulty == stage + 1 or (last and turn.difficulty > stage)]
    return own, [turn for turn in turns if turn.difficulty <= stage]


def gate(stage: StageConfig, accuracy: float) -> GateResult:
    """What a stage's gate says of a held-out accuracy."""
    if accuracy >= stage.target:
        return "target"
    return "passed" if accuracy >= stage.minimum else "failed"
