"""JSON Schemas of tools in one plain form, which the tool list shows whole. Training and serving use the same code.

What a reference names is put in its place, `allOf` is merged, `oneOf` becomes `anyOf`, `const` an enum of one, a nullable type
a list of types. The older forms of OpenAPI 3.0 (`nullable`, bounds with true, `example`) and names of types that are not JSON's
("dict", "STRING") become those of JSON Schema 2020-12. What a schema allows stays the same, with three exceptions: recursion is
cut, `oneOf` loses that only one may fit, and required names that are no property are left out.
"""

from collections.abc import Callable, Mapping
from typing import Any

from jsonschema import Draft202012Validator, SchemaError

Schema = dict[str, Any]

MAX_DEPTH = 12
"""Deepest nesting that is kept, in schemas without recursion."""
_DROPPED = (
    "title",
    "$schema",
    "$id",
    "$comment",
    "$anchor",
    "$defs",
    "definitions",
    "nullable",
    "example",
    "xml",
    "discriminator",
)
_TYPES = {
    "dict": "object",
    "map": "object",
    "list": "array",
    "tuple": "array",
    "set": "array",
    "str": "string",
    "text": "string",
    "file": "string",
    "char": "string",
    "int": "integer",
    "long": "integer",
    "float": "number",
    "double": "number",
    "decimal": "number",
    "bool": "boolean",
    "none": "null",
    "nonetype": "null",
}
"""JSON's name of a type by other names that people write, in lower case."""
_SHAPES: dict[str, tuple[type, ...]] = {
    "properties": (Mapping,),
    "enum": (list,),
    "required": (list, bool),
    "allOf": (list,),
    "anyOf": (list,),
    "oneOf": (list,),
    "prefixItems": (list,),
    **dict.fromkeys(("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"), (int, float)),
    **dict.fromkeys(("minLength", "maxLength", "minItems", "maxItems"), (int, float)),
}
"""What the values of keys have to be for this module to work with them. The rest is checked at the end."""
_JSON_TYPES = ("object", "array", "string", "integer", "number", "boolean", "null")
_STRICTER: dict[str, Callable[[Any, Any], Any]] = {
    "minimum": max,
    "exclusiveMinimum": max,
    "minLength": max,
    "minItems": max,
    "maximum": min,
    "exclusiveMaximum": min,
    "maxLength": min,
    "maxItems": min,
}


def plain_schema(schema: Mapping[str, Any] | None, document: Mapping[str, Any] | None = None) -> Schema:
    """The parameters of a tool as an object schema in plain form, which no longer refers to anything.

    `document` is what references such as `#/components/schemas/Pet` lead into; without it they lead into the schema itself.
    A schema that is in plain form stays as it is.

    Raises:
        ValueError: the schema is no object's, it is no JSON Schema, or a reference leads nowhere.
    """
    if schema is not None and not isinstance(schema, Mapping):
        raise ValueError(f"parameters must be an object with properties, not {schema!r}")
    plain = _Plain(schema or {} if document is None else document).schema(schema or {})
    plain.setdefault("type", "object")
    if plain["type"] not in ("object", ["object"]):
        raise ValueError(f"parameters must be of type object, not {plain['type']}")
    plain["type"] = "object"
    plain.setdefault("properties", {})
    plain = _tidy(plain)
    try:
        Draft202012Validator.check_schema(plain)
    except SchemaError as error:
        place = ".".join(str(part) for part in error.path)
        raise ValueError(f"no JSON Schema: {f'{place}: ' if place else ''}{error.message}") from None
    return plain


