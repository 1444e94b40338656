"""The plan: parts, bounds and verdicts of whole recipes, from figures alone."""

import json
from dataclasses import asdict
from pathlib import Path

import pytest

from aria_ray.config import load_config
from aria_ray.errors import AriaError
from aria_ray.hardware.outlook import NGRAM
from aria_ray.hardware.peaks import Peaks
from aria_ray.hardware.plan import find_hardware, plan
from aria_ray.hardware.plan_text import WIDTH, render_plan
from aria_ray.hardware.specs import H100, MI300X, measured_cpu
from aria_ray.hardware.targets import verdict
from aria_ray.pipeline import fingerprints

CPU = measured_cpu(Peaks(threads=2, gemm_flops_per_s=156e9, copy_bytes_per_s=20e9))
ONE_STREAM, MANY = "output_tokens_per_s, one stream", "output_tokens_per_s, 32 streams"


def made(recipe="mi300x", hardware=MI300X, overrides=(), load=10.0):
    return plan(recipe, load_config(recipe, overrides), hardware, load)


def targets(found):
    return {each.name: each for each in found.targets}


@pytest.mark.parametrize(
    ("needed", "achieved", "expected"),
    [
        (1.01, 1.0, "out of reach"),
        (1.0, 0.5, "needs more than was reached"),
        (0.51, 0.5, "needs more than was reached"),
        (0.5, 0.5, "attainable"),
    ],
)
def test_a_verdict_follows_from_the_share_needed_and_the_share_reached(needed, achieved, expected):
    assert verdict(needed, achieved) == expected


def test_mi300x_can_serve_many_streams_in_bf16_and_one_only_with_less_to_read():
    found = targets(made())
    assert found[MANY].verdict == "attainable"
    assert found[ONE_STREAM].verdict == "needs more than was reached"
    assert 0.88 < found[ONE_STREAM].needed_share < 0.94
    assert found[ONE_STREAM].needed_share == pytest.approx(310 / found[ONE_STREAM].bound)
    assert "fp8 + n-gram" in found[ONE_STREAM].way
    assert targets(made("h100", H100))[ONE_STREAM].verdict == "out of reach"  # 3.35 TB/s read 15 GB 223 times a second


def test_a_target_that_nobody_could_miss_is_attainable_and_one_beyond_the_peak_is_not():
    lower = targets(made(overrides=["validation.targets.train_step_ms=1000"]))["train_step_ms"]
    higher = targets(made(overrides=["validation.targets.train_step_ms=1"]))["train_step_ms"]
    assert (lower.verdict, lower.way) == ("attainable", "")
    assert higher.verdict == "out of reach"
    assert higher.needed_share == pytest.approx(higher.bound)


def test_the_training_bound_is_the_steps_arithmetic_at_the_peak():
    training = made().training
    assert training.bound_by == "arithmetic"
    assert training.bound_ms == pytest.approx(training.flops_per_worker / 1307.4e12 * 1000)
    assert training.flops_per_worker == pytest.approx(4 * 6_979_321_856 * 2048, rel=0.1)  # LoRA, attention and head besides
    assert training.bound_tokens_per_s == pytest.approx(16_384 / training.bound_ms * 1000)
    assert training.bound_hours == pytest.approx(600 * training.bound_ms / 3.6e6)
    assert training.estimated_ms == pytest.approx(training.bound_ms / training.achieved_share)


def test_twice_the_workers_halve_a_steps_bound():
    one, two = (made(overrides=[f"training.num_workers={number}"]).training for number in (2, 4))
    assert one.tokens_per_worker == 2 * two.tokens_per_worker
    assert one.bound_ms == pytest.approx(2 * two.bound_ms, rel=0.02)


def test_fp8_and_speculation_raise_the_bound_of_one_stream():
    rates = {(row.precision, row.speculation, row.streams): row.bound_tokens_per_s for row in made().decoding}
    plain = rates["bf16", "none", 1]
    assert 1.7 < rates["fp8", "none", 1] / plain < 2
    assert rates["bf16", "n-gram", 1] / plain == pytest.approx(1.33)
    assert {streams for *_, streams in rates} == {1, 32, 128}


def test_what_speculation_is_assumed_to_bring_is_what_was_measured():
    row = f"| {NGRAM.drafted_tokens} | 1 to 4 | {NGRAM.tokens_per_step:.2f} |"
    assert row in (Path(__file__).parents[3] / "benchmarks" / "RESULTS.md").read_text(encoding="utf-8")


def test_more_requests_need_more_replicas():
    few, many = (made(load=load).load[0] for load in (10, 100))
    assert many.replicas_at_bound >= 100 / many.replica_bound_per_s > many.replicas_at_bound - 1
    assert many.replicas_estimated > many.replicas_at_bound > few.replicas_at_bound
    for wrong in (0, -1, float("nan"), float("inf")):
        with pytest.raises(AriaError, match="must be requests per second, above 0"):
            made(load=wrong)


def test_a_model_too_large_for_the_machine_does_not_fit():
    found = made(hardware=CPU)
    assert not found.training_memory["full AdamW"].fits or CPU.memory_gb > 140
    assert found.training_memory["LoRA"].total_gib == pytest.approx(sum(found.training_memory["LoRA"].part_gib.values()))


def test_a_processor_has_no_fp8_and_is_judged_by_shares():
    found = made("laptop", CPU)
    assert {row.precision for row in found.decoding} == {"fp32"}
    assert set(targets(found)) == {"output_roofline_share", "train_flop_utilization", "memory_reduction", "compute_utilization"}


def test_a_lora_target_that_no_llama_has_is_an_error():
    with pytest.raises(AriaError, match="'c_attn' is no linear layer of a Llama; there are: q_proj"):
        made(overrides=["training.lora.target_modules=[c_attn]"])


@pytest.mark.parametrize(("recipe", "hardware"), [("mi300x", MI300X), ("h100", H100), ("laptop", CPU), ("smoke", MI300X)])
def test_every_recipe_has_a_page_and_json(recipe, hardware):
    found = made(recipe, hardware)
    text = render_plan(found)
    assert all(len(line) <= WIDTH for line in text.splitlines())
    assert len(text.splitlines()) < 90
    for expected in ("Memory of one device", "Training:", "Decoding", "Replicas for", "Targets", "Recommended", "Unmeasured"):
        assert expected in text
    read = json.loads(json.dumps(asdict(found)))
    assert read["targets"][0]["verdict"] in text
    assert read["hardware_sources"]["memory_bytes_per_s"]


def test_hardware_is_found_by_name():
    assert find_hardware("MI300X") is MI300X
    with pytest.raises(AriaError, match="hardware 'tpu' must be one of"):
        find_hardware("tpu")


def test_the_accelerator_changes_no_stage():
    there, other = (load_config("mi300x", [f"hardware.accelerator={name}"]) for name in ("mi300x", "h100"))
    assert fingerprints(there) == fingerprints(other)
