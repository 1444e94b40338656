"""A directory that is no model to train costs one line, before the first stage."""

import json
import shutil

import pytest
import torch
from families import FAMILIES, SIZES, write_model
from safetensors.torch import load_file, save_file
from transformers import (
    AutoModelForCausalLM,
    BertConfig,
    BertForMaskedLM,
    Gemma3Config,
    GPT2Config,
    LlamaConfig,
    LlamaForCausalLM,
    LlamaForSequenceClassification,
    PreTrainedTokenizerFast,
    Qwen3MoeConfig,
    T5Config,
    T5ForConditionalGeneration,
    ViTConfig,
    ViTForImageClassification,
)

from aria_ray.config import ModelConfig
from aria_ray.config.schema import LoraConfig
from aria_ray.errors import AriaError, TrainingError
from aria_ray.training import base_files
from aria_ray.training.base_check import check_base
from aria_ray.training.base_model import prepare_base
from aria_ray.training.model import load_model, load_tokenizer

AUTO = LoraConfig()
WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return write_model(FAMILIES["llama-3.1"], tmp_path_factory.mktemp("models") / "whole")


@pytest.fixture
def base(whole, tmp_path):
    """A directory that is well, to be made otherwise."""
    return shutil.copytree(whole, tmp_path / "base")


def changed(path, **changes):
    content = json.loads(path.read_text())
    path.write_text(json.dumps({name: value for name, value in (content | changes).items() if value is not ...}))


def refusal(base, lora=AUTO):
    """The one line that a directory is refused with, which has a way out."""
    with pytest.raises(AriaError) as caught:
        check_base(prepare_base(ModelConfig(source=str(base))), lora)
    assert caught.value.fix
    assert len(str(caught.value)) < 500
    return str(caught.value)


def test_a_whole_directory_is_taken(base):
    check_base(base, AUTO)
    check_base(base, LoraConfig(target_modules=("q_proj", "down_proj")))


def test_shards_are_all_there(base):
    LlamaForCausalLM.from_pretrained(base).save_pretrained(base, max_shard_size="100kB")
    (base / WEIGHTS).unlink()
    check_base(base, AUTO)
    first, second, *_ = sorted(path.name for path in base.glob("model-*.safetensors"))
    (base / second).unlink()
    assert f"weights {second}, one of" in refusal(base)
    (base / first).unlink()
    assert f"weights {first} and 1 more of" in refusal(base)
    (base / INDEX).write_text("{}")
    assert "must have a weight_map" in refusal(base)


def test_weights_are_there(base):
    (base / WEIGHTS).unlink()
    assert "has a config.json but no weights" in refusal(base)
    (base / "consolidated.00.pth").touch()
    assert "(there is consolidated.00.pth)" in refusal(base)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda content: content[:-10], "is damaged or cut off"),
        (lambda content: b"\xff" * 16 + content[16:], "is damaged or cut off"),
        (lambda _content: b"", "is damaged or cut off"),
        (lambda _content: b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n", "is a pointer of Git LFS"),
    ],
)
def test_a_damaged_file_of_weights_is_named(base, spoil, message):
    (base / WEIGHTS).write_bytes(spoil((base / WEIGHTS).read_bytes()))
    assert f"{WEIGHTS}" in refusal(base)
    assert message in refusal(base)


def test_weights_of_another_shape_or_none_are_named(base):
    weights = load_file(base / WEIGHTS)
    name = "model.layers.1.mlp.up_proj.weight"
    save_file(weights | {name: torch.zeros(3, 4)}, base / WEIGHTS, metadata={"format": "pt"})
    assert f"weight {name} has the shape (3, 4), and config.json asks for (96, 64)" in refusal(base)
    del weights[name]
    save_file(weights, base / WEIGHTS, metadata={"format": "pt"})
    assert f"weight {name} of a LlamaForCausalLM is not in its files" in refusal(base)


def test_weights_of_an_older_format_are_taken_and_checked(base):
    torch.save(LlamaForCausalLM.from_pretrained(base).state_dict(), base / "pytorch_model.bin")
    (base / WEIGHTS).unlink()
    check_base(base, AUTO)
    (base / "pytorch_model.bin").write_bytes(b"no weights")
    assert "transformers cannot load it" in refusal(base)


@pytest.mark.parametrize(
    ("quantised", "message"),
    [
        ({"quant_method": "bitsandbytes", "load_in_4bit": True}, "(bitsandbytes, 4 bits)"),
        ({"quant_method": "bitsandbytes", "load_in_8bit": True}, "(bitsandbytes, 8 bits)"),
        ({"quant_method": "gptq", "bits": 4}, "(gptq, 4 bits)"),
        ({"quant_method": "awq", "bits": 4}, "(awq, 4 bits)"),
        ({"quant_method": "fp8"}, "(fp8)"),
        ({"quant_method": "compressed-tensors"}, "(compressed-tensors)"),
    ],
)
def test_quantised_weights_are_refused(base, quantised, message):
    changed(base / "config.json", quantization_config=quantised)
    assert f"its weights are quantised {message}" in refusal(base)


def test_weights_in_eight_bits_are_refused_without_a_word_in_the_configuration(base):
    weights = {name: value.to(torch.float8_e4m3fn) for name, value in load_file(base / WEIGHTS).items()}
    save_file(weights, base / WEIGHTS, metadata={"format": "pt"})
    assert "is of type F8_E4M3" in refusal(base)


