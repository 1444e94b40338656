"""Which layer an adapter gets, and that the one with our kernel is PEFT's in all but rounding."""

from pathlib import Path

import pytest
import torch
from own_process import case_names, check

from aria_ray.config import ModelConfig
from aria_ray.config.schema import LoraConfig
from aria_ray.training.base_model import prepare_base
from aria_ray.training.lora import FusedLoraLinear, MergedLoraLinear
from aria_ray.training.model import add_adapter, load_model, load_tokenizer

CASES = Path(__file__).with_name("lora_cases.py")
BASE = ModelConfig(source="random:tiny")


@pytest.mark.triton
@pytest.mark.xdist_group("lora_cases")
@pytest.mark.parametrize("function", case_names(CASES))
def test_in_the_interpreter(function):
    """In a process of its own: Triton chooses between interpreter and compiler once, when it is imported."""
    check(CASES, function, TRITON_INTERPRET="1")


@pytest.mark.parametrize(("kernels", "layer"), [("triton", FusedLoraLinear), ("torch", MergedLoraLinear)])
def test_an_adapter_computes_with_the_kernels_that_were_chosen(kernels, layer):
    tokenizer = load_tokenizer(prepare_base(BASE))
    model = add_adapter(
        load_model(prepare_base(BASE), tokenizer, "float32"), tokenizer, LoraConfig(rank=4), seed=0, kernels=kernels
    )
    found = [
        type(module) for module in model.modules() if "Lora" in type(module).__name__ and "Linear" in type(module).__name__
    ]
    assert found == [layer] * 14  # seven in each of two blocks


def test_an_adapter_that_is_merged_or_switched_off_computes_as_pefts():
    tokenizer = load_tokenizer(prepare_base(BASE))
    base = load_model(prepare_base(BASE), tokenizer, "float32")
    ids = torch.tensor([[7, 8, 9]])
    expected = base(ids).logits
    model = add_adapter(base, tokenizer, LoraConfig(rank=4), seed=0, kernels="triton")
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter.fill_(0.1)
    adapted = model(ids).logits
    assert not torch.allclose(adapted, expected)
    with model.disable_adapter():
        torch.testing.assert_close(model(ids).logits, expected)
    model.merge_adapter()
    torch.testing.assert_close(model(ids).logits, adapted, rtol=1e-4, atol=1e-5)
