"""The curriculum: which examples a stage trains on, its learning rate, and what its gate decides."""

import itertools
import math
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
    num_judged: int
    """Turns that it is a share of."""
    accuracy: float
    """Over all difficulties."""
    num_turns: int
    """Turns that it is a share of."""
    loss: float
    """Mean over all held-out targets, in nats. It chooses the best checkpoint and tells patience: on some dozens of turns
    chance moves it less than the shares."""


def stage_steps(config: TrainingConfig) -> list[int]:
    """Optimizer steps of each stage: their shares, rounded so that they add up and none is empty."""
    edges, total = [0], 0.0
    for left, stage in zip(reversed(range(len(config.stages))), config.stages, strict=True):
        total += stage.steps_share
        edges.append(min(max(edges[-1] + 1, round(total * config.num_steps)), config.num_steps - left))
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
            f"curriculum stage '{config.stages[stage].name}' has no training examples of difficulty {stage + 1}",
            "raise dataset.num_templates",
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
    own = [turn for turn in turns if stage < turn.difficulty <= hardest(stage, config)]
    return own, [turn for turn in turns if turn.difficulty <= stage]


def hardest(stage: int, config: TrainingConfig) -> float:
    """The highest difficulty that a stage trains, and that its gate judges."""
    last = stage == len(config.stages) - 1
    return math.inf if last or config.order == "shuffled" else stage + 1


def gate(stage: StageConfig, accuracy: float) -> GateResult:
    """What a stage's gate says of a held-out accuracy."""
    if accuracy >= stage.target:
        return "target"
    return "passed" if accuracy >= stage.minimum else "failed"


def learning_rate(step: int, num_steps: int, peak: float, warmup_share: float) -> float:
    """Linear warm-up to `peak`, then a half cosine down to a tenth of it (SGDR, arXiv 1608.03983, without restarts inside).

    `step` counts from 0 to `num_steps` - 1.
    """
    warmup = math.ceil(num_steps * warmup_share)
    if step < warmup:
        return peak * (step + 1) / warmup
    progress = (step - warmup) / max(1, num_steps - warmup)
    return peak * (0.1 + 0.9 * 0.5 * (1 + math.cos(math.pi * progress)))