def test_an_adapter_is_no_model(base):
    (base / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": "team/its-base"}))
    assert "holds an adapter (adapter_config.json), no whole model; merge it into its base model team/its-base" in refusal(base)


def test_gguf_files_alone_are_no_model(tmp_path):
    (tmp_path / "model.Q4_K_M.gguf").touch()
    assert "holds GGUF files alone" in refusal(tmp_path)


@pytest.mark.parametrize("content", ["{", "[]", ""])
def test_a_configuration_that_is_none_is_named(base, content):
    (base / "config.json").write_text(content)
    assert "config.json" in refusal(base)


def test_remote_code_is_never_run(base):
    changed(base / "config.json", model_type="their-own", auto_map={"AutoModelForCausalLM": "code.Model"})
    (base / "code.py").write_text("raise SystemExit('run')")
    assert "'their-own' needs code from its directory (auto_map), which is never run" in refusal(base)
    changed(base / "config.json", auto_map=...)
    assert "model_type 'their-own' is unknown to the installed transformers" in refusal(base)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (lambda: BertForMaskedLM(BertConfig(**bert())), "holds a BertForMaskedLM"),
        (lambda: T5ForConditionalGeneration(T5Config(**t5())), "holds a T5ForConditionalGeneration"),
        (lambda: ViTForImageClassification(ViTConfig(**bert(), image_size=32)), "holds a ViTForImageClassification"),
        (lambda: LlamaForSequenceClassification(LlamaConfig(**SIZES)), "holds a LlamaForSequenceClassification"),
        (lambda: LlamaForCausalLM(LlamaConfig(**SIZES)).model, "holds a LlamaModel"),
        (lambda: AutoModelForCausalLM.from_config(gpt2()), "attn.c_attn.weight (64, 192) is no linear layer"),
        (lambda: AutoModelForCausalLM.from_config(experts()), "experts"),
    ],
    ids=["encoder", "encoder-decoder", "vision", "classifier", "without-head", "gpt2", "experts"],
)
def test_another_kind_of_model_is_refused(model, message, base):
    (base / WEIGHTS).unlink()
    model().save_pretrained(base)
    assert message in refusal(base)


def bert():
    return {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 96}


def t5():
    return {"vocab_size": 258, "d_model": 64, "d_ff": 96, "num_layers": 2, "num_heads": 4, "d_kv": 16}


def gpt2():
    return GPT2Config(vocab_size=258, n_embd=64, n_layer=2, n_head=4)


def experts():
    return Qwen3MoeConfig(**SIZES, head_dim=16, moe_intermediate_size=32, num_experts=4, num_experts_per_tok=2)


def test_a_model_of_images_is_refused(base):
    Gemma3Config().save_pretrained(base)
    changed(base / "config.json", architectures=["Gemma3ForConditionalGeneration"])
    assert "a model of text and images or sound" in refusal(base)


def test_a_tokenizer_is_there(base):
    (base / "tokenizer.json").write_text("{}")
    assert "tokenizer.json has no model" in refusal(base)
    (base / "tokenizer.json").unlink()
    assert "has no tokenizer: none of tokenizer.json" in refusal(base)


@pytest.mark.parametrize(("file", "module"), [("tokenizer.model", "sentencepiece"), ("qwen.tiktoken", "tiktoken")])
def test_the_package_of_a_tokenizer_is_named(base, file, module, monkeypatch):
    (base / "tokenizer.json").unlink()
    (base / file).write_bytes(b"")
    monkeypatch.setattr(base_files, "find_spec", lambda _name: None)
    assert f"is read by the package {module}, which is not installed; `pip install {module}`" in refusal(base)
    monkeypatch.undo()
    refusal(base)  # and where it is there, the file is none


def test_a_tokenizer_of_another_model_is_refused(base):
    config = LlamaConfig(**{**SIZES, "vocab_size": 100, "bos_token_id": 1, "eos_token_id": 2})
    LlamaForCausalLM(config).save_pretrained(base)
    assert "the tokenizer has 256 tokens and the embedding 100 rows" in refusal(base)


def test_tokens_that_were_only_added_get_the_mean_embedding(base):
    """A padding token that somebody gave to the tokenizer and not to the model, as is usual for Llama 2."""
    tokenizer = PreTrainedTokenizerFast.from_pretrained(base)
    tokenizer.add_special_tokens({"pad_token": "[PAD]"})
    tokenizer.save_pretrained(base)
    check_base(base, AUTO)
    ours = load_tokenizer(base)
    table = load_model(base, ours, "float32").get_input_embeddings().weight
    torch.testing.assert_close(table[ours.convert_tokens_to_ids("[PAD]")], table[: SIZES["vocab_size"]].mean(dim=0))


def test_neither_padding_nor_an_end_is_needed(base):
    changed(base / "config.json", pad_token_id=None, eos_token_id=None, bos_token_id=None)
    changed(base / "tokenizer_config.json", pad_token=None, eos_token=None, bos_token=None, unk_token=None)
    check_base(base, AUTO)


def test_a_padding_token_outside_the_vocabulary_is_one_line(base):
    changed(base / "config.json", pad_token_id=5000)
    assert "transformers cannot load it" in refusal(base)


def test_a_target_that_matches_nothing_is_found_before_the_dataset(base):
    assert "'c_attn' matches no linear layer; there are: down_proj" in refusal(base, LoraConfig(target_modules=("c_attn",)))


def test_fused_projections_have_names_of_their_own(tmp_path):
    base = write_model(FAMILIES["phi3"], tmp_path / "phi3")
    check_base(base, LoraConfig(target_modules=("qkv_proj", "gate_up_proj")))
    with pytest.raises(TrainingError, match="'q_proj' matches no linear layer; there are: down_proj, gate_up_proj"):
        check_base(base, LoraConfig(target_modules=("q_proj",)))
