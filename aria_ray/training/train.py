"""The curriculum on Ray Train: one TorchTrainer, from its resources to the best adapter.

The caller initialises Ray. Model libraries take 10 s to import on a slow processor, so the workers import them, not every
process that loads this module.
"""

import errno
import json
import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import ray
import ray.train
import ray.util
import torch
from ray.train import FailureConfig, RunConfig, ScalingConfig, TrainingFailedError
from ray.train.torch import TorchTrainer

from aria_ray.artifacts import CHECKPOINTS, write_json
from aria_ray.config.schema import TrainingConfig
from aria_ray.errors import TrainingError
from aria_ray.kernels.choice import Kernels
from aria_ray.results import TrainingResult
from aria_ray.rocm.settings import training_env
from aria_ray.rocm.visibility import TRAIN_WORKER_ENV, check_gpus_counted
from aria_ray.telemetry.gpus import pci_address
from aria_ray.training.checkpoint import Checkpoints, CurriculumState
from aria_ray.training.network import NodeNetworkTorchConfig, sum_over_workers
from aria_ray.training.summary import curriculum_record, read_events, training_result
from aria_ray.training.tail_log import following
from aria_ray.training.worker_args import ADAPTER, LOG, WorkerArgs, WorkerRank

ERROR = "error.json"
"""File in which a worker leaves the fields of the TrainingError that ends the run."""
MAX_FAILURES = 5
"""Worker deaths after which a run ends."""
RAY_FOLDER = "ray_train"
"""Ray Train's own folder, inside the checkpoints'."""
GPU_FILE = "gpu-of-"
"""Prefix of the files in it, one per rank, that hold the node address and PCI address of a worker's GPU."""


def train_curriculum(
    config: TrainingConfig,
    dtype: str,
    base: Path,
    dataset: Path,
    out: Path,
    on_event: Callable[[dict[str, Any]], None],
    kernels: Kernels = "torch",
) -> TrainingResult:
    """Train the adapter through every stage; leaves `adapter/`, `curriculum.json` and `log.jsonl` in `out`.

    Called again with the `out` of an interrupted run, it resumes from the last checkpoint. `on_event` gets every line of the
    log while training runs. `kernels` selects the implementation of the adapter's matrix products.

    Raises:
        TrainingError: the configuration, the data or the loss forbid continuing, or workers died too often.
    """
    out = out.resolve()
    args = WorkerArgs(config=config, dtype=dtype, base=base, dataset=dataset.resolve(), out=out, kernels=kernels)
    (out / ERROR).unlink(missing_ok=True)
    # Ray Train's files of an interrupted run; our checkpoints hold everything that a resume needs.
    shutil.rmtree(out / CHECKPOINTS / RAY_FOLDER, ignore_errors=True)
    _check_resources(config)
    _fit(_trainer(args), out, on_event)
    last = _copy_best_adapter(out)
    events = read_events(out / LOG)
    write_json(out / "curriculum.json", curriculum_record(last, events))
    gpu_files = (out / CHECKPOINTS / RAY_FOLDER).glob(f"{GPU_FILE}*")
    gpus = [tuple(json.loads(path.read_text(encoding="utf-8"))) for path in gpu_files]
    return training_result(config, base, last, events, gpus)


def _trainer(args: WorkerArgs) -> TorchTrainer:
    config = args.config
    return TorchTrainer(
        _train_worker,
        train_loop_config={"args": args},
        torch_config=NodeNetworkTorchConfig(),
        scaling_config=ScalingConfig(
            num_workers=config.num_workers,
            use_gpu=config.use_gpu,
            resources_per_worker=None if config.use_gpu else {"CPU": config.cpus_per_worker},
        ),
        run_config=RunConfig(
            name=RAY_FOLDER,
            storage_path=str(args.out / CHECKPOINTS),
            failure_config=FailureConfig(max_failures=MAX_FAILURES),
            worker_runtime_env={"env_vars": _worker_env(config)} if config.use_gpu else {},
        ),
    )


