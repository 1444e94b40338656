"""A LoRA layer that computes with the merged weight: one matrix product forward, thin ones in the backward pass only.

T = tokens, I = inputs of the layer, O = outputs, R = rank
"""

from typing import Any

import torch
from peft.tuners.lora.layer import Linear
from torch import Tensor


class MergedLoraLinear(Linear):
    """PEFT's LoRA layer with y = x (W + s B A)^T in place of y = x W^T + s (x A^T) B^T.

    The same function and the same gradients up to rounding, so it is for weights in float32 only: bfloat16 would round small
    updates of W away. Two thin products per layer fewer, which run at a fraction of a large one's speed; merging costs R / T
    of the product that it joins, forward and backward, and the merged weight lives no longer than that.
    """

    def forward(self, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """(..., T, I) to (..., T, O)."""
        name, base = self.active_adapters[0], self.get_base_layer()
        exact = base.weight.dtype in (torch.float32, torch.float64)
        bare = base.bias is None and isinstance(self.lora_dropout[name], torch.nn.Identity) and len(self.active_adapters) == 1
        if self.merged or self.disable_adapters or not (exact and bare):
            return super().forward(x, *args, **kwargs)
        weights = base.weight, self.lora_A[name].weight, self.lora_B[name].weight
        merged: Tensor = _MergedProduct.apply(x, *weights, self.scaling[name])
        return merged


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
