"""What decides the rows of a dataset: hashed into the fingerprint of the stage."""

import hashlib
from importlib import resources
from pathlib import Path
from typing import Any

from aria_ray.artifacts import file_hash
from aria_ray.config.schema import DatasetConfig
from aria_ray.dataset.conversations.files import name_and_share, source_state
from aria_ray.dataset.loading import templates_digest
from aria_ray.errors import DataError
from aria_ray.tools.sources import live_definitions, tool_files


def dataset_inputs(config: DatasetConfig, hold_out: bool = True) -> dict[str, Any]:
    """The section without the numbers of workers and of requests in flight, the package's texts, the hashes of the user's
    files, and what live MCP servers list.

    `hold_out` is whether example requests are held out for the test.

    Raises:
        DataError: a file of `dataset.tools`, `dataset.requests` or `dataset.sources` is not there.
    """
    paths = [*tool_files(config.tools), *(Path(file).expanduser() for file in config.requests)]
    missing = [path for path in paths if not path.is_file()]
    if missing:
        raise DataError(f"{missing[0]} of dataset.tools or dataset.requests is no file", "give one that exists")
    inputs: dict[str, Any] = {
        "dataset": config.model_dump(mode="json", exclude={"num_workers": True, "teacher": {"concurrency"}})
    }
    if config.has_builtin:
        inputs["templates"] = templates_digest()
    if config.has_requests:
        inputs |= {"texts": texts_digest(), "hold_out": hold_out}
    if live := live_definitions(config.tools):
        inputs["live"] = live
    if config.sources:
        inputs["sources"] = [source_state(name_and_share(source)[0]) for source in config.sources]
    return inputs | ({"own": [file_hash(path) for path in paths]} if paths else {})


def texts_digest() -> str:
    """First 16 hex digits of the sha256 over the package's requests, wordings and typed values."""
    folders = (resources.files("aria_ray.dataset").joinpath("requests"), resources.files("aria_ray.requests"))
    files = [item for folder in folders for item in folder.iterdir() if item.name.endswith((".yaml", ".jsonl"))]
    texts = sorted((item.name, item.read_text(encoding="utf-8")) for item in files)
    return hashlib.sha256(repr(texts).encode()).hexdigest()[:16]
