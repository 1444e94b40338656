"""The curriculum on Ray Train: one TorchTrainer, its checkpoints, and the merged model at the end.

The only module of this package that imports Ray. Ray is initialised by the caller. Model libraries (10 s of imports on a slow
processor) are imported where a worker needs them, not by every process that loads this module.
"""

import json
import resource
import shutil
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import ray
import ray.train
import torch
from ray.train import Checkpoint, CheckpointConfig, FailureConfig, RunConfig, ScalingConfig
from ray.train.torch import TorchTrainer
from torch import Tensor

from aria_ray.artifacts import write_json
from aria_ray.config.schema import TrainingConfig
from aria_ray.errors import TrainingError
from aria_ray.training.follow import following
from aria_ray.training.settings import ADAPTER, Place, Settings

ERROR = "error.txt"
LOG = "log.jsonl"


def train_curriculum(
    config: TrainingConfig,
    dtype: str,
    base: Path,
    dataset: Path,
    out: Path,
    on_event: Callable[[dict[str, Any]], None],
) -> dict[str, Any]:
    """Train the adapter through every stage; leaves `adapter/`, `curriculum.json` and `log.jsonl` in `out`.

    A run that was cut off goes on from its last checkpoint when called again with the same `out`. `on_event` gets every
    line of the log while training runs. Returns the facts of the run for the report.

    Raises:
        TrainingError: the configuration, the data or the loss forbid going on.
    """
    out = out.resolve()
    settings = Settings(config=config, dtype=dtype, base=base, dataset=dataset.resolve(), log=out / LOG)
    (out / ERROR).unlink(missing_ok=True)
    _drop_torn_line(out / LOG)
    _check_resources(config)
    trainer = TorchTrainer(
        _train_worker,
        train_loop_config={"settings": settings},
        scaling_config=ScalingConfig(
            num_workers=config.num_workers,
            use_gpu=config.use_gpu,
            resources_per_worker=None if config.use_gpu else {"CPU": config.cpus_per_worker},
        ),
        run_config=RunConfig(
            name="ray_train",
            storage_path=str(out),
            checkpoint_config=CheckpointConfig(
                num_to_keep=2, checkpoint_score_attribute="held_out_loss", checkpoint_score_order="min"
            ),
            failure_config=FailureConfig(max_failures=2),
            # Ray Train V2 shares CUDA_VISIBLE_DEVICES only; without this, the second worker of an AMD node is given a
            # device it cannot see.
            worker_runtime_env={"env_vars": {"RAY_EXPERIMENTAL_NOSET_HIP_VISIBLE_DEVICES": "1"}} if config.use_gpu else {},
        ),
    )
    with following(settings.log, on_event):
        result = trainer.fit()
    if (out / ERROR).exists():
        raise TrainingError((out / ERROR).read_text(encoding="utf-8"))
    best, metrics = min(result.best_checkpoints, key=lambda item: item[1]["held_out_loss"])
    with best.as_directory() as directory:
        shutil.copytree(Path(directory) / ADAPTER, out / ADAPTER, dirs_exist_ok=True)
    facts = _facts(result.metrics, metrics, settings.log)
    write_json(out / "curriculum.json", {"transitions": result.metrics["transitions"], "best": metrics})
    return facts


def full_finetuning_peak_gib(config: TrainingConfig, dtype: str, base: Path, dataset: Path) -> float:
    """Peak resident memory, in GiB, of a process that trains every weight with AdamW on the same packs: the baseline.

    Really run, for two steps in a process of its own: memory is at its peak after the optimizer's first step.
    """
    settings = Settings(config=config, dtype=dtype, base=base, dataset=dataset.resolve(), log=Path("/dev/null"))
    actor = ray.remote(num_cpus=config.cpus_per_worker)(_FullFinetuning).remote()
    try:
        return float(ray.get(actor.peak_gib.remote(settings)))
    finally:
        ray.kill(actor)


class _FullFinetuning:
    """An actor, because an actor has a process to itself."""

    def peak_gib(self, settings: Settings) -> float:
        from aria_ray.training.curriculum import stage_packs
        from aria_ray.training.loop import train_step
        from aria_ray.training.model import load_model, load_tokenizer
        from aria_ray.training.worker import load_turns

        config = settings.config
        tokenizer = load_tokenizer(settings.base)
        turns, _ = load_turns(tokenizer, settings.dataset, "train", config.max_tokens)
        model = load_model(settings.base, tokenizer, settings.dtype)
        optimizer = torch.optim.AdamW(model.parameters())
        for packs in stage_packs(turns, 0, 2, config):
            train_step(model, optimizer, packs, 1e-6, _sum_over_workers)
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def _train_worker(loop_config: Mapping[str, Any]) -> None:
    # Imported by the workers alone: Ray Train's controller loads this function too, and needs no model library for it.
    from aria_ray.training.worker import Worker

    settings: Settings = loop_config["settings"]
    context = ray.train.get_context()
    place = Place(context.get_world_rank(), context.get_world_size(), _sum_over_workers)
    try:
        start = ray.train.get_checkpoint()
        if start is None:
            Worker(settings, place, _report, None).run()
        else:
            with start.as_directory() as directory:
                worker = Worker(settings, place, _report, Path(directory))
            worker.run()
    except TrainingError as error:
        # Returned as a file, not raised: Ray Train would start the worker again, and it would fail the same way.
        if place.rank == 0:
            (settings.log.parent / ERROR).write_text(str(error), encoding="utf-8")


def _sum_over_workers(tensor: Tensor) -> Tensor:
    if torch.distributed.is_initialized() and torch.distributed.get_world_size() > 1:
        torch.distributed.all_reduce(tensor)
    return tensor


def _report(metrics: dict[str, Any], save: Callable[[Path], None] | None) -> None:
    """Every worker reports, the first one with the checkpoint."""
    if save is None or ray.train.get_context().get_world_rank() != 0:
        ray.train.report(metrics)
        return
    with tempfile.TemporaryDirectory() as name:
        save(Path(name))
        ray.train.report(metrics, checkpoint=Checkpoint.from_directory(name))


def _drop_torn_line(log: Path) -> None:
    """Cut what a killed run left of its last line."""
    if log.exists():
        whole = log.read_bytes()
        log.write_bytes(whole[: whole.rfind(b"\n") + 1])


def _check_resources(config: TrainingConfig) -> None:
    """Raise TrainingError where the workers would wait for ever for what the cluster does not have."""
    kind, each = ("GPU", 1) if config.use_gpu else ("CPU", config.cpus_per_worker)
    there = ray.cluster_resources().get(kind, 0)
    if config.num_workers * each > there:
        raise TrainingError(
            f"training.num_workers ({config.num_workers}) of {each} {kind} each must fit into the {there:g} {kind} of Ray; "
            "lower training.num_workers or training.cpus_per_worker, or use a larger cluster"
        )


def _facts(last: Mapping[str, Any], best: Mapping[str, Any], log: Path) -> dict[str, Any]:
    events = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
    # A step that was done again after a resume counts once.
    steps = list({(event["stage"], event["step"]): event for event in events if event["event"] == "step"}.values())
    return {
        "transitions": last["transitions"],
        "best_accuracy": best["accuracy"],
        "peak_memory_gib": last["peak_memory_gib"],
        "step_wall_s": [step["wall_s"] for step in steps],
        "cpu_s": sum(step["cpu_s"] for step in steps),
        "tokens": sum(step["tokens"] for step in steps),
        "unshared_tokens": sum(step["unshared_tokens"] for step in steps),
    }
