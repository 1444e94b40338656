"""From an example to a template: its values found in its words, and the values that may stand in their place."""

import difflib
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from aria_ray.grammar import ToolDefinition
from aria_ray.requests.dates import date_of
from aria_ray.requests.example import ExampleRequest
from aria_ray.requests.fitting import is_verb_there, kind_of
from aria_ray.requests.kin import MOMENTS
from aria_ray.requests.opposites import find_opposite
from aria_ray.requests.others import Asked, other_values
from aria_ray.requests.pools import split_words
from aria_ray.requests.spellings import verb_of, write
from aria_ray.requests.template import Place, RequestTemplate, Slot, linked_slots
from aria_ray.requests.values import Span, find, leaves

Known = Mapping[tuple[str, str], tuple[Any, ...]]
"""Values of other examples by tool and parameter."""
_LIMIT = re.compile(
    r"\b(min|max|minimum|maximum|lowest|highest|low|high|from|to|start|end|first|last|lower|upper|below|above)\b"
)
_WEEKDAY = re.compile(r"\b(mon|tues?|wed(nes)?|thu(rs)?|fri|sat(ur)?|sun)(day)?\b", re.I)
MIN_LIKENESS = 0.8
"""Least likeness (difflib's ratio) of words that may be a value with a typing error."""


def understand(example: ExampleRequest, tools: Mapping[str, ToolDefinition], known: Known) -> RequestTemplate:
    """The template of an example. `tools` are definitions by name, `known` values of other examples."""
    found: list[Slot] = []
    missing: list[tuple[Place, Any]] = []
    unclear: list[str] = []
    # Long values first: a short one may be a part of their words.
    for place, value in sorted(_values(example), key=lambda item: -len(str(item[1]))):
        asked = _asked(example, place, tools)
        spans = [] if isinstance(value, bool) else _free(find(value, example.request), found, value)
        if isinstance(value, bool):
            slot = _opposite_slot(example, place, value, found, asked)
        else:
            slot = _slot(example, place, value, spans, asked, known) if spans else None
            unclear += _unclear(example, place, spans, value, slot)
        if slot is None:
            missing.append((place, value))
            continue
        same = next((index for index, other in enumerate(found) if other.start == slot.start), None)
        if same is None:
            found.append(slot)
        else:
            found[same] = _shared(found[same], slot)
    slots = sorted(found, key=lambda slot: slot.start)
    notes = unclear + [_not_found(example, place, value, found) for place, value in missing]
    notes += [
        f"{example.request[slot.start : slot.end]!r} has no other values; name some in `values`, or in the schema's `examples`"
        for slot in slots
        if len(slot.values) == 1 and slot.linked is None
    ]
    limits = [_LIMIT.search(split_words(str(slot.places[0][1][-1]))) is not None for slot in slots]
    return RequestTemplate(example, linked_slots(slots, limits), tuple(notes))


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


def _values(example: ExampleRequest) -> Iterator[tuple[Place, Any]]:
    for index, call in enumerate(example.calls):
        for path, value in leaves(call.arguments):
            if path and value is not None:
                yield (index, path), value


def _asked(example: ExampleRequest, place: Place, tools: Mapping[str, ToolDefinition]) -> Asked:
    """What is known of the argument at a place."""
    name, path = example.calls[place[0]].name, place[1]
    named = [key for key in path if isinstance(key, str)]
    definition: Mapping[str, Any] = tools[name]["function"] if name in tools else {"parameters": {}}
    return Asked(
        tool=name,
        tool_words=f"{split_words(name)}. {definition.get('description', '')}",
        parameter=str(path[0]),
        name=named[-1] if named else str(path[0]),
        path=path[1:],
        schema=_schema_at(definition["parameters"], path),
    )


def _slot(example: ExampleRequest, place: Place, value: Any, spans: Sequence[Span], asked: Asked, known: Known) -> Slot:
    text = example.request
    span = _as_verb(_nearest(spans, asked.name, text), value, text)
    again = tuple((other.start, other.end, other.form) for other in spans if other.start != span.start and _is_text(value))
    given = example.values.get(asked.name, example.values.get(asked.parameter))
    values = [value]
    others = other_values(value, asked, known, (text[: span.start], text[span.end :]), given)
    for other in _on_same_weekday(value, others, text):
        ways = (span.form, *(form for _, _, form in again))
        if other not in values and all(write(other, form) is not None for form in ways):
            values.append(other)
    moves = given is None and isinstance(value, str) and kind_of(value) in MOMENTS and "enum" not in asked.schema
    linked = kind_of(value) if moves else None
    return Slot(span.start, span.end, (place,), span.form, tuple(values), again=again, linked=linked)


def _on_same_weekday(value: Any, others: Sequence[Any], text: str) -> Sequence[Any]:
    """The values; of dates only those on the same day of the week, where the request names one."""
    date = date_of(value[:10]) if isinstance(value, str) and kind_of(value) in ("date", "date and time") else None
    if date is None or not _WEEKDAY.search(text):
        return others
    dates = [(other, date_of(other[:10])) for other in others]
    return [other for other, day in dates if day is not None and day.weekday() == date.weekday()]


