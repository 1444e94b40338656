"""The user's conversations, in OpenAI chat format, checked line by line and made into rows.

Their tools cannot be run here, so a row records the result of each call and its backend gives it again.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator
from referencing.exceptions import Unresolvable

from aria_ray.dataset.checks import shape_problems
from aria_ray.dataset.rows import USER_PREFIX, Row
from aria_ray.dataset.sampling import SPLIT_SHARES
from aria_ray.dataset.scenarios import FAILED, NOT_NEEDED, READY
from aria_ray.dataset.templates import stable_fraction
from aria_ray.errors import DataError
from aria_ray.grammar import Message, message_calls, thought_for_calls, thought_without_call
from aria_ray.tools import ERROR_PREFIX, canonical, schema_problem
from aria_ray.tools.json_schema import plain_schema

CORRECT = "correct that line or leave it out"


def read_source(source: str, number: int = 1) -> Iterator[Row]:
    """The rows of the source `FILE` or `FILE:SHARE`, with a JSON object of `messages` and `tools` on each line.

    `number` is part of the row ids and tells sources apart.

    Raises:
        DataError: the file or one of its lines is wrong; the message names file, line and rule.
    """
    path, share = path_and_share(source)
    try:
        with path.open(encoding="utf-8-sig") as lines:
            for line_number, line in enumerate(lines, start=1):
                row_id = f"{USER_PREFIX}{number}-{path.stem}/{line_number:06}"
                if line.strip() and stable_fraction(f"share:{row_id}") < share:
                    yield _checked_row(row_id, line, f"{path}:{line_number}")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"dataset.sources {path} cannot be read ({error})", "give a JSON Lines file in UTF-8") from None


def _checked_row(row_id: str, line: str, place: str) -> Row:
    try:
        row = _row(row_id, _Conversation.model_validate_json(line))
        json.dumps(row, ensure_ascii=False).encode()  # half a surrogate pair cannot be encoded
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        rule = first["msg"].removeprefix("Value error, ")
        raise DataError(f"{place}: {where}: {rule}" if where else f"{place}: {rule}", CORRECT) from None
    except (ValueError, RecursionError, Unresolvable) as error:
        raise DataError(f"{place}: {error}", CORRECT) from None
    problems = shape_problems(row)
    if problems:
        raise DataError(f"{place}: {problems[0]}", CORRECT)
    return row


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
        raise DataError(
            f"dataset.sources {source}: the share {share} must be above 0 and at most 1", "write 0.5 for half of its rows"
        )
    return Path(name).expanduser(), number


class _Part(BaseModel):
    """A part of a line; other keys (ids, names, scores) are ignored."""

    model_config = ConfigDict(extra="ignore", frozen=True)


class _Function(_Part):
    name: str = Field(pattern=r"^[^\s;,]+$")
    description: str = ""
    parameters: dict[str, Any] | None = Field(default=None, validate_default=True)

    @field_validator("parameters")
    @classmethod
    def _plain(cls, parameters: dict[str, Any] | None) -> dict[str, Any]:
        return plain_schema(parameters)  # the form in which the endpoint lists tools


class _Tool(_Part):
    function: _Function


class _CalledFunction(_Part):
    name: str
    arguments: str | dict[str, Any]


class _ToolCall(_Part):
    id: str
    function: _CalledFunction


class _Message(_Part):
    role: Literal["system", "user", "assistant", "tool"]
    content: str | None = None
    reasoning_content: str | None = None
    tool_calls: tuple[_ToolCall, ...] = ()
    tool_call_id: str | None = None


class _Conversation(_Part):
    messages: tuple[_Message, ...] = Field(min_length=2)
    tools: tuple[_Tool, ...] = ()


def _row(row_id: str, conversation: _Conversation) -> Row:
    tools = [{"type": "function", "function": tool.function.model_dump()} for tool in conversation.tools]
    by_name = {tool.function.name: definition for tool, definition in zip(conversation.tools, tools, strict=True)}
    if len(by_name) < len(tools):
        raise ValueError("two tools have the same name")
    messages = [_message(message) for message in conversation.messages]
    _check_order(messages)
    results = _results(messages, by_name)
    _add_thoughts(messages)
    failed = any(text.startswith(ERROR_PREFIX) for recorded in results.values() for text in recorded.values())
    num_calls = sum(len(message_calls(message)) for message in messages)
    scenario = "error" if failed else "miss" if not num_calls else "hit" if num_calls == 1 else "multi"
    return {
        "id": row_id,
        "template_id": row_id,
        "template_family": row_id,
        "augmentation": "none",
        "category": "tool_errors" if failed else "reasoning",
        "scenario": scenario,
        "difficulty": {"miss": 1, "hit": 2, "error": 3, "multi": 4}[scenario],
        "split": _split(messages),
        "tools": tools,
        "messages": messages,
        "answer_contains": [],
        "tool_names": json.dumps(_recorded_names(by_name, results), ensure_ascii=False),
    }


def _recorded_names(tools: Mapping[str, Any], results: Mapping[str, dict[str, str]]) -> dict[str, Any]:
    names = {}
    for name, tool in tools.items():
        listed = tool["function"]["parameters"]["properties"]
        used = {key for arguments in results.get(name, {}) for key in json.loads(arguments)}
        names[name] = {
            "tool": name,
            "parameters": {key: key for key in [*listed, *sorted(used - set(listed))]},
            "backend": {"kind": "recorded", "results": results.get(name, {})},
        }
    return names


def _split(messages: Sequence[Message]) -> str:
    """The split, by hash of the user's messages, so that the same request is never in two splits."""
    requests = "\n".join(message["content"] for message in messages if message["role"] == "user")
    draw = stable_fraction(f"split:{requests}")
    for split in ("train", "validation"):
        draw -= SPLIT_SHARES[split]
        if draw < 0:
            return split
    return "test"


