"""No published speed is above the bound of its work: one that is would show the model of the hardware to be wrong."""

import pytest

from aria_ray.hardware.peaks import Peaks
from aria_ray.hardware.published import achieved, published
from aria_ray.hardware.specs import ACCELERATORS, MI300X, MI325X, measured_cpu

CPU = measured_cpu(Peaks(threads=2, gemm_flops_per_s=1e11, copy_bytes_per_s=1e10))


@pytest.mark.parametrize("figure", published(), ids=lambda figure: f"{figure.what} on {figure.hardware}")
def test_nothing_published_is_above_its_bound(figure):
    assert 0 < figure.share <= 1
    assert figure.source


def test_tuned_engines_come_near_enough_to_the_bound_for_it_to_mean_something():
    shares = [figure.share for figure in published() if "most tokens" in figure.what]
    assert min(shares) > 0.4


def test_the_share_is_the_best_of_like_work_on_the_hardware_or_its_sibling():
    figure = achieved(MI300X, "decoding bf16")
    assert (figure.hardware, figure.kind) == ("MI300X", "decoding bf16")
    assert figure.share == max(each.share for each in published() if (each.hardware, each.kind) == ("MI300X", "decoding bf16"))
    assert achieved(MI325X, "decoding bf16") == figure


@pytest.mark.parametrize("accelerator", [*ACCELERATORS.values(), CPU], ids=lambda each: each.name)
@pytest.mark.parametrize("kind", ["training", "decoding fp32", "decoding bf16", "decoding fp8"])
def test_there_is_a_share_for_every_work_on_every_hardware(accelerator, kind):
    assert achieved(accelerator, kind).kind.split()[0] == kind.split()[0]
