"""Which engine processes are stopped, and which error of theirs is told."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from aria_ray.serving.engine_processes import MARK_VARIABLE, engine_error, stop_engines


@pytest.mark.subprocess
def test_only_processes_with_the_mark_are_killed() -> None:
    command = [sys.executable, "-c", "import time; time.sleep(60)"]
    marked, other = (subprocess.Popen(command, env=os.environ | {MARK_VARIABLE: mark}) for mark in ("engine-1", "engine-2"))
    try:
        assert stop_engines("engine-1", timeout_s=0.5) == 1
        assert marked.poll() is not None
        assert other.poll() is None
    finally:
        other.kill()
        other.wait()


def test_the_first_error_of_the_most_recent_log_is_told(tmp_path: Path) -> None:
    line = "(EngineCore_0 pid=7) ERROR 11-30 12:00:00 [core.py:1] "
    logs = {
        "worker-old.out": f"{line}ValueError: of another engine\n",
        "worker-new.out": f"started\n{line}torch.OutOfMemoryError: no memory\n{line}RuntimeError: see above\n",
        "worker-last.out": "ERROR of a worker of Ray's\n",
    }
    for age, (name, text) in enumerate(logs.items()):
        (tmp_path / name).write_text(text)
        os.utime(tmp_path / name, (age, age))
    assert engine_error(tmp_path) == "torch.OutOfMemoryError: no memory"
    (tmp_path / "worker-new.out").unlink()
    (tmp_path / "worker-old.out").unlink()
    assert engine_error(tmp_path) == ""
