"""The result of a finished training run and the content of `curriculum.json`, from its log and last checkpoint."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from aria_ray.config.schema import TrainingConfig
from aria_ray.machine.flops import lora_step_flops
from aria_ray.planning.model_sizes import model_size
from aria_ray.results import TrainingResult, Transition
from aria_ray.training.checkpoint import CurriculumState
from aria_ray.training.tail_log import parsed


def read_events(log: Path) -> list[dict[str, Any]]:
    """The events of the log, in order. A step that was repeated after a resume counts once, as it was the last time."""
    events = {}
    for line in log.read_bytes().splitlines():
        event = parsed(line)
        if event is not None:
            events[event["event"], event.get("total_steps", line)] = event
    return list(events.values())


def curriculum_record(last: CurriculumState, events: list[dict[str, Any]]) -> dict[str, Any]:
    """The content of `curriculum.json`: everything except single steps, which are in the log."""
    return {
        "transitions": last.transitions,
        "best": last.best_metrics,
        "events": [event for event in events if event["event"] != "step"],
    }


def training_result(
    config: TrainingConfig, base: Path, last: CurriculumState, events: list[dict[str, Any]], gpus: Sequence[tuple[str, str]]
) -> TrainingResult:
    """The run's figures, without those that only the stage around it measures. `gpus` are the workers' (node, PCI address)."""
    steps = [event for event in events if event["event"] == "step"]
    return TrainingResult(
        transitions=tuple(Transition.model_validate(each) for each in last.transitions),
        best_accuracy=last.best_metrics["accuracy"],
        step_wall_s=tuple(step["wall_s"] for step in steps),
        cpu_s=sum(step["cpu_s"] for step in steps),
        tokens=sum(step["tokens"] for step in steps),
        unshared_tokens=sum(step["unshared_tokens"] for step in steps),
        dropped_too_long=sum(event["dropped_too_long"] for event in events if event["event"] == "data"),
        flops_per_s=training_flops_per_s(config, base, events),
        gpus=tuple(gpus),
        # Resident memory of the process says nothing about a GPU's.
        peak_memory_gib=None
        if config.use_gpu
        else max(event["peak_memory_gib"] for event in events if event["event"] == "evaluation"),
    )


def training_flops_per_s(config: TrainingConfig, base: Path, events: list[dict[str, Any]]) -> float | None:
    """Mean floating-point operations per second of one worker's steps (formula: `machine.flops.lora_step_flops`).

    None for a run that a version started which did not yet log the attention pairs of a step.
    """
    steps = [event for event in events if event["event"] == "step"]
    if any("attention_pairs" not in step for step in steps):
        return None
    shape = model_size(str(base)).shape
    flops = lora_step_flops(
        shape,
        config.lora.rank,
        config.lora.chosen(shape.linear_layers),
        num_tokens=sum(step["tokens"] for step in steps),
        num_attention_pairs=sum(step["attention_pairs"] for step in steps),
        num_supervised=sum(step["supervised"] for step in steps),
    )
    total_s: float = sum(step["wall_s"] for step in steps)
    return flops / config.num_workers / total_s
