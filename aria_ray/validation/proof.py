"""Everything that the validation stage measures, put together: of our endpoint, of the base model's, or of anybody's."""

import json
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from aria_ray.config.schema import ValidationConfig
from aria_ray.errors import DataError
from aria_ray.machine.flops import LlamaShape
from aria_ray.machine.peaks import measure_peaks
from aria_ray.machine.roofline import decode_bounds
from aria_ray.records import Endpoint
from aria_ray.validation.conversations import CaseResult
from aria_ray.validation.measure import (
    OnProgress,
    compare_models,
    measure_bfcl,
    measure_quality,
    measure_speed,
    measure_stability,
    read_cases,
    summarise,
)

ShowStage = Callable[[str], AbstractContextManager[OnProgress]]
"""Shows a title, and the progress of what runs in its block."""


class Proof:
    """The measurements of the validation stage, of one endpoint or another."""

    def __init__(self, config: ValidationConfig, rows: Path, directory: Path, stage: ShowStage) -> None:
        self.config, self.directory, self.stage = config, directory, stage
        self.cases = read_cases(rows, "test", self.config.num_cases)
        if not self.cases:
            raise DataError(f"{rows} has no test conversation with one request; raise dataset.num_templates")
        self.unseen = read_cases(rows, "test_unseen_tools", self.config.num_cases)
        self.results: dict[str, Sequence[CaseResult]] = {}

    def quality(self, live: Endpoint, suffix: str = "") -> dict[str, Any]:
        """Held-out conversations, and the Berkeley leaderboard's questions if they are asked for."""
        whose = " of the base model" if suffix == "_base" else ""
        facts = {f"quality{suffix}": self._cases(live, self.cases, suffix, f"accuracy{whose}")}
        if self.config.bfcl_cases:
            with self.stage(f"BFCL{whose}") as update:
                facts[f"bfcl{suffix}"] = measure_bfcl(self.config, live, self.directory / f"bfcl{suffix}.jsonl", update)
        return facts

    def unseen_tools(self, live: Endpoint) -> dict[str, Any]:
        """The same with tools that training has not seen; nothing where the dataset has none."""
        if not self.unseen:
            return {}
        return {"quality_unseen": self._cases(live, self.unseen, "_unseen_tools", "accuracy on unseen tools")}

    def speed(self, live: Endpoint) -> dict[str, Any]:
        """How fast it answers, one and many at a time."""
        with self.stage("speed") as update:
            return {"speed": measure_speed(self.config, live, self.cases, self.directory / "load.json", update)}

    def stability(self, live: Endpoint) -> dict[str, Any]:
        """Whether it stays so."""
        with self.stage("stability") as update:
            return {"stability": measure_stability(self.config, live, self.cases, self.directory / "sustained.json", update)}

    def paired(self) -> dict[str, Any]:
        """Ours against the base model; nothing where that was not measured."""
        return {"paired": compare_models(self.results[""], self.results["_base"])} if "_base" in self.results else {}

    def _cases(self, live: Endpoint, cases: Sequence[Mapping[str, Any]], suffix: str, title: str) -> dict[str, Any]:
        with self.stage(title) as update:
            found = measure_quality(self.config, live, cases, self.directory / f"cases{suffix}.jsonl", update)
        self.results[suffix] = found
        return summarise(found)


def roofline(model: Path, dtype: str, streams: int) -> dict[str, Any]:
    """What this machine could decode at most of a model, by its own peaks."""
    peaks = measure_peaks(len(os.sched_getaffinity(0)))
    shape = LlamaShape.of(json.loads((model / "config.json").read_text(encoding="utf-8")))
    size = {"float32": 4, "bfloat16": 2}[dtype]
    one, many = (
        decode_bounds(
            shape, each, bytes_per_weight=size, bytes_per_s=peaks.copy_bytes_per_s, flops_per_s=peaks.gemm_flops_per_s
        ).tokens_per_s
        for each in (1, streams)
    )
    return asdict(peaks) | {"concurrency": streams, "decode_bound_tokens_per_s": one, "batched_bound_tokens_per_s": many}


def unwatched(facts: dict[str, Any], seen: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Measurements of an endpoint whose processes are not below this one, so that nothing is known of what they take.

    `seen` is what samplers on the nodes saw while speed was measured, where there are any; none sees memory by process.
    """
    none: dict[str, Any] = {"memory_gib": [], "memory_growth_share": None, "memory_growth_interval": None}
    unseen = dict.fromkeys(("cpu_share", "gpu_share", "peak_memory_gib", "peak_gpu_memory_gib"))
    speed = facts["speed"] | unseen | dict(seen or {})
    return facts | {"speed": speed, "stability": facts["stability"] | none}
