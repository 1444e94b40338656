"""The curriculum on Ray Train: one TorchTrainer, its checkpoints, and the merged model at the end.

The only module of this package that imports Ray. Ray is initialised by the caller. Model libraries (10 s of imports on a slow
processor) are imported where a worker needs them, not by every process that loads this module.
"""

import errno
import json
import os
import resource
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import psutil
import ray
import ray.train
import ray.util
import torch
from ray.exceptions import OutOfMemoryError, RayActorError
from ray.train import FailureConfig, RunConfig, ScalingConfig, TrainingFailedError
from ray.train.torch import TorchConfig, TorchTrainer
from torch import Tensor

from aria_ray.artifacts import write_json
from aria_ray.config.schema import TrainingConfig
from aria_ray.errors import TrainingError
from aria_ray.kernels.choice import Kernels
from aria_ray.machine.flops import LlamaShape, lora_step_flops
from aria_ray.rocm.settings import training_env
from aria_ray.rocm.visibility import TRAIN_WORKER_ENV, check_gpus_counted
from aria_ray.telemetry.gpus import pci_address
from aria_ray.training.checkpoint import Checkpoints, CurriculumState
from aria_ray.training.tail_log import following, parsed
from aria_ray.training.worker_args import ADAPTER, CHECKPOINTS, LOG, WorkerArgs, WorkerRank

ERROR = "error.txt"
MAX_FAILURES = 5
"""Deaths of workers after which a run ends."""
RAY_FOLDER = "ray_train"
"""Ray Train's own files, below the checkpoints."""
GPU = "gpu-of-"
"""Files in it, by rank, in which workers say which GPU is theirs."""


def train_curriculum(
    config: TrainingConfig,
    dtype: str,
    base: Path,
    dataset: Path,
    out: Path,
    on_event: Callable[[dict[str, Any]], None],
    kernels: Kernels = "torch",
) -> dict[str, Any]:
    """Train the adapter through every stage; leaves `adapter/`, `curriculum.json` and `log.jsonl` in `out`.

    A run that was cut off goes on from its last checkpoint when called again with the same `out`. `on_event` gets every
    line of the log while training runs. `kernels` says whose product the adapter's layers take. Returns the facts of the run
    for the report.

    Raises:
        TrainingError: the configuration, the data or the loss forbid going on.
    """
    out = out.resolve()
    settings = WorkerArgs(config=config, dtype=dtype, base=base, dataset=dataset.resolve(), out=out, kernels=kernels)
    (out / ERROR).unlink(missing_ok=True)
    shutil.rmtree(out / CHECKPOINTS / RAY_FOLDER, ignore_errors=True)  # of a run that was cut off: the checkpoints say it all
    _check_resources(config)
    trainer = TorchTrainer(
        _train_worker,
        train_loop_config={"settings": settings},
        torch_config=_TorchOnNodesNetwork(),
        scaling_config=ScalingConfig(
            num_workers=config.num_workers,
            use_gpu=config.use_gpu,
            resources_per_worker=None if config.use_gpu else {"CPU": config.cpus_per_worker},
        ),
        run_config=RunConfig(
            name=RAY_FOLDER,
            storage_path=str(out / CHECKPOINTS),
            failure_config=FailureConfig(max_failures=MAX_FAILURES),
            worker_runtime_env={"env_vars": _worker_env(config)} if config.use_gpu else {},
        ),
    )
    died = None
    with following(out / LOG, on_event):
        try:
            trainer.fit()  # with several workers one's error starts all again, which then find it written down
        except TrainingFailedError as error:
            died = error
    if (out / ERROR).exists():
        raise TrainingError((out / ERROR).read_text(encoding="utf-8"))
    if died is not None:
        raise TrainingError(
            f"training workers died more than {MAX_FAILURES} times ({_last_line(died)}); "
            "mend that, then run the same command again: it goes on from the last checkpoint"
        ) from died
    checkpoints = Checkpoints(out / CHECKPOINTS)
    newest = checkpoints.newest()
    assert newest is not None, "a run that has ended has evaluated, and saved what it evaluated"
    last = checkpoints.progress(newest)
    assert last.best_checkpoint is not None, "the first evaluation is the best so far"
    shutil.copytree(checkpoints.whole_path(last.best_checkpoint) / ADAPTER, out / ADAPTER, dirs_exist_ok=True)
    events = _events(out / LOG)
    write_json(out / "curriculum.json", _curriculum(last, events))
    gpus = [tuple(json.loads(path.read_text(encoding="utf-8"))) for path in (out / CHECKPOINTS / RAY_FOLDER).glob(f"{GPU}*")]
    return _facts(last, events) | {"flops_per_s": _flops_per_s(config, base, events), "gpus": gpus}


