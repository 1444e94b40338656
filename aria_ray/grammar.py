"""The conversation format: one definition for dataset, training, serving and validation.

Clients and files use OpenAI messages and tools. The model reads text rendered by `chat_template.jinja`, which the tokenizer
carries. An assistant turn is `<think>THOUGHT</think>` followed by tool calls or by the answer. The thought has a fixed shape:

    ask: TOPIC; function: NAME[, NAME]; args: VALUES        a tool is needed
    ask: TOPIC; function: none; reason: WHY                 no tool is needed or can help, or the result is there

A thought is short because more than about 32 tokens lower the tool accuracy of small models (arXiv 2604.02155). The rest is
left out from the end, and `...` stands for it: values first, then words of the topic, functions, and the end of a long name.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Any

Json = Any
Message = dict[str, Any]
ToolDefinition = dict[str, Any]

THINK_START, THINK_END = "<think>", "</think>"
CALL_START, CALL_END = "<tool_call>", "</tool_call>"
RESPONSE_START, RESPONSE_END = "<tool_response>", "</tool_response>"
MARKERS = (THINK_START, THINK_END, CALL_START, CALL_END, RESPONSE_START, RESPONSE_END)
"""Single tokens of the vocabulary. vLLM's `qwen3` reasoning parser and `hermes` tool parser know the first four."""

TURN_START, TURN_END = "<|im_start|>", "<|im_end|>"

REASONING_PARSER, TOOL_PARSER = "qwen3", "hermes"
"""vLLM's parsers for this format, as the Serve files name them."""
MIN_THOUGHT_PIECES, MAX_THOUGHT_PIECES = 8, 32
"""Bounds on the length of a thought in pieces (`thought_pieces`)."""

_NAME = r"[^\s;,]+"
"""A function's name: MCP servers have dots, slashes and digits in theirs."""
_THOUGHT = re.compile(rf"ask: [^;]+; function: (?:none; reason: |(?!none;){_NAME}(?:, {_NAME})*; args: ).+", re.S)
_LEFT_OUT = "..."
_PIECE = re.compile(r"\d{1,3}|[^\W\d_]+|[^\w\s]+|_+")


@dataclass(frozen=True)
class Call:
    """One tool call: the function's name and its arguments by parameter name."""

    name: str
    arguments: Mapping[str, Json]


def chat_template() -> str:
    """The Jinja template that renders messages and tools; written into the tokenizer of every model we make."""
    return resources.files("aria_ray").joinpath("chat_template.jinja").read_text(encoding="utf-8")


def thought_for_calls(ask: str, calls: Sequence[Call]) -> str:
    """The thought before a tool call: topic, functions, and the argument values in the order of the calls.

    It is shortened until it has at most `MAX_THOUGHT_PIECES` pieces.
    """
    values = [word for call in calls for value in call.arguments.values() for word in f"{_plain(value)},".split()]
    values[-1:] = [word.removesuffix(",") for word in values[-1:]]
    thoughts = _shortened(ask.split(), [call.name for call in calls], values)
    return next(thought for thought in thoughts if thought_pieces(thought) <= MAX_THOUGHT_PIECES)


def _shortened(topic: list[str], names: list[str], values: list[str]) -> Iterator[str]:
    """The thought whole, then with less and less in it; the last one fits whatever the names are."""

    def thought(functions: str, shown: int = 0, words: int = 1) -> str:
        args = [*values[:shown], *([_LEFT_OUT] if shown < len(values) else [])]
        return f"ask: {' '.join(topic[:words])}; function: {functions}; args: {' '.join(args) or 'none'}"

    for shown in range(len(values), -1, -1):
        yield thought(", ".join(names), shown, len(topic))
    for words in range(len(topic) - 1, 0, -1):
        yield thought(", ".join(names), 0, words)
    for count in range(len(names) - 1, 0, -1):
        yield thought(", ".join([*names[:count], _LEFT_OUT]))
    ends = [piece.end() for piece in _PIECE.finditer(names[0])]
    for end in reversed(ends):
        yield thought(f"{names[0][:end]}{_LEFT_OUT}")


def thought_pieces(text: str) -> int:
    """Length of a thought in pieces: words, signs, and groups of up to three digits, about as a Llama tokenizer counts."""
    return len(_PIECE.findall(text))


def thought_without_call(ask: str, reason: str) -> str:
    """The thought before an answer: topic, and why no function is called. Words of the topic that do not fit are left out."""
    topic = ask.split()
    thoughts = [
        f"ask: {' '.join(topic[:words])}; function: none; reason: {reason}" for words in range(max(1, len(topic)), 0, -1)
    ]
    return next((thought for thought in thoughts if thought_pieces(thought) <= MAX_THOUGHT_PIECES), thoughts[-1])


def is_thought(text: str | None) -> bool:
    """Whether a turn's reasoning has the fixed shape."""
    return text is not None and _THOUGHT.fullmatch(text.strip()) is not None


