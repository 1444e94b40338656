"""Typed Python functions as tools: the model of their arguments, and the OpenAI definition."""

import functools
import inspect
import operator
import sys
import types
import typing
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints

import typing_extensions
from pydantic import BaseModel, ConfigDict, Field, create_model
from pydantic.fields import FieldInfo
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from aria_ray.grammar import ToolDefinition
from aria_ray.tools.docstrings import parameter_descriptions, summary

Function = Callable[..., Any]


def tool_definition(function: Function, name: str | None = None) -> ToolDefinition:
    """The OpenAI function definition of a typed function; `name` is the tool's, without it the function's.

    The tool's description is the first paragraph of the docstring, or the name in words. A parameter's description is that of
    its annotation (`Annotated[int, Field(description=...)]`), else the one in the docstring, in Google, NumPy or Sphinx style.

    Raises:
        NameError, TypeError, PydanticUserError: an annotation is not understood.
    """
    name = name or function.__name__
    schema = argument_model(function).model_json_schema(schema_generator=_Schemas)
    parameters = _without_titles(schema)
    docstring = inspect.getdoc(function) or ""
    described = parameter_descriptions(docstring)
    parameters["properties"] = {
        key: described.get(key, {}) | _without_titles(field) for key, field in schema.get("properties", {}).items()
    }
    parameters.pop("description", None)
    description = summary(docstring) or name.replace("_", " ").strip().capitalize() + "."
    return {"type": "function", "function": {"name": name, "description": description, "parameters": parameters}}


@functools.cache
def argument_model(function: Function) -> type[BaseModel]:
    """The model of a function's arguments, whose fields have the parameters' names as aliases.

    Raises:
        NameError, TypeError, PydanticUserError: an annotation is not understood.
    """
    hints = get_type_hints(function, include_extras=True)
    fields: dict[str, Any] = {}
    for index, (name, parameter) in enumerate(inspect.signature(function).parameters.items()):
        default = ... if parameter.default is parameter.empty else parameter.default
        # Under an alias any name will do: pydantic refuses some, such as `model_config`, and warns of others, such as `copy`.
        fields[f"parameter_{index}"] = (Annotated[_accepted(hints[name]), Field(alias=name)], default)
    return create_model(function.__name__, __config__=ConfigDict(extra="forbid", protected_namespaces=()), **fields)


def given_values(function: Function, model: BaseModel) -> dict[str, Any]:
    """The arguments of a validated model, by parameter: those that were given, and defaults that only pydantic knows.

    Other defaults are left to the function, which may compare them by identity.
    """
    parameters = inspect.signature(function).parameters
    return {
        str(field.alias): getattr(model, key)
        for key, field in type(model).model_fields.items()
        if key in model.model_fields_set or isinstance(parameters[str(field.alias)].default, FieldInfo)
    }


class _Schemas(GenerateJsonSchema):
    """Schemas that a short signature can show: a Decimal is a number, and defaults that are not JSON are left out."""

    ignored_warning_kinds: set[Any] = {"skipped-choice", "non-serializable-default"}  # noqa: RUF012  # pydantic's way

    def decimal_schema(self, schema: core_schema.DecimalSchema) -> JsonSchemaValue:
        bounds = {"ge": "minimum", "le": "maximum", "gt": "exclusiveMinimum", "lt": "exclusiveMaximum"}
        given: Mapping[str, Any] = schema
        return {"type": "number"} | {name: float(given[key]) for key, name in bounds.items() if given.get(key) is not None}


def _without_titles(schema: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in schema.items() if key != "title"}


def _accepted(hint: Any) -> Any:
    """A type that pydantic takes: before Python 3.12 it does not take `typing.TypedDict`, wherever in the type it is."""
    if sys.version_info >= (3, 12):
        return hint
    if typing.is_typeddict(hint):
        return _typed_dict(hint)
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is None or not arguments or origin in (typing.Literal, typing_extensions.Literal):
        return hint
    if origin is Annotated:
        return Annotated[_accepted(arguments[0]), *hint.__metadata__]
    changed = tuple(_accepted(argument) if not isinstance(argument, list) else argument for argument in arguments)
    if changed == arguments:
        return hint
    return functools.reduce(operator.or_, changed) if origin in (Union, types.UnionType) else origin[changed]


@functools.cache
def _typed_dict(hint: Any) -> Any:
    """The same type by `typing_extensions`. One that contains itself is a dict at the second time."""
    if hint in _UNDER_WAY:
        return dict[str, Any]
    _UNDER_WAY.append(hint)
    try:
        required = hint.__required_keys__
        fields = {
            key: (_accepted(field) if key in required else typing_extensions.NotRequired[_accepted(field)])
            for key, field in get_type_hints(hint, include_extras=True).items()
        }
    finally:
        _UNDER_WAY.remove(hint)
    made: Any = typing_extensions.TypedDict(hint.__name__, fields)  # type: ignore[misc]  # mypy knows only names in quotes
    made.__module__, made.__doc__ = hint.__module__, hint.__doc__
    return made


_UNDER_WAY: list[Any] = []
"""Typed dicts that are being made."""
