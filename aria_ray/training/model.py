"""The model that is trained: base weights, our markers as single tokens, a LoRA adapter over the linear layers."""

import json
from pathlib import Path

import torch
from peft import LoraConfig as PeftLoraConfig
from peft import PeftModel, get_peft_model
from torch import nn
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from aria_ray.artifacts import atomic_dir, remove_leftovers, write_json
from aria_ray.config.schema import LoraConfig
from aria_ray.errors import TrainingError
from aria_ray.grammar import MARKERS, TURN_END, TURN_START, chat_template
from aria_ray.kernels.choice import Kernels
from aria_ray.training.forward import use_fast_token_rows
from aria_ray.training.lora import LAYERS
from aria_ray.training.patches import use_lora_layer

MERGED_FROM = "merged_from.json"
"""File in a merged model directory that names the training it comes from."""

# Words whose mean embedding a new token starts from: a start in the right region of the space, not at random.
_WORDS = {
    "<think>": "think",
    "</think>": "end of thought",
    "<tool_call>": "tool call",
    "</tool_call>": "end of call",
    "<tool_response>": "tool response",
    "</tool_response>": "end of response",
    TURN_START: "next speaker",
    TURN_END: "end of turn",
}


def load_tokenizer(base: Path) -> PreTrainedTokenizerBase:
    """The base model's tokenizer with the markers as single tokens, our turn markers, and our chat template."""
    tokenizer = AutoTokenizer.from_pretrained(base)
    missing = [token for token in (TURN_START, TURN_END) if len(tokenizer.encode(token, add_special_tokens=False)) != 1]
    if missing:
        tokenizer.add_special_tokens({"extra_special_tokens": missing})
    tokenizer.add_tokens(list(MARKERS))
    tokenizer.eos_token = TURN_END
    tokenizer.chat_template = chat_template()
    return tokenizer


def load_model(base: Path, tokenizer: PreTrainedTokenizerBase, dtype: str) -> PreTrainedModel:
    """The base model, with an embedding for every token of the tokenizer and the end of a turn as its end token."""
    model = AutoModelForCausalLM.from_pretrained(base, dtype=getattr(torch, dtype))
    num_known = model.get_input_embeddings().num_embeddings
    if len(tokenizer) > num_known:
        # Not padded to a round number: rows without a token would be random weights that can win a prediction.
        model.resize_token_embeddings(len(tokenizer), mean_resizing=False)
    with torch.no_grad():
        for embedding in {model.get_input_embeddings(), model.get_output_embeddings()}:
            embedding.weight[num_known : len(tokenizer)] = embedding.weight[:num_known].mean(dim=0)
            for token, words in _WORDS.items():
                index = tokenizer.convert_tokens_to_ids(token)
                if index >= num_known:
                    ids = tokenizer.encode(words, add_special_tokens=False)
                    embedding.weight[index] = embedding.weight[ids].mean(dim=0)
    model.config.eos_token_id = tokenizer.eos_token_id
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    return model


def add_adapter(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, config: LoraConfig, seed: int, kernels: Kernels = "torch"
) -> PeftModel:
    """Add a LoRA adapter to the target layers and make the control tokens' embeddings trainable; all else is frozen.

    Raises:
        TrainingError: a target matches no linear layer of the model.
    """
    control = [tokenizer.convert_tokens_to_ids(token) for token in _WORDS]
    torch.manual_seed(seed)
    lora = PeftLoraConfig(
        task_type="CAUSAL_LM",
        r=config.rank,
        lora_alpha=config.alpha,
        lora_dropout=config.dropout,
        target_modules=list(adapted_layers(model, config)),
        trainable_token_indices=dict.fromkeys(_token_tables(model), control),
    )
    use_lora_layer(lora, LAYERS[kernels])
    adapted = get_peft_model(model, lora)
    use_fast_token_rows(adapted)
    return adapted


def adapted_layers(model: PreTrainedModel, config: LoraConfig) -> tuple[str, ...]:
    """Names of the linear layers that get an adapter: those of the recipe, or all but the output head.

    Raises:
        TrainingError: a target of the recipe matches no linear layer of the model.
    """
    linear = linear_layers(model)
    if config.target_modules == "auto":
        return linear
    for target in config.target_modules:
        if target not in linear:
            raise TrainingError(
                f"training.lora.target_modules: '{target}' matches no linear layer",
                f"there are: {', '.join(sorted(linear))}; auto takes them all",
            )
    return config.target_modules


def linear_layers(model: PreTrainedModel) -> tuple[str, ...]:
    """Names of the linear layers of a model without its head, each once, in the order of the model."""
    modules = model.base_model.named_modules()
    return tuple(dict.fromkeys(name.rsplit(".", 1)[-1] for name, module in modules if isinstance(module, nn.Linear)))


def _token_tables(model: PreTrainedModel) -> list[str]:
    """Names of the embedding and, where it has weights of its own, of the output head."""
    tables = [model.get_input_embeddings()]
    if not model.config.tie_word_embeddings:
        tables.append(model.get_output_embeddings())
    return [name.rsplit(".", 1)[-1] for name, module in model.named_modules() if module in tables]


def trainable_parameters(model: nn.Module) -> dict[str, nn.Parameter]:
    """The parameters that training updates, by name."""
    return {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}


def is_merged(target: Path, fingerprint: str) -> bool:
    """Whether a model directory is complete and merged from the training with that fingerprint."""
    note = target / MERGED_FROM
    if not note.is_file():
        return False
    merged = json.loads(note.read_text(encoding="utf-8"))
    sizes = {path.name: path.stat().st_size for path in target.iterdir() if path != note}
    return bool(merged["training_fingerprint"] == fingerprint and merged["file_bytes"] == sizes)


def write_merged(base: Path, adapter: Path, dtype: str, target: Path, fingerprint: str) -> None:
    """Merge an adapter into the base weights and write a model directory that `vllm serve` loads unchanged.

    Written beside the target first, then renamed, so the target is whole or not there. `fingerprint` is that of the training.
    """
    tokenizer = load_tokenizer(base)
    model = PeftModel.from_pretrained(load_model(base, tokenizer, dtype), adapter).merge_and_unload()
    remove_leftovers(target)
    with atomic_dir(target) as temporary:
        model.save_pretrained(temporary)
        tokenizer.save_pretrained(temporary)
        for file in temporary.iterdir():  # safetensors makes its files readable by the owner only
            file.chmod(0o644)
        sizes = {file.name: file.stat().st_size for file in temporary.iterdir()}
        write_json(temporary / MERGED_FROM, {"training_fingerprint": fingerprint, "file_bytes": sizes})
