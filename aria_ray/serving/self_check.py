"""The self-check of an endpoint before it takes requests: it must call a tool, and answer without one, through its own parsers.

An endpoint can answer and yet be useless: its parser does not fit the model's format, the chat template is another model's, or
the merge is broken. Then calls come as text, or thoughts as answers, with HTTP 200. So the check asks one question that needs a
tool and one that needs none, each plain and streamed. Plain and streamed answers must have the same calls and the same parts.
"""

from typing import Any

from aria_ray import grammar
from aria_ray.errors import ServingError
from aria_ray.tools import tool_definition
from aria_ray.tools.math import percent_of

MAX_TOKENS = 192
"""Enough for a tokenizer with one token per byte. A sound model ends its answer long before."""
NEEDS_TOOL, NEEDS_NONE = "What is 15% of 80?", "What is the opposite of hot?"
WAY_OUT = "see its parsers and its chat template in the Serve config; `self_check: false` there leaves this test out"


def requests() -> list[dict[str, Any]]:
    """The bodies of the four requests: the question that needs the tool, plain and streamed, then the other one."""
    tools = [tool_definition(percent_of)]
    asked = {"tools": tools, "max_tokens": MAX_TOKENS, "temperature": 0}
    return [
        {"messages": [{"role": "user", "content": question}], "stream": stream, **asked}
        for question in (NEEDS_TOOL, NEEDS_NONE)
        for stream in (False, True)
    ]


def check(answers: list[dict[str, Any]]) -> None:
    """Check the assistant messages that answer `requests`, in the same order.

    Raises:
        ServingError: a call is missing, is wrong or comes as text, there is one where none is needed, or plain and streamed
            answers differ.
    """
    called, called_streamed, declined, declined_streamed = answers
    for question, plain, streamed in ((NEEDS_TOOL, called, called_streamed), (NEEDS_NONE, declined, declined_streamed)):
        for message in (plain, streamed):
            _check_clean(question, message)
        if _form(plain) != _form(streamed):
            raise ServingError(f"self-check: '{question}' gave {_said(plain)} plain, but {_said(streamed)} streamed", WAY_OUT)
    names = [call.name for call in _calls(called)]
    if names != ["percent_of"]:
        raise ServingError(
            f"self-check: '{NEEDS_TOOL}' must give one call of percent_of as tool_calls, and gave {_said(called)}", WAY_OUT
        )
    if _calls(declined) or not (declined.get("content") or "").strip():
        raise ServingError(f"self-check: '{NEEDS_NONE}' must be answered without a call, and gave {_said(declined)}", WAY_OUT)


def _check_clean(question: str, message: dict[str, Any]) -> None:
    """Raise ServingError if a marker of the format is in the text that a client sees."""
    seen = f"{message.get('content') or ''}{message.get('reasoning') or ''}"
    markers = [marker for marker in grammar.MARKERS if marker in seen]
    if markers:
        raise ServingError(f"self-check: '{question}' was answered with {markers[0]} as text ({seen[:200]!r})", WAY_OUT)


def _calls(message: dict[str, Any]) -> tuple[grammar.Call, ...]:
    try:
        return grammar.message_calls(message)
    except ValueError as error:
        raise ServingError(f"self-check: a call's {error}", WAY_OUT) from None


def _form(message: dict[str, Any]) -> tuple[Any, ...]:
    """The parts that must agree. Words may differ: other requests in the batch can change which of two close tokens wins."""
    said = _said(message)
    return said["calls"], bool(said["reasoning"]), bool(said["content"])


def _said(message: dict[str, Any]) -> dict[str, Any]:
    """The thought, the answer, and the calls of a message, without the ids of the calls."""
    return {
        "reasoning": (message.get("reasoning") or "").strip(),
        "content": (message.get("content") or "").strip(),
        "calls": [(call.name, dict(call.arguments)) for call in _calls(message)],
    }
