"""What each kind of source is read by: a source is a string, and its form tells its kind."""

import json
from collections.abc import Iterable, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import yaml

from aria_ray.errors import DataError
from aria_ray.tools.sources import SourcedTool
from aria_ray.tools.sources.definitions import read_definitions
from aria_ray.tools.sources.files import module_files
from aria_ray.tools.sources.mcp import is_mcp, read_server
from aria_ray.tools.sources.openapi import is_openapi, read_operations
from aria_ray.tools.sources.python import WAY_OUT, read_functions

DOCUMENTS = (".json", ".yaml", ".yml")
"""Endings of files of definitions and of OpenAPI documents."""
PACKAGE = "package:"
"""Start of the name of a file in an installed package, `package:NAME/FILE`."""


def found_in(source: str, named: str, only: Sequence[str] = ()) -> Iterable[SourcedTool]:
    """The tools of a source. `only` are names or tags of those that are wanted, and may leave out others early.

    Raises:
        DataError: the source cannot be read, or a tool of it cannot be understood.
    """
    if is_mcp(source):
        return read_server(source, named, only)
    if not source.endswith(DOCUMENTS):
        return read_functions(source, named, only)
    content = _content(_document(source, named), named)
    return read_operations(content, named, only) if is_openapi(content) else read_definitions(content, named, only)


def files_of(source: str, named: str) -> list[Path]:
    """The files that decide the tools of a source; none for a live server.

    Raises:
        DataError: there is no such source.
    """
    if is_mcp(source):
        return []
    return [_document(source, named)] if source.endswith(DOCUMENTS) else module_files(source, named, WAY_OUT)


def _document(source: str, named: str) -> Path:
    if not source.startswith(PACKAGE):
        return Path(source).expanduser()
    package, _, name = source.removeprefix(PACKAGE).partition("/")
    try:
        return Path(str(resources.files(package).joinpath(name)))
    except (ImportError, TypeError, ValueError) as error:
        raise DataError(f"{named}: there is no package {package} ({error})", "write package:NAME/FILE") from None


def _content(path: Path, named: str) -> Any:
    try:
        text = path.read_text(encoding="utf-8-sig")
        if path.suffix == ".json":
            return json.loads(text)
        # By way of JSON: YAML reads dates and whole-number keys where JSON has texts.
        return json.loads(json.dumps(yaml.load(text, Loader=yaml.CSafeLoader), default=str))
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())
        kind = "JSON" if path.suffix == ".json" else "YAML"
        raise DataError(
            f"{named} cannot be read as {kind} ({reason})", "give a list of tool definitions, or an OpenAPI document"
        ) from None
