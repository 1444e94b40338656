"""Conversations of any of the known formats as OpenAI chat: messages and tools.

Known are OpenAI (chat, fine-tuning, the older `functions`), TRL, ShareGPT with Hermes' tools in the system text, xLAM,
ms-swift, Anthropic, and questions with one answer (`prompt` and `completion`, `instruction` and `output`).
"""

import functools
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from aria_ray.dataset.conversations.calls import calls_of, json_values, plain_name
from aria_ray.dataset.conversations.turns import chat_messages
from aria_ray.grammar import Message, ToolDefinition
from aria_ray.tools.sources.definitions import definition

MESSAGES = ("messages", "conversations", "conversation", "dialogue", "dialog", "chat", "turns")
TOOLS = ("tools", "functions", "available_tools", "tool_definitions")
REQUESTS = ("query", "question", "instruction", "prompt")
ANSWERS = ("answers", "tool_calls", "calls")
TEXTS = ("completion", "response", "output", "chosen")
_TOOLS_TEXT = re.compile(r"<tools>\s*(.*?)\s*</tools>", re.S)
_HOW_TO_CALL = re.compile(r"</?tools?\b|tool_call|function|signature|pydantic|schema|\bJSON\b|XML|# Tools|\buse them\b", re.I)
"""Words of sentences that say how to call: how our model calls is not said in words."""
_PYTHON_TYPES = {"str": "string", "int": "integer", "float": "number", "bool": "boolean", "dict": "object"}


@dataclass(frozen=True)
class Conversation:
    """A conversation in OpenAI's form, and the name of the format that it was in."""

    format: str
    messages: list[Message]
    tools: list[ToolDefinition]


def conversation_of(record: Any) -> Conversation:
    """A record of a file as a conversation.

    Raises:
        ValueError: it is in no known format, or a message, a call or a tool in it is wrong. The message begins with the rule,
            up to a colon.
    """
    if isinstance(record, list):
        record = {"messages": record}
    if not isinstance(record, Mapping):
        raise ValueError(f"no conversation: {record!r} is no object")
    record = {key: value for key, value in record.items() if value is not None}
    for key in ("request", "body", "input"):  # a stored request, in a batch file or beside its preferred answer
        if isinstance(record.get(key), Mapping) and "messages" in record[key]:
            record = {**record, **{name: value for name, value in record[key].items() if value is not None}}
    items = _messages(record)
    given = next((_value(record[key]) for key in TOOLS if record.get(key)), None)
    tools, told = _given_tools(given), None
    if not tools and isinstance(items[0], Mapping):
        tools, told = _tools_in_text(items[0])
    if told is not None:
        items = [*([{"role": "system", "content": told}] if told else []), *items[1:]]
    return Conversation(_format(record, items, told), chat_messages(items), tools)


def _format(record: Mapping[str, Any], items: list[Any], told: str | None) -> str:
    """The name of the format that a record is in, to tell the user."""
    roles = {str(item.get("role", item.get("from"))) for item in items if isinstance(item, Mapping)}
    kinds = {str(part.get("type")) for item in items for part in _content_parts(item)}
    if any(key in record for key in REQUESTS) and not any(key in record for key in MESSAGES):
        return "xLAM (query, tools, answers)" if any(key in record for key in ANSWERS) else "prompt and answer"
    if any(isinstance(item, Mapping) and "from" in item for item in items):
        return "ShareGPT" + (" with Hermes' tools in the system text" if told is not None else "")
    if roles & {"tool_call", "tool_response"}:
        return "ms-swift"
    if kinds & {"tool_use", "tool_result"}:
        return "Anthropic"
    if "functions" in record or any(isinstance(item, Mapping) and item.get("function_call") for item in items):
        return "OpenAI chat with the older functions"
    return "OpenAI chat"


def _content_parts(item: Any) -> Iterator[Mapping[str, Any]]:
    content = item.get("content") if isinstance(item, Mapping) else None
    yield from (part for part in (content if isinstance(content, list) else ()) if isinstance(part, Mapping))


def _messages(record: Mapping[str, Any]) -> list[Any]:
    for key in MESSAGES:
        value = _value(record.get(key))
        if isinstance(value, list) and value:
            system = record.get("system")
            more = [_value(record[each]) for each in ("preferred_output", "completion") if record.get(each)]
            items = [*value, *(message for messages in more if isinstance(messages, list) for message in messages)]
            return [{"role": "system", "content": system}, *items] if isinstance(system, str) and system.strip() else items
    asked = next((_value(record[key]) for key in REQUESTS if record.get(key)), None)
    answers = next((record[key] for key in ANSWERS if record.get(key)), None)
    said = next((_value(record[key]) for key in TEXTS if record.get(key)), None)
    if asked is None:
        raise ValueError(f"no conversation: none of the keys {', '.join(MESSAGES[:3])}, {REQUESTS[0]} has one")
    start = asked if isinstance(asked, list) else [{"role": "user", "content": _asked(record, str(asked))}]
    if isinstance(record.get("system"), str) and record["system"].strip():
        start = [{"role": "system", "content": record["system"]}, *start]
    if answers is not None:
        calls = [{"name": call.name, "arguments": dict(call.arguments)} for call in calls_of(answers)]
        if calls:
            return [*start, {"role": "assistant", "tool_calls": calls}]
    if said is None:
        raise ValueError("no answer: there is a request, and neither a call nor a text that answers it")
    return [*start, *(said if isinstance(said, list) else [{"role": "assistant", "content": said}])]


