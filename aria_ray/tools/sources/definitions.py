"""Tools of a JSON file: definitions as OpenAI, Anthropic, Gemini or Bedrock have them, or a saved answer of an MCP server."""

import functools
import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from aria_ray.errors import DataError
from aria_ray.grammar import ToolDefinition
from aria_ray.tools.docstrings import parameter_descriptions
from aria_ray.tools.json_schema import plain_schema
from aria_ray.tools.sources import SIMULATED, SourcedTool, check_only

LISTS = ("tools", "functions", "function_declarations", "functionDeclarations")
"""Keys under which answers and requests list tools."""
SCHEMAS = ("parameters", "inputSchema", "input_schema", "parametersJsonSchema")
"""Keys of the schema of a tool's arguments: OpenAI's, MCP's, Anthropic's, Gemini's."""
KEYWORDS = ("type", "properties", "required", "$ref", "allOf", "anyOf", "oneOf", "additionalProperties", "description", "title")
MAX_NAMED = 10
"""Most problems that one message names."""

logger = logging.getLogger(__name__)


def read_definitions(content: Any, named: str, only: Sequence[str] = ()) -> Iterator[SourcedTool]:
    """The tools of a JSON file's content, which are simulated; with `only`, those of these names.

    Raises:
        DataError: definitions are wrong; the message names each, with what is wrong.
    """
    if isinstance(content, Mapping) and isinstance(content.get("mcpServers"), Mapping):
        raise DataError(f"{named} is a configuration of MCP servers", "give the command of one, as mcp:COMMAND ARGUMENTS")
    items = list(_listed(content))
    check_only(only, map(_name_of, items), named)
    found, problems = [], []
    for index, item in enumerate(items, start=1):
        if only and _name_of(item) not in only:
            continue  # it may be wrong
        try:
            found.append(definition(item, named))
        except ValueError as error:
            problems.append(f"tool {index}{f' ({_name_of(item)})' if _name_of(item) else ''}: {error}")
    if problems:
        more = f"; and {len(problems) - MAX_NAMED} more" if len(problems) > MAX_NAMED else ""
        raise DataError(f"{named}: {'; '.join(problems[:MAX_NAMED])}{more}", "correct it there, or choose others with `only`")
    for each in found:
        yield SourcedTool(each["function"]["name"], each, SIMULATED)


def definition(item: Any, named: str) -> ToolDefinition:
    """A definition of any of the known shapes as OpenAI's, its schema in plain form.

    Raises:
        ValueError: it is no definition of a function, or its schema is wrong.
    """
    function = _function(item)
    name = _name_of(item)
    if not isinstance(name, str) or not name or any(sign.isspace() or sign in ";," for sign in name) or name == "none":
        raise ValueError(f"name {name!r} must be a text without blanks, commas and semicolons, and not none")
    schema = _schema(function)
    if isinstance(schema, Mapping) and schema and not set(schema) & set(KEYWORDS) and _is_bare(schema):
        raise ValueError(f"parameters has no `properties`; put {', '.join(schema)} into it")
    parameters = plain_schema(schema)
    _tell_unknown(named, name, tuple(key for key in _required(schema) if key not in parameters["properties"]))
    description = str(function.get("description") or function.get("title") or name.replace("_", " ").replace("-", " "))
    # Servers made of Python functions send the whole docstring as the description of the tool, and none of its parameters.
    for key, said in parameter_descriptions(description).items():
        if key in parameters["properties"]:
            parameters["properties"][key] = said | parameters["properties"][key]
    return {"type": "function", "function": {"name": name, "description": description, "parameters": parameters}}


def _listed(content: Any) -> Iterator[Any]:
    """The definitions in what a file holds: a list, an answer or a request with a list in it, or one definition."""
    if isinstance(content, Mapping):
        inner = content.get("result")  # JSON-RPC's envelope
        content = inner if isinstance(inner, Mapping | list) else content
    if isinstance(content, Mapping):
        lists = [content[key] for key in LISTS if isinstance(content.get(key), list)]
        if lists:
            content = lists[0]
        elif _is_by_name(content):
            content = [{"name": name, **item} for name, item in content.items()]
    for item in content if isinstance(content, list) else [content]:
        nested = [item[key] for key in LISTS if isinstance(item, Mapping) and isinstance(item.get(key), list)]
        yield from nested[0] if nested else [item]


def _is_by_name(content: Mapping[str, Any]) -> bool:
    """Whether a mapping has definitions by their names."""
    if not content or {"name", "title", "function", "toolSpec"} & set(content):
        return False
    return all(isinstance(item, Mapping) and set(item) & {"description", *SCHEMAS} for item in content.values())


def _schema(function: Mapping[str, Any]) -> Any:
    """The schema of the arguments, wherever the shape of the definition has it."""
    if "name" not in function and "properties" in function:  # the schema itself, as pydantic gives it, whose title is the name
        return {key: value for key, value in function.items() if key not in ("title", "description")}
    schema: Any = next((function[key] for key in SCHEMAS if function.get(key) is not None), {})
    if isinstance(schema, str):  # datasets have it as text
        schema = json.loads(schema)
    return schema["json"] if isinstance(schema, Mapping) and isinstance(schema.get("json"), Mapping) else schema  # Bedrock


def _function(item: Any) -> Mapping[str, Any]:
    if not isinstance(item, Mapping):
        raise ValueError(f'{str(item)[:60]!r} is no definition; write {{"name": ..., "description": ..., "parameters": ...}}')
    for key in ("function", "toolSpec"):
        if isinstance(item.get(key), Mapping):
            inner: Mapping[str, Any] = item[key]
            return inner
    kind = item.get("type")
    if isinstance(kind, str) and kind not in ("function", "custom", "object") and not any(key in item for key in SCHEMAS):
        raise ValueError(f"its type is {kind}, which is no function")
    return item


def _name_of(item: Any) -> str:
    """The name of a definition, empty where it has none."""
    inner = [item.get(key) for key in ("function", "toolSpec")] if isinstance(item, Mapping) else []
    function = next((each for each in inner if isinstance(each, Mapping)), item)
    name = function.get("name", function.get("title")) if isinstance(function, Mapping) else None
    return name if isinstance(name, str) else ""


def _is_bare(schema: Mapping[str, Any]) -> bool:
    return all(isinstance(field, Mapping) for field in schema.values())


def _required(schema: Any) -> list[str]:
    required = schema.get("required") if isinstance(schema, Mapping) else None
    return required if isinstance(required, list) else []


@functools.cache
def _tell_unknown(named: str, name: str, unknown: tuple[str, ...]) -> None:
    """Say once that a schema requires what it has no property for: nobody can give it, so it is left out."""
    if unknown:
        logger.warning(
            "%s: %s requires %s, which is no property of it; it is not required here", named, name, ", ".join(unknown)
        )
