"""Schemas in plain form: nothing refers to anything, and what is allowed stays allowed."""

import json

import pytest
from jsonschema import Draft202012Validator

from aria_ray.tools.json_schema import MAX_DEPTH, plain_schema

ADDRESS = {"type": "object", "properties": {"town": {"type": "string"}}, "required": ["town"]}


def plain_field(field, **rest):
    return plain_schema({"type": "object", "properties": {"x": field}, **rest})["properties"]["x"]


@pytest.mark.parametrize(
    ("field", "expected"),
    [
        ({"$ref": "#/$defs/Address"}, ADDRESS),
        ({"$ref": "#/definitions/Address"}, ADDRESS),
        ({"$ref": "#/$defs/Address", "description": "where to"}, ADDRESS | {"description": "where to"}),
        ({"allOf": [{"$ref": "#/$defs/Address"}], "default": None}, ADDRESS | {"default": None}),
        ({"const": "fixed"}, {"enum": ["fixed"]}),
        ({"oneOf": [{"const": "a", "title": "A"}, {"const": "b"}]}, {"enum": ["a", "b"]}),
        ({"anyOf": [{"type": "integer", "minimum": 1}, {"type": "null"}]}, {"type": ["integer", "null"], "minimum": 1}),
        ({"type": "string", "enum": ["a"], "nullable": True}, {"type": ["string", "null"], "enum": ["a", None]}),
        ({"oneOf": [{"type": "string"}, {"type": "integer"}]}, {"anyOf": [{"type": "string"}, {"type": "integer"}]}),
        ({"anyOf": [{"type": "string"}]}, {"type": "string"}),
        ({"type": ["string"]}, {"type": "string"}),
        ({"type": "integer", "minimum": 0, "exclusiveMinimum": True}, {"type": "integer", "exclusiveMinimum": 0}),
        ({"type": "integer", "maximum": 9, "exclusiveMaximum": False}, {"type": "integer", "maximum": 9}),
        ({"type": "string", "example": "Rex"}, {"type": "string", "examples": ["Rex"]}),
        ({"type": "dict", "properties": {"a": {"type": "float"}}}, {"type": "object", "properties": {"a": {"type": "number"}}}),
        ({"type": "STRING"}, {"type": "string"}),
        ({"type": "any", "description": "d"}, {"description": "d"}),
        ({"type": "array", "items": {"$ref": "#/$defs/Address"}}, {"type": "array", "items": ADDRESS}),
        ({"type": "array", "items": [{"type": "int"}]}, {"type": "array", "prefixItems": [{"type": "integer"}]}),
        ({"additionalProperties": {"$ref": "#/$defs/Address"}}, {"additionalProperties": ADDRESS}),
        (
            {"type": "string", "title": "T", "pattern": "^a", "format": "date"},
            {"type": "string", "pattern": "^a", "format": "date"},
        ),
        (True, {}),
    ],
)
def test_the_plain_form(field, expected):
    assert plain_field(field, **{"$defs": {"Address": ADDRESS}, "definitions": {"Address": ADDRESS}}) == expected


def test_a_property_may_be_called_like_a_keyword():
    names = ("title", "example", "$defs", "nullable", "type", "required", "items", "X-Client-Id", "filter[status]")
    properties = {name: {"type": "string"} for name in names}
    assert plain_schema({"type": "object", "properties": properties})["properties"] == properties


def test_parts_that_all_apply_are_merged_and_the_stricter_counts():
    schema = {
        "allOf": [
            {"properties": {"n": {"type": "number", "minimum": 1, "description": "first"}}, "required": ["n"]},
            {
                "properties": {"n": {"type": "integer", "minimum": 3, "enum": [3, 4]}, "m": {"type": "string"}},
                "required": ["m"],
            },
        ],
        "properties": {"n": {"description": "last", "enum": [4, 5]}},
    }
    assert plain_schema(schema) == {
        "type": "object",
        "properties": {
            "n": {"type": "integer", "minimum": 3, "description": "last", "enum": [4]},
            "m": {"type": "string"},
        },
        "required": ["n", "m"],
    }


