"""From an intent to a conversation: thoughts, calls, results of the real tools, and the answer."""

from dataclasses import dataclass
from typing import Any

from aria_ray.dataset.slots import Values, spoken
from aria_ray.dataset.templates import Intent, bind
from aria_ray.dataset.tool_lists import Listing
from aria_ray.grammar import (
    Call,
    Message,
    answer_message,
    thought_for_calls,
    thought_without_call,
    tool_call_message,
)
from aria_ray.tools import ERROR_PREFIX, ToolResult, execute_listed

READY, FAILED = "result is ready", "the tool failed"
NOT_NEEDED, UNAVAILABLE = "no tool needed", "no listed tool can do it"


@dataclass(frozen=True)
class Conversation:
    """Messages from the user's request to the answer, and the texts that the answer must contain."""

    messages: tuple[Message, ...]
    answer_contains: tuple[str, ...]
    failed: bool
    """Whether a call failed."""


def difficulty(intent: Intent, values: Values) -> int:
    """How hard a request is, 1 to 4.

    1: no call, or one call with at most two single values;
    2: one call with a list, with a text of several words or with three values; or a miss that looks like a hit;
    3: an error: refused, failed, a value missing, or no tool that can do it;
    4: several calls.
    """
    if intent.scenario == "multi":
        return 4
    if intent.scenario == "error":
        return 3
    if intent.scenario == "miss":
        return 2 if intent.lookalike else 1
    arguments = bind(intent.steps[0][0].arguments, values, ())
    return 2 if len(arguments) > 2 or any(_is_long(value) for value in arguments.values()) else 1


def converse(intent: Intent, values: Values, request: str, listing: Listing) -> Conversation:
    """The right conversation for a request; the real tools run every call."""
    messages: list[Message] = [{"role": "user", "content": request}]
    results: list[ToolResult] = []
    last_round: list[ToolResult] = []
    for templates in intent.steps:
        texts = [result.text for result in results]
        calls = [Call(item.tool, bind(item.arguments, values, texts)) for item in templates]
        listed = [listing.listed(call) for call in calls]
        messages.append(tool_call_message(thought_for_calls(intent.ask, listed), listed, first_id=len(results)))
        last_round = [execute_listed(listing.definitions, listing.tool_names, call) for call in listed]
        messages += [
            {"role": "tool", "tool_call_id": f"call_{index}", "content": result.text}
            for index, result in enumerate(last_round, len(results))
        ]
        results += last_round
    spoken_values = _spoken_values(values, results)
    messages.append(answer_message(thought_without_call(intent.ask, _reason(intent)), intent.answer.format(**spoken_values)))
    if intent.contains is None:
        contains = [_without_prefix(result.text) for result in last_round]
    else:
        contains = [text.format(**spoken_values) for text in intent.contains]
    return Conversation(tuple(messages), tuple(contains), failed=not all(result.ok for result in results))


def _spoken_values(values: Values, results: list[ToolResult]) -> dict[str, str]:
    """Texts for the placeholders of an answer: slots, `result1` and so on, and `result` for the last one."""
    texts = {name: spoken(value) for name, value in values.items()}
    texts |= {f"result{number}": _without_prefix(result.text) for number, result in enumerate(results, 1)}
    if results:
        texts["result"] = _without_prefix(results[-1].text)
    return texts


def _reason(intent: Intent) -> str:
    if intent.steps:
        return FAILED if intent.error == "failed" else READY
    if intent.error == "unavailable":
        return UNAVAILABLE
    return intent.reason or NOT_NEEDED


def _without_prefix(text: str) -> str:
    return text.removeprefix(ERROR_PREFIX)


def _is_long(value: Any) -> bool:
    return isinstance(value, list) or (isinstance(value, str) and " " in value)
