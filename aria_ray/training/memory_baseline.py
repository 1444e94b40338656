"""Memory of full fine-tuning, measured: the baseline that the adapter's memory is compared with."""

import os
import resource
from pathlib import Path

import ray
import torch
from ray.exceptions import OutOfMemoryError, RayActorError
from torch import Tensor

from aria_ray.config.schema import TrainingConfig
from aria_ray.training.worker_args import WorkerArgs

NUM_STEPS = 2
"""Optimizer steps of the measurement: memory peaks once the first step has made the optimizer's averages."""


def full_finetuning_peak_gib(config: TrainingConfig, dtype: str, base: Path, dataset: Path) -> float | None:
    """Peak resident memory, in GiB, of a process that trains every weight with AdamW on the same packs.

    The process really runs, for two steps. None where the machine has too little memory for it.
    """
    args = WorkerArgs(config=config, dtype=dtype, base=base, dataset=dataset.resolve(), out=Path(os.devnull))
    actor = ray.remote(num_cpus=config.cpus_per_worker)(_FullFinetuning).remote()
    try:
        return float(ray.get(actor.peak_gib.remote(args)))
    except (RayActorError, OutOfMemoryError):
        return None
    finally:
        ray.kill(actor)


class _FullFinetuning:
    """An actor, because an actor has a process of its own."""

    def peak_gib(self, args: WorkerArgs) -> float:
        # Imported in the actor alone: the process that asks for the figure needs no model library.
        from aria_ray.training.attention import use_prefix_tree_attention
        from aria_ray.training.curriculum import stage_packs
        from aria_ray.training.loop import train_step
        from aria_ray.training.model import load_model, load_tokenizer
        from aria_ray.training.tokens import load_turns

        config = args.config
        tokenizer = load_tokenizer(args.base)
        turns, _ = load_turns(tokenizer, args.dataset, "train", config.max_tokens)
        model = load_model(args.base, tokenizer, args.dtype)
        use_prefix_tree_attention(model)
        optimizer = torch.optim.AdamW(model.parameters())
        for packs in stage_packs(turns, 0, NUM_STEPS, config):
            train_step(model, optimizer, packs, 1e-6, _sum_of_one_worker, _ignore_halving)
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def _sum_of_one_worker(tensor: Tensor) -> Tensor:
    return tensor


def _ignore_halving(_tokens: int) -> None:
    """The baseline does not record that a pack was halved."""
