"""The curriculum on a real Ray Train: killed workers, two workers. A killed driver is in test_run.py."""

import json
import random
import signal
import subprocess
import sys
import time

import psutil
import pytest
from safetensors.torch import load_file

from aria_ray.dataset.loading import library
from aria_ray.dataset.rows import RowMaker
from aria_ray.dataset.sampling import choose_templates

pytestmark = [pytest.mark.ray, pytest.mark.training]

TIMEOUT_S = 300
NUM_STEPS = 60
DRIVER = """
import json, os, sys
os.environ["RAY_AUTH_MODE"] = "disabled"
from pathlib import Path
import ray
from aria_ray.config import ModelConfig
from aria_ray.config.schema import TrainingConfig
from aria_ray.training.base_model import prepare_base
from aria_ray.training.train import train_curriculum
ray.init(num_cpus=2, include_dashboard=False, logging_level="ERROR", log_to_driver=False)
base = prepare_base(ModelConfig(source="random:tiny"))
for folder, values in json.loads(sys.argv[2]).items():
    out = Path(folder)
    out.mkdir(exist_ok=True)
    train_curriculum(TrainingConfig(**values), "float32", base, Path(sys.argv[1]), out, lambda event: None)
"""


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    path = tmp_path_factory.mktemp("dataset") / "rows.jsonl"
    row_maker = RowMaker(library())
    rows = [row_maker.row(template.id, "none", 0, 0) for template in choose_templates(row_maker.library, 60, 0.3, 0)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def start(dataset, out, **changes):
    return start_all(dataset, {out: changes})


def start_all(dataset, runs):
    """One process that trains into each folder in turn, with the changes given for it."""
    values = {"num_steps": NUM_STEPS, "tokens_per_step": 2000, "max_tokens": 1000, "learning_rate": 3e-3, "cpus_per_worker": 1}
    values |= {"evaluation_examples": 8, "checkpoint_every_steps": 4, "gate_retries": 0, "lora": {"rank": 2, "dropout": 0.1}}
    command = [
        sys.executable,
        "-c",
        DRIVER,
        str(dataset),
        json.dumps({str(out): values | changes for out, changes in runs.items()}),
    ]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, start_new_session=True)


def finish(running):
    _, errors = running.communicate(timeout=TIMEOUT_S)
    assert running.returncode == 0, errors[-3000:]


def events(out):
    lines = (out / "log.jsonl").read_text().splitlines() if (out / "log.jsonl").exists() else []
    return [json.loads(line) for line in lines if _is_whole(line)]


def steps(out):
    return [event for event in events(out) if event["event"] == "step"]


def _is_whole(line):
    return line.endswith("}")


def wait_for_step(running, out, number):
    deadline = time.monotonic() + TIMEOUT_S
    while len(steps(out)) < number:
        assert time.monotonic() < deadline
        assert running.poll() is None, running.stderr.read()[-3000:]
        time.sleep(0.02)


def num_starts(out):
    """Workers' starts, times the splits that each reads."""
    return sum(event["event"] == "data" for event in events(out))


def losses(out):
    """By step; one that was done again counts once, as it was the last time."""
    return {step["total_steps"]: step["loss"] for step in steps(out)}


@pytest.fixture(scope="module")
def whole(dataset, tmp_path_factory):
    """An uninterrupted run."""
    out = tmp_path_factory.mktemp("whole") / "out"
    finish(start(dataset, out))
    assert len(steps(out)) == NUM_STEPS
    return out


def same_adapter(one, other):
    ours, theirs = (load_file(out / "adapter" / "adapter_model.safetensors") for out in (one, other))
    return set(ours) == set(theirs) and all(ours[name].equal(theirs[name]) for name in ours)


def test_a_worker_that_is_killed_is_started_again_and_ends_with_the_same_adapter(dataset, whole, tmp_path):
    out, at = tmp_path / "out", random.randrange(5, NUM_STEPS * 2 // 3)
    running = start(dataset, out)
    wait_for_step(running, out, at)
    workers = [
        process
        for process in psutil.Process(running.pid).children(recursive=True)
        if "RayTrainWorker" in process.name() or any("RayTrainWorker" in part for part in process.cmdline())
    ]
    assert len(workers) == 1
    workers[0].send_signal(signal.SIGKILL)
    finish(running)
    # Each start reads the dataset. Steps are done again only if the kill did not fall just behind a checkpoint.
    assert num_starts(out) == 2 * num_starts(whole), f"killed after {at} steps"
    assert losses(out) == losses(whole), f"killed after {at} steps"
    assert same_adapter(out, whole)


def test_two_workers_do_what_one_does(dataset, tmp_path):
    """With the whole model each, or with half of it."""
    ways = {"one": {}, "ddp": {"num_workers": 2}, "fsdp": {"num_workers": 2, "parallelism": "fsdp"}}
    few = {"num_steps": 12, "lora": {"rank": 2}}
    finish(start_all(dataset, {tmp_path / name: few | changes for name, changes in ways.items()}))
    runs = {name: losses(tmp_path / name) for name in ways}
    held_out = {
        name: [event["held_out_loss"] for event in events(tmp_path / name) if event["event"] == "evaluation"] for name in ways
    }
    for name in ("ddp", "fsdp"):
        assert runs[name] == pytest.approx(runs["one"], rel=1e-4), name
        assert held_out[name] == pytest.approx(held_out["one"], rel=1e-4), name
    adapters = {name: load_file(tmp_path / name / "adapter" / "adapter_model.safetensors") for name in runs}
    for name, tensor in adapters["one"].items():
        assert tensor.shape == adapters["fsdp"][name].shape


def test_what_one_of_two_workers_cannot_do_ends_both_with_one_line(dataset, tmp_path):
    """The first worker cannot write its checkpoint, because a file is where the folder must be."""
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "checkpoints").mkdir()
    (tmp_path / "out" / "checkpoints" / "step-00000004").write_text("")
    running = start(dataset, tmp_path / "out", num_workers=2)
    _, errors = running.communicate(timeout=TIMEOUT_S)
    assert running.returncode == 1
    assert "step-00000004 cannot be written" in errors.splitlines()[-1]
