"""Arguments of a training worker. Ray Train's own processes import this module, so it loads no model library."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from aria_ray.config.schema import TrainingConfig
from aria_ray.kernels.choice import Kernels

ADAPTER = "adapter"
"""Folder of the adapter, in a checkpoint and in the stage directory."""

LOG, TENSORBOARD = "log.jsonl", "tensorboard"
"""Names in the stage directory."""

SumOverWorkers = Callable[[Tensor], Tensor]
"""Returns the sum of a tensor over all workers, and may overwrite the tensor with it; the identity for one worker."""


@dataclass(frozen=True)
class WorkerArgs:
    """Arguments of every worker. Paths are on storage that all workers share."""

    config: TrainingConfig
    dtype: str
    base: Path
    dataset: Path
    """File of the dataset, in JSON lines."""
    out: Path
    """Stage directory, in which the first worker writes `log.jsonl`, `tensorboard/` and `checkpoints/`."""
    kernels: Kernels = "torch"
    """Implementation of the adapter layers' products (`kernels.choice`)."""


@dataclass(frozen=True)
class WorkerRank:
    """Rank of a worker among `world_size` workers, and the sum over them."""

    rank: int
    world_size: int
    sum_over_workers: SumOverWorkers
