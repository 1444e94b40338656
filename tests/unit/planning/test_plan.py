"""The plan of whole recipes: which hardware it reckons with, what it refuses, what it recommends and assumes."""

import json
import os
from dataclasses import asdict

import pytest

from aria_ray.config import load_config
from aria_ray.errors import AriaError
from aria_ray.machine.peaks import Peaks
from aria_ray.machine.specs import MI300X
from aria_ray.pipeline import VALIDATION
from aria_ray.planning import plan as planning
from aria_ray.planning.plan import find_hardware
from aria_ray.stage import Run
from aria_ray.terminal import Terminal


@pytest.mark.parametrize(
    ("recipe", "hardware"), [("mi300x", "mi300x"), ("h100", "h100"), ("laptop", "cpu"), ("smoke", "mi300x")]
)
def test_every_recipe_has_json(recipe, hardware, make_plan):
    read = json.loads(json.dumps(asdict(make_plan(recipe, hardware)), allow_nan=False))
    assert read["targets"][0]["verdict"]
    assert read["hardware_sources"]["memory_bytes_per_s"]


def test_hardware_is_found_by_name_and_else_the_recipes():
    recipe = load_config("mi300x")
    for name in (None, "MI300X"):
        hardware = find_hardware(name, recipe)
        assert hardware.engine is hardware.worker is MI300X
    for name in ("tpu", ""):
        with pytest.raises(AriaError, match=f"hardware '{name}' must be one of"):
            find_hardware(name, recipe)


def test_a_recipe_for_gpus_that_names_none_is_not_planned_for_this_processor():
    with pytest.raises(AriaError, match=r"hardware.accelerator \(cpu\) must be a GPU where training.use_gpu is true"):
        find_hardware(None, load_config("laptop", ["training.use_gpu=true"]))


@pytest.fixture
def two_cores(monkeypatch):
    """A machine of two cores whose peaks are known: a fake for the measurement, which takes seconds and all of the machine."""
    asked = []

    def peaks(threads):
        asked.append(threads)
        return Peaks(threads, gemm_flops_per_s=100e9 * threads, copy_bytes_per_s=15e9 if threads == 1 else 20e9)

    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: {0, 1})
    monkeypatch.setattr(planning, "measure_peaks", peaks)
    return asked


def test_a_worker_has_the_threads_of_the_recipe_and_an_engine_the_machine(two_cores):
    hardware = find_hardware("cpu", load_config("laptop", ["training.cpus_per_worker=1"]))
    assert two_cores == [2, 1]
    assert (hardware.engine.compute_units, hardware.engine.peak_flops_per_s["fp32"]) == (2, 200e9)
    assert (hardware.worker.compute_units, hardware.worker.peak_flops_per_s["fp32"]) == (1, 100e9)
    assert hardware.worker.memory_bytes_per_s == 15e9
    assert hardware.worker.memory_gb == hardware.engine.memory_gb


@pytest.mark.parametrize(("cpus", "measured"), [(1, [2, 1]), (2, [2])])
def test_workers_on_a_processor_share_its_cores_and_its_memory(cpus, measured, two_cores):
    shared = ["training.num_workers=2", "training.tokens_per_step=1536", f"training.cpus_per_worker={cpus}"]
    config = load_config("laptop", shared)
    hardware = find_hardware("cpu", config)
    assert two_cores == measured
    assert hardware.worker.peak_flops_per_s["fp32"] == 100e9
    assert hardware.worker.memory_bytes_per_s == 10e9
    assert hardware.worker.memory_gb == pytest.approx(hardware.engine.memory_gb / 2)
    plan = planning.plan("laptop", config, hardware)
    assert plan.num_devices == 1
    assert plan.training_memory["LoRA"].capacity_gib == pytest.approx(plan.serving_memory["fp32"].capacity_gib / 2)
    assert any(line.startswith("each of 2 training workers has its part") for line in plan.assumptions)


