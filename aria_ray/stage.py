"""Stages of a run: what each is made from, whether it can be reused, and the manifest that says it is complete."""

import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Generic, TypeVar

from aria_ray import artifacts
from aria_ray.config import RunConfig
from aria_ray.errors import AriaError, DataError
from aria_ray.records import Manifest, Record
from aria_ray.session import on_cluster
from aria_ray.telemetry.cluster import start_sampling
from aria_ray.telemetry.sampler import Sampling
from aria_ray.telemetry.timeline import in_words
from aria_ray.terminal import Terminal

ResultT = TypeVar("ResultT", bound=Record)


@dataclass(frozen=True)
class Stage(Generic[ResultT]):
    """One stage: its folder, the type of its result, and what decides it."""

    name: str
    """Folder below the run directory."""
    result: type[ResultT]
    inputs: Callable[[RunConfig], dict[str, Any]]
    """What decides its result, besides the stages before it."""
    command: str
    """`aria` command that makes it."""
    upstream: "tuple[Stage[Any], ...]" = ()
    """Stages whose results it uses."""

    @property
    def manifest(self) -> type[Manifest[ResultT]]:
        """Type of its manifest."""
        return Manifest[self.result]  # type: ignore[name-defined]  # a type that is known only when the program runs


class Run:
    """One run directory and its recipe. Each fingerprint and each finished stage is looked up once."""

    def __init__(self, config: RunConfig, recipe: str, out: Path, terminal: Terminal) -> None:
        self.config, self.recipe, self.out, self.terminal = config, recipe, out.absolute(), terminal
        self._fingerprints: dict[str, str] = {}
        self._finished: dict[str, Manifest[Any]] = {}

    def fingerprint(self, stage: Stage[Any]) -> str:
        """What the stage's folder must have been made from: the hash of its inputs and of those of the stages before it."""
        if stage.name not in self._fingerprints:
            upstream = {each.name: self.fingerprint(each) for each in stage.upstream}
            self._fingerprints[stage.name] = artifacts.fingerprint(stage.inputs(self.config), upstream)
        return self._fingerprints[stage.name]

    def finished(self, stage: Stage[ResultT]) -> Manifest[ResultT] | None:
        """The manifest of a stage that is complete; None if it is not.

        Raises:
            DataError: the folder was made from something else, or a file of it was changed.
        """
        if stage.name not in self._finished:
            manifest = artifacts.finished(self.out / stage.name, self.fingerprint(stage), stage.manifest)
            if manifest is None:
                return None
            self._finished[stage.name] = manifest
        return self._finished[stage.name]

    def required(self, stage: Stage[ResultT]) -> Manifest[ResultT]:
        """The manifest of a stage that an earlier command must have made.

        Raises:
            DataError: it did not, or with another configuration; the message names the first stage that is missing.
        """
        for each in stage.upstream:
            self.required(each)
        manifest = self.finished(stage)
        if manifest is None:
            raise DataError(
                f"{self.out / stage.name} is not complete", f"run `aria {stage.command}` with the same recipe and --out first"
            )
        return manifest

    def make(self, stage: Stage[ResultT], produce: Callable[[Path, Sampling], ResultT]) -> Manifest[ResultT]:
        """Reuse a finished stage, or have `produce(folder, sampler)` make it, and write its manifest last.

        One sampler watches the machines while the stage runs; its samples are the stage's `telemetry.json`.

        Raises:
            DataError: a file that decides the stage was changed since its fingerprint was computed.
        """
        manifest = self.finished(stage)
        if manifest is not None:
            self.terminal.line(f"{stage.name}: reused (fingerprint {manifest.fingerprint})")
            return manifest
        directory, inputs = self.out / stage.name, stage.inputs(self.config)
        upstream = {each.name: self.fingerprint(each) for each in stage.upstream}
        if artifacts.fingerprint(inputs, upstream) != self.fingerprint(stage):
            raise DataError(f"a file that decides the stage {stage.name} was changed while this command ran", "run it again")
        artifacts.begin(directory, self.fingerprint(stage))
        started_s = time.perf_counter()
        try:
            with start_sampling(on_cluster()) as sampler, self.terminal.beside(lambda: in_words(sampler.timelines)):
                result = produce(directory, sampler)
            titles = [(begun_s - sampler.started_s, title) for begun_s, title in self.terminal.begun]
            artifacts.write_json(directory / "telemetry.json", sampler.series([mark for mark in titles if mark[0] >= 0]))
        except AriaError:
            _set_aside(directory)
            raise
        manifest = stage.manifest(
            stage=stage.name,
            fingerprint=self.fingerprint(stage),
            upstream=upstream,
            config=inputs,
            files=artifacts.file_hashes(directory, but=artifacts.CHECKPOINTS),
            versions=artifacts.package_versions(),
            commit=artifacts.source_commit(),
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            wall_s=time.perf_counter() - started_s,
            # On a cluster the work is done by processes that are not below this one.
            peak_memory_gib=None if on_cluster() else sampler.peak_memory_gib,
            result=result,
        )
        artifacts.finish(directory, manifest)
        self._finished[stage.name] = manifest
        return manifest


def _set_aside(directory: Path) -> None:
    """Rename the folder of a stage that failed, unless it has a checkpoint to resume from: the next try starts anew.

    What was found so far stays there and may say why it failed.
    """
    if not any(directory.glob(f"{artifacts.CHECKPOINTS}/step-*")):
        kept = directory.with_name(f"{directory.name}.failed")
        shutil.rmtree(kept, ignore_errors=True)
        directory.rename(kept)
