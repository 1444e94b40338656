"""Launch of the kernel on a device; M, N, K, R as in `gemm`."""

from functools import cache

import torch
import triton
from torch import Tensor

from aria_ray.errors import TrainingError
from aria_ray.kernels.blocks import Blocks, blocks_for, known_device
from aria_ray.kernels.gemm import low_rank_gemm_kernel
from aria_ray.machine.specs import MI300X, Accelerator

TYPES = {torch.bfloat16: "bf16", torch.float16: "fp16", torch.float32: "fp32"}
"""Types that the kernel takes, by Triton's names."""
SAME_BLOCKS_ROWS = 256
"""Blocks are chosen for M rounded up to a multiple of this: packs have any length, and each choice is a compilation."""


def can_launch(tensor: Tensor) -> bool:
    """Whether the kernel runs on the tensor's type and device: a GPU, or any in Triton's interpreter (TRITON_INTERPRET=1)."""
    return tensor.dtype in TYPES and (tensor.is_cuda or bool(triton.knobs.runtime.interpret))


def low_rank_gemm(left: Tensor, right: Tensor, thin: Tensor, factor: Tensor, scale: float) -> Tensor:
    """left (M, K) right (K, N) + scale thin (M, R) factor (R, N), all of one type, accumulated in float32.

    Raises:
        TrainingError: a matrix spans more than 2^31 elements, the limit of the kernel's offsets.
    """
    (m, k), n, rank = left.shape, right.shape[1], thin.shape[1]
    out = left.new_empty(m, n)
    for tensor in (left, right, out):
        _check_reach(tensor)
    if not out.numel():
        return out
    blocks = _blocks(-(-m // SAME_BLOCKS_ROWS) * SAME_BLOCKS_ROWS, n, k, TYPES[left.dtype], left.device)
    interpreted = bool(triton.knobs.runtime.interpret)
    low_rank_gemm_kernel[(triton.cdiv(m, blocks.block_m) * triton.cdiv(n, blocks.block_n),)](
        left,
        right,
        thin.contiguous(),
        factor,
        out,
        scale,
        m,
        n,
        k,
        *left.stride(),
        *right.stride(),
        *factor.stride(),
        **blocks.constants(rank, k),
        WIDEN=interpreted and left.dtype == torch.bfloat16,  # the interpreter multiplies the bits of bf16 as integers
        **({} if interpreted else blocks.options),
    )
    return out


@cache
def _blocks(m: int, n: int, k: int, dtype: str, device: torch.device) -> Blocks:
    return blocks_for(m, n, max(k, 1), dtype, _device(device))


@cache
def _device(device: torch.device) -> Accelerator:
    """Accelerator of a torch device; the interpreter, on a processor, takes the blocks of the MI300X."""
    if device.type != "cuda":
        return MI300X
    properties = torch.cuda.get_device_properties(device)
    target = properties.gcnArchName.split(":")[0] if torch.version.hip else f"sm_{properties.major}{properties.minor}"
    return known_device(target, properties.multi_processor_count)


def _check_reach(tensor: Tensor) -> None:
    reach = 1 + sum((size - 1) * stride for size, stride in zip(tensor.shape, tensor.stride(), strict=True))
    if reach > 2**31:
        raise TrainingError(
            f"a matrix of {' x '.join(map(str, tensor.shape))} reaches over {reach} elements, the kernel of a LoRA layer "
            "over 2^31 at most",
            "lower training.max_tokens or set hardware.kernels to torch",
        )
