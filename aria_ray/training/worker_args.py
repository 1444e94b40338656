"""What a training worker is told. Light to import: Ray Train's own processes read it without loading a model library."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from aria_ray.config.schema import TrainingConfig
from aria_ray.kernels.choice import Kernels

ADAPTER = "adapter"
"""Folder of the adapter, in a checkpoint and in the stage directory."""

LOG, TENSORBOARD, CHECKPOINTS = "log.jsonl", "tensorboard", "checkpoints"

SumOverWorkers = Callable[[Tensor], Tensor]
"""Adds a tensor up over all workers, in place where it likes, and returns the sum; the identity for one worker."""


@dataclass(frozen=True)
class WorkerArgs:
    """What a worker has to know. Paths are on storage that every worker sees."""

    config: TrainingConfig
    dtype: str
    base: Path
    dataset: Path
    """The dataset's JSON lines."""
    out: Path
    """The stage's folder. The first worker writes there: `log.jsonl`, `tensorboard/` and `checkpoints/`."""
    kernels: Kernels = "torch"
    """Whose product the adapter's layers take (`kernels.choice`)."""


@dataclass(frozen=True)
class WorkerRank:
    """A worker's place among all."""

    rank: int
    world_size: int
    sum_over_workers: SumOverWorkers
