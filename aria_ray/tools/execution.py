"""The built-in tools, the OpenAI definitions of tools, and their execution.

A failed call is a result, not an exception. No text is ever evaluated as code.
"""

import asyncio
import functools
import importlib
import importlib.util
import inspect
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, is_dataclass
from datetime import date, time
from decimal import Decimal
from enum import Enum
from pathlib import Path
from types import ModuleType
from typing import Any, get_type_hints

import docstring_parser
from pydantic import BaseModel, ConfigDict, ValidationError, create_model

from aria_ray.grammar import Call, ToolDefinition
from aria_ray.tools import conversion, math, reasoning, text
from aria_ray.tools.schema import schema_problem
from aria_ray.tools.simulated import Backend, simulate
from aria_ray.tools.values import ToolError, plain

Tool = Callable[..., Any]

_FUNCTIONS: tuple[Tool, ...] = (
    math.percent_of,
    math.percent_change,
    math.divide,
    math.subtract,
    math.remainder,
    math.multiply,
    math.power,
    math.square_root,
    math.factorial,
    math.round_number,
    math.add_fractions,
    math.compound_interest,
    math.add_numbers,
    math.average,
    math.median,
    math.standard_deviation,
    math.gcd,
    math.lcm,
    math.is_prime,
    math.prime_factors,
    math.days_between,
    math.add_days,
    text.count_words,
    text.count_characters,
    text.count_letter,
    text.reverse_text,
    text.change_case,
    text.replace_text,
    text.sort_words,
    text.slugify,
    text.first_words,
    text.extract_pattern,
    text.extract_numbers,
    text.encode_base64,
    text.decode_base64,
    text.url_encode,
    conversion.convert_units,
    conversion.convert_currency,
    conversion.number_to_base,
    conversion.base_to_number,
    conversion.number_to_roman,
    conversion.roman_to_number,
    conversion.convert_time_zone,
    reasoning.compare_numbers,
    reasoning.filter_above,
    reasoning.sort_numbers,
    reasoning.highest,
    reasoning.lowest,
    reasoning.rank,
    reasoning.sum_where,
    reasoning.end_time,
    reasoning.weekday,
    reasoning.earliest_date,
    reasoning.latest_date,
    reasoning.overlaps,
    reasoning.fits_schedule,
    reasoning.free_minutes,
)

ERROR_PREFIX = "error: "
"""Start of the text of every failed call."""
TOOLS: dict[str, Tool] = {function.__name__: function for function in _FUNCTIONS}
"""The built-in tools by name."""


@dataclass(frozen=True)
class ToolResult:
    """Result of a call. `text` is what the model reads; it starts with `ERROR_PREFIX` where `ok` is false."""

    ok: bool
    text: str


def tool_definition(function: Tool) -> ToolDefinition:
    """The OpenAI function definition of a typed function.

    The tool's description is the first line of the docstring. A parameter's description is that of its annotation
    (`Annotated[int, Field(description=...)]`), else the one in the docstring, in Google, NumPy or Sphinx style.
    """
    schema = _argument_model(function).model_json_schema()
    parameters = _without_titles(schema)
    docstring = inspect.getdoc(function) or ""
    described = _parameter_descriptions(docstring)
    parameters["properties"] = {
        name: described.get(name, {}) | _without_titles(field) for name, field in schema["properties"].items()
    }
    parameters.pop("description", None)
    return {
        "type": "function",
        "function": {
            "name": function.__name__,
            "description": docstring.split("\n", 1)[0],
            "parameters": parameters,
        },
    }


def _parameter_descriptions(docstring: str) -> dict[str, dict[str, str]]:
    """`{"description": ...}` by parameter, each on one line; the NumPy style names several as `low, high`."""
    return {
        name.strip(): {"description": " ".join(parameter.description.split())}
        for parameter in docstring_parser.parse(docstring).params
        if parameter.description
        for name in parameter.arg_name.split(",")
    }


def argument_problem(name: str, arguments: Mapping[str, Any]) -> str | None:
    """First problem of a call's name and arguments, found without running the tool; None if there is none."""
    tool = _find_tool(name)
    if tool is None:
        return f"no such tool '{name}'"
    _, problem = _validated(tool, arguments, {})
    return problem


def execute(name: str, arguments: Mapping[str, Any]) -> ToolResult:
    """Run a tool by name. An unknown tool, wrong arguments and a failing tool are results with `ok` false."""
    return _execute(name, arguments, {})


def execute_listed(tools: Sequence[ToolDefinition], tool_names: str, call: Call) -> ToolResult:
    """Run a call that uses the names of a dataset row's tool list.

    `tools` and `tool_names` are columns of the row. `tool_names` is JSON of {listed name: {"tool": real name, "parameters":
    {listed: real}}}, with a "backend" for a simulated tool. The real name of a user's function is `module:function`. A call
    of a tool that the row does not list fails.
    """
    names = _listed_names(tool_names).get(call.name)
    if names is None:
        return ToolResult(False, f"{ERROR_PREFIX}no such tool '{call.name}'")
    real = {listed: parameter for listed, parameter in names["parameters"].items() if listed in call.arguments}
    # An unknown argument gets a mark, so that its name never passes for a real parameter.
    arguments = {real.get(key, f"{key} (not a parameter)"): value for key, value in call.arguments.items()}
    if "backend" not in names:
        return _execute(names["tool"], arguments, {parameter: listed for listed, parameter in names["parameters"].items()})
    definition = next(tool for tool in tools if tool["function"]["name"] == call.name)
    problem = schema_problem(definition, call.arguments)
    if problem is not None:
        return ToolResult(False, f"{ERROR_PREFIX}{problem}")
    try:
        return ToolResult(True, simulate(Backend.model_validate(names["backend"]), names["tool"], arguments))
    except ToolError as error:
        return ToolResult(False, f"{ERROR_PREFIX}{error}")


