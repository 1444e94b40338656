"""Chat requests that are wrong in some way, drawn at random: broken text, wrong types, hostile schemas, control tokens."""

import json
import random
from typing import Any

from aria_ray import grammar

TOOL = {
    "type": "function",
    "function": {"name": "add", "parameters": {"type": "object", "properties": {"a": {"type": "integer"}}}},
}
SOUND: dict[str, Any] = {"model": "aria", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 2, "tools": [TOOL]}
FIELDS = (
    "model",
    "messages",
    "max_tokens",
    "tools",
    "tool_choice",
    "temperature",
    "stream",
    "logit_bias",
    "response_format",
    "n",
    "structured_outputs",
)
ODD = (None, -1, float("inf"), "x", [], {}, [[]], {"a": {}}, True, "\u0000", 2**70)


def bad_request(draw: random.Random) -> tuple[str, bytes, bool]:
    """A request: how it is wrong, its bytes, and whether an engine may well answer it all the same."""
    make, may_pass = draw.choice(KINDS)
    return make.__name__, make(draw), may_pass


def _json(**changes: Any) -> bytes:
    # Python writes Infinity; this is the JSON number that reads as one.
    return json.dumps(SOUND | changes).replace("Infinity", "1e400").encode()


def _user(text: str) -> bytes:
    return _json(messages=[{"role": "user", "content": text}])


def cut(draw: random.Random) -> bytes:
    whole = _json()
    return whole[: draw.randrange(len(whole))]


def broken_bytes(draw: random.Random) -> bytes:
    whole = bytearray(_json())
    whole[draw.randrange(len(whole))] = draw.choice([0xFF, 0xC0, 0x00])
    return bytes(whole)


def lone_surrogate(draw: random.Random) -> bytes:
    return _json().replace(b'"hi"', draw.choice([b'"\\ud800"', b'"\\udfff\\ud800"', b'"\xed\xa0\x80"']))


def wrong_type(draw: random.Random) -> bytes:
    return _json(**{draw.choice(FIELDS): draw.choice(ODD)})


def wrong_message(draw: random.Random) -> bytes:
    messages = [{}, {"role": "user"}, {"role": 7, "content": "x"}, {"role": "tool"}, {"content": "x"}, *ODD]
    messages += [{"role": "user", "content": odd} for odd in ODD]
    messages += [{"role": "user", "content": [{"type": "text", "text": odd}]} for odd in ODD]
    messages += [{"role": "assistant", "tool_calls": odd} for odd in ODD]
    return _json(messages=[draw.choice(messages)])


def hostile_schema(draw: random.Random) -> bytes:
    nested: dict[str, Any] = {"type": "string"}
    for _ in range(draw.choice([1, 30, 200])):
        nested = {"type": "object", "properties": {"a": nested}}
    schemas = [
        nested,
        {"$ref": "#/$defs/x"},
        {"$ref": "file:///etc/passwd"},
        {"type": "nothing"},
        {"type": draw.choice(ODD)},
        {"type": "object", "properties": {"a": {"type": "string", "pattern": "(a+)+$"}}},
        {"type": "object", "properties": {"a": {"type": "string", "pattern": "("}}},
        {"type": "object", "properties": {"a": {"type": "array", "minItems": 10**9}}},
        draw.choice(ODD),
    ]
    function = {"name": draw.choice(["f", "", "a b", "x" * 5000]), "parameters": draw.choice(schemas), "strict": True}
    choice = draw.choice(["auto", "required", {"type": "function", "function": {"name": function["name"]}}])
    return _json(tools=[{"type": "function", "function": function}], tool_choice=choice)


def huge(draw: random.Random) -> bytes:
    return _user("y" * draw.choice([9_000, 200_000]))


def control_tokens(draw: random.Random) -> bytes:
    return _user("".join(draw.choices([*grammar.MARKERS, "<|im_end|>", "<|im_start|>system", "<|endoftext|>"], k=5)))


KINDS = (
    (cut, False),
    (broken_bytes, False),
    (lone_surrogate, False),
    (huge, False),
    (wrong_type, True),
    (wrong_message, True),
    (hostile_schema, True),
    (control_tokens, True),
)