def _message(message: _Message) -> Message:
    if message.role == "tool":
        return {"role": "tool", "tool_call_id": message.tool_call_id, "content": message.content or ""}
    if message.role != "assistant":
        if not (message.content or "").strip():
            raise ValueError(f"a {message.role} message must have content")
        return {"role": message.role, "content": message.content}
    kept: Message = {"role": "assistant", "reasoning_content": message.reasoning_content, "content": message.content or None}
    if message.tool_calls:
        kept["tool_calls"] = [_tool_call(call) for call in message.tool_calls]
    elif not message.content:
        raise ValueError("an assistant message must have content or tool_calls")
    return kept


def _tool_call(call: _ToolCall) -> dict[str, Any]:
    given = call.function.arguments
    arguments = json.loads(given, parse_constant=_no_constant) if isinstance(given, str) else given
    if not isinstance(arguments, dict):
        raise ValueError(f"arguments {given!r} of {call.function.name} must be a JSON object")
    text = json.dumps(arguments, ensure_ascii=False)
    return {"id": call.id, "type": "function", "function": {"name": call.function.name, "arguments": text}}


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is not JSON")


def _check_order(messages: Sequence[Message]) -> None:
    roles = [message["role"] for message in messages]
    if "user" not in roles or roles[-1] != "assistant" or messages[-1].get("tool_calls"):
        raise ValueError("a conversation must have a user message and end with an answer of the assistant")
    if "system" in roles[1:]:
        raise ValueError("a system message must come first")
    ids = [call["id"] for message in messages for call in message.get("tool_calls") or ()]
    if len(set(ids)) < len(ids):
        raise ValueError("an id of a tool call comes twice")
    waiting: list[str] = []
    for message in messages:
        waiting = _still_waiting(message, waiting)


def _still_waiting(message: Message, waiting: list[str]) -> list[str]:
    """Ids of the calls that lack a result after a message. Results must come before the next message of another role."""
    if message["role"] == "tool":
        if message["tool_call_id"] not in waiting:
            raise ValueError(f"the tool message for {message['tool_call_id']!r} follows no such call")
        return [call for call in waiting if call != message["tool_call_id"]]
    if waiting:
        raise ValueError(f"the call {waiting[0]} has no tool message with its result")
    return [call["id"] for call in message.get("tool_calls") or ()]


def _results(messages: Sequence[Message], tools: Mapping[str, Any]) -> dict[str, dict[str, str]]:
    """Recorded results by tool, then by canonical JSON of the arguments."""
    shown = {message["tool_call_id"]: message["content"] for message in messages if message["role"] == "tool"}
    results: dict[str, dict[str, str]] = {}
    for message in messages:
        for item, call in zip(message.get("tool_calls") or (), message_calls(message), strict=True):
            if call.name not in tools:
                raise ValueError(f"{call.name} is called but not among the tools {', '.join(tools) or '(none)'}")
            problem = schema_problem(tools[call.name], call.arguments)
            if problem is not None:
                raise ValueError(f"arguments of {call.name} do not fit its schema: {problem}")
            recorded = results.setdefault(call.name, {})
            if recorded.setdefault(canonical(call.arguments), shown[item["id"]]) != shown[item["id"]]:
                raise ValueError(f"{call.name} gives two results for the same arguments")
    return results


def _add_thoughts(messages: Sequence[Message]) -> None:
    """Add a thought, made from the call or its outcome, to every assistant turn without one."""
    called, failed = "question", False
    for message in messages:
        if message["role"] == "tool":
            failed = message["content"].startswith(ERROR_PREFIX)
        if message["role"] != "assistant":
            continue
        calls = message_calls(message)
        if calls:
            called = calls[0].name.replace("_", " ")
        if message["reasoning_content"]:
            continue  # `shape_problems` refuses a thought of another shape
        reason = NOT_NEEDED if called == "question" else FAILED if failed else READY
        thought = thought_for_calls(called, calls) if calls else thought_without_call(called, reason)
        message["reasoning_content"] = thought