class _Plain:
    """Brings the parts of one document into plain form."""

    def __init__(self, document: Mapping[str, Any]) -> None:
        self.document = document

    def schema(self, schema: Any, inside: tuple[str, ...] = (), depth: int = 0) -> Schema:
        """`inside` are the references that lead here, `depth` is the nesting."""
        if not isinstance(schema, Mapping):
            if isinstance(schema, bool):  # true and false are schemas too
                return {} if schema else {"enum": []}
            raise ValueError(f"no JSON Schema: {schema!r}")
        if depth > MAX_DEPTH:
            return {"type": "object"}
        _check_shapes(schema)
        if isinstance(schema.get("$ref"), str):
            return self._referred(schema, inside, depth)
        plain = _modern({key: value for key, value in schema.items() if key not in _PARTS})
        for key, part in _PARTS.items():
            if key in schema:
                part(self, plain, schema[key], inside, depth + 1)
        if schema.get("nullable") is True:
            plain = _nullable(plain)
        return _tidy(plain)

    def _referred(self, schema: Mapping[str, Any], inside: tuple[str, ...], depth: int) -> Schema:
        reference = schema["$ref"]
        rest = {key: value for key, value in schema.items() if key != "$ref"}
        found = target(reference, self.document)
        if reference in inside:
            kind = found.get("type") if isinstance(found, Mapping) else None
            named: Schema = {"type": kind if isinstance(kind, str) else "object"}
        else:
            named = self.schema(found, (*inside, reference), depth + 1)
        # What stands beside a reference is said of this place, so its description and default are the ones to show.
        return merged(named, self.schema(rest, inside, depth)) if rest else named

    def properties(self, plain: Schema, fields: Any, inside: tuple[str, ...], depth: int) -> None:
        plain["properties"] = {str(key): self.schema(field, inside, depth) for key, field in fields.items()}

    def items(self, plain: Schema, items: Any, inside: tuple[str, ...], depth: int) -> None:
        if isinstance(items, list):  # tuples of older drafts
            plain["prefixItems"] = [self.schema(item, inside, depth) for item in items]
        else:
            plain["items"] = items if isinstance(items, bool) else self.schema(items, inside, depth)

    def prefix_items(self, plain: Schema, items: Any, inside: tuple[str, ...], depth: int) -> None:
        plain["prefixItems"] = [self.schema(item, inside, depth) for item in items]

    def other_properties(self, plain: Schema, field: Any, inside: tuple[str, ...], depth: int) -> None:
        plain["additionalProperties"] = field if isinstance(field, bool) else self.schema(field, inside, depth)

    def options(self, plain: Schema, options: Any, inside: tuple[str, ...], depth: int) -> None:
        joined = _with_options(plain, [self.schema(option, inside, depth) for option in _list(options)])
        plain.clear()
        plain.update(joined)

    def all_of(self, plain: Schema, parts: Any, inside: tuple[str, ...], depth: int) -> None:
        joined: Schema = {}
        for part in _list(parts):
            joined = merged(joined, self.schema(part, inside, depth))
        joined = merged(joined, plain)
        plain.clear()
        plain.update(joined)


_PARTS: dict[str, Callable[[_Plain, Schema, Any, tuple[str, ...], int], None]] = {
    "properties": _Plain.properties,
    "items": _Plain.items,
    "prefixItems": _Plain.prefix_items,
    "additionalProperties": _Plain.other_properties,
    "anyOf": _Plain.options,
    "oneOf": _Plain.options,
    "allOf": _Plain.all_of,
}
"""What brings the value of a key into plain form. Other keys with schemas (`not`, `if`, `patternProperties`) are not shown."""


def merged(first: Mapping[str, Any], second: Mapping[str, Any]) -> Schema:
    """The schema that says what both say. Of words (description, default) the second's count."""
    both: Schema = dict(first)
    for key, value in second.items():
        if key not in both:
            both[key] = value
        elif key == "properties":
            names = [*both[key], *(name for name in value if name not in both[key])]
            both[key] = {name: merged(both[key].get(name, {}), value.get(name, {})) for name in names}
        elif key == "required":
            both[key] = list(dict.fromkeys([*both[key], *value]))
        elif key == "enum":
            both[key] = [item for item in both[key] if item in value]
        elif key == "type":
            both[key] = _common_type(both[key], value)
        elif key in _STRICTER:
            both[key] = _STRICTER[key](both[key], value)
        else:
            both[key] = value
    return both


def _check_shapes(schema: Mapping[str, Any]) -> None:
    for key, kinds in _SHAPES.items():
        if key in schema and not isinstance(schema[key], kinds):
            raise ValueError(f"no JSON Schema: {key} {schema[key]!r} must be {' or '.join(kind.__name__ for kind in kinds)}")
    if isinstance(schema.get("required"), list) and not all(isinstance(key, str) for key in schema["required"]):
        raise ValueError(f"no JSON Schema: required {schema['required']!r} must be names")


