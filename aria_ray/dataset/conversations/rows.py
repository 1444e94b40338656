"""A conversation checked and made into a row.

The user's tools cannot be run here, so a row records the results of each call, and its backend gives them again in their order.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

from aria_ray.dataset.checks import shape_problems, thought_problems
from aria_ray.dataset.conversations.formats import Conversation
from aria_ray.dataset.rows import Row
from aria_ray.dataset.scenarios import FAILED, NOT_NEEDED, READY
from aria_ray.grammar import MARKERS, TURN_END, TURN_START, Message, message_calls, thought_for_calls, thought_without_call
from aria_ray.tools import ERROR_PREFIX, canonical, schema_problem

NOT_SHOWN = "done"
"""Result of the calls that a conversation ends with, for validation, where a model calls and gets a result."""


def row_of(row_id: str, conversation: Conversation) -> Row:
    """The row of a conversation, of the split `train`.

    Raises:
        ValueError: the conversation is wrong. The message begins with the rule, up to a colon.
    """
    tools = {tool["function"]["name"]: tool for tool in conversation.tools}
    messages = [dict(message) for message in conversation.messages]
    _check_turns(messages)
    for message in messages:
        if message.get("tool_calls"):
            message["tool_calls"] = [_checked_call(item, tools) for item in message["tool_calls"]]
    results = _results(messages)
    _add_thoughts(messages)
    failed = any(message["role"] == "tool" and message["content"].startswith(ERROR_PREFIX) for message in messages)
    num_calls = sum(len(message_calls(message)) for message in messages)
    scenario = "error" if failed else "miss" if not num_calls else "hit" if num_calls == 1 else "multi"
    row: Row = {
        "id": row_id,
        "template_id": row_id,
        "template_family": row_id,
        "augmentation": "none",
        "category": "tool_errors" if failed else "reasoning",
        "scenario": scenario,
        "difficulty": {"miss": 1, "hit": 2, "error": 3, "multi": 4}[scenario],
        "split": "train",
        "tools": conversation.tools,
        "messages": messages,
        "answer_contains": [],
        "tool_names": json.dumps(_recorded_names(tools, results), ensure_ascii=False),
    }
    _check_text(row)
    if problems := shape_problems(row):
        raise ValueError(problems[0])
    return row


def said(row: Row) -> str:
    """What the users of a row say, by which its split is drawn: the same words are never in two splits."""
    return "\n".join(message["content"] for message in row["messages"] if message["role"] == "user")


def content_hash(row: Row) -> str:
    """A hash that two rows share where they have the same tools and the same messages, thoughts apart."""
    messages = [{key: value for key, value in message.items() if key != "reasoning_content"} for message in row["messages"]]
    return hashlib.sha256(json.dumps([row["tools"], messages], sort_keys=True).encode()).hexdigest()


def _check_turns(messages: Sequence[Message]) -> None:
    roles = [message["role"] for message in messages]
    if "assistant" not in roles:
        raise ValueError("no answer: the assistant says nothing")
    if "user" not in roles[: len(roles) - roles[::-1].index("assistant")]:
        raise ValueError("no request: there is no user message before the assistant's last turn")
    if all(message.get("weight") == 0 for message in messages if message["role"] == "assistant"):
        raise ValueError("nothing to learn: every turn of the assistant has weight 0")


def _check_text(row: Row) -> None:
    try:
        json.dumps(row, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise ValueError("text is no valid Unicode: half of a character stands alone") from None
    for message in row["messages"]:
        found = [marker for marker in (*MARKERS, TURN_START, TURN_END) if marker in (message["content"] or "")]
        if message["role"] == "assistant" and found:
            raise ValueError(f"an answer has a control text of the chat format: {found[0]}")


def _checked_call(item: Mapping[str, Any], tools: Mapping[str, Any]) -> dict[str, Any]:
    function = item["function"]
    name = _listed_name(function["name"], tools)
    arguments = _without_nulls(json.loads(function["arguments"]), tools[name]["function"]["parameters"])
    problem = schema_problem(tools[name], arguments)
    if problem is not None:
        raise ValueError(f"arguments do not fit the tool's schema: {name}: {problem}")
    return {**item, "function": {"name": name, "arguments": json.dumps(arguments, ensure_ascii=False)}}


def _listed_name(name: str, tools: Mapping[str, Any]) -> str:
    """The name of a listed tool; `functions.` before it, which models write, is left out."""
    short = name.removeprefix("functions.")
    if name not in tools and short not in tools:
        listed = ", ".join(list(tools)[:8]) or "none"
        raise ValueError(f"a tool is called that is not listed: {name}; listed are {listed}")
    return name if name in tools else short


def _without_nulls(value: Any, schema: Mapping[str, Any]) -> Any:
    """Arguments without the nulls that Arrow fills in: those of keys that are not required, where the schema allows no null."""
    if isinstance(value, list):
        items = schema.get("items")
        return [_without_nulls(each, items) for each in value] if isinstance(items, Mapping) else value
    if not isinstance(value, Mapping):
        return value
    fields, required = schema.get("properties") or {}, schema.get("required") or ()
    kept = {}
    for key, each in value.items():
        field = fields.get(key)
        if each is None and key not in required and not _allows_null(field):
            continue
        kept[key] = _without_nulls(each, field) if isinstance(field, Mapping) else each
    return kept


def _allows_null(field: Any) -> bool:
    if not isinstance(field, Mapping):
        return False  # the parameter of another tool
    kinds = field.get("type")
    if kinds is not None:
        return kinds == "null" or "null" in kinds
    options = field.get("anyOf") or ()
    return None in field["enum"] if "enum" in field else any(_allows_null(option) for option in options)


def _results(messages: Sequence[Message]) -> dict[str, dict[str, list[str]]]:
    """Recorded results by tool, then by canonical JSON of the arguments, in the order of the calls."""
    shown = {message["tool_call_id"]: message["content"] for message in messages if message["role"] == "tool"}
    results: dict[str, dict[str, list[str]]] = {}
    for message in messages:
        for item, call in zip(message.get("tool_calls") or (), message_calls(message), strict=True):
            texts = results.setdefault(call.name, {}).setdefault(canonical(call.arguments), [])
            texts.append(shown.get(item["id"], texts[-1] if texts else NOT_SHOWN))
    return results


def _recorded_names(tools: Mapping[str, Any], results: Mapping[str, Mapping[str, list[str]]]) -> dict[str, Any]:
    names = {}
    for name, tool in tools.items():
        listed = tool["function"]["parameters"]["properties"]
        used = {key for arguments in results.get(name, {}) for key in json.loads(arguments)}
        recorded = {key: texts[0] if len(set(texts)) == 1 else texts for key, texts in results.get(name, {}).items()}
        names[name] = {
            "tool": name,
            "parameters": {key: key for key in [*listed, *sorted(used - set(listed))]},
            "backend": {"kind": "recorded", "results": recorded},
        }
    return names


def _add_thoughts(messages: Sequence[Message]) -> None:
    """Give every turn of the assistant a thought of the fixed shape, made from the call or its outcome.

    One that has the shape and fits the turn stays; a thought in free words is replaced.
    """
    called, failed = "question", False
    for message in messages:
        if message["role"] == "tool":
            failed = message["content"].startswith(ERROR_PREFIX)
        if message["role"] != "assistant":
            continue
        calls = message_calls(message)
        if calls:
            called = calls[0].name.replace("_", " ")
        if thought_problems(message):
            reason = NOT_NEEDED if called == "question" else FAILED if failed else READY
            thought = thought_for_calls(called, calls) if calls else thought_without_call(called, reason)
            message["reasoning_content"] = thought
