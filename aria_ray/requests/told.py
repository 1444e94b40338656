"""What was understood of example requests, for people: `aria requests check`."""

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from aria_ray.grammar import ToolDefinition
from aria_ray.requests.read import PlacedExample
from aria_ray.requests.template import RequestTemplate, Slot
from aria_ray.requests.understand import understand, values_by_parameter

ENOUGH_EXAMPLES = 6
"""Example requests a tool from which a small model has learned to be right in most requests that are worded otherwise."""
SHOWN_VALUES = 4
"""Other values of a slot that are shown."""
MANY = 1000


def told(placed: Sequence[PlacedExample], tools: Mapping[str, ToolDefinition]) -> Iterator[str]:
    """Lines of text: each example with its slots, values and notes, then counts and hints for each tool."""
    known = values_by_parameter(example for _, example in placed)
    templates = [understand(example, tools, known) for _, example in placed]
    for (place, _), template in zip(placed, templates, strict=True):
        yield f"{place}: {_marked(template)}"
        yield from (f"    {line}" for line in _about(template))
    yield ""
    yield from _summary(templates, tools)


def _marked(template: RequestTemplate) -> str:
    """The request with each slot in brackets, under the name of its argument."""
    text, last = "", 0
    for slot in template.slots:
        text += f"{template.example.request[last : slot.start]}[{template.example.request[slot.start : slot.end]}]"
        last = slot.end
    return text + template.example.request[last:]


def _about(template: RequestTemplate) -> Iterator[str]:
    example = template.example
    if not example.calls:
        yield f"asks for {example.ask}" if example.ask else "no call"
    for call in example.calls:
        yield f"calls {call.name} {json.dumps(call.arguments, ensure_ascii=False)}"
    for slot in template.slots:
        yield _slot_line(slot)
    yield from (f"note: {note}" for note in template.notes)


def _slot_line(slot: Slot) -> str:
    names = ", ".join(".".join(map(str, path)) for _, path in slot.places)
    others = [json.dumps(value, ensure_ascii=False) for value in slot.values[1 : 1 + SHOWN_VALUES]]
    more = len(slot.values) - 1 - len(others)
    also = f"; also {', '.join(others)}" + (f" and {more} more" if more > 0 else "") if others else ""
    return (
        f"{names} = {json.dumps(slot.values[0], ensure_ascii=False)} ({slot.form.partition('|')[0].partition(' of ')[0]}){also}"
    )


def _summary(templates: Sequence[RequestTemplate], tools: Mapping[str, ToolDefinition]) -> Iterator[str]:
    called = Counter(name for template in templates for name in {call.name for call in template.example.calls})
    fillings: Counter[str] = Counter()
    for template in templates:
        for name in {call.name for call in template.example.calls}:
            fillings[name] += template.fillings
    for name in [*tools, *(name for name in called if name not in tools)]:
        count, possible = called[name], fillings[name]
        made = f"more than {MANY:,}" if possible > MANY else str(possible)
        hint = "" if count >= ENOUGH_EXAMPLES else f"; {ENOUGH_EXAMPLES} or more teach a tool well"
        yield (
            f"{name}: {count} example{'' if count == 1 else 's'}, {made} requests can be made of them{hint}"
            if count
            else (f"{name}: no example{hint}")
        )
    without = [template for template in templates if not template.example.calls]
    asking = sum(template.example.ask is not None for template in without)
    yield f"without a call: {len(without)}, of which {asking} ask for a missing value"
