"""The adapter, the step and the checkpoint, on the tiny random model."""

import math
import random

import pytest
import torch
from peft.utils.other import TrainableTokensWrapper

from aria_ray.config import ModelConfig
from aria_ray.config.schema import LoraConfig
from aria_ray.errors import TrainingError
from aria_ray.training.adapter_state import gather_state, restore_state, write_state
from aria_ray.training.base_model import prepare_base
from aria_ray.training.batch import pack
from aria_ray.training.forward import hidden_states, logits
from aria_ray.training.loop import evaluate, train_step
from aria_ray.training.model import (
    add_adapter,
    is_merged,
    load_model,
    load_tokenizer,
    trainable_parameters,
    write_merged,
)
from aria_ray.training.tokens import TurnTokens

BASE = ModelConfig(source="random:tiny")


def alone(tensor):
    return tensor


@pytest.fixture(scope="module")
def tokenizer():
    return load_tokenizer(prepare_base(BASE))


@pytest.fixture
def model(tokenizer):
    return add_adapter(load_model(prepare_base(BASE), tokenizer, "float32"), tokenizer, LoraConfig(rank=4), seed=0)


def never(tokens):
    raise AssertionError(f"out of memory at {tokens} tokens")


def some_packs(tokenizer):
    rng = random.Random(0)
    end = tokenizer.eos_token_id
    rows = [
        TurnTokens(str(number), 1, (7, end, *(rng.randrange(200) for _ in range(6)), end), 5, 7, False, (5, 7))
        for number in range(8)
    ]
    return [pack(rows[:4]), pack(rows[4:])]


def optimizer_of(model):
    return torch.optim.AdamW(trainable_parameters(model).values(), weight_decay=0.0)


def test_a_target_that_matches_nothing_is_an_error(tokenizer):
    base = load_model(prepare_base(BASE), tokenizer, "float32")
    with pytest.raises(TrainingError, match="'q_prj' matches no linear layer; there are: down_proj"):
        add_adapter(base, tokenizer, LoraConfig(target_modules=("q_prj",)), seed=0)


def test_training_learns_and_touches_the_adapter_only(model, tokenizer):
    packs, optimizer = some_packs(tokenizer), optimizer_of(model)
    frozen = {name: value.clone() for name, value in model.named_parameters() if not value.requires_grad}
    losses = [train_step(model, optimizer, packs, 1e-2, alone, never) for _ in range(20)]
    # The frozen head of a random model can hardly be steered: 0.9 is well below the noise of a step, which is nil.
    assert losses[-1] < 0.9 * losses[0]
    for name, value in model.named_parameters():
        assert value.requires_grad or torch.equal(value, frozen[name])


def test_trained_tokens_are_embedded_and_predicted_as_peft_does_it(model, tokenizer):
    optimizer = optimizer_of(model)
    (packed, _) = packs = some_packs(tokenizer)
    train_step(model, optimizer, packs, 1e-1, alone, never)  # so that their rows are not the base model's
    base = model.get_base_model()
    base.set_attn_implementation("sdpa")
    with torch.no_grad():
        states = hidden_states(model, packed)
        found = logits(model, states[0])
    for module in base.modules():
        if isinstance(module, TrainableTokensWrapper):
            del module.forward  # PEFT's own is in sight again
    mask, positions = packed.attention_mask[None, None], packed.position_ids[None]
    expected = base.model(input_ids=packed.input_ids[None], attention_mask=mask, position_ids=positions).last_hidden_state
    with torch.no_grad():
        torch.testing.assert_close(states, expected)
        torch.testing.assert_close(found, base.lm_head(expected[0]))


def test_a_decision_counts_exactly_when_greedy_decoding_produces_it(model, tokenizer):
    model.eval()
    end = tokenizer.eos_token_id
    prompt = [7, end, 65, 66, 67]
    ids = list(prompt)
    for _ in range(4):
        ids.append(model(torch.tensor([ids])).logits[0, -1].argmax().item())
    greedy = TurnTokens("greedy", 1, (*ids, end), len(prompt), 9, False, (5, 9))
    other = TurnTokens("other", 2, (*ids[:-1], (ids[-1] + 1) % 200, end), len(prompt), 9, False, (5, 9))
    undecided = TurnTokens(
        "undecided", 2, (*ids[:-1], (ids[-1] + 2) % 200, end), len(prompt), 8, False, (5, 8)
    )  # differs after it
    result = evaluate(model, [pack([greedy, other, undecided])], hardest=1, sum_over_workers=alone)
    assert result.accuracy == pytest.approx(2 / 3)
    assert result.stage_accuracy == 1.0
    assert result.num_turns == 3


