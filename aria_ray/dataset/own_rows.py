"""Conversations of the user, in OpenAI chat format, checked line by line and made into rows like ours.

Their tools cannot be run here: what a call gave is recorded with the row, and so can be given again.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator, SchemaError

from aria_ray.dataset.rows import OWN, SPLIT_SHARES, Row
from aria_ray.dataset.scenarios import FAILED, NOT_NEEDED, READY
from aria_ray.dataset.templates import stable_fraction
from aria_ray.errors import DataError
from aria_ray.grammar import Message, is_thought, message_calls, thought_for_calls, thought_without_call
from aria_ray.tools import ERROR_PREFIX, canonical, schema_problem

ROLES = ("system", "user", "assistant", "tool")


def read_source(source: str) -> Iterator[Row]:
    """The rows of `FILE` or `FILE:SHARE`: a JSON object with `messages` and `tools` on each line.

    Raises:
        DataError: the file or a line of it is wrong; names file, line and rule.
    """
    path, share = path_and_share(source)
    try:
        with path.open(encoding="utf-8") as lines:
            for number, line in enumerate(lines, start=1):
                row_id = f"{OWN}{path.stem}/{number:06}"
                if line.strip() and stable_fraction(f"share:{row_id}") < share:
                    try:
                        yield _row(row_id, json.loads(line))
                    except (ValueError, KeyError, TypeError) as error:
                        reason = f"{error.args[0]} is missing" if isinstance(error, KeyError) else " ".join(str(error).split())
                        raise DataError(f"{path}:{number}: {reason}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"dataset.sources {path} cannot be read ({error}); give a JSON Lines file in UTF-8") from None


def path_and_share(source: str) -> tuple[Path, float]:
    """The file of a source, and the share of its rows to take.

    Raises:
        DataError: the share is not above 0 and at most 1.
    """
    name, _, share = source.rpartition(":")
    if not name:
        return Path(source).expanduser(), 1.0
    try:
        number = float(share)
    except ValueError:
        return Path(source).expanduser(), 1.0
    if not 0 < number <= 1:
        raise DataError(f"dataset.sources {source}: the share {share} must be above 0 and at most 1")
    return Path(name).expanduser(), number


def _row(row_id: str, item: Any) -> Row:
    if not isinstance(item, dict) or not isinstance(item.get("messages"), list):
        raise ValueError("a line must be an object with a list `messages`")
    tools = [_definition(tool) for tool in item.get("tools") or ()]
    messages = [_message(message) for message in item["messages"]]
    _check_order(messages)
    results = _results(messages, {tool["function"]["name"]: tool for tool in tools})
    _add_thoughts(messages)
    failed = any(text.startswith(ERROR_PREFIX) for recorded in results.values() for text in recorded.values())
    num_calls = sum(len(message_calls(message)) for message in messages)
    scenario = "error" if failed else "miss" if not num_calls else "hit" if num_calls == 1 else "multi"
    names = {
        tool["function"]["name"]: {
            "tool": tool["function"]["name"],
            "parameters": {name: name for name in tool["function"]["parameters"].get("properties") or {}},
            "backend": {"kind": "recorded", "results": results.get(tool["function"]["name"], {})},
        }
        for tool in tools
    }
    return {
        "id": row_id,
        "template_id": row_id,
        "template_family": row_id,
        "augmentation": "none",
        "category": "tool_errors" if failed else "reasoning",
        "scenario": scenario,
        "difficulty": {"miss": 1, "hit": 2, "error": 3, "multi": 4}[scenario],
        "split": _split(row_id),
        "tools": tools,
        "messages": messages,
        "answer_contains": [],
        "tool_names": json.dumps(names, ensure_ascii=False),
    }


def _split(row_id: str) -> str:
    draw = stable_fraction(f"split:{row_id}")
    for split in ("train", "validation"):
        draw -= SPLIT_SHARES[split]
        if draw < 0:
            return split
    return "test"


def _definition(tool: Any) -> dict[str, Any]:
    function = tool["function"]
    parameters = function.get("parameters") or {"type": "object", "properties": {}}
    try:
        Draft202012Validator.check_schema(parameters)
    except SchemaError as error:
        raise ValueError(f"parameters of {function['name']} are no JSON schema: {error.message}") from None
    if not isinstance(function["name"], str):
        raise ValueError(f"the name of a tool must be text, not {function['name']!r}")
    return {
        "type": "function",
        "function": {"name": function["name"], "description": function.get("description") or "", "parameters": parameters},
    }


def _message(message: Any) -> Message:
    role = message["role"]
    if role not in ROLES:
        raise ValueError(f"role {role!r} must be one of {', '.join(ROLES)}")
    content = message.get("content")
    if content is not None and not isinstance(content, str):
        raise ValueError(f"content of a {role} message must be text, not {type(content).__name__}")
    kept: Message = {"role": role, "content": content if role == "assistant" else content or ""}
    if role == "tool":
        kept["tool_call_id"] = message["tool_call_id"]
    if role == "assistant":
        kept = {"role": role, "reasoning_content": message.get("reasoning_content"), "content": content}
        if message.get("tool_calls"):
            kept["tool_calls"] = [_tool_call(call) for call in message["tool_calls"]]
            kept["content"] = content or None
        elif not content:
            raise ValueError("an assistant message must have content or tool_calls")
    return kept


def _tool_call(call: Any) -> dict[str, Any]:
    function = call["function"]
    given = function["arguments"]
    arguments = json.loads(given) if isinstance(given, str) else given
    if not isinstance(arguments, dict):
        raise ValueError(f"arguments {given!r} of {function['name']} must be a JSON object")
    text = json.dumps(arguments, ensure_ascii=False)
    return {"id": call["id"], "type": "function", "function": {"name": function["name"], "arguments": text}}


def _check_order(messages: Sequence[Message]) -> None:
    roles = [message["role"] for message in messages]
    if "user" not in roles or roles[-1] != "assistant" or messages[-1].get("tool_calls"):
        raise ValueError("a conversation must have a user message and end with an answer of the assistant")
    if "system" in roles[1:]:
        raise ValueError("a system message must come first")


def _results(messages: Sequence[Message], tools: Mapping[str, Any]) -> dict[str, dict[str, str]]:
    """What each tool gave, by its arguments."""
    shown = {message["tool_call_id"]: message["content"] for message in messages if message["role"] == "tool"}
    results: dict[str, dict[str, str]] = {}
    for message in messages:
        for item, call in zip(message.get("tool_calls") or (), message_calls(message), strict=True):
            if call.name not in tools:
                raise ValueError(f"{call.name} is called but not among the tools {', '.join(tools) or '(none)'}")
            problem = schema_problem(tools[call.name], call.arguments)
            if problem is not None:
                raise ValueError(f"arguments of {call.name} do not fit its schema: {problem}")
            if item["id"] not in shown:
                raise ValueError(f"the call {item['id']} of {call.name} has no tool message with its result")
            recorded = results.setdefault(call.name, {})
            if recorded.setdefault(canonical(call.arguments), shown[item["id"]]) != shown[item["id"]]:
                raise ValueError(f"{call.name} gives two results for the same arguments")
    return results


def _add_thoughts(messages: Sequence[Message]) -> None:
    """Every assistant turn opens with a thought; one that lacks it, or has another shape, gets it from its own facts."""
    called, failed = "question", False
    for message in messages:
        if message["role"] == "tool":
            failed = message["content"].startswith(ERROR_PREFIX)
        if message["role"] != "assistant":
            continue
        calls = message_calls(message)
        if calls:
            called = calls[0].name.replace("_", " ")
        if is_thought(message["reasoning_content"]):
            continue
        reason = NOT_NEEDED if called == "question" else FAILED if failed else READY
        thought = thought_for_calls(called, calls) if calls else thought_without_call(called, reason)
        message["reasoning_content"] = thought
