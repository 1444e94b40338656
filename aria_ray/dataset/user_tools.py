"""The user's tools: a module of typed functions, which are run, or a JSON file of OpenAI definitions, which are simulated.

Their intents are composed from their definitions: the sentences use a tool's description and its parameters' names.
"""

import importlib
import importlib.util
import inspect
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

from jsonschema import Draft202012Validator, SchemaError
from pydantic import BaseModel, Field, PydanticUserError, ValidationError, field_validator

from aria_ray.dataset.slots import Slot
from aria_ray.dataset.templates import USER_DOMAIN, CallTemplate, Category, Intent, ListedTool
from aria_ray.errors import DataError
from aria_ray.tools import Backend, tool_definition

Fields = dict[str, Any]

_HIT = (
    "{Does}: {clauses}.",
    "Please do this for me: {does}, where {clauses}.",
    "I need the following, {does}. Here {clauses}.",
    "With {given}: {does}, please.",
    "Can you help? {Does}. We have {given}.",
)
_MISSING = (
    "{Does}, where {clauses}.",
    "I would like this: {does}. I know that {clauses}.",
    "Could you do it, {does}, if {clauses}?",
)
_UNAVAILABLE = (
    "Do this now: {does}, where {clauses}.",
    "Is there a way to have it, {does}, if {clauses}?",
    "It is about {given}. {Does}, please.",
)
DEFAULT_RANGE = (1, 100)
DEFAULT_ITEMS = (2, 3)
"""Fewest and most entries of a generated list."""
MAX_MAGNITUDE = 1e15
"""Largest generated number."""


def user_tools(source: str, named_by: str = "dataset.tools") -> dict[str, ListedTool]:
    """The tools of a module or a JSON file by real name, which is `module:function` for a function.

    `named_by` is what errors put before the source: the setting that names it.

    Raises:
        DataError: there is no such module or file, it has no tools, or one of them cannot be understood.
    """
    tools = dict(_simulated(Path(source).expanduser(), named_by) if source.endswith(".json") else _functions(source, named_by))
    if not tools:
        raise DataError(f"{named_by} {source} has no tools", "give typed public functions, or OpenAI tool definitions")
    return tools


def tool_file(source: str) -> Path:
    """The file behind a source of tools.

    Raises:
        DataError: there is no such module or file.
    """
    if source.endswith(".json"):
        return Path(source).expanduser()
    try:
        spec = importlib.util.find_spec(source)
    except Exception as error:  # noqa: BLE001  # looking a module up imports the packages that it is in
        raise DataError(
            f"dataset.tools {source} is no module ({error})", "give a module on the path, or a .json file"
        ) from None
    if spec is None or spec.origin is None:
        raise DataError(f"dataset.tools {source} is no module", "give a module on the path, or a .json file")
    return Path(spec.origin)


def user_intents(tools: dict[str, ListedTool]) -> Iterator[tuple[Category, Intent]]:
    """Intents for each tool: with the required values, with all, with one missing, and without the tool in the list."""
    for name, tool in tools.items():
        for fields in _intents(name, tool, alone=len(tools) == 1):
            intent = Intent(**fields, domain=USER_DOMAIN)
            yield ("tool_errors" if intent.scenario == "error" else "reasoning"), intent


def _functions(module_name: str, named_by: str) -> Iterator[tuple[str, ListedTool]]:
    try:
        module: ModuleType = importlib.import_module(module_name)
    except Exception as error:  # noqa: BLE001  # importing runs the user's code, which may fail in any way
        raise DataError(
            f"{named_by} {module_name} cannot be imported ({error!r})", "give a module on the path, or a .json file"
        ) from None
    for name, function in inspect.getmembers(module, inspect.isfunction):
        if name.startswith("_") or name != function.__name__ or function.__module__ != module.__name__:
            continue
        problem = _function_problem(function)
        if problem is not None:
            what, fix = problem
            raise DataError(f"{named_by} {module_name}.{name}: {what}", fix)
        try:
            yield f"{module_name}:{name}", ListedTool(tool_definition(function), USER_DOMAIN)
        except (NameError, PydanticUserError) as error:
            reason = str(error).splitlines()[0]
            raise DataError(
                f"{named_by} {module_name}.{name}: a type is not understood ({reason})", "use JSON's types"
            ) from None


