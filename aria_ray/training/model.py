"""The model that is trained: base weights, our markers as single tokens, a LoRA adapter over the linear layers."""

import json
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig as PeftLoraConfig
from peft import PeftModel, get_peft_model
from peft.utils.other import TrainableTokensWrapper
from torch import Tensor, nn
from torch.nn import functional
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from aria_ray.artifacts import atomic_dir, remove_leftovers, write_json
from aria_ray.config.schema import LoraConfig
from aria_ray.errors import TrainingError
from aria_ray.grammar import MARKERS, TURN_END, TURN_START, chat_template
from aria_ray.kernels.choice import Kernels
from aria_ray.training.attention import attention_arguments
from aria_ray.training.batch import Pack
from aria_ray.training.lora import LAYERS
from aria_ray.training.patches import trained_token_rows, use_lora_layer

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
    linear = {name.rsplit(".", 1)[-1] for name, module in model.model.named_modules() if isinstance(module, nn.Linear)}
    for target in config.target_modules:
        if target not in linear:
            raise TrainingError(
                f"training.lora.target_modules: '{target}' matches no linear layer", f"there are: {', '.join(sorted(linear))}"
            )
    control = [tokenizer.convert_tokens_to_ids(token) for token in _WORDS]
    trainable = {"embed_tokens": control}
    if not model.config.tie_word_embeddings:
        trainable["lm_head"] = control
    torch.manual_seed(seed)
    lora = PeftLoraConfig(
        task_type="CAUSAL_LM",
        r=config.rank,
        lora_alpha=config.alpha,
        lora_dropout=config.dropout,
        target_modules=list(config.target_modules),
        trainable_token_indices=trainable,
    )
    use_lora_layer(lora, LAYERS[kernels])
    return get_peft_model(model, lora)


def trainable_parameters(model: nn.Module) -> dict[str, nn.Parameter]:
    """The parameters that training updates, by name."""
    return {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}


def hidden_states(model: nn.Module, pack: Pack) -> Tensor:
    """Last hidden states (1, T, H) of a packed row. The caller applies the output head, to the few that need it."""
    causal = _causal_lm(model)
    return causal.model(
        inputs_embeds=_embedded(causal.model.embed_tokens, pack.input_ids.to(causal.device))[None],  # (1, T, H)
        position_ids=pack.position_ids.to(causal.device)[None],  # (1, T)
        use_cache=False,
        **attention_arguments(pack, causal),
    ).last_hidden_state


def logits(model: nn.Module, states: Tensor) -> Tensor:
    """Logits (S, V) of hidden states (S, H)."""
    head = _causal_lm(model).lm_head
    if not isinstance(head, TrainableTokensWrapper):
        plain: Tensor = head(states)
        return plain
    weight, index, rows = _trained_rows(head)
    return functional.linear(states, weight).index_copy_(1, index, functional.linear(states, rows.to(weight.dtype)))


def _embedded(embedding: nn.Module, ids: Tensor) -> Tensor:
    """Embeddings (T, H) of token ids (T,)."""
    if not isinstance(embedding, TrainableTokensWrapper):
        plain: Tensor = embedding(ids)
        return plain
    weight, index, rows = _trained_rows(embedding)
    hits = ids[:, None] == index  # (T, trained tokens)
    ours = rows.to(weight.dtype)[hits.int().argmax(dim=1)]  # (T, H)
    return torch.where(hits.any(dim=1, keepdim=True), ours, functional.embedding(ids, weight))


def _trained_rows(module: TrainableTokensWrapper) -> tuple[Tensor, Tensor, Tensor]:
    """The frozen weight (V, H), the indices (N,) of the tokens that are trained, and their rows (N, H)."""
    weight, indices, rows = trained_token_rows(module)
    return weight, torch.tensor(indices, device=weight.device), rows


def _causal_lm(model: nn.Module) -> Any:
    return model.get_base_model() if isinstance(model, PeftModel) else model


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
