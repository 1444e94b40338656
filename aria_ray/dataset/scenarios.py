"""From an intent to a conversation: the thoughts, the calls, what the real tools said, and the answer."""

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
    """Messages from the user's request to the answer, and what the answer has to contain."""

    messages: tuple[Message, ...]
    answer_contains: tuple[str, ...]
    failed: bool
    """Whether a call failed."""


def difficulty(intent: Intent, values: Values) -> int:
    """How hard a request is, 1 to 4.

    1: no call, or one call with at most two single values;
    2: one call with a list, with a text of several words or with three values; or a request that only looks like one;
    3: an error: refused, failed, something missing, or no tool that can do it;
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
    """The right conversation for a request; every call is run by the real tool."""
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
    said = _sayings(values, results)
    messages.append(answer_message(thought_without_call(intent.ask, _reason(intent)), intent.answer.format(**said)))
    if intent.contains is None:
        contains = [_without_prefix(result.text) for result in last_round]
    else:
        contains = [text.format(**said) for text in intent.contains]
    return Conversation(tuple(messages), tuple(contains), failed=not all(result.ok for result in results))


def _sayings(values: Values, results: list[ToolResult]) -> dict[str, str]:
    said = {name: spoken(value) for name, value in values.items()}
    said |= {f"result{number}": _without_prefix(result.text) for number, result in enumerate(results, 1)}
    if results:
        said["result"] = _without_prefix(results[-1].text)
    return said


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
