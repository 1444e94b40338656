"""What a user's tool returns, as text for the model: texts as they are, numbers plainly, everything else as JSON."""

import datetime
import functools
import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from decimal import Decimal
from enum import Enum
from itertools import islice
from typing import Any

from pydantic import BaseModel

NOTHING = "done"
"""Text of a tool that returns nothing."""
MAX_ITEMS = 1000
"""Most items that are taken of an iterator, which may have no end."""
SIGNIFICANT_DIGITS = 12
"""Digits of a number with decimals: enough for coordinates and money, too few to show that 0.1 + 0.2 is not quite 0.3."""

EXACT_BELOW = 1e15
"""Whole numbers below it are written without `.0`."""


def result_text(value: Any) -> str:
    """Any result as text. None is "done"; a list of texts and numbers is joined by commas."""
    if isinstance(value, Decimal) and value.is_finite():
        return format(value, "f")
    found = as_json(value)
    if found is None:
        return NOTHING
    if isinstance(found, list) and all(_is_plain(item) for item in found):
        return ", ".join(_plain_text(item) for item in found) or "none"
    return _plain_text(found) if _is_plain(found) else json.dumps(found, ensure_ascii=False)


@functools.singledispatch
def as_json(value: Any) -> Any:
    """A value with JSON's types alone. A type that is not known is its `str`."""
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: as_json(getattr(value, field.name)) for field in fields(value)}
    for method in ("to_dict", "tolist"):  # pandas'; numpy's and torch's: without importing any of them
        if hasattr(value, method) and not isinstance(value, type):
            return as_json(getattr(value, method)())
    return str(value)


@as_json.register(str)
@as_json.register(int)
@as_json.register(type(None))
def _same(value: Any) -> Any:
    return as_json(value.value) if isinstance(value, Enum) else value


@as_json.register(float)
@as_json.register(Decimal)
def _number(value: float | Decimal) -> Any:
    """A number without the noise of binary fractions; as text where JSON has no number for it."""
    return float(f"{value:.{SIGNIFICANT_DIGITS}g}") if math.isfinite(value) else str(value)


@as_json.register
def _enum(value: Enum) -> Any:
    return as_json(value.value)


@as_json.register
def _model(value: BaseModel) -> Any:
    return as_json(value.model_dump())


@as_json.register
def _mapping(value: Mapping) -> Any:  # type: ignore[type-arg]  # dispatch takes no parameters of types
    return {str(as_json(key)): as_json(item) for key, item in value.items()}


@as_json.register(set)
@as_json.register(frozenset)
def _set(value: Any) -> Any:
    return sorted((as_json(item) for item in value), key=_sort_key)


@as_json.register(list)
@as_json.register(tuple)
@as_json.register(Iterator)
def _items(value: Any) -> Any:
    return [as_json(item) for item in islice(value, MAX_ITEMS if isinstance(value, Iterator) else None)]


@as_json.register(datetime.date)
@as_json.register(datetime.time)
def _moment(value: Any) -> Any:
    return value.isoformat()


@as_json.register(bytes)
@as_json.register(bytearray)
def _bytes(value: Any) -> Any:
    return bytes(value).decode("utf-8", errors="replace")


def _is_plain(value: Any) -> bool:
    return isinstance(value, (str, int, float)) and not isinstance(value, bool)


def _plain_text(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, float) and value.is_integer() and abs(value) < EXACT_BELOW:
        return str(int(value))
    return str(value)


def _sort_key(value: Any) -> tuple[bool, Any]:
    is_number = isinstance(value, (int, float))
    return (not is_number, value if is_number else str(value))
