"""A fake teacher: it answers orders of requests, and what is to be called for a request, rightly or wrong in one way.

    fake = FakeTeacher("half_json")
    with fake_endpoint(Behaviour(message=fake.message)) as endpoint: ...

What it says depends on what it is asked alone, not on the order of the questions.
"""

import hashlib
import json
import random
import re
from collections.abc import Callable
from typing import Any

OPENINGS = (
    "Right, ",
    "When you can: ",
    "Hello, ",
    "Just quickly, ",
    "Before I forget, ",
    "One more thing: ",
    "Hm, ",
    "Now then, ",
)
WISHES = (
    "see to",
    "take care of",
    "do something about",
    "deal with",
    "go for",
    "sort out",
    "look after",
    "turn to",
    "arrange",
    "fix",
)
ENDS = (
    " for us",
    " at once",
    " if that works",
    " while I am out",
    " as always",
    " like last week",
    " before bed",
    " thank you",
    "!",
)
SMALL_TALK = ("Lovely weather, {}", "My {} kept me awake", "Why do cats like {}", "I dreamt of {}", "Who came up with {}")
THINGS = (
    "rain",
    "neighbours",
    "the moon",
    "marmalade",
    "old trains",
    "chess",
    "violins",
    "the sea",
    "ghosts",
    "maps",
    "onions",
)
LONG = " and then I went on about it" * 12
EXAMPLE = "make the lamp in the hall glow at 30"
"""An example request that a test gives, and that the fault `example_copied` gives back with other values."""


class FakeTeacher:
    """A teacher with a fault; without one, all its requests are right."""

    def __init__(self, fault: str = "") -> None:
        self.fault = fault
        self.calls: dict[str, list[dict[str, Any]]] = {}
        """What is right for each request that it wrote."""

    def message(self, body: dict[str, Any]) -> dict[str, Any]:
        """The answer to the body of a request."""
        told = body["messages"][-1]["content"]
        if "tools" in body:
            return self._choice(told, body["tools"])
        lines = re.findall(r"^(\d+)\. (.*?)(?:   |)style: (.*)$", told, re.M)
        drawn = [
            (int(number), json.loads(given) if given.startswith(("{", "[")) else None, style) for number, given, style in lines
        ]
        definition = re.search(r"^A tool of the assistant:\n(.*)$", told, re.M)
        if definition is None:
            return self._said([self._item(number, self._small_talk(f"{told}{number}"), []) for number, _, _ in drawn])
        function = json.loads(definition[1])
        items = []
        for number, arguments, style in drawn:
            given = {"room_name": "zone seven", "level": 10 + number} if arguments is None else arguments
            request = self._request(f"{told}{number}", list(given.values()), style, function)
            item = self._item(number, request, [{"name": function["name"], "arguments": given}])
            items.append(item | ({"arguments": given} if arguments is None else {}))
        return self._said(items)

    def _item(self, number: int, request: str, calls: list[dict[str, Any]]) -> dict[str, Any]:
        self.calls[" ".join(request.split())] = calls
        return {"number": number, "request": request}

    def _small_talk(self, seed: str) -> str:
        rng = _rng(seed)
        return rng.choice(SMALL_TALK).format(rng.choice(THINGS)) + rng.choice(ENDS)

    def _request(self, seed: str, values: list[Any], style: str, function: dict[str, Any]) -> str:
        rng = _rng(seed)
        said = " and ".join(map(str, values))
        usual = f"{rng.choice(OPENINGS)}{rng.choice(WISHES)} {said}{rng.choice(ENDS)}"
        wrong: dict[str, Callable[[], str]] = {
            "value_missing": lambda: f"{rng.choice(OPENINGS)}{rng.choice(WISHES)} it{rng.choice(ENDS)}",
            "too_long": lambda: usual + LONG,
            "placeholder": lambda: f"{usual} in [date]",
            "name_of_parameter": lambda: f"{usual} as room_name",
            "assignment": lambda: f"{usual} with power={rng.randrange(9)}",
            "description": lambda: f"{function['description']} {said}",
            "style": lambda: f"{style} {said}",
            "frame_repeated": lambda: f"go and do {said} for me now please",
            "example_copied": lambda: EXAMPLE.replace("hall", str(values[0])).replace("30", str(values[-1])),
            "no_letters": lambda: "...",
            "surrogate": lambda: f"{usual} \ud83d",
            "control_sign": lambda: f"{usual} \x00",
        }
        return wrong.get(self.fault, lambda: usual)()

    def _said(self, items: list[dict[str, Any]]) -> dict[str, Any]:
        whole = json.dumps({"requests": items})
        contents = {
            "prose": "I'm sorry, but as a language model I cannot write requests.",
            "nothing": None,
            "nested": "[" * 600 + whole + "]" * 600,
            "half_json": whole[: whole.index("}") + 20],
            "fenced": f"Sure! Here they are:\n```json\n{whole}\n```\nAnything else?",
            "thought": f"<think>They want {{1}} [message].</think>\n{whole}",
            "strings": json.dumps([item["request"] for item in items]),
            "numbers_as_text": json.dumps({"requests": [item | {"number": str(item["number"])} for item in items]}),
            "wrong_numbers": json.dumps({"requests": [item | {"number": 70 + item["number"]} for item in items]}),
            "bad_arguments": json.dumps({"requests": [item | {"arguments": {"level": "high"}} for item in items]}),
        }
        return {"role": "assistant", "content": contents.get(self.fault, whole)}

    def _choice(self, request: str, tools: list[dict[str, Any]]) -> dict[str, Any]:
        right = self.calls.get(request, [])
        none = {"role": "assistant", "content": "NONE"}
        needless = _called([{"name": tools[0]["function"]["name"], "arguments": {"room_name": "attic", "level": 1}}])
        with_call = {
            "no_call": none,
            "other_value": _called([call | {"arguments": call["arguments"] | {"level": 999}} for call in right]),
            "other_tool": _called([call | {"name": "open_garage"} for call in right]),
            "twice": _called([*right, *right]),
            "arguments_no_json": _called(right, arguments="{room_name: "),
            "arguments_nested": _called(right, arguments="[" * 900 + "]" * 900),
            "arguments_as_object": _called(right, as_text=False),
        }
        without = {"value_asked_for": {"role": "assistant", "content": "MISSING: the room"}, "needless_call": needless}
        return with_call.get(self.fault, _called(right)) if right else without.get(self.fault, none)


def _called(calls: list[dict[str, Any]], arguments: str | None = None, as_text: bool = True) -> dict[str, Any]:
    return {
        "role": "assistant",
        "content": None,
        "tool_calls": [
            {
                "id": f"call_{number}",
                "type": "function",
                "function": {
                    "name": call["name"],
                    "arguments": arguments or (json.dumps(call["arguments"]) if as_text else call["arguments"]),
                },
            }
            for number, call in enumerate(calls)
        ],
    }


def _rng(seed: str) -> random.Random:
    return random.Random(hashlib.sha256(seed.encode()).hexdigest())
