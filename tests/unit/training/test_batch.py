"""Packing is exact: the same loss and gradients as one sequence at a time, for every way to attend and to compute LoRA."""

import random

import pytest
import torch
from peft import LoraConfig, get_peft_model
from peft.tuners.lora.layer import Linear
from torch.nn import functional
from transformers import LlamaConfig, LlamaForCausalLM
from transformers.masking_utils import causal_mask_function
from transformers.models.llama.modeling_llama import LlamaRMSNorm

from aria_ray.config.schema import LossWeights
from aria_ray.training import attention
from aria_ray.training.attention import FLEX, TILED, block_mask, tiles
from aria_ray.training.batch import dealt, group_turns, halves, pack, shared_length
from aria_ray.training.loop import backward, supervised_states
from aria_ray.training.lora import MergedLoraLinear
from aria_ray.training.tokens import TurnTokens

END = 1


def turn(ids, num_prompt, num_decision=1, calls=False):
    decision = (num_prompt, num_prompt + num_decision)
    return TurnTokens("r", 1, tuple(ids), num_prompt, thought_end=num_prompt + num_decision, calls=calls, decision=decision)


TURNS = [
    turn([5, 6, END, 7, 8, 9, 10, END], 5, 2, calls=True),
    turn([5, 6, END, 7, 8, 9, 11, 12, END], 5, 3),  # shares part of the supervised turn too
    turn([5, 6, END, 13, 14, END], 4),
    turn([20, END, 21, 22, END], 3),  # shares nothing
]
WEIGHTS = LossWeights(thinking=0.5, tool_call=2, answer=1)


def lora_model(dtype, layer):
    """A two-layer Llama with LoRA on all linear layers, neither factor zero; the same weights for every layer class."""
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=64,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
    )
    lora = LoraConfig(r=4, lora_alpha=8, target_modules="all-linear", init_lora_weights=False)
    lora._register_custom_module({torch.nn.Linear: layer})
    return get_peft_model(LlamaForCausalLM(config).to(dtype), lora, autocast_adapter_dtype=False)


def gradients(model):
    return {name: parameter.grad.clone() for name, parameter in model.named_parameters() if parameter.grad is not None}


def alone(model):
    """Loss and gradients of the turns, each by itself through transformers and PEFT as they come."""
    model.zero_grad()
    total = 0.0
    for item in TURNS:
        ids = torch.tensor([item.ids])
        logits = model(ids).logits[0, item.num_prompt - 1 : -1]
        losses = functional.cross_entropy(logits, ids[0, item.num_prompt :], reduction="none")
        said = WEIGHTS.tool_call if item.calls else WEIGHTS.answer
        num_thought = item.thought_end - item.num_prompt
        weights = [WEIGHTS.thinking] * num_thought + [said] * (len(losses) - num_thought)
        loss = (losses * torch.tensor(weights, dtype=losses.dtype)).sum()
        loss.backward()
        total += loss.item()
    return total, gradients(model)


@pytest.fixture
def norm_in_float64(monkeypatch):
    """transformers computes this norm in float32 whatever the model's type, which would hide an error of 1e-8."""
    monkeypatch.setattr(
        LlamaRMSNorm,
        "forward",
        lambda self, states: functional.rms_norm(states, self.weight.shape, self.weight, self.variance_epsilon),
    )


@pytest.mark.usefixtures("norm_in_float64")
@pytest.mark.parametrize("layer", [Linear, MergedLoraLinear])
@pytest.mark.parametrize("attend", ["sdpa", TILED])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-9), (torch.float32, 1e-4)])
def test_a_pack_has_the_loss_and_gradients_of_its_sequences_alone(dtype, tolerance, attend, layer, monkeypatch):
    loss, expected = alone(lora_model(dtype, Linear))
    monkeypatch.setattr(attention, "TILE_ROWS", 3)
    monkeypatch.setattr("aria_ray.training.loop.LOGIT_ROWS", 4)
    model = lora_model(dtype, layer)
    model.get_base_model().set_attn_implementation(attend)
    packed = pack(TURNS, WEIGHTS)
    assert packed.num_tokens < packed.num_unshared_tokens
    ours = backward(model, packed, 1.0)
    assert ours.item() == pytest.approx(loss, rel=tolerance)
    found = gradients(model)
    assert set(found) == set(expected)
    assert all("lora_" in name for name in found)
    for name, gradient in found.items():
        error = (gradient - expected[name]).norm() / expected[name].norm()
        assert error < tolerance, name


