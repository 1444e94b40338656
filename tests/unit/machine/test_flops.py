"""The count of operations is what torch counts while it computes."""

import pytest
import torch
from peft import LoraConfig, get_peft_model
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode
from transformers import LlamaConfig, LlamaForCausalLM

from aria_ray.machine.flops import DecoderShape, lora_step_flops

CONFIG = LlamaConfig(
    vocab_size=80,
    hidden_size=48,
    intermediate_size=112,
    num_hidden_layers=3,
    num_attention_heads=4,
    num_key_value_heads=2,
    head_dim=16,
    attn_implementation="eager",  # which computes every pair, masked or not, in products that torch counts
)
SHAPE = DecoderShape.of(CONFIG.to_dict())
RANK, NUM_TOKENS, NUM_SUPERVISED = 4, 24, 7
# Torch counts one product more, which is no part of weights or attention: the angles of the rotary embedding take head size x
# tokens operations. Here they are 4e-5 of all, and nothing else differs.
TOLERANCE = 1e-4


def counted(targets):
    """Operations of a training step as torch counts them."""
    # A trained embedding has the first block's inputs need a gradient too, as in our training.
    lora = LoraConfig(r=RANK, target_modules=list(targets), trainable_token_indices={"embed_tokens": [1, 2]})
    model = get_peft_model(LlamaForCausalLM(CONFIG), lora).get_base_model()
    ids = torch.arange(NUM_TOKENS)[None]
    with FlopCounterMode(display=False) as counter:
        hidden = model.model(input_ids=ids, use_cache=False).last_hidden_state
        logits = model.lm_head(hidden[0, -NUM_SUPERVISED:])
        functional.cross_entropy(logits, ids[0, -NUM_SUPERVISED:]).backward()
    return counter.get_total_flops()


@pytest.mark.parametrize("targets", [tuple(SHAPE.linear_layers), ("q_proj", "v_proj")])
def test_a_step_needs_what_torch_counts(targets):
    found = lora_step_flops(
        SHAPE,
        RANK,
        targets,
        num_tokens=NUM_TOKENS,
        num_attention_pairs=NUM_TOKENS**2,
        num_supervised=NUM_SUPERVISED,
    )
    assert found == pytest.approx(counted(targets), rel=TOLERANCE)


def test_the_shape_has_the_linear_layers_of_the_model():
    block = LlamaForCausalLM(CONFIG).model.layers[0]
    there = {
        name.rsplit(".", 1)[-1]: (module.in_features, module.out_features)
        for name, module in block.named_modules()
        if isinstance(module, torch.nn.Linear)
    }
    assert there == SHAPE.linear_layers


def test_a_config_without_grouped_heads_has_a_key_for_each_query():
    shape = DecoderShape.of({**CONFIG.to_dict(), "num_key_value_heads": None, "head_dim": None})
    assert (shape.num_key_value_heads, shape.head_size) == (4, 12)