def thought_functions(text: str) -> list[str]:
    """The functions that a thought of the fixed shape names."""
    names = text.split("; function: ", 1)[1].split("; ", 1)[0]
    return [] if names == "none" else names.split(", ")


def names_functions(thought: str, called: Sequence[str]) -> bool:
    """Whether a thought of the fixed shape names the functions that are called, as far as it is not shortened."""
    named = thought_functions(thought)
    if len(named) > 1 and named[-1] == _LEFT_OUT:
        return len(called) >= len(named) and list(called[: len(named) - 1]) == named[:-1]
    if len(called) >= 1 and len(named) == 1 and named[0].endswith(_LEFT_OUT):
        return called[0].startswith(named[0].removesuffix(_LEFT_OUT))
    return list(called) == named


def tool_call_message(reasoning: str, calls: Sequence[Call], first_id: int = 0) -> Message:
    """An assistant message in OpenAI's shape that calls tools; ids count from `first_id` within the conversation."""
    return {
        "role": "assistant",
        "reasoning_content": reasoning,
        "content": None,
        "tool_calls": [
            {
                "id": f"call_{first_id + index}",
                "type": "function",
                "function": {"name": call.name, "arguments": json.dumps(call.arguments, ensure_ascii=False)},
            }
            for index, call in enumerate(calls)
        ],
    }


def answer_message(reasoning: str, content: str) -> Message:
    """An assistant message in OpenAI's shape that answers."""
    return {"role": "assistant", "reasoning_content": reasoning, "content": content}


def message_calls(message: Mapping[str, Any]) -> tuple[Call, ...]:
    """The calls of an assistant message in OpenAI's shape.

    Raises:
        ValueError: a call is not in that shape, or its arguments are not a JSON object.
    """
    items = message.get("tool_calls") or ()
    if not isinstance(items, list | tuple):
        raise ValueError(f"tool_calls {items!r} must be a list")
    return tuple(_call(item) for item in items)


def _call(item: Any) -> Call:
    function = item.get("function") if isinstance(item, Mapping) else None
    name, text = (function.get("name"), function.get("arguments")) if isinstance(function, Mapping) else (None, None)
    if not (isinstance(name, str) and isinstance(text, str)):
        raise ValueError(f"call {item!r} must have a function with a name and arguments, both text")
    arguments = json.loads(text)
    if not isinstance(arguments, dict):
        raise ValueError(f"arguments {text!r} must be a JSON object")
    return Call(name, arguments)


class StreamedMessage:
    """An assistant message put together from the server-sent events of a streamed chat completion."""

    def __init__(self) -> None:
        self.reasoning = self.content = ""
        self.calls: dict[int, dict[str, Any]] = {}
        self.finish_reason: str | None = None
        self.is_complete = False
        """Whether the stream ended with [DONE]."""

    def add(self, event: str) -> dict[str, Any]:
        """Add one event (`data: {...}`) and return its delta, empty if it has none.

        Raises:
            ValueError: the event is not JSON, or it reports an error.
        """
        data = event.strip().removeprefix("data:").strip()
        if data == "[DONE]":
            self.is_complete = True
            return {}
        chunk = json.loads(data)
        if "error" in chunk:
            raise ValueError(f"error in stream: {chunk['error']}")
        return self.add_chunk(chunk)

    def add_chunk(self, chunk: Mapping[str, Any]) -> dict[str, Any]:
        """Take in one chunk of a chat completion; the delta in it, empty if it has none."""
        choices: list[dict[str, Any]] = chunk.get("choices") or [{}]
        choice = choices[0]
        self.finish_reason = choice.get("finish_reason") or self.finish_reason
        delta: dict[str, Any] = choice.get("delta") or {}
        self.reasoning += delta.get("reasoning") or ""
        self.content += delta.get("content") or ""
        for part in delta.get("tool_calls") or ():
            self._add_call(part)
        return delta

    def message(self) -> Message:
        """The message so far, in the shape of `choices[0].message` of a response that is not streamed."""
        calls = [self.calls[index] for index in sorted(self.calls)]
        return {
            "role": "assistant",
            "reasoning": self.reasoning or None,
            "content": self.content or None,
            **({"tool_calls": calls} if calls else {}),
        }

    def _add_call(self, part: Mapping[str, Any]) -> None:
        """Add a part of a call: the first has id and name, later ones more of the arguments."""
        empty = {"id": "", "type": "function", "function": {"name": "", "arguments": ""}}
        call = self.calls.setdefault(part["index"], empty)
        call["id"] = part.get("id") or call["id"]
        function = part.get("function") or {}
        call["function"]["name"] += function.get("name") or ""
        call["function"]["arguments"] += function.get("arguments") or ""


def _plain(value: Json) -> str:
    return value if isinstance(value, str) and value.strip() else json.dumps(value, ensure_ascii=False)
