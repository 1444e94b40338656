"""Whose product a LoRA layer takes. Light to import: the pipeline asks before any worker is there."""

from typing import Literal

from aria_ray.errors import AriaError

Kernels = Literal["triton", "torch"]


def choose_kernels(setting: Literal["auto", "triton", "torch"], *, use_gpu: bool, dtype: str) -> Kernels:
    """What `hardware.kernels` comes to for a training on GPUs or not, with weights of that type.

    It follows from the recipe alone, not from the machine that a worker is on, so a training that is taken up elsewhere
    computes as it did. With weights in float32 `auto` leaves GPUs to the library: the kernel's product would be exact and slow.

    Raises:
        AriaError: the kernel is asked for, and there is no GPU for it.
    """
    if setting == "triton" and not use_gpu:
        raise AriaError(
            "hardware.kernels (triton) must have a GPU, and training.use_gpu is false; set that to true, or "
            "hardware.kernels to auto or torch"
        )
    if setting == "auto":
        return "triton" if use_gpu and dtype in ("bfloat16", "float16") else "torch"
    return setting