@pytest.mark.usefixtures("two_cores")
def test_two_workers_on_one_processor_are_bound_as_one_is():
    one, two = (
        planning.plan("laptop", config, find_hardware("cpu", config)).training
        for config in (
            load_config("laptop", ["training.tokens_per_step=1536"]),
            load_config("laptop", ["training.tokens_per_step=1536", "training.num_workers=2", "training.cpus_per_worker=1"]),
        )
    )
    assert two.bound_tokens_per_s == pytest.approx(one.bound_tokens_per_s, rel=0.01)


def test_a_processor_has_a_peak_in_float32_alone(make_plan):
    with pytest.raises(AriaError, match=r"model.dtype \(bfloat16\) must be float32 on a processor"):
        make_plan("mi300x", "cpu")
    assert {row.precision for row in make_plan("mi300x", "cpu", "model.dtype=float32").decoding} == {"fp32"}


@pytest.mark.parametrize("load", [0, -1, float("nan"), float("inf"), 1e308])
def test_a_load_that_is_none_is_refused(load, make_plan):
    with pytest.raises(AriaError, match="must be requests per second, above 0 and at most 1e"):
        make_plan(load=load)


def test_a_lora_target_that_no_llama_has_is_an_error(make_plan):
    with pytest.raises(AriaError, match=r"'c_attn' is no linear layer of meta-llama/Llama-3\.1-8B-Instruct; there are: q_proj"):
        make_plan("mi300x", "mi300x", "training.lora.target_modules=[c_attn]")


def test_the_accelerator_changes_no_stage(tmp_path):
    there, other = (
        Run(load_config("mi300x", [f"hardware.accelerator={name}"]), "mi300x", tmp_path, Terminal()).fingerprint(VALIDATION)
        for name in ("mi300x", "h100")
    )
    assert there == other


def advice(plan):
    return "; ".join(plan.recommendations)


def test_what_needs_no_change_is_said_and_what_is_unproven_is_to_be_measured(make_plan):
    lines = advice(make_plan())
    assert "310 tokens/s need no change: 32 streams on one replica in bf16" in lines
    assert "fp8 + n-gram comes nearest (needs 37% of its bound, the reference reached 25%); measure it first" in lines
    assert "FP8 can change answers" in lines


def test_what_is_out_of_reach_is_not_to_be_measured(make_plan):
    lines = advice(make_plan("mi300x", "mi300x", "validation.targets.output_tokens_per_s=250000"))
    assert "out of reach: even fp8 + n-gram has a bound of 848" in lines
    for wrong in ("measure", "need no change", "FP8 can", "speculation"):
        assert wrong not in lines


def test_the_least_change_that_is_known_to_reach_a_target_is_taken(make_plan):
    lines = advice(make_plan("mi300x", "mi300x", "validation.targets.output_tokens_per_s=150"))
    assert "use bf16 + n-gram (needs 33% of its bound, the reference reached 35%)" in lines
    assert "FP8 can" not in lines


def test_nothing_is_recommended_that_does_not_fit(make_plan):
    plan = make_plan("mi300x", "h100", "model.source=meta-llama/Llama-3.1-70B")
    assert plan.recommendations == ("serving: one engine has no memory for one stream, see the memory table",)
    unfit = make_plan("mi300x", "mi300x", "model.source=meta-llama/Llama-3.1-70B", "validation.concurrency=4096")
    assert "40 of 4096 streams fit at a time" in advice(unfit)


def test_only_what_is_used_is_assumed(make_plan):
    there, here = ("; ".join(make_plan(name, name if name == "mi300x" else "cpu").assumptions) for name in ("mi300x", "laptop"))
    assert "FP8:" in there
    assert "FP8" not in here
    assert "training workers has" not in there + here
    assert "no reference for decoding few streams, so no estimate" in "; ".join(make_plan("h100", "h100").assumptions)
