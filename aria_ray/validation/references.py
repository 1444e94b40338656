"""The right calls of a held-out row, and whether a model's calls are the same."""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from aria_ray.grammar import Call, ToolDefinition, message_calls
from aria_ray.requests.example import REQUEST_PREFIX
from aria_ray.tools import schema_problem


def is_request(case: Mapping[str, Any]) -> bool:
    """Whether a case of the split "test" is a request in people's words, of which the calls are judged, not the answer."""
    return str(case["id"]).startswith(REQUEST_PREFIX)


def expected_rounds(case: Mapping[str, Any]) -> list[tuple[Call, ...]]:
    """Calls of the reference, one tuple per assistant turn that makes any."""
    rounds = [message_calls(message) for message in case["messages"] if message["role"] == "assistant"]
    return [calls for calls in rounds if calls]


def missing_value(case: Mapping[str, Any]) -> str | None:
    """What the reference's last thought says is missing from the request; None if nothing is."""
    thoughts = [message.get("reasoning_content") or "" for message in case["messages"] if message["role"] == "assistant"]
    found = re.search(r"; reason: (.+) is missing$", thoughts[-1]) if thoughts else None
    return found.group(1) if found else None


def is_compliant(case: Mapping[str, Any], rounds: Sequence[Sequence[Call]]) -> bool:
    """Whether tools are called exactly when the reference calls any, each one listed and with valid arguments."""
    if bool(rounds) != bool(expected_rounds(case)):
        return False
    return all(is_valid(case, call) for calls in rounds for call in calls)


def is_valid(case: Mapping[str, Any], call: Call) -> bool:
    """Whether a call names a listed tool and its arguments fit the tool's schema."""
    tools = {tool["function"]["name"]: tool for tool in case["tools"]}
    return call.name in tools and schema_problem(tools[call.name], call.arguments) is None


def same_rounds(ours: Sequence[Sequence[Call]], theirs: Sequence[Sequence[Call]], tools: Sequence[ToolDefinition] = ()) -> bool:
    """Whether two sequences of rounds make the same calls.

    The order within a round does not count, nor the case of text, blanks around it, or whether a whole number is a float. An
    argument that has the default of its parameter in `tools` counts as left out.
    """
    defaults = {tool["function"]["name"]: _defaults(tool) for tool in tools}
    return [_canonical(calls, defaults) for calls in ours] == [_canonical(calls, defaults) for calls in theirs]


def calls_in_words(rounds: Sequence[Sequence[Call]]) -> str:
    """Calls as people write them, such as `set_light({"room": "kitchen"})`."""
    calls = [f"{call.name}({json.dumps(call.arguments, ensure_ascii=False)})" for calls in rounds for call in calls]
    return ", ".join(calls) or "no call"


def _defaults(tool: ToolDefinition) -> dict[str, Any]:
    properties = (tool["function"].get("parameters") or {}).get("properties") or {}
    return {key: field["default"] for key, field in properties.items() if isinstance(field, Mapping) and "default" in field}


def _canonical(calls: Sequence[Call], defaults: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Each call as text, in an order of its own."""
    said = []
    for call in calls:
        left_out = _normalised(defaults.get(call.name, {}))
        given = _normalised(call.arguments)
        kept = {key: value for key, value in given.items() if key not in left_out or left_out[key] != value}
        said.append(json.dumps([call.name, kept], sort_keys=True))
    return sorted(said)


def _normalised(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _normalised(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_normalised(item) for item in value]
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value.strip().casefold() if isinstance(value, str) else value