def _unclear(example: ExampleRequest, place: Place, spans: Sequence[Span], value: Any, slot: Slot | None) -> list[str]:
    """A note where a number stands at several places and nothing tells which one is meant."""
    alike = [span for span in spans if span.rank == spans[0].rank]
    if slot is None or _is_text(value) or len(alike) < 2:
        return []
    before = " ".join(example.request[: slot.start].split()[-2:])
    taken = f"the one after {before!r}" if before else "the first one"
    name = f"{example.calls[place[0]].name}.{'.'.join(map(str, place[1]))}"
    return [f"{name}: {value!r} stands {len(alike)} times; {taken} is taken"]


def _as_verb(span: Span, value: Any, text: str) -> Span:
    """A span in the form of a verb where it says what is to be done: `open the blinds` is closed by `close the blinds`."""
    said = text[span.start : span.end]
    if isinstance(value, str) and verb_of(value) == said.lower() and is_verb_there(said, text[: span.start], text[span.end :]):
        return replace(span, form="verb|capital" if said[0].isupper() else "verb")
    return span


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and len(value) > 2


def _opposite_slot(example: ExampleRequest, place: Place, value: bool, found: Sequence[Slot], asked: Asked) -> Slot | None:
    """A slot for true or false where one word of the request has an opposite; others stay as they are."""
    if len(example.calls) > 1:
        return None
    description = f"{asked.schema.get('description', '')}. {asked.tool_words}"
    word = find_opposite(example.request, asked.name, description, asked.tool)
    if word is None or any(slot.start < word.end and word.start < slot.end for slot in found):
        return None
    return Slot(word.start, word.end, (place,), "opposite", (value, not value), (word.said, word.other))


def _free(spans: Sequence[Span], found: Sequence[Slot], value: Any) -> list[Span]:
    """Places that say no other value; those that say the same value for another argument only where there is no free one."""
    free = [span for span in spans if not any(slot.start < span.end and span.start < slot.end for slot in found)]
    shared = [span for span in spans if any(slot.start == span.start and slot.values[0] == value for slot in found)]
    if _is_text(value):
        return shared or free
    return free or shared


def _nearest(spans: Sequence[Span], parameter: str, text: str) -> Span:
    """The place of a value that is nearest to a word of its parameter's name; the first where no such word is said."""
    best = [span for span in spans if span.rank == spans[0].rank]
    words = [
        match.start() for word in split_words(parameter).split() for match in re.finditer(rf"\b{re.escape(word)}", text, re.I)
    ]
    return min(best, key=lambda span: min((abs(span.start - word) for word in words), default=0))


def _shared(one: Slot, other: Slot) -> Slot:
    """A slot that stands for two arguments with the same words: values that fit both."""
    values = tuple(value for value in one.values if value in other.values)
    return replace(one, places=(*one.places, *other.places), values=values)


def _not_found(example: ExampleRequest, place: Place, value: Any, found: Sequence[Slot]) -> str:
    """The note on a value that is not in the words, with what the words say in its place where that can be told."""
    name = f"{example.calls[place[0]].name}.{'.'.join(map(str, place[1]))}"
    shown = json.dumps(value, ensure_ascii=False)
    note = f"{name}: {shown} is not in the words and stays as it is"
    if isinstance(value, bool):
        return f"{name}: {shown} stays as it is; no word here has an opposite that says the other value"
    if isinstance(value, str) and len(value) > 3:
        size = len(value.split())
        words = re.findall(r"[\w'-]+", example.request)
        windows = [" ".join(words[start : start + size]) for start in range(len(words) - size + 1)]
        near = difflib.get_close_matches(value.lower(), [window.lower() for window in windows], n=1, cutoff=MIN_LIKENESS)
        return f"{note}; the words say {near[0]!r}: is one of them misspelled?" if near else note
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        free = [
            match[0]
            for match in re.finditer(r"(?<![\w.,-])\d+(?:[.,]\d+)*", example.request)
            if not any(slot.start < match.end() and match.start() < slot.end for slot in found)
        ]
        return f"{note}; the words say {', '.join(free)}: is one of them wrong?" if free else note
    return note


def _schema_at(schema: Mapping[str, Any], path: Sequence[str | int]) -> Mapping[str, Any]:
    """The schema of a value within the arguments; empty where none says."""
    here: Mapping[str, Any] = schema
    for key in path:
        options = [here, *here.get("anyOf", ()), *here.get("oneOf", ())]
        if isinstance(key, int):
            here = next((option["items"] for option in options if isinstance(option.get("items"), Mapping)), {})
        else:
            here = next((option["properties"][key] for option in options if key in option.get("properties", {})), {})
        if not isinstance(here, Mapping):
            return {}
    return here
