"""Tools of a JSON file: OpenAI definitions, in either of OpenAI's shapes, Anthropic's, or a saved answer of an MCP server."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator, SchemaError

from aria_ray.errors import DataError
from aria_ray.tools.json_schema import plain_schema
from aria_ray.tools.sources import SIMULATED, SourcedTool

SCHEMA_KEYS = ("parameters", "inputSchema", "input_schema")
"""Where the shapes have the schema of the arguments: OpenAI, MCP, Anthropic."""


def read_definitions(source: str, named: str) -> Iterator[SourcedTool]:
    """The tools of a JSON file, which are simulated.

    Raises:
        DataError: the file cannot be read, or a definition is wrong; the message says which.
    """
    try:
        content = json.loads(Path(source).expanduser().read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{named} cannot be read as JSON ({error})", "give a list of tool definitions") from None
    for index, item in enumerate(_listed(content), start=1):
        yield SourcedTool(*_parts(item, f"{named}: tool {index}"), SIMULATED)


def _listed(content: Any) -> list[Any]:
    if isinstance(content, Mapping):
        content = content.get("result", content)  # the envelope of a saved answer
        content = content.get("tools", [content]) if isinstance(content, Mapping) else content
    return content if isinstance(content, list) else [content]


def _parts(item: Any, place: str) -> tuple[str, dict[str, Any]]:
    function = item.get("function", item) if isinstance(item, Mapping) else None
    if not isinstance(function, Mapping):
        raise DataError(f"{place} is no tool definition: {str(item)[:60]}", 'write {"name": ..., "description": ...}')
    name = function.get("name")
    if not isinstance(name, str) or not name or any(sign.isspace() for sign in name):
        raise DataError(f"{place}: name {name!r} must be a text without blanks", "give it one")
    definition = {
        "name": name,
        "description": str(function.get("description") or name.replace("_", " ")),
        "parameters": schema_of(function, f"{place} ({name})"),
    }
    return name, {"type": "function", "function": definition}


def schema_of(function: Mapping[str, Any], place: str) -> dict[str, Any]:
    """The plain schema of a definition's arguments.

    Raises:
        DataError: it is no JSON Schema of an object.
    """
    schema: dict[str, Any] = next((function[key] for key in SCHEMA_KEYS if function.get(key)), {})
    try:
        Draft202012Validator.check_schema(schema)
        return plain_schema(schema)
    except SchemaError as error:
        raise DataError(f"{place}: no JSON Schema: {error.message}", "correct it there") from None
    except (ValueError, AttributeError) as error:
        raise DataError(f"{place}: {error}", "correct it there") from None