def test_a_loss_that_is_not_finite_stops_before_the_weights_change(model, tokenizer):
    parameters = trainable_parameters(model)
    with torch.no_grad():
        next(iter(parameters.values())).fill_(math.nan)
    before = [value.clone() for value in list(parameters.values())[1:]]
    with pytest.raises(TrainingError, match="loss is nan, must be finite"):
        train_step(model, optimizer_of(model), some_packs(tokenizer), 1e-2, alone, never)
    assert all(torch.equal(old, new) for old, new in zip(before, list(parameters.values())[1:], strict=True))


def test_a_step_does_not_depend_on_how_packs_are_dealt_out(tokenizer):
    """Two workers that add up their tensors do the step that one does."""
    packs = some_packs(tokenizer)
    single = add_adapter(load_model(prepare_base(BASE), tokenizer, "float32"), tokenizer, LoraConfig(rank=4), seed=0)
    loss = train_step(single, optimizer_of(single), packs, 1e-2, alone, never)

    # The other worker's share of every sum, recorded by running it first: weight, loss, then all gradients.
    def worker(index, addends):
        model = add_adapter(load_model(prepare_base(BASE), tokenizer, "float32"), tokenizer, LoraConfig(rank=4), seed=0)
        seen = []

        def add(tensor):
            seen.append(tensor.clone())
            return tensor + addends[len(seen) - 1] if addends else tensor

        value = train_step(model, optimizer_of(model), packs[index : index + 1], 1e-2, add, never)
        return model, seen, value

    targets = [item.weight for item in packs]
    _, other, _ = worker(1, None)
    scale = targets[1] / sum(targets)  # alone it normalised by its own targets
    addends = [other[0], *(value * scale for value in other[1:])]
    shared, _, shared_loss = worker(0, addends)
    assert shared_loss == pytest.approx(loss, rel=1e-5)
    for ours, theirs in zip(trainable_parameters(shared).values(), trainable_parameters(single).values(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-6)


def test_the_state_goes_on_exactly(model, tokenizer, tmp_path):
    packs, optimizer = some_packs(tokenizer), optimizer_of(model)
    train_step(model, optimizer, packs, 1e-2, alone, never)
    write_state(tmp_path, model, gather_state(model, optimizer))
    expected = train_step(model, optimizer, packs, 1e-2, alone, never)

    other = add_adapter(load_model(prepare_base(BASE), tokenizer, "float32"), tokenizer, LoraConfig(rank=4), seed=1)
    other_optimizer = optimizer_of(other)
    restore_state(tmp_path, other, other_optimizer)
    assert train_step(other, other_optimizer, packs, 1e-2, alone, never) == expected
    for ours, theirs in zip(trainable_parameters(other).values(), trainable_parameters(model).values(), strict=True):
        assert torch.equal(ours, theirs)


def test_the_merged_model_computes_what_the_adapted_one_does(model, tokenizer, tmp_path):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    optimizer = optimizer_of(model)
    for _ in range(3):
        train_step(model, optimizer, some_packs(tokenizer), 1e-2, alone, never)
    write_state(tmp_path, model, gather_state(model, optimizer))
    write_merged(prepare_base(BASE), tmp_path / "adapter", "float32", tmp_path / "merged", "f1")
    assert is_merged(tmp_path / "merged", "f1")
    assert not is_merged(tmp_path / "merged", "f2")
    merged = AutoModelForCausalLM.from_pretrained(tmp_path / "merged")
    reloaded = AutoTokenizer.from_pretrained(tmp_path / "merged")
    ids = torch.tensor([reloaded.encode("<think>hello</think><tool_call>", add_special_tokens=False)])
    model.eval()
    torch.testing.assert_close(merged(ids).logits, model(ids).logits, rtol=1e-4, atol=1e-4)
    assert reloaded.chat_template == tokenizer.chat_template
    assert len(reloaded.encode("<tool_call>", add_special_tokens=False)) == 1
    (tmp_path / "merged" / "model.safetensors").unlink()
    assert not is_merged(tmp_path / "merged", "f1")
