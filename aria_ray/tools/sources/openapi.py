"""Tools of an OpenAPI 3 document: one for each operation, its path, query, header and body parameters in one object."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from aria_ray.errors import DataError
from aria_ray.tools.json_schema import Schema, plain_schema, target
from aria_ray.tools.sources import SIMULATED, SourcedTool, check_only

METHODS = ("get", "put", "post", "delete", "patch", "head", "options", "trace")
IGNORED_HEADERS = ("accept", "content-type", "authorization")
"""Headers that OpenAPI says are no parameters."""
MAX_NAME = 64
"""Longest name of a function that OpenAI's API takes."""

Document = Mapping[str, Any]


def is_openapi(content: Any) -> bool:
    """Whether what a file holds is an OpenAPI document."""
    return isinstance(content, Mapping) and ("openapi" in content or "swagger" in content)


def read_operations(document: Document, named: str, only: Sequence[str] = ()) -> Iterator[SourcedTool]:
    """The operations of a document, which are simulated; with `only`, those with such a tag, operationId or name.

    Raises:
        DataError: the document is no OpenAPI 3, or an operation of it cannot be understood.
    """
    if not str(document.get("openapi", "")).startswith("3"):
        version = document.get("openapi") or document.get("swagger")
        raise DataError(f"{named} is OpenAPI {version}", "convert it to OpenAPI 3")
    operations = list(_operations(document, named))
    check_only(only, [label for each in operations for label in (each.name, *each.labels)], named)
    wanted = set(only)
    for each in operations:
        if wanted and not wanted & {each.name, *each.labels}:
            continue  # its schemas may be large, or even wrong
        try:
            function = _function(each, document)
        except (ValueError, TypeError, AttributeError) as error:
            raise DataError(f"{named}: {each.labels[0]}: {error}", "correct it there, or choose with `only`") from None
        yield SourcedTool(each.name, {"type": "function", "function": function}, SIMULATED, (), each.labels)


@dataclass(frozen=True)
class _Operation:
    """One operation, as the document has it."""

    name: str
    labels: tuple[str, ...]
    """Method and path, operationId and tags."""
    content: Document
    shared: Sequence[Any]
    """Parameters of its path."""


def _operations(document: Document, named: str) -> Iterator[_Operation]:
    paths = document.get("paths")
    if not isinstance(paths, Mapping):
        raise DataError(f"{named} has no paths", "give a document with operations")
    for path, item in paths.items():
        try:
            shared = _resolved(item, document)
        except ValueError as error:
            raise DataError(f"{named}: {path}: {error}", "correct it there") from None
        for method in METHODS:
            content = shared.get(method)
            if isinstance(content, Mapping):
                labels = (
                    f"{method.upper()} {path}",
                    str(content.get("operationId") or ""),
                    *map(str, content.get("tags") or ()),
                )
                yield _Operation(_name(content, method, path), labels, content, shared.get("parameters") or ())


def _name(operation: Document, method: str, path: str) -> str:
    given = operation.get("operationId") or f"{method}_{path.replace('{', 'by_').replace('}', '')}"
    return re.sub(r"_{2,}", "_", re.sub(r"[^A-Za-z0-9_-]", "_", str(given))).strip("_")[:MAX_NAME]


def _function(operation: _Operation, document: Document) -> dict[str, Any]:
    given, name = operation.content, operation.name
    properties: dict[str, Schema] = {}
    required: list[str] = []
    for parameter in _parameters([*operation.shared, *(given.get("parameters") or ())], document):
        key = str(parameter["name"])
        properties[key] = _with_description(_parameter_schema(parameter, document), parameter.get("description"))
        if parameter.get("required") or parameter.get("in") == "path":
            required.append(key)
    for key, field, is_required in _body(given.get("requestBody"), document):
        if key in properties and properties[key].get("type") == field.get("type"):
            continue  # the body repeats it
        free = key if key not in properties else f"body_{key}"
        properties[free] = field
        if is_required:
            required.append(free)
    said = given.get("summary") or given.get("description") or name.replace("_", " ").replace("-", " ")
    parameters = plain_schema({"type": "object", "properties": properties, "required": required})
    return {"name": name, "description": str(said).strip(), "parameters": parameters}


def _parameters(given: Sequence[Any], document: Document) -> list[Document]:
    """The parameters of an operation; its own take the place of those of the path."""
    by_place: dict[tuple[str, str], Document] = {}
    for each in given:
        parameter = _resolved(each, document)
        name, place = str(parameter.get("name")), str(parameter.get("in"))
        if "name" not in parameter:
            raise ValueError(f"parameter {dict(parameter)} has no name")
        if place != "cookie" and not (place == "header" and name.lower() in IGNORED_HEADERS):
            by_place[place, name] = parameter
    return list({str(parameter["name"]): parameter for parameter in by_place.values()}.values())


def _parameter_schema(parameter: Document, document: Document) -> Schema:
    schema = parameter.get("schema")
    if schema is None:
        schema = next((_resolved(each, document).get("schema") for each in (parameter.get("content") or {}).values()), None)
    return _part(schema if schema is not None else {}, document)


def _body(given: Any, document: Document) -> Iterator[tuple[str, Schema, bool]]:
    """(name, schema, whether required) of what the body holds: the fields of an object, else the body as a whole."""
    if not given:
        return
    body = _resolved(given, document)
    content = body.get("content") or {}
    kinds = sorted(content, key=lambda kind: ("json" not in kind, "form" not in kind))
    if not kinds:
        return
    schema = _part(content[kinds[0]].get("schema") or {}, document)
    fields = {key: field for key, field in schema.get("properties", {}).items() if not field.get("readOnly")}
    if not fields:
        if schema:
            yield "body", _with_description(schema, body.get("description")), bool(body.get("required"))
        return
    for key, field in fields.items():
        yield key, field, key in schema.get("required", ())


def _part(schema: Any, document: Document) -> Schema:
    """A schema inside the document in plain form."""
    whole: Schema = plain_schema({"type": "object", "properties": {"part": schema}}, document)["properties"]["part"]
    return whole


def _with_description(schema: Schema, description: Any) -> Schema:
    return schema | ({"description": " ".join(str(description).split())} if description else {})


def _resolved(item: Any, document: Document) -> Document:
    """An item, or what it refers to. Raises ValueError where that is no object."""
    for _ in range(10):  # a reference to a reference
        if not isinstance(item, Mapping):
            raise ValueError(f"{item!r} must be an object")
        if not isinstance(item.get("$ref"), str):
            return item
        item = target(item["$ref"], document)
    raise ValueError("a reference leads to itself")
