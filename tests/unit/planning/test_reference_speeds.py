"""No published speed is above the bound of its work: one that is would show the model of the hardware to be wrong."""

import pytest
from results import figures

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


def test_our_own_shares_are_those_that_were_measured():
    """Within what two runs of the benchmarks differ by: one that is written again changes a constant where it found another."""
    assert best_reference(CPU, "training").share == pytest.approx(figures("Training")["utilisation"], abs=0.05)
    reached, bound = figures("Serving"), figures("Roofline against published figures")
    assert reached["streams"] == 16
    share = reached["output_tokens_per_s"] / bound["decode_bound_16_streams_tokens_per_s"]
    assert best_reference(CPU, "decoding fp32").share == pytest.approx(share, abs=0.05)
