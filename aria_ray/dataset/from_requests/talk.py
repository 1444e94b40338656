"""One conversation being made: requests, calls that are run once, and answers made from their results."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from aria_ray.dataset.rows import Row
from aria_ray.dataset.scenarios import FAILED, READY
from aria_ray.grammar import (
    Call,
    Message,
    ToolDefinition,
    answer_message,
    thought_for_calls,
    thought_without_call,
    tool_call_message,
)
from aria_ray.tools import ERROR_PREFIX, canonical, execute_listed
from aria_ray.tools.sources import SourcedTool

MAX_SPOKEN_CHARACTERS = 160
"""Longest result that an answer repeats; a longer one is only said to be there."""
LONG_RESULT = "the result is above"


class Talk:
    """A conversation over a list of tools. A function of the user's is run once for each call, and its result is kept."""

    def __init__(self, tools: Mapping[str, SourcedTool], listed: Sequence[str]) -> None:
        self.messages: list[Message] = []
        self.failed = False
        """Whether a call failed."""
        self.num_calls = 0
        self.definitions: list[ToolDefinition] = [tools[name].definition for name in listed]
        self._names = {name: _names_of(tools[name]) for name in listed}
        self._recorded: dict[str, dict[str, str]] = {
            name: {} for name in listed if tools[name].backend is None and is_own(tools[name])
        }
        self._results: list[str] = []
        """Results of the last calls."""

    def ask(self, request: str) -> None:
        """The user says something."""
        self.messages.append({"role": "user", "content": request})

    def call(self, calls: Sequence[Call]) -> None:
        """The assistant calls tools, all in one turn, and gets their results."""
        thought = thought_for_calls(_topic(calls), calls)
        self.messages.append(tool_call_message(thought, calls, first_id=self.num_calls))
        self._results = [self._result(call) for call in calls]
        for index, result in enumerate(self._results, self.num_calls):
            self.messages.append({"role": "tool", "tool_call_id": f"call_{index}", "content": result})
        self.num_calls += len(calls)

    def answer_from_results(self, wording: str, *, trained: bool = True) -> None:
        """The assistant says what came back; `wording` has `{result}` for it, and is not used where a call failed.

        A turn that is not `trained` has the weight 0: it is there to be read.
        """
        failed = [text for text in self._results if text.startswith(ERROR_PREFIX)]
        asked = _topic_of(self.messages)
        if failed:
            text = f"That did not work: {failed[0].removeprefix(ERROR_PREFIX)}"
            self.answer(text, asked, FAILED)
            return
        first, *others = dict.fromkeys(spoken_result(text) for text in self._results)
        said = [_sentence(wording.replace("{result}", first.rstrip("."))), *(_sentence(text) for text in others)]
        self.answer(" ".join(said), asked, READY)
        if not trained:
            self.messages[-1]["weight"] = 0

    def answer(self, text: str, topic: str, reason: str) -> None:
        """The assistant answers without a call."""
        self.messages.append(answer_message(thought_without_call(topic, reason), text))

    def row(self, row_id: str, family: str, kind: str, split: str) -> Row:
        """The row of the finished conversation."""
        scenario = "error" if self.failed else "miss" if not self.num_calls else "hit" if self.num_calls == 1 else "multi"
        names = {
            name: {**each, "backend": {"kind": "recorded", "results": self._recorded[name]}} if name in self._recorded else each
            for name, each in self._names.items()
        }
        return {
            "id": row_id,
            "template_id": family,
            "template_family": family,
            "augmentation": kind,
            "category": "tool_errors" if self.failed else "reasoning",
            "scenario": scenario,
            "difficulty": {"miss": 1, "hit": 2, "error": 3, "multi": 4}[scenario],
            "split": split,
            "tools": self.definitions,
            "messages": self.messages,
            "answer_contains": [],
            "tool_names": json.dumps(names, ensure_ascii=False),
        }

    def _result(self, call: Call) -> str:
        kept = self._recorded.get(call.name)
        given = canonical(call.arguments)
        if kept is not None and given in kept:
            return kept[given]
        result = execute_listed(self.definitions, json.dumps(self._names, ensure_ascii=False), call)
        self.failed = self.failed or not result.ok
        if kept is not None:
            kept[given] = result.text
        return result.text


def spoken_result(text: str) -> str:
    """A tool's result as a person would be told it: a JSON object or list as words, everything else as it is."""
    try:
        value = json.loads(text)
    except ValueError:
        value = text
    said = " ".join(_said(value).split())
    return said if said and len(said) <= MAX_SPOKEN_CHARACTERS else LONG_RESULT


def _said(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{str(key).replace('_', ' ')} {_said(item)}" for key, item in value.items())
    if isinstance(value, list):
        return ", ".join(_said(item) for item in value) or "none"
    if value is None or isinstance(value, bool):
        return {None: "nothing", True: "yes", False: "no"}[value]
    return str(value)


def is_own(tool: SourcedTool) -> bool:
    """Whether a tool is a function of the user's, which must not be run again; the built-in ones may."""
    return ":" in tool.name


def _names_of(tool: SourcedTool) -> dict[str, Any]:
    names: dict[str, Any] = {
        "tool": tool.name,
        "parameters": {key: key for key in tool.definition["function"]["parameters"].get("properties") or {}},
    }
    return names if tool.backend is None else {**names, "backend": tool.backend.model_dump(exclude_defaults=True)}


def topic(name: str) -> str:
    """A tool's name as the topic of a thought: words without signs."""
    return " ".join("".join(sign if sign.isalnum() else " " for sign in name).split()) or "request"


def _topic(calls: Sequence[Call]) -> str:
    return topic(calls[0].name)


def _topic_of(messages: Sequence[Message]) -> str:
    last = next(message for message in reversed(messages) if message.get("tool_calls"))
    return topic(last["tool_calls"][0]["function"]["name"])


def _sentence(text: str) -> str:
    said = text[:1].upper() + text[1:]
    return said if said[-1:] in ".!?" else f"{said}."
