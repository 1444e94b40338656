"""The table of tools, their OpenAI definitions, and running them. Failures are values; nothing is ever evaluated."""

import functools
import inspect
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, get_type_hints

from pydantic import BaseModel, ConfigDict, ValidationError, create_model

from aria_ray.grammar import Call, ToolDefinition
from aria_ray.tools import conversion, math, reasoning, text
from aria_ray.tools.values import ToolError, plain

Tool = Callable[..., Any]

_FUNCTIONS: tuple[Tool, ...] = (
    math.percent_of,
    math.percent_change,
    math.divide,
    math.multiply,
    math.power,
    math.square_root,
    math.add_numbers,
    math.average,
    math.median,
    math.gcd,
    math.is_prime,
    math.days_between,
    text.count_words,
    text.count_letter,
    text.reverse_text,
    text.change_case,
    text.replace_text,
    text.sort_words,
    text.slugify,
    conversion.convert_units,
    conversion.convert_currency,
    conversion.number_to_base,
    conversion.number_to_roman,
    reasoning.compare_numbers,
    reasoning.filter_above,
    reasoning.sort_numbers,
    reasoning.highest,
    reasoning.end_time,
    reasoning.weekday,
)

ERROR_PREFIX = "error: "
"""How the text of every failed call begins."""
TOOLS: dict[str, Tool] = {function.__name__: function for function in _FUNCTIONS}
"""Every tool by name."""


@dataclass(frozen=True)
class ToolResult:
    """What a tool says: `text` is what the model reads, starting with `ERROR_PREFIX` where `ok` is false."""

    ok: bool
    text: str


def tool_definition(function: Tool) -> ToolDefinition:
    """The OpenAI function definition from a function's signature and the first line of its docstring."""
    schema = _argument_model(function).model_json_schema()
    parameters = _without_titles(schema)
    parameters["properties"] = {name: _without_titles(field) for name, field in schema["properties"].items()}
    parameters.pop("description", None)
    description = inspect.getdoc(function) or ""
    return {
        "type": "function",
        "function": {
            "name": function.__name__,
            "description": description.split("\n", 1)[0],
            "parameters": parameters,
        },
    }


def argument_problem(name: str, arguments: Mapping[str, Any]) -> str | None:
    """What is wrong with a call before it is run, None where nothing is."""
    if name not in TOOLS:
        return f"no such tool '{name}'"
    _, problem = _validated(name, arguments, {})
    return problem


def execute(name: str, arguments: Mapping[str, Any]) -> ToolResult:
    """Run a tool by name. An unknown tool, wrong arguments and a failing tool are results with `ok` false."""
    return _execute(name, arguments, {})


def execute_listed(tool_names: str, call: Call) -> ToolResult:
    """Run a call made under the names a dataset row lists.

    `tool_names` is the row's column: JSON of {listed name: {"tool": real name, "parameters": {listed: real}}}.
    A tool the row does not list does not exist for this call.
    """
    names = json.loads(tool_names).get(call.name)
    if names is None:
        return ToolResult(False, f"{ERROR_PREFIX}no such tool '{call.name}'")
    real = {listed: parameter for listed, parameter in names["parameters"].items() if listed in call.arguments}
    # An argument the listing does not know keeps its name, marked, so it never passes for a real parameter.
    arguments = {real.get(key, f"{key} (not a parameter)"): value for key, value in call.arguments.items()}
    return _execute(names["tool"], arguments, {parameter: listed for listed, parameter in names["parameters"].items()})


def _execute(name: str, arguments: Mapping[str, Any], shown: Mapping[str, str]) -> ToolResult:
    if name not in TOOLS:
        return ToolResult(False, f"{ERROR_PREFIX}no such tool '{name}'")
    values, problem = _validated(name, arguments, shown)
    if problem is not None:
        return ToolResult(False, f"{ERROR_PREFIX}{problem}")
    try:
        return ToolResult(True, plain(TOOLS[name](**values)))
    except ToolError as error:
        return ToolResult(False, f"{ERROR_PREFIX}{error}")


def _validated(name: str, arguments: Mapping[str, Any], shown: Mapping[str, str]) -> tuple[dict[str, Any], str | None]:
    """Typed arguments, and the first problem with parameters called as in `shown`."""
    try:
        model = _argument_model(TOOLS[name]).model_validate(dict(arguments))
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        parameter, *rest = (str(part) for part in first["loc"])
        place = ".".join([shown.get(parameter, parameter), *rest])
        return {}, f"{place}: {first['msg'].removeprefix('Value error, ')}"
    return {key: getattr(model, key) for key in type(model).model_fields}, None


@functools.cache
def _argument_model(function: Tool) -> type[BaseModel]:
    hints = get_type_hints(function, include_extras=True)
    fields: dict[str, Any] = {name: (hints[name], ...) for name in inspect.signature(function).parameters}
    # Strict: the listing says number, so the text "15" is a wrong argument, as it is for a JSON schema.
    return create_model(function.__name__, __config__=ConfigDict(extra="forbid", strict=True), **fields)


def _without_titles(schema: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in schema.items() if key != "title"}
