"""Training checkpoints: the adapter, the optimizer, and how far training has come. Adapter-only, so they are small.

A checkpoint is a folder named after the steps done. It is written under another name and renamed when whole and on disk, and
holds the hashes of its files, so that what a crash or a failing disk left is told from what was saved.
"""

import json
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from aria_ray.artifacts import atomic_dir, file_hash, leftovers
from aria_ray.errors import TrainingError

HASHES, PROGRESS = "hashes.json", "progress.json"
NUM_NEWEST = 2
"""Checkpoints kept besides the best: were the newest damaged, there is one before it."""


@dataclass(frozen=True)
class CurriculumState:
    """Where training stands: the next step to take is `step` of `stage`."""

    stage: int = 0
    step: int = 0
    attempt: int = 0
    """How often the stage's gate has failed."""
    total_steps: int = 0
    """Optimizer steps done, those of failed attempts included."""
    halvings: int = 0
    """How often the packs have been halved because memory did not suffice."""
    best_loss: float | None = None
    """Lowest held-out loss so far."""
    best_metrics: dict[str, Any] = field(default_factory=dict)
    """What was measured there."""
    best_checkpoint: str | None = None
    """Its name."""
    evaluations_without_gain: int = 0
    """In the current attempt."""
    transitions: tuple[dict[str, Any], ...] = field(default=())
    """What each finished attempt at a stage came to."""

    def after(self, transition: dict[str, Any], retry: bool) -> "CurriculumState":
        """The progress at the start of the next stage, or of this one's next attempt, with this end recorded."""
        return replace(
            self,
            stage=self.stage if retry else self.stage + 1,
            attempt=self.attempt + 1 if retry else 0,
            step=0,
            evaluations_without_gain=0,
            transitions=(*self.transitions, transition),
        )


class Checkpoints:
    """The checkpoints of a run, in a folder of their own."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def path(self, name: str) -> Path:
        """Where a checkpoint is."""
        return self._folder / name

    def whole_path(self, name: str) -> Path:
        """Where a checkpoint is that must be as it was written.

        Raises:
            TrainingError: it is not.
        """
        damage = self.damage(name)
        if damage:
            raise TrainingError(f"the best checkpoint is damaged: {damage}", f"delete {self._folder.parent} to train again")
        return self.path(name)

    def save(self, progress: CurriculumState, write_state: Callable[[Path], None]) -> str:
        """Write a checkpoint, remove those that are of no more use, and return the new one's name.

        `write_state` gets an empty folder for what training holds beside its progress.

        Raises:
            TrainingError: the disk does not take it. The checkpoints that were there still are.
        """
        name = checkpoint_name(progress.total_steps)
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            # A run that was cut off after this checkpoint and resumed before it replaces the checkpoint.
            with atomic_dir(self.path(name)) as temporary:
                write_state(temporary)
                _seal(temporary, progress)
        except (OSError, SafetensorError) as error:
            raise TrainingError(
                f"checkpoint {self.path(name)} cannot be written ({error})",
                f"make room, then run the same command again: it goes on from {self.newest() or 'the start'}",
            ) from None
        self._prune()
        return name

    def progress(self, name: str) -> CurriculumState:
        """How far training had come."""
        stored = json.loads((self.path(name) / PROGRESS).read_text(encoding="utf-8"))
        return CurriculumState(**{**stored, "transitions": tuple(stored["transitions"])})

    def newest(self) -> str | None:
        """Name of the newest checkpoint that is as it was written; None if there is none."""
        return next((name for name in self._names() if not self.damage(name)), None)

    def damaged(self) -> list[str]:
        """What is wrong with the checkpoints newer than the newest whole one."""
        found = []
        for name in self._names():
            damage = self.damage(name)
            if damage is None:
                break
            found.append(damage)
        return found

    def damage(self, name: str) -> str | None:
        """What is wrong with a checkpoint; None if nothing is."""
        folder = self.path(name)
        try:
            hashes = json.loads((folder / HASHES).read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            return f"{folder / HASHES} cannot be read ({type(error).__name__})"
        for file, digest in hashes.items():
            if not (folder / file).is_file():
                return f"{folder / file} is missing"
            if file_hash(folder / file) != digest:
                return f"{folder / file} has not the hash it was written with"
        return None

    def _names(self) -> list[str]:
        """Newest first."""
        return sorted((path.name for path in self._folder.glob("step-*")), reverse=True)

    def _prune(self) -> None:
        for left_over in leftovers(self.path("step-*")):
            shutil.rmtree(left_over)
        newest = [name for name in self._names() if not self.damage(name)][:NUM_NEWEST]
        # Either may be the one that is gone on from, so what each calls the best must be there.
        needed = {*newest, *(self.progress(name).best_checkpoint for name in newest)}
        for name in self._names():
            if name not in needed:
                shutil.rmtree(self.path(name))


def checkpoint_name(total_steps: int) -> str:
    """Names sort as steps do."""
    return f"step-{total_steps:08d}"


def _seal(folder: Path, progress: CurriculumState) -> None:
    """Add the progress and the hashes of all files."""
    (folder / PROGRESS).write_text(json.dumps(asdict(progress), indent=2), encoding="utf-8")
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    hashes = {str(path.relative_to(folder)): file_hash(path) for path in files}
    (folder / HASHES).write_text(json.dumps(hashes, indent=2), encoding="utf-8")
