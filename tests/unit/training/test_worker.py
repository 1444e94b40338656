"""A worker from its first step to its last, cut off and taken up again, on the tiny random model."""

import json
import shutil

import pytest
import torch

from aria_ray.config import ModelConfig
from aria_ray.config.schema import LoraConfig, TrainingConfig
from aria_ray.dataset.loading import library
from aria_ray.dataset.rows import Source, choose_templates
from aria_ray.errors import TrainingError
from aria_ray.training.base import prepare_base
from aria_ray.training.model import trainable_parameters
from aria_ray.training.settings import Place, Settings
from aria_ray.training.train import _drop_torn_line
from aria_ray.training.worker import Worker


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    path = tmp_path_factory.mktemp("dataset") / "rows.jsonl"
    source = Source(library())
    rows = [source.row(template.id, "none", 0, 0) for template in choose_templates(source.library, 60, 0.3, 0)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def train(dataset, folder, resume_from=None, **changes):
    """Run a worker; its model, and the checkpoints it reported in order."""
    values = {"num_steps": 8, "tokens_per_step": 1500, "max_tokens": 1500, "learning_rate": 3e-3, "evaluations_per_stage": 1}
    config = TrainingConfig(**{**values, "evaluation_examples": 4, "lora": LoraConfig(rank=2), **changes})
    folder.mkdir()
    settings = Settings(config, "float32", prepare_base(ModelConfig(source="random:tiny")), dataset, folder / "log.jsonl")
    checkpoints = []

    def report(_metrics, save):
        checkpoints.append(folder / f"checkpoint_{len(checkpoints)}")
        checkpoints[-1].mkdir()
        save(checkpoints[-1])

    worker = Worker(settings, Place(0, 1, lambda tensor: tensor), report, resume_from)
    try:
        worker.run()
    finally:
        train.checkpoints = checkpoints
    return worker.model


def steps(folder):
    events = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    return [(event["stage"], event["step"], event["loss"]) for event in events if event["event"] == "step"]


def test_a_run_taken_up_again_ends_with_the_same_adapter(dataset, tmp_path):
    whole = train(dataset, tmp_path / "whole")
    assert len(train.checkpoints) == 4
    shutil.copytree(train.checkpoints[1], tmp_path / "checkpoint")
    resumed = train(dataset, tmp_path / "resumed", resume_from=tmp_path / "checkpoint")
    assert steps(tmp_path / "resumed") == steps(tmp_path / "whole")[4:]
    for ours, theirs in zip(trainable_parameters(resumed).values(), trainable_parameters(whole).values(), strict=True):
        assert torch.equal(ours, theirs)


def test_a_closed_gate_stays_closed_when_the_run_is_taken_up_again(dataset, tmp_path):
    with pytest.raises(TrainingError, match=r"'foundation' ended at .* below its minimum 65%"):
        train(dataset, tmp_path / "first", on_gate_failure="stop")
    (checkpoint,) = train.checkpoints
    with pytest.raises(TrainingError, match="'foundation' ended at"):
        train(dataset, tmp_path / "second", resume_from=checkpoint, on_gate_failure="stop")
    assert steps(tmp_path / "second") == []


def test_examples_that_are_too_long_are_an_error_when_none_is_left(dataset, tmp_path):
    with pytest.raises(TrainingError, match=r"none of \d+ train turns fits into training.max_tokens \(100\); the shortest"):
        train(dataset, tmp_path / "run", max_tokens=100)


def test_what_a_killed_run_left_of_its_last_line_is_cut(tmp_path):
    log = tmp_path / "log.jsonl"
    log.write_text('{"event": "step"}\n{"event": "st')
    _drop_torn_line(log)
    assert log.read_text() == '{"event": "step"}\n'