def full_finetuning_peak_gib(config: TrainingConfig, dtype: str, base: Path, dataset: Path) -> float | None:
    """Peak resident memory, in GiB, of a process that trains every weight with AdamW on the same packs: the baseline.

    None where the machine has not that much, so that it cannot be measured.

    Really run, for two steps in a process of its own: memory is at its peak after the optimizer's first step.
    """
    settings = WorkerArgs(config=config, dtype=dtype, base=base, dataset=dataset.resolve(), out=Path(os.devnull))
    actor = ray.remote(num_cpus=config.cpus_per_worker)(_FullFinetuning).remote()
    try:
        return float(ray.get(actor.peak_gib.remote(settings)))
    except (RayActorError, OutOfMemoryError):
        return None
    finally:
        ray.kill(actor)


def _worker_env(config: TrainingConfig) -> dict[str, str]:
    """ROCm's settings go with a torch that is built for ROCm: NCCL would take some of them for its own on NVIDIA GPUs."""
    return TRAIN_WORKER_ENV | (training_env(config.num_workers, os.environ) if torch.version.hip else {})


class _TorchOnNodesNetwork(TorchConfig):  # type: ignore[misc]  # Ray is not read by mypy, so the base is Any
    """Process groups over the network that Ray itself uses."""

    @property
    def backend_cls(self) -> type:
        """Ray Train's backend, after each worker has been told its interface."""
        return _Backend


class _Backend(TorchConfig().backend_cls):  # type: ignore[misc]  # as above
    def on_start(self, worker_group: Any, backend_config: Any) -> None:
        worker_group.execute(_use_nodes_interface)
        super().on_start(worker_group, backend_config)


def _use_nodes_interface() -> None:
    """Have gloo and NCCL (RCCL) take the interface of the address under which Ray knows this node, unless one is set.

    Left alone, gloo takes the address of the host's own name, which Debian and Ubuntu put at 127.0.1.1: workers on two such
    hosts never find each other.
    """
    address = ray.util.get_node_ip_address()
    for name, addresses in psutil.net_if_addrs().items():
        if any(each.address == address for each in addresses):
            os.environ.setdefault("GLOO_SOCKET_IFNAME", name)
            os.environ.setdefault("NCCL_SOCKET_IFNAME", name)


class _FullFinetuning:
    """An actor, because an actor has a process to itself."""

    def peak_gib(self, settings: WorkerArgs) -> float:
        from aria_ray.training.attention import use_prefix_tree_attention
        from aria_ray.training.curriculum import stage_packs
        from aria_ray.training.loop import train_step
        from aria_ray.training.model import load_model, load_tokenizer
        from aria_ray.training.worker import load_turns

        config = settings.config
        tokenizer = load_tokenizer(settings.base)
        turns, _ = load_turns(tokenizer, settings.dataset, "train", config.max_tokens)
        model = load_model(settings.base, tokenizer, settings.dtype)
        use_prefix_tree_attention(model)
        optimizer = torch.optim.AdamW(model.parameters())
        for packs in stage_packs(turns, 0, 2, config):
            train_step(model, optimizer, packs, 1e-6, _sum_over_workers, _ignore)
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def _train_worker(loop_config: Mapping[str, Any]) -> None:
    # Imported by the workers alone: Ray Train's controller loads this function too, and needs no model library for it.
    from aria_ray.training.worker import Worker

    settings: WorkerArgs = loop_config["settings"]
    if (settings.out / ERROR).exists():
        return
    context = ray.train.get_context()
    place = WorkerRank(context.get_world_rank(), context.get_world_size(), _sum_over_workers)
    try:
        if settings.config.use_gpu:
            write_json(settings.out / CHECKPOINTS / RAY_FOLDER / f"{GPU}{place.rank}", _own_gpu())
        Worker(settings, place, ray.train.report).run()
    except TrainingError as error:
        # Returned as a file: what Ray Train is told of, it tries again, and it would fail the same way.
        (settings.out / ERROR).write_text(str(error), encoding="utf-8")
        if place.world_size > 1:
            raise  # so that Ray Train ends the others, which may be waiting for this one
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        (settings.out / ERROR).write_text(f"{settings.out} is full ({error}); make room, then run again", encoding="utf-8")


