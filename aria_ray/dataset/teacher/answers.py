"""What stands in the teacher's answers, whatever form they have."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

_THOUGHT = re.compile(r"<think>.*?(</think>|$)", re.S)
MAX_DEPTH = 10
"""Deepest level of objects and lists at which a request is looked for."""
_DECODER = json.JSONDecoder()


@dataclass(frozen=True)
class Written:
    """A request as the teacher wrote it."""

    request: str
    arguments: Mapping[str, Any] | None
    """The arguments that it gave with it."""


def written(content: str, count: int) -> dict[int, Written]:
    """The requests in an answer, by number from 0; a number that is missing has none.

    Text around the JSON is passed over, and of JSON that is cut off the parts that are whole are read. Requests without
    numbers count by position where there are `count` of them. Of two with one number the first is taken.
    """
    items = [item for value in _json_values(_THOUGHT.sub("", content)) for item in _items(value)]
    numbered: dict[int, Written] = {}
    for position, (number, item) in enumerate(items):
        if number is None and len(items) != count:
            continue
        place = position if number is None else number - 1
        if 0 <= place < count and item.request:
            numbered.setdefault(place, item)
    return numbered


def _json_values(text: str) -> Iterator[Any]:
    """Every object or list of a text that is whole JSON, the outermost ones."""
    place = 0
    while (start := re.compile(r"[{\[]").search(text, place)) is not None:
        try:
            value, place = _DECODER.raw_decode(text, start.start())
        except (ValueError, RecursionError):
            place = start.start() + 1
        else:
            yield value


def _items(value: Any, depth: int = 0) -> Iterator[tuple[int | None, Written]]:
    """Number and request of everything in a JSON value that is a request, down to `MAX_DEPTH`."""
    if depth > MAX_DEPTH:
        return
    if isinstance(value, str):
        yield None, Written(_line(value), None)
    elif isinstance(value, list):
        for item in value:
            yield from _items(item, depth + 1)
    elif isinstance(value, dict):
        if isinstance(value.get("request"), str):
            given = value.get("arguments")
            item = Written(_line(value["request"]), given if isinstance(given, dict) else None)
            yield _number(value.get("number")), item
        else:
            yield from (found for item in value.values() if isinstance(item, (list, dict)) for found in _items(item, depth + 1))


def _number(value: Any) -> int | None:
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 6:
        return int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _line(text: str) -> str:
    return " ".join(text.split())
