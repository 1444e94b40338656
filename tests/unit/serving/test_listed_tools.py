"""Clients' tools are listed as training lists them."""

import pytest

from aria_ray.serving.guard import Refused
from aria_ray.serving.listed_tools import with_plain_tools
from aria_ray.tools.json_schema import plain_schema

SCHEMA = {
    "type": "object",
    "properties": {"to": {"$ref": "#/$defs/To"}, "speed": {"oneOf": [{"const": "slow"}, {"const": "fast"}]}},
    "$defs": {"To": {"allOf": [{"type": "object", "properties": {"town": {"type": "string"}}}]}},
}


def body(parameters):
    return {
        "model": "m",
        "tools": [{"type": "function", "function": {"name": "ship", "strict": True, "parameters": parameters}}],
    }


def test_schemas_are_in_plain_form():
    given = body(SCHEMA)
    plain = with_plain_tools(given)
    assert plain == body(plain_schema(SCHEMA))
    assert "$ref" not in str(plain)
    assert "$ref" in str(given), "what the client sent is not changed"
    assert with_plain_tools(plain) == plain


@pytest.mark.parametrize(
    "given",
    [{}, {"tools": None}, {"tools": "x"}, {"tools": [3, {}, {"function": 3}, {"function": {"name": "a", "parameters": None}}]}],
)
def test_what_is_of_no_known_shape_is_left_to_vllm(given):
    assert with_plain_tools(given) == given


def test_a_schema_that_cannot_be_understood_is_refused_with_its_place():
    with pytest.raises(Refused) as caught:
        with_plain_tools(body({"properties": {"a": {"$ref": "#/nowhere"}}}))
    assert (caught.value.status, caught.value.param) == (400, "tools.0.function.parameters")
    assert "leads nowhere" in caught.value.message
