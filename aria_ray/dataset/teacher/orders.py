"""What is asked of the teacher: requests for calls that are drawn here, near misses, and requests that need no tool."""

import json
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from aria_ray.dataset.teacher import prompts
from aria_ray.grammar import Message, ToolDefinition
from aria_ray.requests.composed import composed_requests
from aria_ray.requests.example import ExampleCall, ExampleRequest
from aria_ray.requests.template import RequestTemplate
from aria_ray.requests.understand import Known, understand
from aria_ray.tools import schema_problem

Kind = Literal["call", "near_miss", "no_tool"]
PER_ORDER = 5
"""Most requests that one answer holds."""
SHARE_WITHOUT_CALL = 0.2
"""Near misses, and requests that need no tool, as a fraction of the requests for calls."""
MAX_DRAWS = 20
"""Attempts to draw a call that fits its schema and was not drawn before."""
COMPOSED_EVERY = 4
"""Every fourth call is drawn from the schema also where there are examples: they may leave parameters out."""


@dataclass(frozen=True)
class Wanted:
    """One request that the teacher is to write."""

    kind: Kind
    tool: str
    """Name of the tool that it is about; empty for `no_tool`."""
    calls: tuple[ExampleCall, ...] | None
    """The calls that it must lead to; None where the teacher chooses the values."""
    told: str
    """What else the teacher is told of it: the style, and the topic."""


@dataclass(frozen=True)
class Order:
    """Requests that are asked for at once."""

    wanted: tuple[Wanted, ...]
    text: str
    """What the teacher is told."""

    @property
    def messages(self) -> list[Message]:
        """The order as messages."""
        return [{"role": "system", "content": prompts.WRITER}, {"role": "user", "content": self.text}]

    @property
    def answer_schema(self) -> dict[str, Any]:
        """The JSON Schema of the answer, for endpoints that hold a model to one."""
        properties: dict[str, Any] = {"number": {"type": "integer"}, "request": {"type": "string"}}
        if any(one.calls is None for one in self.wanted):
            properties["arguments"] = {"type": "object"}
        item = {"type": "object", "properties": properties, "required": list(properties)}
        return {"type": "object", "properties": {"requests": {"type": "array", "items": item}}, "required": ["requests"]}


