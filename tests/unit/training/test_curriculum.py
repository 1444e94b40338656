"""Stages, their data, their learning rates and their gates."""

import itertools

import pytest

from aria_ray.config import load_config
from aria_ray.config.schema import DEFAULT_STAGES, TrainingConfig
from aria_ray.errors import TrainingError
from aria_ray.training.curriculum import gate, learning_rate, stage_packs, stage_steps
from aria_ray.training.tokens import TurnTokens

END = 1


def config(**changes):
    values = {"num_steps": 8, "tokens_per_step": 24, "max_tokens": 24, "learning_rate": 1e-3, "replay_share": 0.25}
    return TrainingConfig(**{**values, **changes})


def turns(difficulty, count):
    return [
        TurnTokens(f"{difficulty}-{number}", difficulty, (difficulty, END, 10 + number, 5, END), 3, 4, False, (3, 4))
        for number in range(count)
    ]


def test_steps_follow_the_shares_and_none_is_empty():
    assert stage_steps(config(num_steps=100)) == [25, 25, 25, 25]
    assert stage_steps(config(num_steps=4)) == [1, 1, 1, 1]
    for recipe in ("smoke", "laptop"):
        training = load_config(recipe).training
        assert sum(stage_steps(training)) == training.num_steps
        assert min(stage_steps(training)) >= 1


def test_a_stage_sees_its_own_difficulty_and_some_of_the_earlier_ones():
    data = [turn for difficulty in (1, 2, 3, 4) for turn in turns(difficulty, 12)]
    for stage in range(4):
        steps = stage_packs(data, stage, 5, config())
        assert len(steps) == 5
        seen = [turn.difficulty for packs in steps for pack in packs for turn in pack.turns]
        assert set(seen) <= set(range(1, stage + 2))
        assert seen.count(stage + 1) / len(seen) > 0.5
        assert stage == 0 or any(difficulty <= stage for difficulty in seen)
        assert all(sum(pack.num_tokens for pack in packs) <= 24 for packs in steps)


def test_shuffled_stages_see_every_difficulty_from_the_start():
    data = [turn for difficulty in (1, 2, 3, 4) for turn in turns(difficulty, 12)]
    steps = stage_packs(data, 0, 5, config(order="shuffled"))
    assert {turn.difficulty for packs in steps for pack in packs for turn in pack.turns} == {1, 2, 3, 4}


def test_a_retry_sees_its_turns_in_another_order():
    data = turns(1, 12)
    first, second = (
        [pack.input_ids.tolist() for packs in stage_packs(data, 0, 5, config(), attempt) for pack in packs]
        for attempt in (0, 1)
    )
    assert first != second


def test_the_same_seed_gives_the_same_steps():
    data = [turn for difficulty in (1, 2) for turn in turns(difficulty, 12)]

    def ids(seed):
        return [pack.input_ids.tolist() for packs in stage_packs(data, 1, 5, config(seed=seed)) for pack in packs]

    assert ids(0) == ids(0)
    assert ids(0) != ids(1)


def test_a_stage_without_examples_is_an_error():
    with pytest.raises(TrainingError, match="'integration' has no training examples of difficulty 3"):
        stage_packs(turns(1, 3), 2, 1, config())


def test_the_gate():
    stage = DEFAULT_STAGES[0]
    assert [gate(stage, accuracy) for accuracy in (0.75, 0.74, 0.65, 0.64)] == ["target", "passed", "passed", "failed"]


def test_warm_up_then_cosine():
    rates = [learning_rate(step, 100, 1.0, 0.1) for step in range(100)]
    assert rates[0] == pytest.approx(0.1)
    assert rates[9] == pytest.approx(1.0)
    assert rates[10] == pytest.approx(1.0)
    assert rates[55] == pytest.approx(0.55)
    assert rates[99] == pytest.approx(0.1, abs=1e-3)
    assert all(earlier >= later for earlier, later in itertools.pairwise(rates[10:]))
    assert learning_rate(0, 1, 1.0, 0.1) == 1.0
