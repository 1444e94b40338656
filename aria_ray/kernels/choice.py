"""Choice of the kernels that training computes LoRA layers with. Light to import: needed before any worker is there."""

from typing import Literal

from aria_ray.errors import AriaError

Kernels = Literal["triton", "torch"]


def choose_kernels(setting: Literal["auto", "triton", "torch"], *, use_gpu: bool) -> Kernels:
    """The kernels that `hardware.kernels` stands for, in a training on GPUs or not.

    `auto` stays with the library's kernels until the Triton kernel has been timed on a GPU and was faster. The choice follows
    from the recipe alone, not from the machine that a worker is on, so a training that is resumed elsewhere computes as it did.

    Raises:
        AriaError: the Triton kernel is asked for, and training uses no GPU.
    """
    if setting == "triton" and not use_gpu:
        raise AriaError(
            "hardware.kernels (triton) must have a GPU, and training.use_gpu is false",
            "set that to true, or hardware.kernels to auto or torch",
        )
    return "triton" if setting == "triton" else "torch"
