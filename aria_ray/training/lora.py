"""LoRA layers with the result of PEFT's in fewer passes over memory: by merging first, or by a kernel of ours.

T = tokens, I = inputs of the layer, O = outputs, R = rank
"""

from typing import Any

import torch
from peft.tuners.lora.layer import Linear
from torch import Tensor

from aria_ray.kernels.choice import Kernels


class MergedLoraLinear(Linear):
    """PEFT's LoRA layer, computed as y = x (W + s B A)^T instead of y = x W^T + s (x A^T) B^T.

    Function and gradients are the same up to rounding. It is for float32 weights only, because bfloat16 would round small
    updates of W away; other weights take PEFT's way. It saves two thin products per layer, which run at a fraction of a large
    product's speed. Merging costs R / T of the large product, forward and backward; the merged weight is not kept.
    """

    def forward(self, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """(..., T, I) to (..., T, O)."""
        if self.get_base_layer().weight.dtype not in (torch.float32, torch.float64) or not _is_plain(self):
            return super().forward(x, *args, **kwargs)
        merged: Tensor = _MergedProduct.apply(x, *_weights_and_scale(self))
        return merged


class FusedLoraLinear(Linear):
    """PEFT's LoRA layer with the low-rank product in the epilogue of the large one (`kernels.lora`).

    Function and gradients are the same up to rounding. Beside bfloat16 weights PEFT keeps A and B in float32 and computes
    x A^T in float32 from a copy of x. Here A and B are rounded to the type of x for the products, which accumulate in float32.
    """

    def forward(self, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """(..., T, I) to (..., T, O)."""
        if not _is_plain(self):
            return super().forward(x, *args, **kwargs)
        from aria_ray.kernels.lora import LoraLinear  # imports Triton, which may be missing where there is no GPU

        fused: Tensor = LoraLinear.apply(x, *_weights_and_scale(self))
        return fused


LAYERS: dict[Kernels, type[Linear]] = {"triton": FusedLoraLinear, "torch": MergedLoraLinear}
"""LoRA layer for linear layers, by kernels."""


def _is_plain(layer: Linear) -> bool:
    """Whether a layer computes only y = x W^T + s (x A^T) B^T: one adapter, no bias, no dropout."""
    if layer.merged or layer.disable_adapters or len(layer.active_adapters) != 1:
        return False
    return layer.get_base_layer().bias is None and isinstance(layer.lora_dropout[layer.active_adapters[0]], torch.nn.Identity)


def _weights_and_scale(layer: Linear) -> tuple[Tensor, Tensor, Tensor, float]:
    """W (O, I), A (R, I), B (O, R) and s."""
    (name,) = layer.active_adapters
    return layer.get_base_layer().weight, layer.lora_A[name].weight, layer.lora_B[name].weight, layer.scaling[name]


class _MergedProduct(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, a: Tensor, b: Tensor, scale: float) -> Tensor:
        ctx.save_for_backward(x, weight, a, b)
        ctx.scale = scale
        return x @ torch.addmm(weight, b, a, alpha=scale).T

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, Tensor, Tensor, None]:
        x, weight, a, b = ctx.saved_tensors
        (grad,) = grads  # (..., T, O)
        grad_x = grad @ torch.addmm(weight, b, a, alpha=ctx.scale)
        x, grad = x.flatten(0, -2), grad.flatten(0, -2)
        grad_a = (ctx.scale * (grad @ b)).T @ x  # (R, I)
        grad_b = grad.T @ (ctx.scale * (x @ a.T))  # (O, R)
        return grad_x, None, grad_a, grad_b, None