@functools.lru_cache(maxsize=4096)
def _listed_names(tool_names: str) -> dict[str, Any]:
    names: dict[str, Any] = json.loads(tool_names)
    return names


@functools.cache
def _find_tool(name: str) -> Tool | None:
    """A built-in tool by its name, a user's function by `module:function`; None if there is none."""
    if ":" not in name:
        return TOOLS.get(name)
    module, function = name.rsplit(":", 1)
    tool: Tool | None = getattr(load_module(module), function, None)
    return tool


@functools.cache
def load_module(source: str) -> ModuleType:
    """The module of a dotted name, or of a file whose name ends in `.py`, whose folder is on the path while it is loaded."""
    if not source.endswith(".py"):
        return importlib.import_module(source)
    path = Path(source).expanduser().resolve()
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} is no Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules.setdefault(path.stem, module)  # dataclasses look their module up by name
    sys.path.insert(0, str(path.parent))
    try:
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(str(path.parent))
    return module


def _execute(name: str, arguments: Mapping[str, Any], listed_names: Mapping[str, str]) -> ToolResult:
    tool = _find_tool(name)
    if tool is None:
        return ToolResult(False, f"{ERROR_PREFIX}no such tool '{name}'")
    values, problem = _validated(tool, arguments, listed_names)
    if problem is not None:
        return ToolResult(False, f"{ERROR_PREFIX}{problem}")
    try:
        return ToolResult(True, _result_text(_run(tool, values)))
    except ToolError as error:
        return ToolResult(False, f"{ERROR_PREFIX}{error}")
    except Exception as error:
        if ":" not in name:  # built-in tools refuse by ToolError alone, so this is a bug of ours; a user's may raise anything
            raise
        return ToolResult(False, f"{ERROR_PREFIX}{error or type(error).__name__}")


def _run(tool: Tool, values: Mapping[str, Any]) -> Any:
    result = tool(**values)
    return asyncio.run(result) if inspect.iscoroutine(result) else result


def _result_text(value: Any) -> str:
    """A result as text: texts, numbers and lists of them by `plain`; other values, which only user's tools return, as JSON."""
    value = _as_json(value)
    items = value if isinstance(value, list) else [value]
    if all(isinstance(item, (str, int, float)) and not isinstance(item, bool) for item in items):
        return plain(value)
    return "done" if value is None else json.dumps(value, ensure_ascii=False, sort_keys=True)


def _as_json(value: Any) -> Any:
    """A value with JSON's types alone: what user's tools return can be anything."""
    if value is None or isinstance(value, (bool, str)) or type(value) in (int, float):
        return value
    if isinstance(value, Enum):
        return _as_json(value.value)
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    if is_dataclass(value) and not isinstance(value, type):
        return _as_json(asdict(value))
    if isinstance(value, Mapping):
        return {str(key): _as_json(item) for key, item in value.items()}
    if isinstance(value, (set, frozenset)):
        return sorted((_as_json(item) for item in value), key=str)
    if isinstance(value, (list, tuple)):
        return [_as_json(item) for item in value]
    if isinstance(value, Decimal):
        return float(value)
    if isinstance(value, (date, time)):
        return value.isoformat()
    if isinstance(value, bytes):
        return value.decode("utf-8", errors="replace")
    # numpy's numbers and arrays, and torch's, without importing either
    return _as_json(value.tolist()) if hasattr(value, "tolist") else str(value)


def _validated(tool: Tool, arguments: Mapping[str, Any], listed_names: Mapping[str, str]) -> tuple[dict[str, Any], str | None]:
    """Typed arguments by real name, and the first problem, which calls parameters by `listed_names` (listed by real name)."""
    try:
        # As JSON: a date or an Enum arrives as text. Strict: where the definition says number, the text "15" is wrong.
        model = _argument_model(tool).model_validate_json(json.dumps(dict(arguments)))
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        parameter, *rest = (str(part) for part in first["loc"])
        place = ".".join([listed_names.get(parameter, parameter), *rest])
        return {}, f"{place}: {first['msg'].removeprefix('Value error, ')}"
    return {key: getattr(model, key) for key in type(model).model_fields}, None


@functools.cache
def _argument_model(function: Tool) -> type[BaseModel]:
    hints = get_type_hints(function, include_extras=True)
    parameters = inspect.signature(function).parameters
    fields: dict[str, Any] = {
        name: (hints[name], ... if parameter.default is parameter.empty else parameter.default)
        for name, parameter in parameters.items()
    }
    return create_model(function.__name__, __config__=ConfigDict(extra="forbid", strict=True), **fields)


def _without_titles(schema: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in schema.items() if key != "title"}
