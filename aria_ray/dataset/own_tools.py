"""Tools of the user: a module of typed functions, which are run, or a JSON file of OpenAI definitions, which are simulated.

Their intents are composed from their schemas: what a tool does is its description, and each parameter is said by its name.
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

from aria_ray.dataset.slots import Slot
from aria_ray.dataset.templates import OWN_DOMAIN, CallTemplate, Category, Intent, ListedTool
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


def own_tools(source: str) -> dict[str, ListedTool]:
    """The tools of a module or a JSON file by real name, which for a function is `module:function`.

    Raises:
        DataError: there is no such module or file, it has no tools, or one of them cannot be understood.
    """
    tools = dict(_simulated(Path(source).expanduser()) if source.endswith(".json") else _functions(source))
    if not tools:
        raise DataError(f"dataset.tools {source} has no tools; give typed public functions, or OpenAI tool definitions")
    return tools


def tool_file(source: str) -> Path:
    """The file that a source of tools is read from.

    Raises:
        DataError: there is no such module or file.
    """
    if source.endswith(".json"):
        return Path(source).expanduser()
    try:
        spec = importlib.util.find_spec(source)
    except (ImportError, ValueError) as error:
        raise DataError(f"dataset.tools {source} is no module ({error}); give a module on the path, or a .json file") from None
    if spec is None or spec.origin is None:
        raise DataError(f"dataset.tools {source} is no module; give a module on the path, or a .json file")
    return Path(spec.origin)


def own_intents(tools: dict[str, ListedTool]) -> Iterator[tuple[Category, Intent]]:
    """What may be asked of each tool: as much as needed, more, too little, and without the tool being there."""
    for name, tool in tools.items():
        for fields in _intents(name, tool, alone=len(tools) == 1):
            intent = Intent(**fields, domain=OWN_DOMAIN)
            yield ("tool_errors" if intent.scenario == "error" else "reasoning"), intent


def _functions(module_name: str) -> Iterator[tuple[str, ListedTool]]:
    try:
        module: ModuleType = importlib.import_module(module_name)
    except (ImportError, SyntaxError) as error:
        raise DataError(
            f"dataset.tools {module_name} cannot be imported ({error}); give a module on the path, or a .json file"
        ) from None
    for name, function in inspect.getmembers(module, inspect.isfunction):
        if name.startswith("_") or function.__module__ != module.__name__:
            continue
        parameters = inspect.signature(function).parameters.values()
        untyped = [parameter.name for parameter in parameters if parameter.annotation is parameter.empty]
        if untyped or not inspect.getdoc(function):
            what = f"parameter {untyped[0]} has no type" if untyped else "there is no docstring"
            raise DataError(f"dataset.tools {module_name}.{name}: {what}; annotate every parameter and say what it does")
        yield f"{module_name}:{name}", ListedTool(tool_definition(function), OWN_DOMAIN)


def _simulated(path: Path) -> Iterator[tuple[str, ListedTool]]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(
            f"dataset.tools {path} cannot be read as JSON ({error}); give a list of OpenAI tool definitions"
        ) from None
    for index, item in enumerate(content if isinstance(content, list) else [content]):
        try:
            function = item["function"]
            parameters = function.get("parameters") or {"type": "object", "properties": {}}
            Draft202012Validator.check_schema(parameters)
            shown = {"name": str(function["name"]), "description": str(function["description"]), "parameters": parameters}
        except (KeyError, TypeError, SchemaError) as error:
            reason = f"{error.args[0]!r} is missing" if isinstance(error, KeyError) else str(error).splitlines()[0]
            raise DataError(f"dataset.tools {path}: tool {index + 1} is no OpenAI tool definition: {reason}") from None
        backend = Backend(kind="reference", prefix="REF")
        yield str(shown["name"]), ListedTool({"type": "function", "function": shown}, OWN_DOMAIN, backend)


def _intents(name: str, tool: ListedTool, alone: bool) -> Iterator[Fields]:
    function = tool.definition["function"]
    schema = function["parameters"]
    required = list(schema.get("required") or ())
    slots = {key: _slot(field, schema) for key, field in (schema.get("properties") or {}).items()}
    unknown = [key for key in required if slots.get(key) is None]
    if unknown:
        raise DataError(f"dataset.tools {name}: no value can be made up for {unknown[0]}; give it `examples` in the schema")
    known = {key: slot for key, slot in slots.items() if slot is not None}
    title = str(function["name"]).replace("_", " ")
    base = {"ask": title, "answer": "The result is {result}."}
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
    for key in required[: 1 if len(required) > 1 else 0]:
        rest = [other for other in required if other != key]
        words = key.replace("_", " ")
        yield {
            "name": f"own_{function['name']}_without_{key}",
            "scenario": "error",
            "error": "missing",
            "ask": title,
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
            "ask": title,
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
    """Values of a parameter by its schema; None where none can be made up."""
    if "$ref" in field:
        field = schema.get("$defs", {}).get(str(field["$ref"]).rsplit("/", 1)[-1], {})
    if "anyOf" in field:
        field = next((option for option in field["anyOf"] if option.get("type") != "null"), {})
    given = field.get("enum") or field.get("examples")
    if given:
        return Slot(choice=tuple(given))
    make = _SLOTS.get(str(field.get("type")))
    return make(field) if make is not None else None


def _number_slot(field: dict[str, Any]) -> Slot:
    low = field.get("minimum", field.get("exclusiveMinimum", DEFAULT_RANGE[0]))
    high = field.get("maximum", field.get("exclusiveMaximum", max(DEFAULT_RANGE[1], low + DEFAULT_RANGE[1])))
    if field["type"] == "number":
        return Slot(decimal=(float(low), float(high)), digits=1)
    return Slot(integer=(int(low) + ("exclusiveMinimum" in field), int(high) - ("exclusiveMaximum" in field)))


def _text_slot(field: dict[str, Any]) -> Slot | None:
    if "pattern" in field:
        return None
    match field.get("format"):
        case "date":
            return Slot.model_validate({"date": ("2026-01-01", "2027-12-31")})
        case "time":
            return Slot(time=(8, 20))
        case "email":
            return Slot(email="people")
    return Slot(words="plain", count=(1, 2))


def _list_slot(field: dict[str, Any]) -> Slot | None:
    match (field.get("items") or {}).get("type"):
        case "string":
            return Slot(sample="plain", count=(2, 3))
        case "integer" | "number":
            return Slot(integers=DEFAULT_RANGE, count=(3, 4))
    return None


_SLOTS: dict[str, Callable[[dict[str, Any]], Slot | None]] = {
    "integer": _number_slot,
    "number": _number_slot,
    "boolean": lambda _field: Slot(choice=(True, False)),
    "string": _text_slot,
    "array": _list_slot,
}
