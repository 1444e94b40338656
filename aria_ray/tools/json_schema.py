"""JSON Schemas of tools in one plain form, which the tool list shows whole.

References are put in place of what they name, `allOf` is merged, `const` is an enum of one, a nullable type stays optional.
What a schema allows does not change, but for recursion, which is cut.
"""

from collections.abc import Mapping
from typing import Any

Schema = dict[str, Any]

MAX_DEPTH = 8
"""Deepest nesting that is kept. A reference to itself ends there as an object of any kind."""
_DROPPED = ("title", "$schema", "$id", "$comment", "$defs", "definitions")


def plain_schema(schema: Mapping[str, Any] | None) -> Schema:
    """The parameters of a tool as an object schema in plain form.

    Raises:
        ValueError: the schema is no object's, or a reference leads nowhere.
    """
    whole = dict(schema or {})
    plain = _plain(whole, whole, 0)
    plain.setdefault("type", "object")
    if plain["type"] != "object":
        raise ValueError(f"parameters must be an object, not {plain['type']}")
    plain.setdefault("properties", {})
    return plain


def _plain(schema: Any, whole: Schema, depth: int) -> Schema:
    if not isinstance(schema, Mapping):  # true and false are schemas too
        return {}
    if depth > MAX_DEPTH:
        return {"type": "object"} if "$ref" in schema else {key: schema[key] for key in ("type", "enum") if key in schema}
    if "$ref" in schema:
        rest = {key: value for key, value in schema.items() if key != "$ref"}
        return _merged([_plain(_named(str(schema["$ref"]), whole), whole, depth + 1), _plain(rest, whole, depth + 1)])
    plain: Schema = {key: value for key, value in schema.items() if key not in _DROPPED and key not in _NESTED}
    if "const" in plain:
        plain["enum"] = [plain.pop("const")]
    if "properties" in schema:
        plain["properties"] = {key: _plain(field, whole, depth + 1) for key, field in schema["properties"].items()}
    if isinstance(schema.get("items"), Mapping):
        plain["items"] = _plain(schema["items"], whole, depth + 1)
    if isinstance(schema.get("additionalProperties"), Mapping):
        plain["additionalProperties"] = _plain(schema["additionalProperties"], whole, depth + 1)
    elif "additionalProperties" in schema:
        plain["additionalProperties"] = schema["additionalProperties"]
    options = schema.get("anyOf") or schema.get("oneOf")
    if options:
        plain = _with_options(plain, [_plain(option, whole, depth + 1) for option in options])
    if schema.get("allOf"):
        plain = _merged([plain, *(_plain(part, whole, depth + 1) for part in schema["allOf"])])
    if isinstance(plain.get("type"), list) and len(plain["type"]) == 1:
        plain["type"] = plain["type"][0]
    if isinstance(plain.get("required"), list) and "properties" in plain:
        plain["required"] = [key for key in plain["required"] if key in plain["properties"]]
    return plain


_NESTED = ("properties", "items", "additionalProperties", "anyOf", "oneOf", "allOf")


def _with_options(plain: Schema, options: list[Schema]) -> Schema:
    """A schema with its alternatives: one alone takes their place, several constants become one enum."""
    distinct = [option for index, option in enumerate(options) if option not in options[:index]]
    if len(distinct) == 1:
        return _merged([distinct[0], plain])
    if all(set(option) <= {"enum", "type", "description"} and "enum" in option for option in distinct):
        return _merged([plain, {"enum": [value for option in distinct for value in option["enum"]]}])
    return {**plain, "anyOf": distinct}


def _merged(parts: list[Schema]) -> Schema:
    """The schema that all parts together say; of a key that two of them have, the later one counts."""
    merged: Schema = {}
    for part in parts:
        for key, value in part.items():
            if key == "properties":
                merged["properties"] = {**merged.get("properties", {}), **value}
            elif key == "required":
                merged["required"] = list(dict.fromkeys([*merged.get("required", ()), *value]))
            else:
                merged[key] = value
    return merged


def _named(reference: str, whole: Schema) -> Any:
    found: Any = whole
    for part in reference.removeprefix("#").strip("/").split("/"):
        if not part:
            continue
        key = part.replace("~1", "/").replace("~0", "~")
        if not isinstance(found, Mapping) or key not in found:
            raise ValueError(f"{reference} leads nowhere")
        found = found[key]
    return found