@dataclass(frozen=True)
class Desk:
    """What orders are written from. `examples` are people's, `known` their values by tool and parameter."""

    tools: Mapping[str, ToolDefinition]
    examples: Sequence[ExampleRequest]
    known: Known
    seed: int

    def orders(self, requests_per_tool: int) -> list[Order]:
        """Every order, in the order of the tools."""
        without_call = max(1, round(SHARE_WITHOUT_CALL * requests_per_tool))
        made = [order for name in self.tools for order in self._for_calls(name, requests_per_tool)]
        made += [order for name in self.tools for order in self._near_misses(name, without_call)]
        return made + list(self._no_tool(without_call * len(self.tools)))

    def _for_calls(self, name: str, count: int) -> Iterator[Order]:
        rng = self._rng("calls", name)
        own = [example for example in self.examples if example.calls and example.calls[0].name == name]
        drawn = self._drawn_calls(name, own, count, rng)
        for size in _sizes(count):
            tone, styles = self._tone(own, rng), rng.sample(prompts.STYLES, size)
            if drawn is None:
                text = prompts.for_own_values(self.tools[name], tone, styles)
                yield Order(tuple(Wanted("call", name, None, style) for style in styles), text)
                continue
            calls = [next(drawn) for _ in styles]
            text = prompts.for_calls(self.tools[name], tone, list(zip(map(_as_json, calls), styles, strict=True)))
            yield Order(
                tuple(Wanted("call", name, each, style) for each, style in zip(calls, styles, strict=True)),
                text,
            )

    def _near_misses(self, name: str, count: int) -> Iterator[Order]:
        rng = self._rng("near misses", name)
        own = [example for example in self.examples if any(call.name == name for call in example.calls)]
        for size in _sizes(count):
            styles = rng.sample(prompts.STYLES, size)
            text = prompts.for_near_misses(self.tools[name], self._listed(rng, name), self._tone(own, rng), styles)
            yield Order(tuple(Wanted("near_miss", name, (), style) for style in styles), text)

    def _no_tool(self, count: int) -> Iterator[Order]:
        rng = self._rng("no tool", "")
        own = [example for example in self.examples if not example.calls and example.ask is None]
        for size in _sizes(count):
            items = list(zip(rng.sample(prompts.TOPICS, size), rng.sample(prompts.STYLES, size), strict=True))
            text = prompts.for_no_tool(self._listed(rng), self._tone(own, rng), items)
            yield Order(tuple(Wanted("no_tool", "", (), f"{topic} {style}") for topic, style in items), text)

    def _drawn_calls(
        self, name: str, own: Sequence[ExampleRequest], count: int, rng: random.Random
    ) -> Iterator[tuple[ExampleCall, ...]] | None:
        """Calls that differ where they can; None where no value is known for a parameter that must have one."""
        of_people = [understand(example, self.tools, self.known) for example in own]
        composed = [understand(example, self.tools, self.known) for example in composed_requests(self.tools[name])]
        if not of_people and not composed:
            return None
        drawn: dict[str, tuple[ExampleCall, ...]] = {}
        calls: list[tuple[ExampleCall, ...]] = []
        for number in range(count):
            from_schema = composed and (not of_people or number % COMPOSED_EVERY == COMPOSED_EVERY - 1)
            for _ in range(MAX_DRAWS):
                one = self._drawn(rng.choice(composed if from_schema else of_people), rng)
                if _as_json(one) not in drawn:
                    break
            drawn[_as_json(one)] = one
            calls.append(one)
        return iter(calls)

    def _drawn(self, template: RequestTemplate, rng: random.Random) -> tuple[ExampleCall, ...]:
        """The calls of a template with other values, or its own where those do not fit the tools together.

        True and false are equally likely: the teacher finds words for either, where the example may have words for one alone.
        """
        drawn = []
        for call in template.filled(rng).calls:
            arguments = {key: rng.random() < 0.5 if isinstance(value, bool) else value for key, value in call.arguments.items()}
            if schema_problem(self.tools[call.name], arguments) is not None:
                return template.example.calls
            drawn.append(ExampleCall(name=call.name, arguments=arguments))
        return tuple(drawn)

    def _tone(self, own: Sequence[ExampleRequest], rng: random.Random) -> list[ExampleRequest]:
        """Examples for the tone: those of the same kind first, then any."""
        others = [example for example in self.examples if example not in own]
        first = rng.sample(own, min(len(own), prompts.MAX_TONE))
        return first + rng.sample(others, min(len(others), prompts.MAX_TONE - len(first)))

    def _listed(self, rng: random.Random, name: str = "") -> list[ToolDefinition]:
        """All tools, or `MAX_DESCRIBED` of many, among them the one named."""
        names = list(self.tools)
        if len(names) > prompts.MAX_DESCRIBED:
            chosen = {*rng.sample(names, prompts.MAX_DESCRIBED - 1), name}
            names = [each for each in names if each in chosen]
        return [self.tools[each] for each in names]

    def _rng(self, what: str, name: str) -> random.Random:
        return random.Random(f"{self.seed}:teacher:{what}:{name}")


def _sizes(count: int) -> list[int]:
    """Sizes of the orders that have `count` requests together."""
    whole, rest = divmod(count, PER_ORDER)
    return [PER_ORDER] * whole + ([rest] if rest else [])


def _as_json(calls: Sequence[ExampleCall]) -> str:
    """The arguments of a call as the teacher sees them; several calls with their names."""
    if len(calls) == 1:
        return json.dumps(calls[0].arguments, ensure_ascii=False)
    return json.dumps([call.model_dump() for call in calls], ensure_ascii=False)
