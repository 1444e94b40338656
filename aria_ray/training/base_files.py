"""The files of a base model's directory, read without loading a weight: is it a whole model, of a kind that can be trained?

Only the headers of weight files are read, so a directory of any size takes less than a second.
"""

import json
from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from aria_ray.errors import TrainingError

INDEXES = ("model.safetensors.index.json", "pytorch_model.bin.index.json")
WHOLE = ("model.safetensors", "pytorch_model.bin")
"""Names of the weights in one file, and of the index of weights in several, in the order in which transformers looks."""
FLOATS = ("F64", "F32", "F16", "BF16")
"""Types of safetensors whose weights can be trained; others are quantised."""
LFS_POINTER = b"version https://git-lfs"
TOKENIZERS = ("tokenizer.json", "tokenizer.model", "vocab.json", "vocab.txt", "spiece.model", "tekken.json")
"""Files of which a tokenizer needs at least one; the first holds all of it."""
SLOW_TOKENIZERS: Mapping[str, str] = {
    "tokenizer.model": "sentencepiece",
    "spiece.model": "sentencepiece",
    "tekken.json": "mistral_common",
}
"""Python module that a tokenizer without `tokenizer.json` is read by, by its file."""


def check_files(base: Path) -> None:
    """Check that a directory holds a whole model with plain weights, and a tokenizer that can be read here.

    Raises:
        TrainingError: it does not; the message names the file.
    """
    config = check_kind(base)
    _check_plain(base, config)
    for path in weight_files(base):
        _check_header(path)
    _check_tokenizer(base)


def check_kind(base: Path) -> Mapping[str, Any]:
    """The content of `config.json`, of a directory that holds a model and not something else.

    Raises:
        TrainingError: it holds an adapter, GGUF files alone, or no `config.json` that can be read.
    """
    adapter = base / "adapter_config.json"
    if adapter.is_file():
        of = read_object(adapter).get("base_model_name_or_path")
        raise TrainingError(
            f"model.source {base} holds an adapter (adapter_config.json), no whole model",
            f"merge it into its base model{f' {of}' if of else ''} first (PEFT's merge_and_unload), or give that",
        )
    if not any((base / name).is_file() for name in (*INDEXES, *WHOLE)) and any(base.glob("*.gguf")):
        raise TrainingError(
            f"model.source {base} holds GGUF files alone, whose weights are quantised for llama.cpp",
            "give the model's directory in Hugging Face layout: config.json, safetensors, tokenizer",
        )
    if not (base / "config.json").is_file():
        raise TrainingError(
            f"model.source {base} must hold a config.json, weights and a tokenizer, and has no config.json",
            "give a directory in Hugging Face layout",
        )
    return read_object(base / "config.json")


def read_object(path: Path) -> dict[str, Any]:
    """The object in a JSON file of a model's directory.

    Raises:
        TrainingError: the file is no JSON, or holds something else.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise TrainingError(f"{path} cannot be read as JSON ({error})", "get the file again") from None
    if not isinstance(content, dict):
        raise TrainingError(f"{path} must hold an object, not {type(content).__name__}", "get the file again")
    return content


def weight_files(base: Path) -> list[Path]:
    """The files of the weights, which are all there.

    Raises:
        TrainingError: there are none, or some are missing.
    """
    for index, whole in zip(INDEXES, WHOLE, strict=True):
        if (base / whole).is_file():
            return [base / whole]
        if (base / index).is_file():
            names = read_object(base / index).get("weight_map")
            if not isinstance(names, dict) or not names:
                raise TrainingError(f"{base / index} must have a weight_map from weights to files", "get the file again")
            files = sorted(set(names.values()))
            missing = [name for name in files if not (base / name).is_file()]
            if missing:
                more = f" and {len(missing) - 1} more of {len(files)}" if len(missing) > 1 else f", one of {len(files)}"
                raise TrainingError(
                    f"model.source {base}: weights {missing[0]}{more} are missing, which {index} names",
                    "get them (`hf download`, `git lfs pull`), or give a complete directory",
                )
            return [base / name for name in files]
    there = sorted(path.name for path in base.iterdir() if path.suffix in (".safetensors", ".bin", ".pt", ".pth"))
    raise TrainingError(
        f"model.source {base} has a config.json but no weights: neither {WHOLE[0]} nor {INDEXES[0]}"
        + (f" (there is {there[0]})" if there else ""),
        "get them (`hf download`), or give a complete directory",
    )


def _check_plain(base: Path, config: Mapping[str, Any]) -> None:
    quantised = config.get("quantization_config") or config.get("compression_config")
    if quantised:
        how = quantised.get("quant_method", "unnamed") if isinstance(quantised, dict) else quantised
        bits = next((f", {bits} bits" for bits in _bits(quantised)), "")
        raise TrainingError(
            f"model.source {base}: its weights are quantised ({how}{bits}), and training needs plain ones",
            "give the model that they were made from, in float32, float16 or bfloat16",
        )


def _bits(quantised: Any) -> Iterator[int]:
    if isinstance(quantised, dict):
        for key, bits in (("bits", None), ("load_in_4bit", 4), ("load_in_8bit", 8)):
            if quantised.get(key):
                yield bits or quantised[key]


def _check_header(path: Path) -> None:
    with path.open("rb") as file:
        start = file.read(len(LFS_POINTER))
    if start == LFS_POINTER:
        raise TrainingError(f"{path} is a pointer of Git LFS, not the weights", "run `git lfs pull` in that directory")
    if path.suffix != ".safetensors":
        return  # transformers opens it on the meta device, which reads shapes alone
    try:
        with safe_open(path, framework="pt") as weights:  # checks the header, and the length of the file against it
            types = {weights.get_slice(name).get_dtype(): name for name in weights.keys()}  # noqa: SIM118  # no mapping
    except (SafetensorError, OSError) as error:
        raise TrainingError(
            f"{path} ({path.stat().st_size:,} bytes) is damaged or cut off ({error})", "get the file again"
        ) from None
    quantised = [kind for kind in types if kind not in FLOATS]
    if quantised and not set(types) & set(FLOATS):
        raise TrainingError(
            f"{path}: weight {types[quantised[0]]} is of type {quantised[0]}, and training needs plain weights",
            "give the model that they were made from, in float32, float16 or bfloat16",
        )


def _check_tokenizer(base: Path) -> None:
    there = [name for name in TOKENIZERS if (base / name).is_file()] + sorted(path.name for path in base.glob("*.tiktoken"))
    if not there:
        raise TrainingError(
            f"model.source {base} has no tokenizer: none of {', '.join(TOKENIZERS)}",
            "add the tokenizer's files, which are beside the weights where the model comes from",
        )
    if there[0] == "tokenizer.json":
        if "model" not in read_object(base / "tokenizer.json"):
            raise TrainingError(f"{base / 'tokenizer.json'} has no model, so it is no tokenizer", "get the file again")
        return
    module = "tiktoken" if there[0].endswith(".tiktoken") else SLOW_TOKENIZERS.get(there[0])
    if module and find_spec(module) is None:
        raise TrainingError(
            f"model.source {base}: its tokenizer ({there[0]}) is read by the package {module}, which is not installed",
            f"`pip install {module.replace('_', '-')}`, or add a tokenizer.json",
        )
