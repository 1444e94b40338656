"""Estimates: bounds from the recipe's sizes, for what fits, with estimates only where something is published."""

import pytest
from results import figures

from aria_ray.errors import AriaError
from aria_ray.planning.estimates import (
    NGRAM,
    SUPERVISED_SHARE,
    decoding_estimates,
    load_estimates,
    rounded,
    serving_memory,
    training_estimate,
    training_memory,
)

ONE_OF_70B = "model.source=meta-llama/Llama-3.1-70B"


def test_the_training_bound_is_the_steps_arithmetic_at_the_peak(setup):
    training = training_estimate(setup())
    assert training.bound_by == "arithmetic"
    assert training.bound_ms == pytest.approx(training.flops_per_worker / 1307.4e12 * 1000)
    assert training.flops_per_worker == pytest.approx(4 * 6_979_321_856 * 2048, rel=0.1)  # LoRA, attention and head besides
    assert training.bound_tokens_per_s == pytest.approx(16_384 / training.bound_ms * 1000)
    assert training.bound_hours == pytest.approx(600 * training.bound_ms / 3.6e6)
    assert training.estimated_ms == pytest.approx(training.bound_ms / training.achieved_share)


def test_twice_the_workers_halve_a_steps_bound(setup):
    one, two = (training_estimate(setup("mi300x", "mi300x", f"training.num_workers={number}")) for number in (2, 4))
    assert one.tokens_per_worker == 2 * two.tokens_per_worker
    assert one.bound_ms == pytest.approx(2 * two.bound_ms, rel=0.02)


def test_a_step_of_little_arithmetic_takes_two_readings_of_the_weights_and_one_pass_of_the_optimizer(setup):
    few = setup("mi300x", "mi300x", "training.max_tokens=8", "training.tokens_per_step=256")  # 4 rows on each of 8
    training = training_estimate(few)
    read = 2 * 2 * (6_979_321_856 + 525_336_576) + 28 * few.model.adapter_weights(16, few.target_modules)
    assert training.bound_by == "memory"
    assert training.bound_ms == pytest.approx(1000 * read / 5.3e12)


def test_fp8_and_speculation_raise_the_bound_of_one_stream(setup):
    rates = {(row.precision, row.speculation, row.streams): row.bound_tokens_per_s for row in decoding_estimates(setup())}
    plain = rates["bf16", "none", 1]
    assert 1.7 < rates["fp8", "none", 1] / plain < 2
    assert rates["bf16", "n-gram", 1] / plain == pytest.approx(1.33)
    assert {streams for *_, streams in rates} == {1, 32, 128}


def test_as_many_streams_fit_as_the_memory_plan_has_room_for(setup):
    here = setup("mi300x", "mi300x", ONE_OF_70B)
    for precision in here.precisions:
        most = here.most_streams(precision)
        assert here.serving_memory(precision, most).fits
        assert not here.serving_memory(precision, most + 1).fits
    assert setup("mi300x", "h100", ONE_OF_70B).most_streams(here.base) == 0


def test_streams_beyond_the_memory_bring_no_speed(setup):
    few, many = (setup("mi300x", "mi300x", ONE_OF_70B, f"validation.concurrency={streams}") for streams in (500, 4096))
    assert not serving_memory(few)["bf16"].fits
    rows = [[row for row in decoding_estimates(each) if row.streams > 400] for each in (few, many)]
    for one, other in zip(*rows, strict=True):
        assert one.fitting_streams == other.fitting_streams < 500
        assert one.bound_tokens_per_s == other.bound_tokens_per_s
    assert load_estimates(few, 10) == load_estimates(many, 10)


def test_what_does_not_fit_has_neither_bound_nor_replicas(setup):
    here = setup("mi300x", "h100", ONE_OF_70B)
    assert {(row.bound_tokens_per_s, row.estimated_tokens_per_s) for row in decoding_estimates(here)} == {(None, None)}
    assert {(row.replica_bound_per_s, row.replicas_at_bound, row.replicas_estimated) for row in load_estimates(here, 10)} == {
        (None, None, None)
    }


def test_no_estimate_is_made_where_nothing_of_the_kind_is_published(setup):
    decoding, load = decoding_estimates(setup("h100", "h100")), load_estimates(setup("h100", "h100"), 1000)
    assert {(row.achieved_share, row.estimated_tokens_per_s) for row in decoding} == {(None, None)}
    bf16, fp8 = load
    assert bf16.replicas_estimated is None
    assert fp8.replicas_estimated > fp8.replicas_at_bound  # the most of a full engine in FP8 is published


def test_more_requests_need_more_replicas(setup):
    few, many = (load_estimates(setup(), load)[0] for load in (10, 100))
    assert many.replicas_at_bound >= 100 / many.replica_bound_per_s > many.replicas_at_bound - 1
    assert many.replicas_estimated > many.replicas_at_bound > few.replicas_at_bound


@pytest.mark.parametrize(
    ("hardware", "overrides", "kernels"),
    [
        ("mi300x", (), "torch"),
        ("mi300x", ("hardware.kernels=triton",), "triton"),
        ("mi300x", ("hardware.accelerator=cpu", "training.use_gpu=false"), "torch"),  # what a run of that recipe computes with
        ("cpu", ("hardware.kernels=triton",), "torch"),
    ],
)
def test_kernels_are_those_that_a_run_takes(hardware, overrides, kernels, setup):
    assert setup("mi300x", hardware, *overrides).work.kernels == kernels


def test_kernels_that_a_run_refuses_are_refused(setup):
    with pytest.raises(AriaError, match=r"training\.use_gpu is false"):
        training_memory(
            setup("mi300x", "mi300x", "hardware.accelerator=cpu", "training.use_gpu=false", "hardware.kernels=triton")
        )


def test_what_is_assumed_is_what_was_measured():
    (ngrams,) = (
        each
        for each in figures("N-gram speculation on the dataset")["settings"]
        if (each["drafted_tokens"], each["shortest"], each["longest"]) == (NGRAM.drafted_tokens, 1, 4)
    )
    assert ngrams["tokens_per_step"] == pytest.approx(NGRAM.tokens_per_step, rel=0.05)
    training, supervised = figures("Training"), figures("Ablations")["target_tokens_per_turn"]["the recipe"]
    share = supervised / (training["tokens_per_s"] / training["turns_per_s"])
    assert share == pytest.approx(SUPERVISED_SHARE, abs=0.05)


@pytest.mark.parametrize(
    ("value", "text"), [(0.004, "0.004"), (0.94, "0.94"), (99.4, "99"), (99.5, "100"), (99.99, "100"), (1234.5, "1,234")]
)
def test_figures_are_rounded_to_what_a_person_reads(value, text):
    assert rounded(value) == text
