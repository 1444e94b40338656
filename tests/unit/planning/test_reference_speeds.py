"""No published speed is above the bound of its work: one that is would show the model of the hardware to be wrong."""

import re
from pathlib import Path

import pytest

from aria_ray.machine.peaks import Peaks
from aria_ray.machine.specs import ACCELERATORS, H100, MI300X, MI325X, measured_cpu
from aria_ray.planning.reference_speeds import best_reference, reference_speeds

CPU = measured_cpu(Peaks(threads=2, gemm_flops_per_s=1e11, copy_bytes_per_s=1e10))


OTHERS = [figure for figure in reference_speeds() if figure.hardware != "CPU"]


@pytest.mark.parametrize("figure", OTHERS, ids=lambda figure: f"{figure.what} on {figure.hardware}")
def test_nothing_published_is_above_its_bound(figure):
    assert 0 < figure.share <= 1
    assert figure.source


def test_tuned_engines_come_near_enough_to_the_bound_for_it_to_mean_something():
    shares = [figure.share for figure in reference_speeds() if "most tokens" in figure.what]
    assert len(shares) == 12
    assert min(shares) > 0.3
    assert max(shares) > 0.6


def test_the_share_is_the_best_of_the_same_work_on_the_hardware_or_its_sibling():
    figure = best_reference(MI300X, "decoding bf16")
    assert (figure.hardware, figure.kind) == ("MI300X", "decoding bf16")
    assert best_reference(MI325X, "decoding bf16") == figure
    training = [each for each in reference_speeds() if (each.hardware, each.kind) == ("MI300X", "training")]
    assert len(training) == 2
    assert best_reference(MI300X, "training").share == max(each.share for each in training)


def test_of_other_work_nothing_follows():
    # TensorRT-LLM's most throughput in FP8 says nothing of what one stream gets, nor a GPU anything of a processor.
    assert best_reference(H100, "throughput fp8").hardware == "H100"
    assert (
        best_reference(H100, "decoding bf16")
        is best_reference(H100, "decoding fp8")
        is best_reference(MI300X, "decoding fp32")
        is None
    )
    assert best_reference(CPU, "throughput fp8") is None


@pytest.mark.parametrize("accelerator", [*ACCELERATORS.values(), CPU], ids=lambda each: each.name)
def test_there_is_a_share_of_training_for_every_hardware(accelerator):
    assert best_reference(accelerator, "training").kind == "training"


def test_our_own_shares_are_those_of_the_results():
    results = (Path(__file__).parents[3] / "benchmarks" / "RESULTS.md").read_text(encoding="utf-8")
    training, serving, peaks = (
        re.search(rf"^## {heading}\n(.*?)(?=^## |\Z)", results, re.M | re.S)[1]
        for heading in ("Training", "Serving", "Roofline against published figures")
    )
    utilisation = re.search(r"^\| ours (?:\|[^|]*){5}\| ([\d.]+) \(", training, re.M)
    assert best_reference(CPU, "training").share == float(utilisation[1])
    reached = re.search(r"^\| ours \| ([\d.]+) \(", serving, re.M)
    bound = re.search(r"bound at [\d,]+ tokens/s for one stream and ([\d,]+) for 16", peaks)
    share = float(reached[1]) / float(bound[1].replace(",", ""))
    assert best_reference(CPU, "decoding fp32").share == pytest.approx(share, abs=0.02)
