"""Tiny random models of the families that training takes, with the options in which they differ from Llama switched on."""

import copy
import shutil

import torch
from transformers import (
    AutoModelForCausalLM,
    CohereConfig,
    Gemma2Config,
    Gemma3TextConfig,
    GemmaConfig,
    Glm4Config,
    GPTNeoXConfig,
    GraniteConfig,
    LlamaConfig,
    MistralConfig,
    Olmo2Config,
    Olmo3Config,
    Phi3Config,
    PhiConfig,
    Qwen2Config,
    Qwen3Config,
    SmolLM3Config,
    StableLmConfig,
    Starcoder2Config,
)

from aria_ray.config import ModelConfig
from aria_ray.training.base_model import prepare_base

NUM_TOKENS = 258
"""Of the tokenizer of `random:tiny`, which every model here gets."""
SIZES = {
    "vocab_size": NUM_TOKENS,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "bos_token_id": 256,
    "eos_token_id": 257,
    "pad_token_id": None,
    "tie_word_embeddings": False,
}
WINDOW = {"sliding_window": 12}
LLAMA_31 = {
    "rope_type": "llama3",
    "rope_theta": 10000.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}
ONE_KEY_PER_QUERY = {**SIZES, "num_key_value_heads": 4}
FAMILIES = {
    "llama": LlamaConfig(**ONE_KEY_PER_QUERY),
    "llama-3.1": LlamaConfig(**SIZES, rope_parameters=LLAMA_31),
    "llama-3.2": LlamaConfig(**{**SIZES, "tie_word_embeddings": True}, rope_parameters=LLAMA_31),
    "mistral": MistralConfig(**SIZES, **WINDOW),
    "qwen2": Qwen2Config(**SIZES, **WINDOW, use_sliding_window=True, max_window_layers=2),
    "qwen3": Qwen3Config(**SIZES, head_dim=16),
    "gemma": GemmaConfig(**{**SIZES, "tie_word_embeddings": True}, head_dim=16),
    "gemma2": Gemma2Config(
        **{**SIZES, "tie_word_embeddings": True},
        **WINDOW,
        head_dim=16,
        query_pre_attn_scalar=8,
        attn_logit_softcapping=0.5,
        final_logit_softcapping=0.5,
    ),
    "gemma3_text": Gemma3TextConfig(
        **{**SIZES, "tie_word_embeddings": True},
        **WINDOW,
        head_dim=16,
        layer_types=["sliding_attention", "full_attention"] * 2,
    ),
    "granite": GraniteConfig(
        **SIZES, embedding_multiplier=12.0, logits_scaling=8.0, residual_multiplier=0.22, attention_multiplier=0.015
    ),
    "phi3": Phi3Config(**SIZES, **WINDOW),
    "phi": PhiConfig(**ONE_KEY_PER_QUERY),
    "smollm3": SmolLM3Config(**SIZES, no_rope_layers=[1, 0, 1, 0]),
    "olmo2": Olmo2Config(**SIZES),
    "olmo3": Olmo3Config(**SIZES, **WINDOW),
    "cohere": CohereConfig(**{**SIZES, "tie_word_embeddings": True}),
    "glm4": Glm4Config(**SIZES, head_dim=16),
    "stablelm": StableLmConfig(**SIZES),
    "starcoder2": Starcoder2Config(**SIZES, **WINDOW),
    "gpt_neox": GPTNeoXConfig(**{name: value for name, value in SIZES.items() if name != "num_key_value_heads"}),
}


def random_model(config, dtype=torch.float32):
    """A model whose weights are so large that a wrong window, cap or multiplier changes its logits by a tenth or more."""
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(copy.deepcopy(config), dtype=dtype)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() == 1:
                parameter.add_(0.1 * torch.randn_like(parameter))
            else:
                parameter.mul_(4)
    return model.eval()


def write_model(config, folder):
    """A directory with such a model and the tokenizer of `random:tiny`."""
    tiny = prepare_base(ModelConfig(source="random:tiny"))
    shutil.copytree(tiny, folder, ignore=shutil.ignore_patterns("config.json", "generation_config.json", "*.safetensors"))
    random_model(config).save_pretrained(folder)
    return folder
