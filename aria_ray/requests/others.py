"""Values that may stand in place of an example's own, from what is known of the parameter."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from aria_ray.requests.fitting import is_verb_there, kind_of, reads_alike
from aria_ray.requests.kin import like
from aria_ray.requests.pools import (
    enum_of,
    fitting_values,
    kind_in_pools,
    kind_of_values,
    named_values,
    pool_named,
    split_words,
)
from aria_ray.requests.spellings import verb_of
from aria_ray.requests.values import leaves

ENOUGH_KNOWN = 4
"""With this many values of its own in the examples, a free text needs none from the package's."""
_GENERIC = frozenset(
    {
        "action", "amount", "begin", "body", "code", "comment", "content", "count", "data", "description", "end", "from",
        "id", "ids", "item", "keyword", "kind", "label", "level", "message", "mode", "name", "note", "number", "object", "q",
        "query", "reason", "search", "size", "start", "state", "status", "term", "text", "thing", "title", "to", "type",
        "until", "value", "what"
    }
)  # fmt: skip  # a list reads better in rows
"""Names of parameters that say nothing of the kind of their values."""
FREE_TEXTS = {
    "topic": r"\b(subjects?|topics?|event|meeting|appointment)\b",
    "task": r"\b(tasks?|reminders?|to ?dos?|titles?|names?|texts?|what|items?)\b",
    "text": r"\b(texts?|messages?|notes?|bod(y|ies)|comments?|contents?)\b",
}
"""Kinds whose values depend on what the tool is for, with the names of parameters that take any of them."""
_REASON = re.compile(r"\b(reason|cause|issue|problem|condition|feedback|mood|symptoms?|complaint)\b")
_ALONE = re.compile(r"([:\"'\u201c]|,|\bof|\bfor|\breason(?: is)?|\bsubject(?: is)?)\s*$", re.I)
_STARTS_WITH_PREPOSITION = re.compile(r"(on|in|at|by|with|without|to|for)[ _]")


@dataclass(frozen=True)
class Asked:
    """What is known of an argument."""

    tool: str
    tool_words: str
    """Words of the tool's name, and its description."""
    parameter: str
    """The tool's parameter that the argument is, or is a part of."""
    name: str
    """The name nearest to the value: the parameter's, or a property's within an object."""
    path: tuple[str | int, ...]
    """Path from the parameter to the value."""
    schema: Mapping[str, Any]
    """Schema of the value; empty where none says."""


def other_values(
    value: Any,
    asked: Asked,
    known: Mapping[tuple[str, str], tuple[Any, ...]],
    around: tuple[str, str],
    given: Sequence[Any] | None,
) -> list[Any]:
    """Values of the same type that fit the schema and read well between the texts `around`.

    `given` are those that the example names: then there are no others.
    """
    if given is not None:
        return fitting_values([other for other in given if type(other) is type(value)], asked.schema)
    enum = enum_of(asked.schema)
    if enum is not None:
        return _enum_values(value, enum, asked.name, around)
    if _REASON.search(split_words(asked.name)) and isinstance(value, str) and not _ALONE.search(around[0]):
        return []  # what is wrong is said in the grammar of its sentence
    same = _known_values(asked, known)
    kin = like(value, asked.name, asked.schema, same, f"{asked.tool}.{asked.parameter}:{value}")
    others = [*same, *named_values(asked.schema), *kin]
    if isinstance(value, str) and not kin:
        own = [other for other in same if isinstance(other, str) and reads_alike(value, other, *around)]
        others += _pool_values(value, asked, same, len(set(own)))
    others = [other for other in others if type(other) is type(value) and other != value]
    if isinstance(value, str):
        others = [other for other in others if reads_alike(value, other, *around)]
    elif kin:
        others = [other for other in others if other in kin or _same_size(value, other)]
    return fitting_values(list(dict.fromkeys(others)), asked.schema)


def _enum_values(value: Any, enum: Sequence[Any], name: str, around: tuple[str, str]) -> list[Any]:
    """The other values of an enum; where a verb stands, other verbs only."""
    others = [other for other in enum if type(other) is type(value) and other != value]
    own = bool(_STARTS_WITH_PREPOSITION.match(str(value)))  # `by car`, and `on foot`
    others = [other for other in others if bool(_STARTS_WITH_PREPOSITION.match(str(other))) == own]
    if _REASON.search(split_words(name)):  # an adjective here, a noun there: `it arrived damaged`, `the wrong item`
        others = [other for other in others if len(str(other).split()) == 1 == len(str(value).split())]
    if isinstance(value, str) and is_verb_there(value, *around):
        return [other for other in others if verb_of(str(other)) is not None]
    return others


def _known_values(asked: Asked, known: Mapping[tuple[str, str], tuple[Any, ...]]) -> list[Any]:
    """Values of the same parameter in other examples, then of parameters of other tools that have the same telling name."""
    same = [*_parts(known.get((asked.tool, asked.parameter), ()), asked.path)]
    if asked.parameter.lower() not in _GENERIC:
        for (tool, parameter), values in known.items():
            if parameter == asked.parameter and tool != asked.tool:
                same += _parts(values, asked.path)
    return same


def _parts(values: Sequence[Any], path: Sequence[str | int]) -> Iterator[Any]:
    """The values at a path, or at one that differs from it in places of lists alone."""
    named = [key for key in path if isinstance(key, str)]
    for value in values:
        for other, leaf in leaves(value):
            if [key for key in other if isinstance(key, str)] == named:
                yield leaf


def _pool_values(value: str, asked: Asked, same: Sequence[Any], fitting: int) -> list[str]:
    """Typed values: by the kind of the examples' values, by the parameter's name and description, by the tool where the name is
    generic.

    Free texts come only where the parameter's name asks for them and few of the user's own are `fitting`. Values of one case
    (`Anna`, `kitchen`) stay so.
    """
    if kind_of(value) in ("email", "url", "phone"):
        return list(pool_named(kind_of(value)))
    tool = asked.tool if split_words(asked.name) in _GENERIC else ""
    own = [other for other in (value, *same) if isinstance(other, str)]
    kind = kind_of_values(own) or kind_in_pools(asked.name, asked.schema, tool)
    if kind is None:
        return []
    names = FREE_TEXTS.get(kind)
    if names is not None and (fitting >= ENOUGH_KNOWN or not _asks_for(names, kind, asked)):
        return []
    return [other for other in pool_named(kind) if kind_of(other) == kind_of(value)]


def _asks_for(names: str, kind: str, asked: Asked) -> bool:
    """Whether free texts of a kind stand for an argument: by its name, or for a title by what the tool is for."""
    words = split_words(asked.name)
    return bool(
        re.search(names, words) or (kind == "topic" and words in ("title", "summary") and re.search(names, asked.tool_words))
    )


def _same_size(value: float, other: float) -> bool:
    """Whether a number of another example is of the same size, so that it reads alike."""
    return abs(other) <= 10 * abs(value) + 10 and abs(value) <= 10 * abs(other) + 10
