"""Packing is exact: the same loss and gradients as one sequence at a time."""

import random

import pytest
import torch
from torch.nn import functional
from transformers import LlamaConfig, LlamaForCausalLM

from aria_ray.training.batch import group_turns, pack
from aria_ray.training.tokens import TurnTokens

END = 1


def turn(ids, num_prompt, num_decision=1):
    decision = (num_prompt, num_prompt + num_decision)
    return TurnTokens(row_id="r", difficulty=1, ids=tuple(ids), num_prompt=num_prompt, decision=decision)


TURNS = [
    turn([5, 6, END, 7, 8, 9, 10, END], 5, 2),
    turn([5, 6, END, 7, 8, 9, 11, 12, END], 5, 3),  # shares part of the supervised turn too
    turn([5, 6, END, 13, 14, END], 4),
    turn([20, END, 21, 22, END], 3),  # shares nothing
]


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=64,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
    )
    return LlamaForCausalLM(config).double()


def gradients(model):
    return [parameter.grad.clone() for parameter in model.parameters()]


def test_a_pack_has_the_loss_and_gradients_of_its_sequences_alone(model):
    model.zero_grad()
    alone = 0.0
    for item in TURNS:
        ids = torch.tensor([item.ids])
        logits = model(ids).logits[0, item.num_prompt - 1 : -1]
        loss = functional.cross_entropy(logits, ids[0, item.num_prompt :], reduction="sum")
        loss.backward()
        alone += loss.item()
    expected = gradients(model)

    model.zero_grad()
    packed = pack(TURNS)
    hidden = model.model(
        input_ids=packed.input_ids[None],
        attention_mask=packed.attention_mask[None, None],
        position_ids=packed.position_ids[None],
    ).last_hidden_state[0]
    loss = functional.cross_entropy(model.lm_head(hidden[packed.predict_from]), packed.targets, reduction="sum")
    loss.backward()

    assert packed.num_tokens < packed.num_unshared_tokens
    assert loss.item() == pytest.approx(alone, rel=1e-6)
    # Gradients pass through transformers' RMSNorm and rotary embedding, which compute in float32 whatever the model's type.
    for ours, theirs in zip(gradients(model), expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-6)


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
