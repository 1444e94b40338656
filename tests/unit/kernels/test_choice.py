"""Which kernels `hardware.kernels` stands for."""

import pytest

from aria_ray.errors import AriaError
from aria_ray.kernels.choice import choose_kernels


@pytest.mark.parametrize(
    ("setting", "use_gpu", "chosen"),
    [("auto", True, "torch"), ("auto", False, "torch"), ("torch", True, "torch"), ("triton", True, "triton")],
)
def test_only_who_asks_for_the_kernel_gets_it(setting, use_gpu, chosen):
    assert choose_kernels(setting, use_gpu=use_gpu) == chosen


def test_the_kernel_without_a_gpu_is_refused():
    with pytest.raises(AriaError, match=r"hardware.kernels \(triton\) must have a GPU, and training.use_gpu is false; set"):
        choose_kernels("triton", use_gpu=False)