def _fit(trainer: TorchTrainer, out: Path, on_event: Callable[[dict[str, Any]], None]) -> None:
    """Run the trainer to its end.

    Raises:
        TrainingError: a worker left one, or workers died too often.
    """
    failure = None
    with following(out / LOG, on_event):
        try:
            trainer.fit()  # where one of several workers fails, Ray Train restarts all, and they see the file that it left
        except TrainingFailedError as error:
            failure = error
    if (out / ERROR).exists():
        raise TrainingError(**json.loads((out / ERROR).read_text(encoding="utf-8")))
    if failure is not None:
        raise TrainingError(
            f"training workers died more than {MAX_FAILURES} times ({_last_line(failure)})",
            "fix the cause, then run the same command again: it resumes from the last checkpoint",
        ) from failure


def _copy_best_adapter(out: Path) -> CurriculumState:
    """Copy the adapter of the best checkpoint into the stage's folder; returns the state at the end of training."""
    checkpoints = Checkpoints(out / CHECKPOINTS)
    newest = checkpoints.newest()
    assert newest is not None, "a finished run has evaluated, and saved a checkpoint with each evaluation"
    last = checkpoints.state(newest)
    assert last.best_checkpoint is not None, "the first evaluation is the best so far"
    shutil.copytree(checkpoints.intact_path(last.best_checkpoint) / ADAPTER, out / ADAPTER, dirs_exist_ok=True)
    return last


def _worker_env(config: TrainingConfig) -> dict[str, str]:
    """Environment variables of GPU workers. ROCm's settings only with a ROCm build of torch: NCCL reads some of them too."""
    return TRAIN_WORKER_ENV | (training_env(config.num_workers, os.environ) if torch.version.hip else {})


def _train_worker(loop_config: Mapping[str, Any]) -> None:
    # Imported by the workers alone: Ray Train's controller loads this function too, and needs no model library for it.
    from aria_ray.training.worker import Worker

    args: WorkerArgs = loop_config["args"]
    if (args.out / ERROR).exists():
        return
    context = ray.train.get_context()
    rank = WorkerRank(context.get_world_rank(), context.get_world_size(), sum_over_workers)
    try:
        if args.config.use_gpu:
            write_json(args.out / CHECKPOINTS / RAY_FOLDER / f"{GPU_FILE}{rank.rank}", _own_gpu())
        Worker(args, rank, ray.train.report).run()
    except TrainingError as error:
        # Left in a file: Ray Train would retry after an exception, and the retry would fail the same way.
        write_json(args.out / ERROR, {"problem": error.problem, "fix": error.fix})
        if rank.world_size > 1:
            raise  # so that Ray Train ends the other workers, which may be waiting for this one
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        write_json(args.out / ERROR, {"problem": f"{args.out} is full ({error})", "fix": "make room, then run again"})


def _own_gpu() -> tuple[str, str]:
    """Node address of this worker and PCI address of its GPU, as telemetry names them."""
    gpu = torch.cuda.get_device_properties(torch.cuda.current_device())
    return ray.util.get_node_ip_address(), pci_address(gpu.pci_domain_id, gpu.pci_bus_id, gpu.pci_device_id)


def _check_resources(config: TrainingConfig) -> None:
    """Raise TrainingError where Ray has fewer resources than the workers need: they would wait for ever."""
    kind, each = ("GPU", 1) if config.use_gpu else ("CPU", config.cpus_per_worker)
    available = ray.cluster_resources().get(kind, 0)
    if config.use_gpu:
        check_gpus_counted(available)
    if config.num_workers * each > available:
        raise TrainingError(
            f"training.num_workers ({config.num_workers}) of {each} {kind} each must fit into the {available:g} {kind} of Ray",
            "lower training.num_workers or training.cpus_per_worker, or use a larger cluster",
        )


def _last_line(error: Exception) -> str:
    return str(error).strip().splitlines()[-1]