def _own_gpu() -> tuple[str, str]:
    """This worker's node and its GPU's PCI address, as telemetry has them."""
    gpu = torch.cuda.get_device_properties(torch.cuda.current_device())
    return ray.util.get_node_ip_address(), pci_address(gpu.pci_domain_id, gpu.pci_bus_id, gpu.pci_device_id)


def _sum_over_workers(tensor: Tensor) -> Tensor:
    if torch.distributed.is_initialized() and torch.distributed.get_world_size() > 1:
        torch.distributed.all_reduce(tensor)
    return tensor


def _check_resources(config: TrainingConfig) -> None:
    """Raise AriaError where the workers would wait for ever for what the cluster does not have."""
    kind, each = ("GPU", 1) if config.use_gpu else ("CPU", config.cpus_per_worker)
    there = ray.cluster_resources().get(kind, 0)
    if config.use_gpu:
        check_gpus_counted(there)
    if config.num_workers * each > there:
        raise TrainingError(
            f"training.num_workers ({config.num_workers}) of {each} {kind} each must fit into the {there:g} {kind} of Ray; "
            "lower training.num_workers or training.cpus_per_worker, or use a larger cluster"
        )


def _events(log: Path) -> list[dict[str, Any]]:
    """The lines of the log; what was done again after a resume counts once."""
    events = {}
    for line in log.read_bytes().splitlines():
        event = parsed(line)
        if event is not None:
            events[event["event"], event.get("total_steps", line)] = event
    return list(events.values())


def _curriculum(last: CurriculumState, events: list[dict[str, Any]]) -> dict[str, Any]:
    """What happened, without the single steps, which are in the log."""
    return {
        "transitions": last.transitions,
        "best": last.best_metrics,
        "events": [event for event in events if event["event"] != "step"],
    }


def _facts(last: CurriculumState, events: list[dict[str, Any]]) -> dict[str, Any]:
    steps = [event for event in events if event["event"] == "step"]
    return {
        "transitions": last.transitions,
        "best_accuracy": last.best_metrics["accuracy"],
        "peak_memory_gib": max(event["peak_memory_gib"] for event in events if event["event"] == "evaluation"),
        "step_wall_s": [step["wall_s"] for step in steps],
        "cpu_s": sum(step["cpu_s"] for step in steps),
        "tokens": sum(step["tokens"] for step in steps),
        "unshared_tokens": sum(step["unshared_tokens"] for step in steps),
        "dropped_too_long": sum(event["dropped_too_long"] for event in events if event["event"] == "data"),
    }


def _flops_per_s(config: TrainingConfig, base: Path, events: list[dict[str, Any]]) -> float | None:
    """Operations a second that the steps of one worker came to, on average (`machine.flops`).

    None for a run that was begun by a version that did not write down what a step works on.
    """
    steps = [event for event in events if event["event"] == "step"]
    if any("attention_pairs" not in step for step in steps):
        return None
    flops = lora_step_flops(
        LlamaShape.of(json.loads((base / "config.json").read_text(encoding="utf-8"))),
        config.lora.rank,
        config.lora.target_modules,
        num_tokens=sum(step["tokens"] for step in steps),
        num_attention_pairs=sum(step["attention_pairs"] for step in steps),
        num_supervised=sum(step["supervised"] for step in steps),
    )
    total_s: float = sum(step["wall_s"] for step in steps)
    return flops / config.num_workers / total_s


def _last_line(error: Exception) -> str:
    return str(error).strip().splitlines()[-1]


def _ignore(_tokens: int) -> None:
    """The baseline needs no word of packs that were halved."""
