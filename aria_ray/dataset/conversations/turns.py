"""Messages of any of the known formats as OpenAI chat messages."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from aria_ray.dataset.conversations.calls import call_of, calls_in_text, calls_of, plain_name, results_in_text
from aria_ray.grammar import Call, Message

ROLES = {
    **dict.fromkeys(("system", "developer"), "system"),
    **dict.fromkeys(("user", "human", "customer"), "user"),
    **dict.fromkeys(("assistant", "gpt", "bot", "model", "ai", "chatgpt", "agent"), "assistant"),
    **dict.fromkeys(("tool_call", "function_call", "tool_calls", "function-call", "tool-call"), "call"),
    **dict.fromkeys(
        ("tool", "function", "tool_response", "tool-response", "function_response", "function-response"),
        "tool",
    ),
    **dict.fromkeys(
        ("observation", "tool_result", "tool_results", "ipython"),
        "tool",
    ),
}
"""Our role of each role that files have; `call` is an assistant's turn whose text is a call."""
LEARNING_KEYS = ("weight", "loss", "train", "trainable", "training")
"""Keys that say whether a turn is trained on: `weight` of OpenAI, `loss` of ms-swift, `train` of Axolotl."""
_IGNORED_PARTS = ("thinking", "redacted_thinking", "reasoning")


def chat_messages(items: Sequence[Any]) -> list[Message]:
    """Messages with a role, content, calls and weight, where every call has an id of its own and every result names one.

    Turns of the assistant that follow each other become one. What comes after its last turn is left out.

    Raises:
        ValueError: a message is in no known form, or calls and results do not belong together.
    """
    flat = [part for item in items for part in _parts(item)]
    joined = _with_ids(_joined(flat))
    while joined and joined[-1]["role"] != "assistant":
        joined.pop()
    return joined


def _parts(item: Any) -> Iterator[Message]:
    """The messages that one item is: a user's turn of Anthropic's holds results too, an answer and calls stay together."""
    if not isinstance(item, Mapping):
        raise ValueError(f"a message is no object: {item!r}")
    told = item.get("role", item.get("from", item.get("speaker")))
    role = ROLES.get(str(told).strip().lower())
    if role is None:
        raise ValueError(f"unknown role: {told!r}" if told is not None else "a message has no role")
    given = next((item[key] for key in ("content", "value", "text") if item.get(key) is not None), None)
    if role == "call":
        yield _assistant(item, "", list(calls_of(given)), [])
    elif role == "tool":
        yield from _results(item, given)
    elif role == "assistant":
        text, calls, _ = _content(given)
        yield _of_assistant(item, text, calls)
    else:
        yield from _of_user(role, given)


def _of_user(role: str, given: Any) -> Iterator[Message]:
    text, _, results = _content(given)
    yield from results
    if role == "user" and text.lstrip().startswith("<tool_response>"):
        yield from ({"role": "tool", "id": None, "name": None, "content": each} for each in results_in_text(text))
    elif text.strip():
        yield {"role": role, "content": text}
    elif not results and role == "user":
        raise ValueError("a user message has no content")


def _content(given: Any) -> tuple[str, list[tuple[Any, Call]], list[Message]]:
    """Text, calls with their ids, and results in a content that is text, a list of parts, or nothing."""
    if given is None or isinstance(given, str):
        return given or "", [], []
    texts: list[str] = []
    calls: list[tuple[Any, Call]] = []
    results: list[Message] = []
    for part in given if isinstance(given, list) else [given]:
        kind = part.get("type") if isinstance(part, Mapping) else None
        if isinstance(part, str):
            texts.append(part)
        elif kind == "tool_use":
            calls.append((part.get("id"), call_of(part)))
        elif kind == "tool_result":
            results.append(_result(part.get("tool_use_id"), None, part.get("content")))
        elif kind in _IGNORED_PARTS or part is None:
            continue
        elif isinstance(part, Mapping) and isinstance(part.get("text") or part.get("refusal"), str):
            texts.append(str(part.get("text") or part.get("refusal")))
        else:
            raise ValueError(f"content is no text: {kind or type(part).__name__}")
    return "\n".join(texts), calls, results


def _of_assistant(item: Mapping[str, Any], text: str, blocks: list[tuple[Any, Call]]) -> Message:
    listed = item.get("tool_calls")
    if isinstance(listed, str):
        listed = json.loads(listed) if listed.strip() else None
    if isinstance(listed, Mapping):
        listed = [listed]
    ids, calls = [each[0] for each in blocks], [each[1] for each in blocks]
    for each in listed or ():
        calls.append(call_of(each))
        ids.append(each.get("id") if isinstance(each, Mapping) else None)
    if item.get("function_call"):
        calls.append(call_of(item["function_call"]))
        ids.append(None)
    text, in_text = calls_in_text(text)
    calls += in_text
    ids += [None] * len(in_text)
    text = text or str(item.get("refusal") or "").strip()
    if not text and not calls:
        raise ValueError("an assistant message has neither content nor calls")
    return _assistant(item, text, calls, ids)