def test_recursion_is_cut_with_an_object():
    node = {
        "type": "object",
        "properties": {"v": {"type": "integer"}, "left": {"$ref": "#/$defs/N"}, "right": {"$ref": "#/$defs/N"}},
    }
    assert plain_field({"$ref": "#/$defs/N"}, **{"$defs": {"N": node}}) == {
        "type": "object",
        "properties": {"v": {"type": "integer"}, "left": {"type": "object"}, "right": {"type": "object"}},
    }
    itself = plain_schema({"properties": {"x": {"$ref": "#"}}})
    assert itself["properties"]["x"]["properties"]["x"] == {"type": "object"}


def test_nesting_has_an_end():
    deep = {"type": "string"}
    for _ in range(3 * MAX_DEPTH):
        deep = {"type": "object", "properties": {"x": deep}}
    assert len(json.dumps(plain_schema(deep))) < 100 * MAX_DEPTH


def test_required_names_that_are_no_property_are_left_out():
    assert plain_schema({"properties": {"a": {}}, "required": ["a", "b"]})["required"] == ["a"]


@pytest.mark.parametrize(
    "options",
    [
        [{"required": ["a"]}, {"required": ["b"]}],
        [{"required": ["a"], "properties": {"a": {"type": "string"}}}, {"required": ["b"]}],
    ],
)
def test_either_of_two_properties_leaves_both(options):
    schema = {"type": "object", "properties": {"a": {"type": "string"}, "b": {"type": "string"}}, "anyOf": options}
    assert set(plain_schema(schema)["properties"]) == {"a", "b"}


def test_no_parameters_are_an_empty_object():
    assert plain_schema(None) == plain_schema({}) == {"type": "object", "properties": {}}


@pytest.mark.parametrize(
    ("schema", "rule"),
    [
        ({"type": "array"}, "parameters must be of type object, not array"),
        ([], "parameters must be an object with properties"),
        ({"properties": {"a": {"type": "florp"}}}, "'florp' is no type; there are object"),
        ({"properties": {"a": {"$ref": "#/$defs/A"}}}, r"\$ref #/\$defs/A leads nowhere"),
        ({"properties": {"a": {"$ref": "https://a.example/b.json"}}}, "leads to another document"),
        ({"properties": {"a": 3}}, "no JSON Schema: 3"),
        ({"properties": []}, "properties .* must be"),
        ({"properties": {"a": {"minimum": "x"}}}, "no JSON Schema: minimum 'x'"),
        ({"properties": {"a": {"enum": 3}}}, "no JSON Schema: enum 3"),
        ({"properties": {"a": {}}, "required": [["a"]]}, "must be names"),
        ({"properties": {"a": {"pattern": 3}}}, "no JSON Schema: properties.a.pattern"),
    ],
)
def test_what_is_no_schema_of_parameters(schema, rule):
    with pytest.raises(ValueError, match=rule):
        plain_schema(schema)


SCHEMAS = [
    {
        "properties": {"a": {"$ref": "#/$defs/A"}},
        "required": ["a"],
        "$defs": {"A": {"oneOf": [{"const": 1}, {"type": "string"}]}},
    },
    {"properties": {"a": {"anyOf": [{"enum": ["x"], "type": "string"}, {"type": "null"}]}, "b": {"type": ["integer", "null"]}}},
    {"properties": {"a": {"allOf": [{"type": "integer", "minimum": 2}, {"maximum": 4}]}, "b": {"const": None}}},
]


@pytest.mark.parametrize("schema", SCHEMAS)
def test_what_is_allowed_stays_allowed(schema):
    plain = plain_schema(schema)
    assert plain_schema(plain) == plain
    before, after = Draft202012Validator(schema), Draft202012Validator(plain)
    for a in (None, 1, 2, 3, 5, "x", "y", True, [], {}):
        for arguments in ({}, {"a": a}, {"a": a, "b": None}, {"b": 3}):
            assert before.is_valid(arguments) == after.is_valid(arguments), arguments