def test_flex_attention_computes_the_same_states():
    """Forward only: FlexAttention has no backward pass on a processor. Its gradients are tested in tests/gpu."""
    model, packed = lora_model(torch.float32, MergedLoraLinear), pack(TURNS)
    with torch.no_grad():
        expected = supervised_states(model, packed)
        model.get_base_model().set_attn_implementation(FLEX)
        with torch.compiler.set_stance("force_eager"):  # compiling takes most of a minute
            found = supervised_states(model, packed)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def test_every_mask_of_a_pack_says_the_same():
    """A token sees itself and its ancestors: those before it on its own sequence."""
    packed = pack(TURNS)
    paths, previous = [], ()
    for item in packed.turns:
        shared = shared_length(previous, item.ids)
        start = len({index for path in paths for index in path})
        paths.append([*(paths[-1][:shared] if paths else []), *range(start, start + len(item.ids) - shared)])
        previous = item.ids
    wanted = torch.zeros(packed.num_tokens, packed.num_tokens, dtype=torch.bool)
    for path in paths:
        for depth, index in enumerate(path):
            wanted[index, path[: depth + 1]] = True
    assert torch.equal(packed.attention_mask, wanted)
    assert packed.position_ids.tolist() == [row.sum().item() - 1 for row in wanted]
    tree = (packed.position_ids, packed.subtree_end)
    index = torch.arange(packed.num_tokens)
    sees = block_mask(*tree, causal_mask_function).mask_mod
    assert torch.equal(sees(index[0], index[0], index[:, None], index[None, :]), wanted)
    for tile in tiles(*tree, causal_mask_function, torch.float32):
        assert torch.equal(tile.mask == 0, wanted[tile.start : tile.end, tile.columns])
        assert wanted[tile.start : tile.end].sum() == (tile.mask == 0).sum()


def test_halves_are_the_same_turns():
    whole = pack(TURNS, WEIGHTS)
    parts = halves(whole)
    assert sorted(item.ids for part in parts for item in part.turns) == sorted(item.ids for item in TURNS)
    assert sum(part.weight for part in parts) == pytest.approx(whole.weight)
    assert max(part.num_tokens for part in parts) < whole.num_tokens
    assert len(halves(pack(TURNS[:1]))) == 1


def test_packs_are_dealt_so_that_workers_have_about_as_much():
    packs = [pack([turn([5, END, *range(7, 7 + length), END], 3)]) for length in (30, 2, 28, 4, 17, 15, 9)]
    shares = [dealt(packs, rank, 3) for rank in range(3)]
    assert sorted(map(id, packs)) == sorted(id(each) for share in shares for each in share)
    assert {len(share) for share in shares} == {2, 3}
    sizes = [sum(each.num_tokens for each in share) for share in shares]
    # Dealt in the order that they come in, the first would have 30, 4 and 9, the second 2 and 17.
    assert max(sizes) - min(sizes) <= 10
    assert dealt(packs[:1], 1, 2) == []


def test_targets_weigh_what_they_belong_to():
    packed = pack(TURNS[:1], WEIGHTS)
    assert packed.weights.tolist() == [0.5, 0.5, 2]


def test_a_pack_supervises_every_turn_token_once_and_knows_its_decision():
    packed = pack(TURNS)
    for index, item in enumerate(packed.turns):
        mine = packed.turn_index == index
        assert packed.targets[mine].tolist() == list(item.ids[item.num_prompt :])
        assert packed.is_decision[mine].sum() == item.decision[1] - item.decision[0]


def test_groups_hold_every_turn_once_within_the_limit():
    rng = random.Random(0)
    turns = [turn([rng.choice([2, 3]), END, *(rng.randrange(4, 60) for _ in range(9)), END], 6) for _ in range(50)]
    groups = group_turns(turns, max_tokens=40, rng=random.Random(1))
    assert sorted(item.ids for group in groups for item in group) == sorted(item.ids for item in turns)
    assert all(pack(group).num_tokens <= 40 for group in groups)
    # Neighbours share their tool list: all but the first of a group save its two tokens, save where the lists meet.
    saved = sum(packed.num_unshared_tokens - packed.num_tokens for packed in map(pack, groups))
    assert saved >= 2 * (len(turns) - len(groups) - 1)
