"""Tools of an OpenAPI 3 document: one for each operation, its path, query, header and body parameters in one object."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from aria_ray.errors import DataError
from aria_ray.tools.json_schema import Schema, plain_schema, target
from aria_ray.tools.sources import SIMULATED, SourcedTool

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
    wanted = set(only)
    for path, item in _items(document.get("paths"), f"{named}: paths"):
        try:
            shared = _resolved(item, document)
        except ValueError as error:
            raise DataError(f"{named}: {path}: {error}", "correct it there") from None
        for method in METHODS:
            operation = shared.get(method)
            if not isinstance(operation, Mapping):
                continue
            name = _name(operation, method, path)
            labels = (
                *map(str, operation.get("tags") or ()),
                str(operation.get("operationId") or ""),
                f"{method.upper()} {path}",
            )
            if wanted and not wanted & {name, *labels}:
                continue  # its schemas may be large, or even wrong
            try:
                function = _function(name, operation, shared.get("parameters") or (), document)
            except (ValueError, TypeError, AttributeError) as error:
                raise DataError(
                    f"{named}: {method.upper()} {path}: {error}", "correct it there, or choose with `only`"
                ) from None
            yield SourcedTool(name, {"type": "function", "function": function}, SIMULATED, (), labels)


def _name(operation: Document, method: str, path: str) -> str:
    given = operation.get("operationId") or f"{method}_{path.replace('{', 'by_').replace('}', '')}"
    return re.sub(r"_{2,}", "_", re.sub(r"[^A-Za-z0-9_-]", "_", str(given))).strip("_")[:MAX_NAME]


def _function(name: str, operation: Document, shared: Sequence[Any], document: Document) -> dict[str, Any]:
    properties: dict[str, Schema] = {}
    required: list[str] = []
    for parameter in _parameters([*shared, *(operation.get("parameters") or ())], document):
        key = str(parameter["name"])
        properties[key] = _with_description(_parameter_schema(parameter, document), parameter.get("description"))
        if parameter.get("required") or parameter.get("in") == "path":
            required.append(key)
    for key, field, is_required in _body(operation.get("requestBody"), document):
        free = key if key not in properties else f"body_{key}"
        properties[free] = field
        if is_required:
            required.append(free)
    said = operation.get("summary") or operation.get("description") or name.replace("_", " ").replace("-", " ")
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


def _items(value: Any, place: str) -> Iterator[tuple[str, Any]]:
    if not isinstance(value, Mapping):
        raise DataError(f"{place} is missing", "give a document with operations")
    yield from value.items()
