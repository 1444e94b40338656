"""The LoRA layer's product where there is no GPU: the library does it. The kernel's is in `product_cases.py`."""

import torch

from aria_ray.kernels.lora import LoraLinear


def test_its_gradients_are_those_of_its_result():
    torch.manual_seed(0)
    x, a, b = (torch.randn(*shape, dtype=torch.float64, requires_grad=True) for shape in ((2, 3, 5), (4, 5), (6, 4)))
    weight = torch.randn(6, 5, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda x, a, b: LoraLinear.apply(x, weight, a, b, 0.7), (x, a, b))
    torch.testing.assert_close(LoraLinear.apply(x, weight, a, b, 0.7), x @ (weight + 0.7 * b @ a).T)


def test_no_tokens():
    """A worker's share of the packs may be empty."""
    x, weight = torch.empty(0, 5, requires_grad=True), torch.randn(6, 5)
    a, b = torch.randn(4, 5, requires_grad=True), torch.randn(6, 4, requires_grad=True)
    result = LoraLinear.apply(x, weight, a, b, 0.7)
    result.sum().backward()
    assert result.shape == (0, 6)
    assert not a.grad.any()
    assert not b.grad.any()
