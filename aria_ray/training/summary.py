"""What a finished training run came to: the facts for the report and `curriculum.json`, from its log and last checkpoint."""

import json
from pathlib import Path
from typing import Any

from aria_ray.config.schema import TrainingConfig
from aria_ray.machine.flops import LlamaShape, lora_step_flops
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


def training_facts(last: CurriculumState, events: list[dict[str, Any]]) -> dict[str, Any]:
    """The run's figures for the report: times in seconds, memory in GiB, tokens summed over all steps."""
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


def training_flops_per_s(config: TrainingConfig, base: Path, events: list[dict[str, Any]]) -> float | None:
    """Mean floating-point operations per second of one worker's steps (formula: `machine.flops.lora_step_flops`).

    None for a run that a version started which did not yet log the attention pairs of a step.
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