def _asked(record: Mapping[str, Any], text: str) -> str:
    """The request, with what it is about below it where a record has an `input` of its own."""
    about = record.get("input")
    return f"{text}\n\n{about}" if isinstance(about, str) and about.strip() else text


def _value(value: Any) -> Any:
    """A value that may be JSON in a text."""
    if isinstance(value, str) and value.strip()[:1] in ("[", "{"):
        try:
            return json.loads(value)
        except ValueError:
            return value
    return value


def _given_tools(given: Any) -> list[ToolDefinition]:
    if given is None or given in ("", []):
        return []
    if isinstance(given, str):
        given = json_values(given)
    if isinstance(given, Mapping):
        given = given.get("tools") or given.get("functions") or [given]
    return list(_checked_tools(json.dumps(given)))


@functools.lru_cache(maxsize=1024)
def _checked_tools(listed: str) -> tuple[ToolDefinition, ...]:
    """The definitions of a list in JSON. Those of a file mostly have one list, and checking 16 tools takes 6 ms."""
    tools: dict[str, ToolDefinition] = {}
    for item in json.loads(listed):
        for each in item if isinstance(item, list) else [item]:
            tool = _tool(each)
            name = tool["function"]["name"]
            if tools.setdefault(name, tool) != tool:
                raise ValueError(f"two tools have the same name: {name}")
    return tuple(tools.values())


def _tool(item: Any) -> ToolDefinition:
    item = _without_nulls(_value(item))
    if not isinstance(item, Mapping):
        raise ValueError(f"a tool is no object: {item!r}")
    function = item.get("function")
    inner: dict[str, Any] = dict(function if isinstance(function, Mapping) else item)
    if isinstance(inner.get("name"), str):
        inner = {**inner, "name": plain_name(inner["name"])}
    parameters = inner.get("parameters")
    if isinstance(parameters, Mapping) and _is_bare(parameters):
        inner = {**inner, "parameters": _typed(parameters)}
    try:
        return definition({"type": "function", "function": inner}, "dataset.sources")
    except ValueError as error:
        raise ValueError(f"a tool is wrong: {inner.get('name')}: {error}") from None


def _without_nulls(value: Any) -> Any:
    """A definition without what Arrow filled with null: the keys that other definitions of the file have."""
    if isinstance(value, Mapping):
        kept = ("default", "const", "enum", "examples")
        return {key: each if key in kept else _without_nulls(each) for key, each in value.items() if each is not None}
    return [_without_nulls(each) for each in value] if isinstance(value, list) else value


def _is_bare(parameters: Mapping[str, Any]) -> bool:
    """Whether parameters are listed as in xLAM: by name, each with its type, without a schema around them."""
    if not parameters or isinstance(parameters.get("properties"), Mapping) or parameters.get("type") == "object":
        return False
    return all(isinstance(each, Mapping) and {"type", "description"} & set(each) for each in parameters.values())


def _typed(parameters: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """xLAM's parameters as a schema. One without a default that is not called optional is required."""
    properties, required = {}, []
    for name, each in parameters.items():
        words = str(each.get("type", "")).strip()
        kind = words.split(",")[0].strip()
        # The default is kept out: files write "" for "none", whatever the type.
        rest = {key: value for key, value in each.items() if key not in ("type", "default", "required")}
        properties[name] = rest | _python_type(kind)
        if "optional" not in words.lower() and "default" not in each and each.get("required") is not False:
            required.append(name)
    return {"type": "object", "properties": properties, "required": required}


def _python_type(kind: str) -> dict[str, Any]:
    """The schema of a type in Python's words: `str`, `List[int]`, `Optional[str]`; empty, which is any, for others."""
    inside = re.fullmatch(r"(?:typing\.)?(\w+)\[(.*)\]", kind, re.S)
    if inside and inside[1].lower() == "optional":
        return _python_type(inside[2])
    if inside and inside[1].lower() in ("list", "set", "sequence"):
        items = _python_type(inside[2])
        return {"type": "array", **({"items": items} if items else {})}
    name = (inside[1] if inside else kind).lower()
    name = _PYTHON_TYPES.get(name, "array" if name in ("list", "set", "tuple") else name)
    return {"type": name} if name in ("string", "integer", "number", "boolean", "object", "array") else {}


def _tools_in_text(first: Mapping[str, Any]) -> tuple[list[ToolDefinition], str | None]:
    """The tools in a system text, and the text without them and what says how to call; None where there are none."""
    text = first.get("content", first.get("value"))
    if first.get("role", first.get("from")) != "system" or not isinstance(text, str):
        return [], None
    found = [each for each in _TOOLS_TEXT.findall(text) if each[:1] in ("[", "{")]
    if found:
        rest = _TOOLS_TEXT.sub(" ", text)
    else:  # Glaive: the definitions stand at the end
        place = re.search(r"(?:functions|tools)\b[^{\[]*([{\[].*)\Z", text, re.S)
        if place is None:
            return [], None
        found, rest = [place[1]], text[: place.start(1)]
    try:
        tools = _given_tools([value for each in found for value in json_values(each)])
    except ValueError:
        if "<tools>" in text:
            raise
        return [], None  # a text that has braces for another reason
    rest = re.sub(r"<tool_call>.*?</tool_call>", " ", rest, flags=re.S)
    sentences = [each.strip() for each in re.split(r"(?<=[.!?:-])\s+|\n+", rest)]
    return tools, " ".join(each for each in sentences if each and not _HOW_TO_CALL.search(each))