def _function_problem(function: Any) -> tuple[str, str] | None:
    """Why a function cannot be a tool, and the way out; None if it can."""
    parameters = inspect.signature(function).parameters.values()
    if inspect.iscoroutinefunction(function):
        return "it is a coroutine", "give an ordinary function"
    if not inspect.getdoc(function):
        return "there is no docstring", "say what it does in its first line"
    for parameter in parameters:
        if parameter.annotation is parameter.empty:
            return f"parameter {parameter.name} has no type", "annotate every parameter"
        if parameter.kind not in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY) or parameter.name.startswith("_"):
            return f"parameter {parameter.name} cannot be given by name", "use ordinary parameters"
    return None


class _Function(BaseModel):
    """A checked OpenAI function definition."""

    name: str = Field(pattern=r"^[A-Za-z_][\w-]*$")
    description: str = Field(min_length=1)
    parameters: dict[str, Any] = Field(default_factory=lambda: {"type": "object", "properties": {}})

    @field_validator("parameters")
    @classmethod
    def _is_object(cls, parameters: dict[str, Any]) -> dict[str, Any]:
        whole = {"type": "object", "properties": {}, **parameters}
        try:
            Draft202012Validator.check_schema(whole)
        except SchemaError as error:
            raise ValueError(f"no JSON schema: {error.message}") from None
        odd = [key for key, field in whole["properties"].items() if not (key.isidentifier() and isinstance(field, dict))]
        if whole["type"] != "object" or odd:
            raise ValueError(f"parameters must be an object whose properties have plain names and schemas: {odd}")
        return whole


class _Definition(BaseModel):
    function: _Function


def _simulated(path: Path, named_by: str) -> Iterator[tuple[str, ListedTool]]:
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(
            f"{named_by} {path} cannot be read as JSON ({error})", "give a list of OpenAI tool definitions"
        ) from None
    names: set[str] = set()
    for index, item in enumerate(content if isinstance(content, list) else [content], start=1):
        try:
            function = _Definition.model_validate(item).function
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            where = ".".join(str(part) for part in first["loc"])
            raise DataError(
                f"{named_by} {path}: tool {index} is no OpenAI tool definition: {where}: {first['msg']}", "correct it there"
            ) from None
        if function.name in names:
            raise DataError(f"{named_by} {path}: tool {index}: there is a tool {function.name} already", "give it another name")
        names.add(function.name)
        backend = Backend(kind="reference", prefix="REF")
        yield function.name, ListedTool({"type": "function", "function": function.model_dump()}, USER_DOMAIN, backend)


def _intents(name: str, tool: ListedTool, alone: bool) -> Iterator[Fields]:
    function = tool.definition["function"]
    schema = function["parameters"]
    required = list(schema.get("required") or ())
    slots = {key: _slot(field, schema) for key, field in (schema.get("properties") or {}).items()}
    unknown = [key for key in required if slots.get(key) is None]
    if unknown:
        raise DataError(
            f"dataset.tools {name}: its schema is not enough to generate values for {unknown[0]}",
            "give it `examples` in the schema",
        )
    known = {key: slot for key, slot in slots.items() if slot is not None}
    title = str(function["name"]).replace("_", " ")
    base = {"ask": title, "answer": "The result is {result}."}
    # Names of intents are parts of row ids and of seeds: another word than "own" would change the datasets of user's tools.
    for suffix, names in (("", required), ("_more", list(known))):
        if suffix and len(names) == len(required):
            continue
        call = CallTemplate(tool=name, arguments={key: f"{{{key}}}" for key in names})
        yield {
            "name": f"own_{function['name']}{suffix}",
            "scenario": "hit",
            **base,
            "slots": {key: known[key] for key in names},
            "steps": ((call,),),
            "phrasings": _sentences(_HIT, function, names),
        }
    yield from _failing_intents(name, function, known, base, alone)


