"""Packing on a GPU: FlexAttention gives the gradients of plain attention with the same mask."""

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from aria_ray.training.attention import FLEX, use_prefix_tree_attention
from aria_ray.training.batch import pack
from aria_ray.training.loop import backward
from aria_ray.training.tokens import TurnTokens

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")]

END = 1


def turns():
    generator = torch.Generator().manual_seed(0)

    def ids(count):
        return torch.randint(2, 500, (count,), generator=generator).tolist()

    tool_list = [*ids(150), END]
    return [
        TurnTokens(str(number), 1, (*tool_list, *ids(40 + number), END), 170, thought_end=180, calls=True, decision=(172, 185))
        for number in range(8)
    ]


def test_flex_attention_has_the_gradients_of_plain_attention():
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=512,
        hidden_size=256,
        intermediate_size=512,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
    )
    model = LlamaForCausalLM(config).cuda()
    packed = pack(turns())
    losses_and_gradients = []
    for choose in (lambda: model.set_attn_implementation("sdpa"), lambda: use_prefix_tree_attention(model)):
        choose()
        model.zero_grad()
        loss = backward(model, packed, 1.0)
        losses_and_gradients.append((loss.item(), [parameter.grad.clone() for parameter in model.model.parameters()]))
    assert model.config._attn_implementation == FLEX
    assert losses_and_gradients[1][0] == pytest.approx(losses_and_gradients[0][0], rel=1e-5)
    for ours, theirs in zip(losses_and_gradients[1][1], losses_and_gradients[0][1], strict=True):
        assert (ours - theirs).norm() / theirs.norm() < 1e-3  # TF32 in the fused kernel's products
