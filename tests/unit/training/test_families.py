"""Every family that training takes is computed exactly and trains; every other one is refused by name, in seconds."""

import copy
import random

import pytest
import torch
from families import FAMILIES, SIZES, random_model, write_model
from transformers import AutoConfig, FalconMambaConfig, GPTJConfig, GptOssConfig, Lfm2Config, MambaConfig, OPTConfig

from aria_ray.config.schema import LoraConfig
from aria_ray.errors import AriaError, TrainingError
from aria_ray.planning.model_sizes import model_size
from aria_ray.training import attention, exactness
from aria_ray.training.adapter_state import gather_state, write_state
from aria_ray.training.attention import FLEX, TILED, use_prefix_tree_attention
from aria_ray.training.base_check import check_base
from aria_ray.training.batch import pack
from aria_ray.training.exactness import branches, check_exactness, check_family, difference
from aria_ray.training.forward import hidden_states, logits
from aria_ray.training.loop import train_step
from aria_ray.training.model import add_adapter, linear_layers, load_model, load_tokenizer, trainable_parameters, write_merged
from aria_ray.training.tokens import TurnTokens


def sequences(num_tokens=256):
    """Three sequences with shared beginnings, longer than the windows, and one that shares nothing."""
    rng = random.Random(0)
    start = [rng.randrange(num_tokens) for _ in range(25)]
    lengths = ((25, 30), (25, 20), (10, 40), (0, 15))
    return [tuple([*start[:shared], *(rng.randrange(num_tokens) for _ in range(own))]) for shared, own in lengths]


def turns():
    return [TurnTokens("r", 1, ids, len(ids) - 5, len(ids) - 3, False, (len(ids) - 5, len(ids) - 3)) for ids in sequences()]


def stock_logits(model, ids):
    return model(input_ids=torch.tensor([ids])).logits[0]


def centred(values):
    return values - values.mean(dim=-1, keepdim=True)


# Norms and angles are in float32 whatever the type of the weights, so float64 does not reach its own 1e-16.
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-6), (torch.float32, 1e-5)])
@pytest.mark.parametrize("family", FAMILIES)
def test_a_packed_row_has_the_logits_of_the_stock_model(family, dtype, tolerance, monkeypatch):
    monkeypatch.setattr(attention, "TILE_ROWS", 16)
    model = random_model(FAMILIES[family], dtype).to(dtype)
    rows = [turns(), *([turn] for turn in turns())]  # packed, and each by itself
    with torch.no_grad():
        model.set_attn_implementation("eager")
        expected = {turn.ids: stock_logits(model, turn.ids)[turn.num_prompt - 1 : -1] for turn in turns()}
        use_prefix_tree_attention(model)
        for row in map(pack, rows):
            found = logits(model, hidden_states(model, row)[0, row.predict_from])
            for index, turn in enumerate(row.turns):
                ours, stock = centred(found[row.turn_index == index]), centred(expected[turn.ids])
                assert (ours - stock).norm() / stock.norm() < tolerance


