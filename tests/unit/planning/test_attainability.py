"""Verdicts: what a target needs of the bound against what was reached, and ways out that are recipes."""

import re

import pytest

from aria_ray.config import load_config
from aria_ray.planning.attainability import attainability, serving_options

ONE_STREAM, MANY = "output_tokens_per_s, one stream", "output_tokens_per_s, 32 streams"
ONE_OF_70B = "model.source=meta-llama/Llama-3.1-70B"


def targets(plan):
    return {each.name: each for each in plan.targets}


@pytest.mark.parametrize(
    ("needed", "achieved", "expected"),
    [
        (1.01, 1.0, "out of reach"),
        (1.01, None, "out of reach"),
        (1.0, 0.5, "above reference speeds"),
        (0.51, 0.5, "above reference speeds"),
        (0.5, 0.5, "attainable"),
        (0.01, None, "unknown"),
    ],
)
def test_a_verdict_follows_from_the_share_needed_and_the_share_reached(needed, achieved, expected):
    assert attainability(needed, achieved) == expected


def test_mi300x_can_serve_many_streams_in_bf16_and_one_only_with_less_to_read(make_plan):
    rows = targets(make_plan())
    assert rows[MANY].verdict == "attainable"
    assert rows[ONE_STREAM].verdict == "above reference speeds"
    assert 0.88 < rows[ONE_STREAM].needed_share < 0.94
    assert rows[ONE_STREAM].needed_share == pytest.approx(310 / rows[ONE_STREAM].bound)
    assert "fp8 + n-gram" in rows[ONE_STREAM].way


def test_on_h100_one_stream_is_out_of_reach_and_of_more_nothing_is_published(make_plan):
    rows = targets(make_plan("h100", "h100"))
    assert rows[ONE_STREAM].verdict == "out of reach"  # 3.35 TB/s read 15 GB 223 times a second
    assert (rows[MANY].verdict, rows[MANY].achieved_share) == ("unknown", None)


def test_a_speed_is_judged_for_as_many_streams_as_fit(make_plan):
    plan = make_plan("mi300x", "mi300x", ONE_OF_70B, "validation.concurrency=4096")
    row = targets(plan)["output_tokens_per_s, 4096 streams"]
    fitting = next(each for each in plan.decoding if each.streams == 4096)
    assert row.bound == fitting.bound_tokens_per_s
    assert f"{fitting.fitting_streams} of 4096 streams fit" in row.why


def test_what_does_not_fit_is_no_speed_at_all(make_plan):
    rows = targets(make_plan("mi300x", "h100", ONE_OF_70B))
    for name in (MANY, ONE_STREAM, "train_step_ms"):
        assert (rows[name].verdict, rows[name].bound) == ("does not fit", None)
    long = make_plan("mi300x", "mi300x", "training.max_tokens=131072", "training.tokens_per_step=16384000")
    assert long.training is None
    assert targets(long)["train_step_ms"].verdict == "does not fit"
    # In bf16 the weights take 131 of 127 GiB, in FP8 they fit.
    assert targets(make_plan("mi300x", "h200", ONE_OF_70B))[MANY].way == "fp8 or larger memory"


def test_more_streams_are_a_way_only_where_memory_is_the_bound_and_has_room(make_plan):
    few = make_plan("mi300x", "mi300x", "validation.targets.output_tokens_per_s=8000")
    assert targets(few)[MANY].way.endswith("replicas, or more streams")
    arithmetic = ("training.max_tokens=16", "training.tokens_per_step=16384", "validation.output_tokens=16")
    full = make_plan(
        "mi300x", "mi300x", *arithmetic, "validation.concurrency=5000", "validation.targets.output_tokens_per_s=80000"
    )
    row = targets(full)["output_tokens_per_s, 5000 streams"]
    assert next(each for each in full.decoding if each.streams == 5000).bound_by == "arithmetic"
    assert re.fullmatch(r"\d+ replicas", row.way)


def test_one_stream_is_one_row(make_plan):
    names = [each.name for each in make_plan("mi300x", "mi300x", "validation.concurrency=1", "validation.sweep=[]").targets]
    assert [name for name in names if name.startswith("output")] == [ONE_STREAM]


@pytest.mark.parametrize(("recipe", "target_ms"), [("mi300x", 150), ("mi300x", 60), ("h100", 150)])
def test_the_way_to_a_shorter_step_is_a_recipe_that_is_attainable(recipe, target_ms, make_plan):
    wanted = f"validation.targets.train_step_ms={target_ms}"
    row = targets(make_plan(recipe, recipe, wanted))["train_step_ms"]
    assert row.verdict != "attainable"
    ways = [re.findall(r"training\.\w+=\d+", way) for way in row.way.split(", or ")]
    assert len(ways) == 2
    for way in ways:
        load_config(recipe, way)  # which the schema takes
        assert targets(make_plan(recipe, recipe, wanted, *way))["train_step_ms"].verdict == "attainable"


def test_a_step_that_nobody_could_miss_is_attainable_and_one_shorter_than_reading_the_weights_has_no_way(make_plan):
    lower, higher = (
        targets(make_plan("mi300x", "mi300x", f"validation.targets.train_step_ms={ms}"))["train_step_ms"] for ms in (1000, 1)
    )
    assert (lower.verdict, lower.way) == ("attainable", "")
    assert (higher.verdict, higher.way) == ("out of reach", "other hardware")
    assert higher.needed_share == pytest.approx(higher.bound)


def test_memory_saved_is_told_against_the_projects_baseline_and_measured_on_no_gpu(make_plan):
    plan = make_plan()
    row = targets(plan)["memory_reduction"]
    lora, full = (plan.training_memory[name].total_gib for name in ("LoRA", "full AdamW"))
    averages_and_copy = 8 * plan.num_parameters / 2**30
    assert row.verdict == "unmeasured"
    assert row.bound == pytest.approx(1 - lora / (full - averages_and_copy))
    here = targets(make_plan("laptop", "cpu"))["memory_reduction"]
    assert here.verdict == "out of reach"  # a small model saves half
    assert (
        targets(make_plan("laptop", "cpu", "validation.targets.memory_reduction=0.4"))["memory_reduction"].verdict
        == "attainable"
    )


def test_a_processor_is_judged_by_shares_and_no_gpu_is(make_plan):
    shares = ("output_roofline_share", "train_flop_utilization")
    here, there = targets(make_plan("laptop", "cpu")), targets(make_plan("laptop", "mi300x"))
    assert set(here) == {*shares, "memory_reduction", "compute_utilization"}
    assert {here[name].verdict for name in shares} == {"above reference speeds"}
    assert {there[name].verdict for name in shares} == {"unmeasured"}


def test_ways_to_serve_are_those_that_fit(setup):
    assert [option.name for option in serving_options(setup())] == ["bf16", "bf16 + n-gram", "fp8", "fp8 + n-gram"]
    assert [option.name for option in serving_options(setup("mi300x", "h200", ONE_OF_70B))] == ["fp8", "fp8 + n-gram"]
    assert serving_options(setup("mi300x", "h100", ONE_OF_70B)) == []
