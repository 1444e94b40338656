"""Training checkpoints: adapter, optimizer and state of the curriculum. They are small, because the base weights are left out.

A checkpoint is a folder named after the number of steps. It is written under another name, flushed to disk and then renamed. It
holds the hashes of its files, which reveal a file that a crash or a failing disk has damaged.
"""

import json
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from aria_ray.artifacts import atomic_dir, file_hash, remove_leftovers
from aria_ray.errors import TrainingError

HASHES, PROGRESS = "hashes.json", "progress.json"
NUM_NEWEST = 2
"""Checkpoints kept besides the best. The second serves where the newest is damaged."""


@dataclass(frozen=True)
class CurriculumState:
    """State of the curriculum. The next optimizer step is `step` of `stage`."""

    stage: int = 0
    step: int = 0
    attempt: int = 0
    """Number of times that the stage's gate has failed."""
    total_steps: int = 0
    """Optimizer steps taken, those of failed attempts included."""
    halvings: int = 0
    """Number of times that packs were halved for lack of memory."""
    best_loss: float | None = None
    """Lowest held-out loss so far, in nats."""
    best_metrics: dict[str, Any] = field(default_factory=dict)
    """Metrics of the evaluation with that loss."""
    best_checkpoint: str | None = None
    """Name of the checkpoint with that loss."""
    evaluations_without_gain: int = 0
    """Consecutive evaluations of the current attempt without a lower loss."""
    transitions: tuple[dict[str, Any], ...] = field(default=())
    """One record for each finished attempt at a stage."""

    def after(self, transition: dict[str, Any], retry: bool) -> "CurriculumState":
        """The state at the start of the next stage, or of the stage's next attempt with `retry`, with `transition` recorded."""
        return replace(
            self,
            stage=self.stage if retry else self.stage + 1,
            attempt=self.attempt + 1 if retry else 0,
            step=0,
            evaluations_without_gain=0,
            transitions=(*self.transitions, transition),
        )


class Checkpoints:
    """The checkpoints of a run, in one folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def path(self, name: str) -> Path:
        """Folder of a checkpoint."""
        return self._folder / name

    def intact_path(self, name: str) -> Path:
        """Folder of a checkpoint that must be undamaged.

        Raises:
            TrainingError: the checkpoint is damaged.
        """
        damage = self.damage(name)
        if damage:
            raise TrainingError(f"the best checkpoint is damaged: {damage}", f"delete {self._folder.parent} to train again")
        return self.path(name)

    def save(self, state: CurriculumState, write_state: Callable[[Path], None]) -> str:
        """Write a checkpoint, remove those that are no longer needed, and return the new one's name.

        `write_state` writes adapter and optimizer into the empty folder that it gets.

        Raises:
            TrainingError: the disk refuses the checkpoint. Earlier checkpoints stay.
        """
        name = checkpoint_name(state.total_steps)
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            # A run that was cut off after this checkpoint and resumed before it replaces the checkpoint.
            with atomic_dir(self.path(name)) as temporary:
                write_state(temporary)
                _seal(temporary, state)
        except (OSError, SafetensorError) as error:
            raise TrainingError(
                f"checkpoint {self.path(name)} cannot be written ({error})",
                f"make room, then run the same command again: it resumes from {self.newest() or 'the start'}",
            ) from None
        self._prune()
        return name

    def state(self, name: str) -> CurriculumState:
        """The state of the curriculum that a checkpoint holds."""
        stored = json.loads((self.path(name) / PROGRESS).read_text(encoding="utf-8"))
        return CurriculumState(**{**stored, "transitions": tuple(stored["transitions"])})

    def newest(self) -> str | None:
        """Name of the newest undamaged checkpoint; None if there is none."""
        return next((name for name in self._names() if not self.damage(name)), None)

    def damaged(self) -> list[str]:
        """The damage of each checkpoint that is newer than the newest undamaged one."""
        damages = []
        for name in self._names():
            damage = self.damage(name)
            if damage is None:
                break
            damages.append(damage)
        return damages

    def damage(self, name: str) -> str | None:
        """The damage of a checkpoint, in one line; None if it is as it was written."""
        folder = self.path(name)
        try:
            hashes = json.loads((folder / HASHES).read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            return f"{folder / HASHES} cannot be read ({type(error).__name__})"
        for file, digest in hashes.items():
            if not (folder / file).is_file():
                return f"{folder / file} is missing"
            if file_hash(folder / file) != digest:
                return f"{folder / file} has changed since it was written"
        return None

    def _names(self) -> list[str]:
        """Names of all checkpoints, newest first."""
        return sorted((path.name for path in self._folder.glob("step-*")), reverse=True)

    def _prune(self) -> None:
        remove_leftovers(self.path("step-*"))
        newest = [name for name in self._names() if not self.damage(name)][:NUM_NEWEST]
        # Training may resume from any of them, so the best checkpoint that each names must stay.
        needed = {*newest, *(self.state(name).best_checkpoint for name in newest)}
        for name in self._names():
            if name not in needed:
                shutil.rmtree(self.path(name))


def checkpoint_name(total_steps: int) -> str:
    """Name of a checkpoint. Names sort in the order of the steps."""
    return f"step-{total_steps:08d}"


def _seal(folder: Path, state: CurriculumState) -> None:
    """Add the state of the curriculum and the hashes of all files."""
    (folder / PROGRESS).write_text(json.dumps(asdict(state), indent=2), encoding="utf-8")
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    hashes = {str(path.relative_to(folder)): file_hash(path) for path in files}
    (folder / HASHES).write_text(json.dumps(hashes, indent=2), encoding="utf-8")