@pytest.mark.parametrize("family", ["mistral", "gemma2", "gemma3_text"])
def test_windows_and_caps_hold_in_flex_attention(family):
    model, row = random_model(FAMILIES[family]), pack(turns())
    with torch.no_grad():
        model.set_attn_implementation(TILED)
        expected = hidden_states(model, row)
        model.set_attn_implementation(FLEX)
        with torch.compiler.set_stance("force_eager"):  # compiling takes most of a minute
            torch.testing.assert_close(hidden_states(model, row), expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_family_is_checked_sized_trained_and_merged(family, tmp_path):
    base = write_model(FAMILIES[family], tmp_path / "base")
    check_base(base, LoraConfig(rank=4))
    tokenizer = load_tokenizer(base)
    model = load_model(base, tokenizer, "float32")
    size = model_size(str(base))
    added = (len(tokenizer) - SIZES["vocab_size"]) * SIZES["hidden_size"] * (1 if size.tied else 2)
    if getattr(model.get_output_embeddings(), "bias", None) is not None:
        added += len(tokenizer) - SIZES["vocab_size"]
    assert sum(each.numel() for each in model.parameters()) == size.num_parameters + added
    assert set(size.shape.linear_layers) == set(linear_layers(model))

    check_exactness(model, branches(sequences()))
    adapted = add_adapter(model, tokenizer, LoraConfig(rank=4), seed=0)
    weights = {name for name in trainable_parameters(adapted) if "lora_A" in name}
    assert len(weights) == size.shape.num_layers * len(size.shape.linear_layers)
    adapted.train()
    parameters = trainable_parameters(adapted)
    assert sum(each.numel() for name, each in parameters.items() if "lora_" in name) == size.adapter_weights(
        4, size.shape.linear_layers
    )
    optimizer = torch.optim.AdamW(parameters.values(), weight_decay=0.0)
    losses = [train_step(adapted, optimizer, [pack(turns())], 3e-3, lambda each: each, lambda _: None) for _ in range(3)]
    assert losses[-1] < losses[0]
    assert all(each.grad.abs().sum() > 0 for name, each in parameters.items() if "lora_B" in name)

    write_state(tmp_path, adapted, gather_state(adapted, optimizer))
    write_merged(base, tmp_path / "adapter", "float32", tmp_path / "merged", "f")
    merged = load_model(tmp_path / "merged", load_tokenizer(tmp_path / "merged"), "float32").eval()
    adapted.eval()
    row = pack(turns())
    with torch.no_grad():
        ours = logits(adapted, hidden_states(adapted, row)[0, row.predict_from])
        served = torch.cat([stock_logits(merged, turn.ids)[turn.num_prompt - 1 : -1] for turn in row.turns])
    assert (centred(ours) - centred(served)).norm() / centred(served).norm() < 1e-4


@pytest.mark.parametrize(
    ("family", "changes"),
    [
        ("gemma2", {"sliding_window": 1000}),
        ("gemma2", {"final_logit_softcapping": None}),
        ("gemma2", {"attn_logit_softcapping": None}),
        ("granite", {"logits_scaling": 4.0}),
        ("granite", {"attention_multiplier": 0.25}),
        ("mistral", {"sliding_window": 1000}),
    ],
)
def test_an_option_that_is_passed_over_ends_the_run(family, changes, monkeypatch):
    config = copy.deepcopy(FAMILIES[family])
    for name, value in changes.items():
        setattr(config, name, value)
    model, without = random_model(FAMILIES[family]), random_model(config)
    use_prefix_tree_attention(without)
    assert difference(model, sequences()) < 1e-5
    monkeypatch.setattr(exactness, "hidden_states", lambda _model, row: hidden_states(without, row))
    monkeypatch.setattr(exactness, "logits", lambda _model, states: logits(without, states))
    with pytest.raises(TrainingError, match=f"{family}: logits in training differ from the model's own by"):
        check_exactness(model, sequences())


def test_rounding_to_bfloat16_is_no_difference():
    check_exactness(random_model(FAMILIES["llama"]).bfloat16(), sequences())


@pytest.mark.parametrize(
    "config",
    [
        GPTJConfig(vocab_size=258, n_embd=64, n_layer=2, n_head=4, rotary_dim=8),
        OPTConfig(
            vocab_size=258, hidden_size=64, ffn_dim=96, num_hidden_layers=2, num_attention_heads=4, word_embed_proj_dim=64
        ),
        MambaConfig(vocab_size=258, hidden_size=64, num_hidden_layers=2),
        FalconMambaConfig(vocab_size=258, hidden_size=64, num_hidden_layers=2),
        GptOssConfig(**SIZES, num_local_experts=4, num_experts_per_tok=2),
        Lfm2Config(**SIZES, layer_types=["conv", "full_attention", "conv", "conv"]),
    ],
    ids=lambda config: config.model_type,
)
def test_a_family_that_is_not_exact_is_refused_by_name(config):
    with pytest.raises(AriaError, match=f"^{config.model_type}: .* another family"):
        check_family(config)


def test_the_small_model_of_a_family_has_a_layer_of_each_kind():
    config = AutoConfig.for_model("gemma3_text", num_hidden_layers=12, hidden_size=64, head_dim=16, num_attention_heads=4)
    small = exactness.small_model(config)
    assert [layer.self_attn.is_sliding for layer in small.model.layers] == [True, False]
    assert small.config.sliding_window < min(len(ids) for ids in sequences()[:3])
