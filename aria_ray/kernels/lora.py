"""Linear layer with a LoRA adapter as one product, forward and backward.

T = tokens, I = inputs of the layer, O = outputs, R = rank. x and W have one type; A and B may have a finer one.
"""

from typing import Any

import torch
from torch import Tensor

from aria_ray.kernels.launch import can_launch, low_rank_gemm


class LoraLinear(torch.autograd.Function):
    """y = x W^T + s (x A^T) B^T for a frozen W (LoRA, arXiv 2106.09685).

    The two large products, x W^T and g W, use the project's kernel, as no library adds a low-rank product in the epilogue: y
    and grad x are written once, not written, read and written again. The thin products use the library. A result of R columns
    or rows is bound by reading x or g once and needs its inner size split over the device, which hipBLASLt and cuBLAS do. x A^T
    is not computed inside the large product, where each of its O / 128 columns of tiles would repeat it. On a processor all
    products use the library.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, a: Tensor, b: Tensor, scale: float) -> Tensor:
        """x (..., I), W (O, I), A (R, I), B (O, R) to y (..., O)."""
        rows = x.flatten(0, -2)  # (T, I)
        thin = rows @ a.to(x.dtype).T  # (T, R)
        ctx.save_for_backward(rows, weight, a, b, thin)
        ctx.scale = scale
        return _product(rows, weight.T, thin, b.to(x.dtype).T, scale).unflatten(0, x.shape[:-1])

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, None, Tensor, Tensor, None]:
        """The gradients of x, A and B: g W + s (g B) A, s (g B)^T x and s g^T (x A^T)."""
        rows, weight, a, b, thin = ctx.saved_tensors
        (grad,) = grads
        grad_rows = grad.flatten(0, -2)  # (T, O)
        grad_thin = grad_rows @ b.to(grad.dtype)  # (T, R)
        grad_x = None
        if ctx.needs_input_grad[0]:  # false in the first layer where embeddings are frozen
            grad_x = _product(grad_rows, weight, grad_thin, a.to(grad.dtype), ctx.scale).unflatten(0, grad.shape[:-1])
        grad_a = (grad_thin.T @ rows).to(a.dtype) * ctx.scale  # (R, I)
        grad_b = (grad_rows.T @ thin).to(b.dtype) * ctx.scale  # (O, R)
        return grad_x, None, grad_a, grad_b, None


def _product(left: Tensor, right: Tensor, thin: Tensor, factor: Tensor, scale: float) -> Tensor:
    """left right + scale thin factor."""
    if can_launch(left):
        return low_rank_gemm(left, right, thin, factor, scale)
    return (left @ right).addmm_(thin, factor, alpha=scale)
