"""Calls of tools in the forms that files have them: OpenAI's old and new, Anthropic's, and several that are text."""

import ast
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from aria_ray.dataset.conversations.files import parse_json
from aria_ray.grammar import Call

_CALLS = re.compile(r"<tool_calls?>\s*(.*?)\s*(?:</tool_calls?>|\Z)", re.S)
_OLD_CALL = re.compile(r"<functioncall>\s*(.*?)\s*(?:</functioncall>|<\|endoftext\|>|\Z)", re.S)
_THOUGHT = re.compile(r"<(think|thinking|scratch_pad)>.*?</\1>\s*", re.S)
_LATE_THOUGHT = re.compile(r"\A.*?</think>\s*", re.S)
"""Of texts whose `<think>` was in the prompt."""
_RESPONSE = re.compile(r"<tool_response>\s*(.*?)\s*</tool_response>", re.S)


def arguments_of(given: Any, name: str) -> dict[str, Any]:
    """The arguments of a call, given as an object, as JSON, as JSON of JSON, as a Python literal, or not at all.

    Raises:
        ValueError: they are none of that.
    """
    value = given
    for _ in range(2):
        if isinstance(value, str):
            value = _loaded(value) if value.strip() else {}
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise ValueError(f"arguments are no JSON object: {given!r} of {name}")
    return dict(value)


def call_of(item: Any) -> Call:
    """A call in any of the known shapes.

    Raises:
        ValueError: it has no name, or its arguments are no object.
    """
    if isinstance(item, str):
        item = _loaded(item)
    function = item.get("function") if isinstance(item, Mapping) else None
    inner = function if isinstance(function, Mapping) else item
    if not isinstance(inner, Mapping):
        raise ValueError(f"a call has no name: {item!r}")
    name = inner.get("name") or inner.get("tool_name") or (function if isinstance(function, str) else None)
    if not isinstance(name, str) or not name.strip():
        raise ValueError(f"a call has no name: {item!r}")
    keys = ("arguments", "parameters", "input", "args", "kwargs")
    return Call(plain_name(name), arguments_of(next((inner[key] for key in keys if inner.get(key) is not None), None), name))


def calls_of(value: Any) -> Iterator[Call]:
    """The calls of a value that is one call, a list of calls, or the JSON of either.

    Raises:
        ValueError: one of them is no call.
    """
    if isinstance(value, str):
        value = _loaded(value)
    for item in value if isinstance(value, list | tuple) else [value]:
        yield call_of(item)


def calls_in_text(text: str) -> tuple[str, list[Call]]:
    """The text of an assistant without its thought and calls, and the calls that were in it.

    Raises:
        ValueError: what stands between the marks of a call is no call.
    """
    text = _THOUGHT.sub("", text)
    if "</think>" in text and "<think>" not in text:
        text = _LATE_THOUGHT.sub("", text)
    calls: list[Call] = []
    for start in ("<|python_tag|>", "[TOOL_CALLS]"):  # Llama 3.1, Mistral
        before, found_start, after = text.partition(start)
        if found_start:
            calls += [call for value in json_values(after.removesuffix("<|eom_id|>")) for call in calls_of(value)]
            text = before
    for pattern in (_CALLS, _OLD_CALL):
        for found in pattern.findall(text):
            calls += [call for value in json_values(found) for call in calls_of(value)]
        text = pattern.sub("", text)
    return text.strip(), calls


def results_in_text(text: str) -> list[str]:
    """The results of tools in a text, each between `<tool_response>` and its end; the whole text without such marks."""
    found = _RESPONSE.findall(text)
    return [_inner_result(each) for each in found] if found else [text]


def _inner_result(text: str) -> str:
    """Hermes puts `{"name": ..., "content": ...}` around a result."""
    try:
        value = json.loads(text)
    except ValueError:
        return text
    if isinstance(value, Mapping) and "content" in value and set(value) <= {"name", "content", "tool_call_id"}:
        content = value["content"]
        return content if isinstance(content, str) else json.dumps(content, ensure_ascii=False)
    return text


def json_values(text: str) -> list[Any]:
    """The JSON values that stand one after the other in a text, with blanks and commas between.

    Raises:
        ValueError: there is something else in it.
    """
    values: list[Any] = []
    decoder, rest = json.JSONDecoder(), text.strip()
    while rest:
        try:
            value, end = decoder.raw_decode(rest)
        except ValueError:
            return [*values, _loaded(rest)]
        values.append(value)
        rest = rest[end:].lstrip(" \t\r\n,;")
    return values


def plain_name(name: str) -> str:
    """The name of a function without what no name may have here: blanks, commas and semicolons become underscores."""
    return re.sub(r"[\s;,]+", "_", name.strip())


def _loaded(text: str) -> Any:
    """The value of a text that is JSON, JSON with JSON in single quotes, or a Python literal."""
    try:
        return parse_json(text)
    except ValueError as error:
        # Glaive writes {"name": "f", "arguments": '{"a": 1}'}.
        unquoted = re.sub(r"'(\{.*\})'", lambda found: json.dumps(found[1]), text, flags=re.S)
        for read, attempt in ((parse_json, unquoted), (ast.literal_eval, text)):
            try:
                return read(attempt)
            except (ValueError, SyntaxError, MemoryError, RecursionError):
                continue
        raise ValueError(f"not JSON: {text[:80]!r} ({error})") from None