def _failing_intents(
    name: str, function: dict[str, Any], known: dict[str, Slot], base: Fields, alone: bool
) -> Iterator[Fields]:
    """Requests that lack a required value, and requests without the tool in the list."""
    required = list(function["parameters"].get("required") or ())
    for key in required[: 1 if len(required) > 1 else 0]:
        rest = [other for other in required if other != key]
        words = key.replace("_", " ")
        yield {
            "name": f"own_{function['name']}_without_{key}",
            "scenario": "error",
            "error": "missing",
            "ask": base["ask"],
            "reason": f"{words} is missing",
            "listed": (name,),
            "slots": {other: known[other] for other in rest},
            "answer": f"Which {words} should I use?",
            "contains": (f"which {words}",),
            "phrasings": _sentences(_MISSING, function, rest),
        }
    if not alone:
        yield {
            "name": f"no_own_{function['name']}",
            "scenario": "error",
            "error": "unavailable",
            "ask": base["ask"],
            "without": (name,),
            "slots": {key: known[key] for key in required},
            "answer": "No listed tool can do that.",
            "contains": ("no listed tool",),
            "phrasings": _sentences(_UNAVAILABLE, function, required),
        }


def _sentences(texts: tuple[str, ...], function: dict[str, Any], names: list[str]) -> tuple[str, ...]:
    does = str(function["description"]).split("\n", 1)[0].strip().rstrip(".").replace("{", "(").replace("}", ")")
    words = {
        "does": does[:1].lower() + does[1:],
        "Does": does[:1].upper() + does[1:],
        "clauses": " and ".join(f"{name.replace('_', ' ')} is {{{name}}}" for name in names) or "nothing else is given",
        "given": " and ".join(f"{name.replace('_', ' ')} {{{name}}}" for name in names) or "nothing else",
    }
    return tuple(text.format(**words) for text in texts)


def _slot(field: dict[str, Any], schema: dict[str, Any]) -> Slot | None:
    """A generator for a parameter's values by its schema; None if the schema is not enough to generate one."""
    if "$ref" in field and "examples" not in field:
        field = schema.get("$defs", {}).get(str(field["$ref"]).rsplit("/", 1)[-1], {})
    if "anyOf" in field:
        field = next((option for option in field["anyOf"] if option.get("type") != "null"), {})
    given = field.get("enum") or field.get("examples")
    if given:
        return Slot(choice=tuple(given))
    make = _SLOTS.get(str(field.get("type")))
    return make(field) if make is not None else None


def _number_slot(field: dict[str, Any]) -> Slot | None:
    low = field.get("minimum", field.get("exclusiveMinimum", DEFAULT_RANGE[0]))
    high = field.get("maximum", field.get("exclusiveMaximum", max(DEFAULT_RANGE[1], low + DEFAULT_RANGE[1])))
    if not low <= high <= MAX_MAGNITUDE or "multipleOf" in field:
        return None
    if field["type"] == "number":
        return Slot(decimal=(low + ("exclusiveMinimum" in field) / 10, high - ("exclusiveMaximum" in field) / 10), digits=1)
    return Slot(integer=(int(low) + ("exclusiveMinimum" in field), int(high) - ("exclusiveMaximum" in field)))


def _text_slot(field: dict[str, Any]) -> Slot | None:
    if {"pattern", "minLength", "maxLength"} & set(field):
        return None  # random words would seldom fit
    match field.get("format"):
        case "date":
            return Slot.model_validate({"date": ("2026-01-01", "2027-12-31")})
        case "time":
            return Slot(time=(8, 20))
        case "email":
            return Slot(email="people")
    return Slot(words="plain", count=(1, 2))


def _list_slot(field: dict[str, Any]) -> Slot | None:
    items = field.get("items")
    least, most = field.get("minItems", 0), field.get("maxItems", DEFAULT_ITEMS[1])
    if not isinstance(items, dict) or least > DEFAULT_ITEMS[0] or most < DEFAULT_ITEMS[0]:
        return None
    count = (DEFAULT_ITEMS[0], min(DEFAULT_ITEMS[1], most))
    match items.get("type"):
        case "string" if not {"enum", "pattern", "format", "minLength", "maxLength"} & set(items):
            return Slot(sample="plain", count=count)
        case "integer" | "number" if not {"minimum", "maximum", "enum", "multipleOf"} & set(items):
            return Slot(integers=DEFAULT_RANGE, count=count)
    return None


_SLOTS: dict[str, Callable[[dict[str, Any]], Slot | None]] = {
    "integer": _number_slot,
    "number": _number_slot,
    "boolean": lambda _field: Slot(choice=(True, False)),
    "string": _text_slot,
    "array": _list_slot,
}
