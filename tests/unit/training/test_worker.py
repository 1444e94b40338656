"""A worker from its first step to its last, cut off and taken up again, on the tiny random model."""

import json
from dataclasses import replace

import pytest
import torch
from transformers import AttentionInterface

from aria_ray.config import ModelConfig
from aria_ray.config.schema import LoraConfig, TrainingConfig
from aria_ray.dataset.loading import library
from aria_ray.dataset.rows import RowMaker
from aria_ray.dataset.sampling import choose_templates
from aria_ray.errors import TrainingError
from aria_ray.training.attention import TILED, tiled_attention
from aria_ray.training.base_model import prepare_base
from aria_ray.training.lora import FusedLoraLinear
from aria_ray.training.model import trainable_parameters
from aria_ray.training.summary import read_events
from aria_ray.training.worker import Worker
from aria_ray.training.worker_args import WorkerArgs, WorkerRank


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    path = tmp_path_factory.mktemp("dataset") / "rows.jsonl"
    row_maker = RowMaker(library())
    rows = [row_maker.row(template.id, "none", 0, 0) for template in choose_templates(row_maker.library, 60, 0.3, 0)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


class Killed(BaseException):
    """Ends a worker as SIGKILL would: nothing of its own gets to run."""


def settings(dataset, folder, **changes):
    values = {"num_steps": 8, "tokens_per_step": 1500, "max_tokens": 1500, "learning_rate": 3e-3, "evaluations_per_stage": 1}
    values |= {"evaluation_examples": 4, "lora": LoraConfig(rank=2), "gate_retries": 0}
    folder.mkdir(exist_ok=True)
    return WorkerArgs(
        TrainingConfig(**{**values, **changes}), "float32", prepare_base(ModelConfig(source="random:tiny")), dataset, folder
    )


def train(dataset, folder, kill_at=None, **changes):
    """Run a worker to its end, or to the evaluation where it is killed."""
    reports = []

    def report(metrics):
        reports.append(metrics)
        if len(reports) == kill_at:
            raise Killed

    worker = Worker(settings(dataset, folder, **changes), WorkerRank(0, 1, lambda tensor: tensor), report)
    try:
        worker.run()
    except Killed:
        assert kill_at is not None
    return worker


def events(folder, kind):
    lines = map(json.loads, (folder / "log.jsonl").read_text().splitlines())
    return [event for event in lines if event["event"] == kind]


def losses(folder):
    return [(step["stage"], step["attempt"], step["step"], step["loss"]) for step in events(folder, "step")]


def same_weights(one, other):
    pairs = zip(trainable_parameters(one.model).values(), trainable_parameters(other.model).values(), strict=True)
    return all(torch.equal(ours, theirs) for ours, theirs in pairs)


def test_a_run_taken_up_again_ends_with_the_same_adapter(dataset, tmp_path):
    dropout = LoraConfig(rank=2, dropout=0.1)  # whose randomness must come back too
    whole = train(dataset, tmp_path / "whole", lora=dropout)
    assert len(losses(tmp_path / "whole")) == 8
    train(dataset, tmp_path / "killed", kill_at=2, lora=dropout)
    resumed = train(dataset, tmp_path / "killed", lora=dropout)
    assert losses(tmp_path / "killed") == losses(tmp_path / "whole")
    assert same_weights(resumed, whole)
    assert _but_memory(resumed.state) == _but_memory(whole.state)


def _but_memory(progress):
    return [{**progress.best_metrics, "peak_memory_gib": None}, progress.transitions, progress.total_steps, progress.best_loss]


def test_the_kernels_that_were_chosen_train_the_same_adapter_but_for_rounding(dataset, tmp_path):
    """On a processor the library computes for them."""
    chosen = replace(settings(dataset, tmp_path / "chosen"), kernels="triton")
    worker = Worker(chosen, WorkerRank(0, 1, lambda tensor: tensor), lambda _metrics: None)
    assert sum(isinstance(module, FusedLoraLinear) for module in worker.model.modules()) == 14
    worker.run()
    train(dataset, tmp_path / "torch")
    pairs = zip(losses(tmp_path / "chosen"), losses(tmp_path / "torch"), strict=True)
    assert all(ours[-1] == pytest.approx(theirs[-1], rel=1e-3) for ours, theirs in pairs)


def test_a_run_whose_newest_checkpoint_is_damaged_goes_on_from_the_one_before(dataset, tmp_path):
    whole = train(dataset, tmp_path / "whole")
    train(dataset, tmp_path / "run", kill_at=3)
    newest = max((tmp_path / "run" / "checkpoints").iterdir())
    weights = newest / "adapter" / "adapter_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"?")
    resumed = train(dataset, tmp_path / "run")
    assert same_weights(resumed, whole)
    assert events(tmp_path / "run", "damaged_checkpoint")[0]["what"] == f"{weights} has changed since it was written"
    assert losses(tmp_path / "run")[6:] == losses(tmp_path / "whole")[4:]  # the third stage's steps were done again


def test_checkpoints_come_between_evaluations_too(dataset, tmp_path):
    train(dataset, tmp_path / "run", num_steps=12, checkpoint_every_steps=2, kill_at=1)
    assert sorted(path.name for path in (tmp_path / "run" / "checkpoints").iterdir()) == ["step-00000002", "step-00000003"]


def test_a_failed_gate_is_tried_again_from_the_best_checkpoint_at_half_the_rate(dataset, tmp_path):
    worker = train(dataset, tmp_path / "run", gate_retries=1)
    transitions = worker.state.transitions
    assert [(end["stage"], end["attempt"], end["retried"]) for end in transitions[:2]] == [
        ("foundation", 0, True),
        ("foundation", 1, False),
    ]
    assert len(transitions) == 8  # a random model passes no gate
    first, second = ([step for step in events(tmp_path / "run", "step") if step["attempt"] == number] for number in (0, 1))
    assert [step["learning_rate"] / 2 for step in first] == [step["learning_rate"] for step in second]
    # The best checkpoint is the end of the attempt before where the loss has always fallen: the retry goes on from there.
    assert worker.state.total_steps == 16


def test_a_kill_between_an_attempt_and_its_retry_changes_nothing(dataset, tmp_path):
    whole = train(dataset, tmp_path / "whole", gate_retries=1)
    train(dataset, tmp_path / "killed", gate_retries=1, kill_at=1)
    resumed = train(dataset, tmp_path / "killed", gate_retries=1)
    assert losses(tmp_path / "killed") == losses(tmp_path / "whole")
    assert same_weights(resumed, whole)


def test_an_optimizer_may_start_anew_with_each_stage(dataset, tmp_path):
    """The optimizer counts the steps that its averages are of: all eight, or the last stage's two."""
    moves = {}
    for between in ("continue", "restart"):
        worker = train(dataset, tmp_path / between, optimizer_between_stages=between)
        moves[between] = {state["step"].item() for state in worker.optimizer.state_dict()["state"].values()}
    assert moves == {"continue": {8.0}, "restart": {2.0}}


def test_a_closed_gate_stays_closed_when_the_run_is_taken_up_again(dataset, tmp_path):
    for _ in range(2):
        with pytest.raises(TrainingError, match=r"'foundation' ended at .* below its minimum 65%"):
            train(dataset, tmp_path / "run", on_gate_failure="stop")
        assert len(losses(tmp_path / "run")) == 2


def test_a_gate_is_closed_only_after_its_retries(dataset, tmp_path):
    with pytest.raises(TrainingError, match="'foundation' ended at"):
        train(dataset, tmp_path / "run", on_gate_failure="stop", gate_retries=2)
    assert [step["attempt"] for step in events(tmp_path / "run", "step")] == [0, 0, 1, 1, 2, 2]


def test_what_happens_goes_to_tensorboard(dataset, tmp_path):
    train(dataset, tmp_path / "run")
    from tensorboardX.proto.event_pb2 import Event

    (file,) = (tmp_path / "run" / "tensorboard").glob("events.*")
    data, tags = file.read_bytes(), {}
    while data:
        length = int.from_bytes(data[:8], "little")
        event = Event.FromString(data[12 : 12 + length])
        for value in event.summary.value:
            tags.setdefault(value.tag, []).append((event.step, value.simple_value))
        data = data[16 + length :]
    assert [step for step, _ in tags["step/loss"]] == list(range(1, 9))
    assert tags["step/loss"][0][1] == pytest.approx(losses(tmp_path / "run")[0][3])
    assert [step for step, _ in tags["evaluation/accuracy"]] == [2, 4, 6, 8]


def test_a_worker_without_memory_for_a_pack_halves_it(dataset, tmp_path, monkeypatch):
    """How much memory there is, is made up; the error is torch's own, asked for more than any machine has."""
    import aria_ray.training.loop as loop

    large = {"max_tokens": 3000, "tokens_per_step": 3000}
    whole = train(dataset, tmp_path / "whole", **large)
    backward, limit = loop.backward, max(len(turn.ids) for turn in whole.turns)

    def little_memory(model, pack, scale):
        if pack.num_tokens > limit:
            torch.empty(2**60)
        return backward(model, pack, scale)

    monkeypatch.setattr(loop, "backward", little_memory)
    halved = train(dataset, tmp_path / "halved", **large)
    (event, *_) = events(tmp_path / "halved", "out_of_memory")
    assert event["tokens"] > limit
    assert event["halvings"] == 1
    for ours, theirs in zip(losses(tmp_path / "halved"), losses(tmp_path / "whole"), strict=True):
        assert ours == (*theirs[:3], pytest.approx(theirs[3], rel=1e-5))
    assert halved.state.halvings >= 1
    limit = 10
    with pytest.raises(TrainingError, match=r"one example of \d+ tokens does not fit into memory; lower training.max_tokens"):
        train(dataset, tmp_path / "none")


def test_examples_that_are_too_long_are_an_error_when_none_is_left(dataset, tmp_path):
    with pytest.raises(TrainingError, match=r"none of \d+ train turns fits into training.max_tokens \(100\); the shortest"):
        train(dataset, tmp_path / "run", max_tokens=100)


def test_what_a_killed_run_left_of_its_last_line_does_no_harm(dataset, tmp_path):
    train(dataset, tmp_path / "run", kill_at=2)
    with (tmp_path / "run" / "log.jsonl").open("a") as log:
        log.write('{"event": "st')
    train(dataset, tmp_path / "run")
    found = [event["total_steps"] for event in read_events(tmp_path / "run" / "log.jsonl") if event["event"] == "step"]
    assert found == list(range(1, 9))


def test_a_gradient_that_is_not_finite_stops_before_the_weights_change(dataset, tmp_path, monkeypatch):
    import aria_ray.training.loop as loop

    summed = loop._summed_gradients

    def infinite(parameters, sum_over_workers):
        gradients = summed(parameters, sum_over_workers)
        gradients[0].view(-1)[0] = float("inf")
        return gradients

    monkeypatch.setattr(loop, "_summed_gradients", infinite)
    with pytest.raises(TrainingError, match="gradient norm is inf, must be finite"):
        train(dataset, tmp_path / "run")
    assert not (tmp_path / "run" / "checkpoints").exists()


def test_a_damaged_best_checkpoint_is_no_adapter(dataset, tmp_path):
    worker = train(dataset, tmp_path / "run")
    best = worker.checkpoints.path(worker.state.best_checkpoint) / "optimizer.safetensors"
    best.write_bytes(b"")
    with pytest.raises(TrainingError, match=r"the best checkpoint is damaged: .*optimizer.safetensors has changed"):
        worker.checkpoints.intact_path(worker.state.best_checkpoint)


def test_a_model_that_is_not_computed_as_its_own_code_does_ends_the_run_before_the_first_step(dataset, tmp_path, monkeypatch):
    """Here the attention for packed rows is one that scales its scores otherwise."""
    monkeypatch.setitem(AttentionInterface._global_mapping, TILED, halved)
    with pytest.raises(TrainingError, match="llama: logits in training differ from the model's own by"):
        train(dataset, tmp_path / "run")
    assert events(tmp_path / "run", "step") == []


def halved(*states, scaling, **options):
    return tiled_attention(*states, scaling=scaling / 2, **options)
