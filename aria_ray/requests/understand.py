"""From an example to a template: its values found in its words, and the values that may stand in their place."""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from aria_ray.grammar import ToolDefinition
from aria_ray.requests.example import ExampleRequest
from aria_ray.requests.pools import fits, like, named_values, pool_of, split_words
from aria_ray.requests.template import Place, RequestTemplate, Slot
from aria_ray.requests.values import Span, find, find_opposite, leaves

Known = Mapping[tuple[str, str], tuple[Any, ...]]
"""Values of other examples by tool and parameter."""


def understand(example: ExampleRequest, tools: Mapping[str, ToolDefinition], known: Known) -> RequestTemplate:
    """The template of an example. `tools` are definitions by name, `known` values of other examples."""
    found: list[Slot] = []
    notes: list[str] = []
    waiting = [
        ((index, path), value)
        for index, call in enumerate(example.calls)
        for path, value in leaves(call.arguments)
        if path and value is not None
    ]
    # Long values first: a short one may be a part of their words.
    for place, value in sorted(waiting, key=lambda item: -len(str(item[1]))):
        call = example.calls[place[0]]
        parameter = split_words(str(next((key for key in reversed(place[1]) if isinstance(key, str)), "")))
        if isinstance(value, bool):
            slot = _opposite_slot(example, place, value, found)
        else:
            spans = [span for span in find(value, example.request) if not _taken(span, found, value)]
            slot = (
                None if not spans else _slot(example, place, value, _nearest(spans, parameter, example.request), tools, known)
            )
        if slot is None:
            notes.append(f"{call.name}.{'.'.join(map(str, place[1]))}: {value!r} is not in the words and stays as it is")
            continue
        same = next((index for index, other in enumerate(found) if other.start == slot.start), None)
        if same is not None:
            found[same] = _shared(found[same], slot)
        else:
            found.append(slot)
    slots = tuple(sorted(found, key=lambda slot: slot.start))
    for slot in slots:
        if len(slot.values) == 1:
            words = example.request[slot.start : slot.end]
            notes.append(f"{words!r} has no other values; name some in `values`, or in the schema's `examples`")
    return RequestTemplate(example, slots, tuple(notes))


def values_by_parameter(examples: Iterable[ExampleRequest]) -> Known:
    """The different values of examples by tool and parameter, in the order of the examples."""
    values: dict[tuple[str, str], list[Any]] = {}
    for example in examples:
        for call in example.calls:
            for parameter, value in call.arguments.items():
                known = values.setdefault((call.name, parameter), [])
                if value not in known:
                    known.append(value)
    return {key: tuple(known) for key, known in values.items()}


def _slot(
    example: ExampleRequest, place: Place, value: Any, span: Span, tools: Mapping[str, ToolDefinition], known: Known
) -> Slot:
    call, (parameter, *rest) = example.calls[place[0]], place[1]
    schema = _schema_at(tools[call.name]["function"]["parameters"], place[1]) if call.name in tools else {}
    given = example.values.get(
        str(rest[-1] if rest and isinstance(rest[-1], str) else parameter), example.values.get(str(parameter))
    )
    if given is not None:
        others: Sequence[Any] = given
    else:
        others = _others(value, schema, call.name, str(parameter), rest, known)
    kept = [other for other in others if type(other) is type(value) and (not schema or fits(other, schema))]
    distinct = list(dict.fromkeys([value, *kept]))
    return Slot(span.start, span.end, (place,), span.form, tuple(distinct))


def _others(
    value: Any, schema: Mapping[str, Any], tool: str, parameter: str, rest: Sequence[str | int], known: Known
) -> list[Any]:
    named = list(named_values(schema))
    if "enum" in schema or any("enum" in option for option in schema.get("anyOf", ())):
        return named
    name = str(next((key for key in reversed(rest) if isinstance(key, str)), parameter))
    others = [leaf for other in known.get((tool, parameter), ()) for path, leaf in leaves(other) if _alike(path, rest)]
    kin = like(value, schema, f"{tool}.{parameter}:{value}")
    others += [*named, *kin]
    if isinstance(value, str) and not kin:
        others += pool_of(name, schema)
    return others


def _alike(path: Sequence[str | int], rest: Sequence[str | int]) -> bool:
    """Whether two paths lead to the same kind of value: they differ in places of lists alone."""
    return [key for key in path if isinstance(key, str)] == [key for key in rest if isinstance(key, str)]


def _opposite_slot(example: ExampleRequest, place: Place, value: bool, found: Sequence[Slot]) -> Slot | None:
    """A slot for true or false where exactly one word of the request has an opposite; others stay as they are."""
    opposite = find_opposite(example.request)
    if opposite is None or _taken(opposite[0], found, value) or len(example.calls) > 1:
        return None
    span, word, other = opposite
    return Slot(span.start, span.end, (place,), span.form, (value, not value), (word, other))


def _taken(span: Span, found: Sequence[Slot], value: Any) -> bool:
    """Whether the words say another value already. The same value may be said once for two arguments."""
    return any(
        slot.start < span.end and span.start < slot.end and not (slot.start == span.start and slot.values[0] == value)
        for slot in found
    )


def _nearest(spans: Sequence[Span], parameter: str, text: str) -> Span:
    """The place of a value that is nearest to a word of its parameter's name; the first where no such word is said."""
    best = [span for span in spans if span.form == spans[0].form] or list(spans)
    words = [match.start() for word in parameter.split() for match in re.finditer(rf"\b{re.escape(word)}", text, re.I)]
    return min(best, key=lambda span: min((abs(span.start - word) for word in words), default=0))


def _shared(one: Slot, other: Slot) -> Slot:
    """A slot that stands for two arguments with the same words: values that fit both."""
    values = tuple(value for value in one.values if value in other.values)
    return Slot(one.start, one.end, (*one.places, *other.places), one.form, values)


def _schema_at(schema: Mapping[str, Any], path: Sequence[str | int]) -> Mapping[str, Any]:
    """The schema of a value within the arguments; empty where none says."""
    here: Mapping[str, Any] = schema
    for key in path:
        if isinstance(key, int):
            here = here.get("items") or {}
        else:
            options = [here, *here.get("anyOf", ())]
            here = next((option["properties"][key] for option in options if key in option.get("properties", {})), {})
        if not isinstance(here, Mapping):
            return {}
    return here