def _modern(schema: Schema) -> Schema:
    """A schema without its parts, its own keys in the form of JSON Schema 2020-12."""
    plain = {key: value for key, value in schema.items() if key not in _DROPPED and key != "type"} | _types(schema)
    if "const" in plain:
        plain["enum"] = [plain.pop("const")]
    if "example" in schema and "examples" not in plain:
        plain["examples"] = [schema["example"]]
    if isinstance(plain.get("examples"), Mapping):  # OpenAPI names them
        plain["examples"] = [item.get("value") if isinstance(item, Mapping) else item for item in plain["examples"].values()]
    for bound, exclusive in (("minimum", "exclusiveMinimum"), ("maximum", "exclusiveMaximum")):
        if isinstance(plain.get(exclusive), bool) and plain.pop(exclusive) and bound in plain:
            plain[exclusive] = plain.pop(bound)
    if isinstance(plain.get("required"), bool):  # draft 3, and hand-written lists of parameters
        del plain["required"]
    return plain


def _types(schema: Schema) -> Schema:
    """`type` under JSON's names; without it where any type will do."""
    kinds = [_TYPES.get(str(kind).lower(), str(kind).lower()) for kind in _list(schema.get("type", "any"))]
    if "any" in kinds:
        return {}
    unknown = [kind for kind in kinds if kind not in _JSON_TYPES]
    if unknown:
        raise ValueError(f"{unknown[0]!r} is no type; there are {', '.join(_JSON_TYPES)}")
    return {"type": kinds[0] if len(kinds) == 1 else list(dict.fromkeys(kinds))}


def _nullable(plain: Schema) -> Schema:
    kinds = _list(plain["type"]) if "type" in plain else []
    changed = dict(plain)
    if kinds and "null" not in kinds:
        changed["type"] = [*kinds, "null"]
    if "enum" in plain and None not in plain["enum"]:
        changed["enum"] = [*plain["enum"], None]
    return changed


def _with_options(plain: Schema, options: list[Schema]) -> Schema:
    """A schema with alternatives: one alone takes their place, constants become one enum, null one of the types."""
    distinct = [option for index, option in enumerate(options) if option not in options[:index]]
    others = [option for option in distinct if option != {"type": "null"} and option.get("enum") != [None]]
    if len(others) < len(distinct) and len(others) == 1 and ("type" in others[0] or "enum" in others[0]):
        return merged(_nullable(others[0]), plain)
    if len(distinct) == 1:
        return merged(distinct[0], plain)
    if distinct and all(set(option) <= {"enum", "type", "description"} and "enum" in option for option in distinct):
        values = [value for option in distinct for value in option["enum"]]
        kinds = list(dict.fromkeys(kind for option in distinct for kind in _list(option.get("type", []))))
        return merged({"enum": values} | ({"type": kinds[0] if len(kinds) == 1 else kinds} if kinds else {}), plain)
    if distinct and all(set(option) <= {"properties", "required"} and "properties" not in option for option in distinct):
        return dict(plain)  # "either of these must be given" is no other shape
    return plain | ({"anyOf": distinct} if distinct else {})


def _tidy(plain: Schema) -> Schema:
    if isinstance(plain.get("type"), list) and len(plain["type"]) == 1:
        plain["type"] = plain["type"][0]
    if isinstance(plain.get("required"), list) and "properties" in plain:
        # A name that is no property can never be given by a model that reads the list, and APIs ignore it.
        plain["required"] = [key for key in plain.pop("required") if key in plain["properties"]]
    if "properties" in plain:
        plain.setdefault("type", "object")
    return plain


def _common_type(first: Any, second: Any) -> Any:
    common = [kind for kind in _list(first) if kind in _list(second)]
    if not common and {*_list(first), *_list(second)} == {"integer", "number"}:
        common = ["integer"]
    return common[0] if len(common) == 1 else common or second


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def target(reference: str, document: Mapping[str, Any]) -> Any:
    """What a reference names. Raises ValueError where it leads out of the document, or nowhere."""
    place, _, pointer = reference.partition("#")
    if place:
        raise ValueError(f"$ref {reference} leads to another document; put what it names into this one")
    found: Any = document
    for part in pointer.split("/")[1:]:
        key = part.replace("%7B", "{").replace("%7D", "}").replace("~1", "/").replace("~0", "~")
        if isinstance(found, list) and key.isdecimal() and int(key) < len(found):
            found = found[int(key)]
        elif isinstance(found, Mapping) and key in found:
            found = found[key]
        else:
            raise ValueError(f"$ref {reference} leads nowhere")
    return found
