"""The training stage: the curriculum, and what is measured beside it."""

import time
from pathlib import Path
from typing import Any

from aria_ray.config import RunConfig
from aria_ray.kernels.choice import Kernels, choose_kernels
from aria_ray.machine.peaks import measure_peaks
from aria_ray.progress import OnProgress, ShowStage
from aria_ray.results import TrainingResult
from aria_ray.session import on_cluster
from aria_ray.telemetry.sampler import Sampling
from aria_ray.training.memory_baseline import full_finetuning_peak_gib
from aria_ray.training.train import train_curriculum


def training_inputs(config: RunConfig) -> dict[str, Any]:
    """The inputs that decide the adapter; the fingerprint of the stage is their hash.

    Triton's kernels round differently from torch's, and a resumed training must not switch to them. So they are an input where
    they compute, however they were chosen.

    Raises:
        AriaError: the recipe asks for Triton's kernels without a GPU.
    """
    section = {"model": config.model.model_dump(mode="json"), "training": config.training.model_dump(mode="json")}
    return section | ({"kernels": "triton"} if _kernels(config) == "triton" else {})


def train(
    config: RunConfig, base: Path, rows: Path, directory: Path, sampler: Sampling, show_stage: ShowStage
) -> TrainingResult:
    """Train the adapter into `directory`; `base` is the base model's directory, `rows` the dataset's JSON lines.

    On processors this also measures the memory of full fine-tuning; on GPUs the sampler measures their activity and memory.

    Raises:
        TrainingError: the configuration, the data or the loss forbid continuing, or workers died too often.
    """
    training, dtype = config.training, config.model.dtype
    # The peaks of processors are measured in float32; the peaks of the nodes of a cluster are not known here.
    has_peaks = not (training.use_gpu or on_cluster() or dtype != "float32")
    peaks = measure_peaks(training.cpus_per_worker) if has_peaks else None
    with show_stage("training") as update:
        progress = _Progress(training.num_steps, update)
        result = train_curriculum(training, dtype, base, rows, directory, progress.on_event, _kernels(config))
    measured: dict[str, Any] = {"peak_flops_per_s": peaks.gemm_flops_per_s if peaks else None}
    if training.use_gpu:
        usage = sampler.usage_between(progress.first_step_s, progress.last_step_s, gpus=result.gpus)
        measured |= {"gpu_share": usage.gpu_share, "peak_gpu_memory_gib": usage.peak_gpu_memory_gib}
    else:
        with show_stage("memory baseline") as update:
            update(0, 0, "two steps of full fine-tuning")
            measured["full_finetuning_peak_gib"] = full_finetuning_peak_gib(training, dtype, base, rows)
    return result.model_copy(update=measured)


class _Progress:
    """Turns the training log into progress: steps done, stage, loss, held-out accuracy."""

    def __init__(self, num_steps: int, update: OnProgress) -> None:
        self._num_steps, self._update = num_steps, update
        self._loss, self._held_out = "", ""
        self.first_step_s = self.last_step_s = 0.0
        """When the first and the last step were heard of (`time.perf_counter`); 0 before the first."""

    def on_event(self, event: dict[str, Any]) -> None:
        if event["event"] == "step":
            self.last_step_s = time.perf_counter()
            self.first_step_s = self.first_step_s or self.last_step_s
            self._loss = f"{event['stage']} loss {event['loss']:.3f}"
        elif event["event"] == "evaluation":
            gate = f", gate {event['ended']}" if event["ended"] else ""
            self._held_out = f", held-out accuracy {event['stage_accuracy']:.0%}{gate}"
        done = event.get("total_steps")
        if done is not None:  # retried stages take more steps than planned
            self._update(done, max(done, self._num_steps), self._loss + self._held_out)


def _kernels(config: RunConfig) -> Kernels:
    return choose_kernels(config.hardware.kernels, use_gpu=config.training.use_gpu)
