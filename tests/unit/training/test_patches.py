"""The private parts of PEFT and transformers that training uses are where they were."""

import pytest
from peft import LoraConfig as PeftLoraConfig
from private_parts import check_there

from aria_ray.config import ModelConfig
from aria_ray.config.schema import LoraConfig
from aria_ray.training.attention import TILED, use_prefix_tree_attention
from aria_ray.training.base_model import prepare_base
from aria_ray.training.model import add_adapter, load_model, load_tokenizer
from aria_ray.training.patches import attention_name, trained_token_rows


@pytest.fixture(scope="module")
def model():
    base = prepare_base(ModelConfig(source="random:tiny"))
    tokenizer = load_tokenizer(base)
    return add_adapter(load_model(base, tokenizer, "float32"), tokenizer, LoraConfig(rank=4), seed=0)


@pytest.mark.parametrize("part", ["active_adapters", "base_layer.weight", "token_indices", "trainable_tokens_delta"])
def test_peft_keeps_the_rows_of_trained_tokens_there(model, part):
    check_there("training", "peft", model.get_base_model().model.embed_tokens, f"token_adapter.{part}")


def test_the_rows_are_those_of_the_trained_tokens(model):
    weight, indices, rows = trained_token_rows(model.get_base_model().model.embed_tokens)
    assert rows.shape == (len(indices), weight.shape[1])
    assert rows.requires_grad
    assert not weight.requires_grad


def test_peft_takes_a_layer_of_ours():
    check_there("training", "peft", PeftLoraConfig(), "_register_custom_module")


def test_transformers_says_which_attention_a_model_uses(model):
    base = model.get_base_model()
    check_there("training", "transformers", base, "config._attn_implementation")
    use_prefix_tree_attention(base)
    assert attention_name(base) == TILED


def test_what_has_moved_is_named(model):
    with pytest.raises(AssertionError, match=r"^peft .* has no PeftModelForCausalLM.token_shelf; aria_ray/training/patches"):
        check_there("training", "peft", model, "token_shelf")
    with pytest.raises(AssertionError, match=r"^peft .* has no peft.gone.part; aria_ray"):
        check_there("training", "peft", "peft.gone", "part")