def _assistant(item: Mapping[str, Any], text: str, calls: list[Call], ids: list[Any]) -> Message:
    thought = item.get("reasoning_content") or item.get("reasoning")
    learnt = all(item.get(key) is None or bool(item[key]) for key in LEARNING_KEYS)
    return {
        "role": "assistant",
        "reasoning_content": thought if isinstance(thought, str) else None,
        "content": text or None,
        "calls": calls,
        "ids": [*ids, *[None] * (len(calls) - len(ids))],
        **({} if learnt else {"weight": 0}),
    }


def _results(item: Mapping[str, Any], given: Any) -> Iterator[Message]:
    text = _result(None, None, given)["content"]
    name = item.get("name")
    for each in results_in_text(text):
        yield {"role": "tool", "id": item.get("tool_call_id"), "name": plain_name(name) if name else None, "content": each}


def _result(call_id: Any, name: Any, given: Any) -> Message:
    """A result as text: parts of text as they are, other values as JSON."""
    parts = given if isinstance(given, list) and given and all(isinstance(each, Mapping) for each in given) else None
    if parts and all(each.get("type") == "text" and isinstance(each.get("text"), str) for each in parts):
        given = "\n".join(each["text"] for each in parts)
    text = "" if given is None else given if isinstance(given, str) else json.dumps(given, ensure_ascii=False)
    return {"role": "tool", "id": call_id, "name": name, "content": text}


def _joined(messages: Sequence[Message]) -> list[Message]:
    """The messages with turns of the assistant, and leading system texts, that follow each other put together."""
    joined: list[Message] = []
    for message in messages:
        last = joined[-1] if joined else None
        if last is None or last["role"] != message["role"] or message["role"] not in ("assistant", "system"):
            joined.append(dict(message))
        elif message["role"] == "system":
            last["content"] += f"\n{message['content']}"
        elif last.get("weight") != message.get("weight"):
            raise ValueError("two turns of the assistant follow each other, and only one has weight 0")
        else:
            last["content"] = "\n".join(filter(None, (last["content"], message["content"]))) or None
            last["calls"], last["ids"] = [*last["calls"], *message["calls"]], [*last["ids"], *message["ids"]]
    return joined


def _with_ids(messages: Sequence[Message]) -> list[Message]:
    """The messages with ids call_0, call_1 ... of calls, in the order of the conversation, and results that name them.

    Results come in any order directly after the calls. One is found by its id where ids differ, else by its function's name,
    else by its place.
    """
    done: list[Message] = []
    waiting: list[tuple[str, Any, str]] = []  # our id, the file's id, the function's name
    count = 0
    for index, message in enumerate(messages):
        if message["role"] == "tool":
            own = _answered(message, waiting)
            done.append({"role": "tool", "tool_call_id": own, "content": message["content"]})
            continue
        if waiting:
            raise ValueError(f"a call has no result: {waiting[0][2]}")
        if message["role"] != "assistant":
            done.append(message)
            continue
        kept = {key: value for key, value in message.items() if key not in ("calls", "ids")}
        if message["calls"]:
            named = [(f"call_{count + place}", call) for place, call in enumerate(message["calls"])]
            count += len(named)
            kept["tool_calls"] = [_openai_call(own, call) for own, call in named]
            if index < len(messages) - 1:
                waiting = [(own, given, call.name) for (own, call), given in zip(named, message["ids"], strict=True)]
        done.append(kept)
    if waiting:
        raise ValueError(f"a call has no result: {waiting[0][2]}")
    return done


def _answered(message: Message, waiting: list[tuple[str, Any, str]]) -> str:
    """Our id of the call that a result belongs to; the call is taken off the list of those that wait."""
    if not waiting:
        raise ValueError(f"a result follows no call: {message['content'][:60]!r}")
    given, ids = message["id"], [each[1] for each in waiting]
    if given is not None and any(each is not None for each in ids):
        if given not in ids:
            raise ValueError(f"a result is for a call that is not there: {given}")
        return waiting.pop(ids.index(given))[0]
    names = [each[2] for each in waiting]
    return waiting.pop(names.index(message["name"]) if message["name"] in names else 0)[0]


def _openai_call(own: str, call: Call) -> dict[str, Any]:
    text = json.dumps(call.arguments, ensure_ascii=False)
    return {"id": own, "type": "function", "function": {"name": call.name, "arguments": text}}
