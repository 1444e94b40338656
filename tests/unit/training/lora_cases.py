"""A Llama with our kernel in its LoRA layers against one with PEFT's own: the loss and every gradient of the adapter.

On a GPU, or on a processor in Triton's interpreter, which must be chosen before Triton is imported. Not collected by itself:
`test_lora.py` runs it with TRITON_INTERPRET=1, `tests/gpu/test_kernels.py` without.
"""

import pytest
import torch
import triton
from peft import LoraConfig, get_peft_model
from peft.tuners.lora.layer import Linear
from transformers import LlamaConfig, LlamaForCausalLM

from aria_ray.kernels import lora
from aria_ray.training.lora import FusedLoraLinear
from aria_ray.training.model import trainable_parameters

pytestmark = pytest.mark.triton

DEVICE = "cpu" if triton.knobs.runtime.interpret else "cuda"
TARGETS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
NUM_LAYERS = 2


def llama(layer, dtype, **changes):
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=96,
        hidden_size=64,
        intermediate_size=144,
        num_hidden_layers=NUM_LAYERS,
        num_attention_heads=4,
        num_key_value_heads=2,
        attn_implementation="sdpa",
    )
    wanted = LoraConfig(**{"task_type": "CAUSAL_LM", "r": 8, "lora_alpha": 12, "target_modules": TARGETS, **changes})
    wanted._register_custom_module({torch.nn.Linear: layer})
    model = get_peft_model(LlamaForCausalLM(config).to(DEVICE, dtype), wanted)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in trainable_parameters(model).values():  # B is zero at first, which would hide its product
            parameter.copy_(torch.randn(parameter.shape, generator=generator) / 8)
    return model.train()


def loss_and_gradients(model):
    ids = torch.randint(96, (1, 37), generator=torch.Generator().manual_seed(2)).to(DEVICE)
    loss = model(input_ids=ids, labels=ids).loss
    loss.backward()
    return loss.item(), {name: value.grad for name, value in trainable_parameters(model).items()}


@pytest.fixture
def products(monkeypatch):
    """Counts what the kernel is launched for."""
    launched = []
    whole = lora.low_rank_gemm

    def counted(*operands):
        launched.append(operands[0].shape)
        return whole(*operands)

    monkeypatch.setattr(lora, "low_rank_gemm", counted)
    return launched


# In float32 only the order of sums differs. In bfloat16 PEFT's layer computes x A^T B^T in float32; ours rounds it.
@pytest.mark.parametrize(("dtype", "loss_tolerance", "tolerance"), [(torch.float32, 1e-6, 1e-5), (torch.bfloat16, 1e-2, 5e-2)])
def test_the_loss_and_all_gradients_are_those_of_peft(dtype, loss_tolerance, tolerance, products):
    expected_loss, expected = loss_and_gradients(llama(Linear, dtype))
    assert not products
    loss, found = loss_and_gradients(llama(FusedLoraLinear, dtype))
    # Forward and backward for each layer; the first block's three have inputs without a gradient to compute.
    assert len(products) == 2 * len(TARGETS) * NUM_LAYERS - 3
    assert loss == pytest.approx(expected_loss, rel=loss_tolerance)
    assert set(found) == set(expected)
    assert len(found) == 2 * len(TARGETS) * NUM_LAYERS
    for name, gradient in found.items():
        assert gradient.dtype == expected[name].dtype
        assert (gradient - expected[name]).norm() / expected[name].norm() < tolerance, name


def test_dropout_is_left_to_peft(products):
    loss, _ = loss_and_gradients(llama(FusedLoraLinear, torch.float32, lora_dropout=0.5))
    assert not products
    assert loss > 0
