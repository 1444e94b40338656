"""The curriculum: which examples a stage trains on, its learning rate, and what its gate decides."""

import itertools
import math
import random
from collections.abc import Sequence
from dataclasses import dataclass

from aria_ray.config.schema import StageConfig, TrainingConfig
from aria_ray.errors import TrainingError
from aria_ray.results import Gate
from aria_ray.training.batch import Pack, group_turns, pack
from aria_ray.training.tokens import TurnTokens


@dataclass(frozen=True)
class Evaluation:
    """Held-out decision accuracy: the share of turns whose decision tokens are all predicted right."""

    stage_accuracy: float
    """Accuracy on the difficulties trained so far, which the gate judges."""
    num_judged: int
    """Number of turns behind `stage_accuracy`."""
    accuracy: float
    """Accuracy on all difficulties."""
    num_turns: int
    """Number of turns behind `accuracy`."""
    loss: float
    """Mean over all held-out targets, in nats. It selects the best checkpoint and drives early stopping, because on a few dozen
    turns it varies less by chance than the accuracies."""


def stage_steps(config: TrainingConfig) -> list[int]:
    """Optimizer steps of each stage: its share, rounded so that all add up to `num_steps` and none is zero."""
    edges, total = [0], 0.0
    for left, stage in zip(reversed(range(len(config.stages))), config.stages, strict=True):
        total += stage.steps_share
        edges.append(min(max(edges[-1] + 1, round(total * config.num_steps)), config.num_steps - left))
    return [end - start for start, end in itertools.pairwise(edges)]


def stage_packs(
    turns: Sequence[TurnTokens], stage: int, num_steps: int, config: TrainingConfig, attempt: int = 0
) -> list[list[Pack]]:
    """The packs of each optimizer step of a stage: turns of its own difficulty, and a share of earlier turns as replay.

    Stage s, counted from 0, introduces difficulty s + 1; the last stage introduces all that is left. Difficulties follow the
    scenarios (`dataset.scenarios.difficulty`): calls and answers first, then errors, then several calls. With `order: shuffled`
    every stage has turns of all difficulties. Passes over the data repeat, shuffled and grouped anew, until all steps have
    their packs. Each attempt at a stage has its own random order.

    Raises:
        TrainingError: the stage has no turns.
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
    """A stage's own turns, and the earlier ones that it may replay."""
    if config.order == "shuffled":
        return list(turns), []
    own = [turn for turn in turns if stage < turn.difficulty <= hardest(stage, config)]
    return own, [turn for turn in turns if turn.difficulty <= stage]


def hardest(stage: int, config: TrainingConfig) -> float:
    """The highest difficulty that a stage trains and its gate judges; infinity where all are."""
    last = stage == len(config.stages) - 1
    return math.inf if last or config.order == "shuffled" else stage + 1


def gate(stage: StageConfig, accuracy: float) -> Gate:
    """The decision of a stage's gate on a held-out accuracy."""
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
