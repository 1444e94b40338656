"""Checkpoints: whole or not there, damage is seen, and what is needed is kept."""

import json
import re
import resource
import subprocess
import sys
from dataclasses import replace

import pytest

from aria_ray.errors import TrainingError
from aria_ray.training.checkpoint import Checkpoints, CurriculumState, checkpoint_name


def write_state(folder):
    (folder / "weights").write_bytes(b"w" * 1000)
    (folder / "adapter").mkdir()
    (folder / "adapter" / "more").write_bytes(b"m" * 1000)


def at(steps, best=None):
    return CurriculumState(stage=1, step=3, total_steps=steps, best_loss=0.5, best_checkpoint=best and checkpoint_name(best))


@pytest.fixture
def checkpoints(tmp_path):
    return Checkpoints(tmp_path / "checkpoints")


def names(checkpoints):
    return sorted(path.name for path in checkpoints.path(".").iterdir())


def test_progress_comes_back_as_it_was(checkpoints):
    progress = at(7, 7).after({"stage": "application", "gate": "failed"}, retry=True)
    name = checkpoints.save(progress, write_state)
    assert name == checkpoints.newest() == "step-00000007"
    assert checkpoints.state(name) == progress
    assert (progress.stage, progress.step, progress.attempt) == (1, 0, 1)
    assert progress.after({"stage": "application"}, retry=False).stage == 2


def test_the_best_and_the_two_newest_are_kept(checkpoints):
    for steps, best in ((1, 1), (2, 1), (3, 3), (4, 3), (5, 3), (6, 3)):
        checkpoints.save(at(steps, best), write_state)
    assert names(checkpoints) == [checkpoint_name(steps) for steps in (3, 5, 6)]


def test_what_the_newest_but_one_calls_best_is_kept_too(checkpoints):
    """Were the newest damaged, the one before it would be gone on from, and its best be looked for."""
    for steps, best in ((1, 1), (2, 1), (3, 1), (4, 4)):
        checkpoints.save(at(steps, best), write_state)
    assert names(checkpoints) == [checkpoint_name(steps) for steps in (1, 3, 4)]


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda folder: (folder / "weights").write_bytes(b"w" * 500), "weights has changed"),
        (lambda folder: (folder / "adapter" / "more").write_bytes(b"m" * 999 + b"x"), "more has changed"),
        (lambda folder: (folder / "weights").unlink(), "weights is missing"),
        (lambda folder: (folder / "hashes.json").unlink(), r"hashes.json cannot be read \(FileNotFoundError\)"),
        (lambda folder: (folder / "hashes.json").write_text("{"), r"hashes.json cannot be read \(JSONDecodeError\)"),
    ],
    ids=["truncated", "flipped", "missing", "unsealed", "torn"],
)
def test_a_damaged_checkpoint_is_seen_and_the_one_before_it_taken(checkpoints, damage, message):
    checkpoints.save(at(1, 1), write_state)
    newest = checkpoints.save(at(2, 1), write_state)
    assert checkpoints.damaged() == []
    damage(checkpoints.path(newest))
    assert checkpoints.newest() == checkpoint_name(1)
    (found,) = checkpoints.damaged()
    assert re.search(message, found)
    # Training comes by the same step again.
    checkpoints.save(at(2, 1), write_state)
    assert checkpoints.newest() == newest


def test_leftovers_of_a_killed_run_are_no_checkpoints(checkpoints):
    checkpoints.save(at(1, 1), write_state)
    (checkpoints.path(".step-00000004.abc")).mkdir()
    assert checkpoints.newest() == checkpoint_name(1)
    checkpoints.save(at(2, 1), write_state)
    assert names(checkpoints) == [checkpoint_name(1), checkpoint_name(2)]


@pytest.mark.subprocess
def test_a_disk_that_is_full_leaves_the_earlier_checkpoints(checkpoints):
    """The kernel refuses to let a file grow over a limit, as it refuses on a full disk: the same error out of `write`."""
    checkpoints.save(at(1, 1), write_state)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    code = f"""
import resource, signal
from pathlib import Path
from aria_ray.errors import TrainingError
from aria_ray.training.checkpoint import Checkpoints, CurriculumState
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (500, 500))
try:
    Checkpoints(Path({str(checkpoints.path("."))!r})).save(
        CurriculumState(total_steps=2), lambda folder: (folder / "weights").write_bytes(b"w" * 1000)
    )
except TrainingError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert resource.getrlimit(resource.RLIMIT_FSIZE) == before
    assert "cannot be written" in done.stdout
    assert "make room" in done.stdout
    assert "resumes from step-00000001" in done.stdout
    assert names(checkpoints) == [checkpoint_name(1)]
    assert checkpoints.newest() == checkpoint_name(1)


def test_a_state_that_cannot_be_written_is_no_silent_success(checkpoints):
    def fails(_folder):
        raise OSError(28, "No space left on device")

    with pytest.raises(TrainingError, match=r"step-00000001 cannot be written .*No space left.* resumes from the start"):
        checkpoints.save(replace(at(1), best_checkpoint=None), fails)
    assert names(checkpoints) == []


def test_the_hashes_cover_every_file(checkpoints):
    name = checkpoints.save(at(1), write_state)
    hashes = json.loads((checkpoints.path(name) / "hashes.json").read_text())
    assert set(hashes) == {"weights", "adapter/more", "progress.json"}
