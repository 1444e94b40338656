"""Whose product a LoRA layer takes."""

import pytest

from aria_ray.errors import AriaError
from aria_ray.kernels.choice import choose_kernels


@pytest.mark.parametrize(
    ("setting", "use_gpu", "dtype", "chosen"),
    [
        ("auto", True, "bfloat16", "triton"),
        ("auto", True, "float32", "torch"),
        ("auto", False, "bfloat16", "torch"),
        ("torch", True, "bfloat16", "torch"),
        ("triton", True, "float32", "triton"),
    ],
)
def test_the_kernel_where_it_gains(setting, use_gpu, dtype, chosen):
    assert choose_kernels(setting, use_gpu=use_gpu, dtype=dtype) == chosen


def test_the_kernel_without_a_gpu_is_refused():
    with pytest.raises(AriaError, match=r"hardware.kernels \(triton\) must have a GPU, and training.use_gpu is false; set"):
        choose_kernels("triton", use_gpu=False, dtype="bfloat16")
