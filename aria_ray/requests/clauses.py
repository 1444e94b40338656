"""Words that say a value of a parameter in a composed request: within what the tool does, or as a clause after it."""

import re
from collections.abc import Mapping
from typing import Any

from aria_ray.requests.drawn import noun_of
from aria_ray.requests.fitting import kind_of
from aria_ray.requests.pools import enum_of, kind_in_pools, split_words
from aria_ray.requests.spellings import VERBS, is_plural, write

# Clauses of texts, by the words of the parameter's name: `{the}` is the value with an article where it needs one.
_BY_NAME: tuple[tuple[str, str], ...] = (
    (r"^(from|source|origin|sender|author|from .*|departure.*|start (city|station|location))$", "from {the}"),
    (r"^(to|target|destination|recipients?|to .*|arrival.*|payee|dest)$", "to {the}"),
    (r"^(until|till|end|end (date|time|day)|last day|check out|checkout)\b", "until {value}"),
    (r"\b(deadline|due|due date)\b", "by {value}"),
    (r"^(start|begin|first|check in|checkin) ?(date|day)?$|\bfirst day\b", "from {value}"),
    (r"\b(time|hour|start)\b", "at {value}"),
    (r"\b(date|day|weekday|when)\b", "{on}"),
    (r"\b(body|message|text|content|comment|note|description|memo)\b", ': "{value}"'),
    (r"\bsubject\b", "with the subject {value}"),
    (r"\b(title|name|label|called)$", "called {value}"),
    (r"\b(query|q|keywords?|search|term|terms)\b", "{about}"),
    (r"\b(topic|theme|about)\b", "about {value}"),
    (r"\b(language|lang|currency|unit|units|format|colou?r)\b", "in {value}"),
    (r"\b(attendees?|participants?|guests?|with|members?|invitees?)\b", "with {value}"),
    (
        r"\b(room|zone|city|town|country|place|location|area|region|store|branch|building|folder|list|category|album)\b",
        "in {the}",
    ),
    (r"\b(channel|platform|device|speaker|floor|calendar|board)\b", "on {the}"),
    (
        r"\b(person|people|customer|client|user|patient|student|employee|contact|assignee|who|owner|e ?mail|product|item)\b",
        "for {the}",
    ),
    (r"\breason\b", ", reason: {value}"),
    (r"\b(size)\b", "in size {value}"),
    (r"\b(priority|severity|urgency)\b", "with {value} priority"),
    (r"\b(position|level|state|status|mode)\b", "to {value}"),
)
_UNITS = re.compile(
    r"\b(minutes|hours|seconds|days|weeks|months|nights|percent|degrees|people|guests|persons|euros|dollars|kilograms|kilometers|"
    r"kilometres|miles|meters|metres|grams|litres|liters|servings|kg|km|passengers|adults|children|pages|words)\b"
)
_SPANS = (
    "minutes",
    "hours",
    "seconds",
    "days",
    "weeks",
    "months",
    "nights",
    "people",
    "guests",
    "persons",
    "passengers",
    "adults",
)
_SETTING = (
    "set",
    "turn",
    "change",
    "dim",
    "raise",
    "lower",
    "put",
    "adjust",
    "increase",
    "decrease",
    "move",
    "switch",
    "update",
    "mark",
)
"""Verbs of tools that bring something to a level."""
_ADVERBS = re.compile(r"(ed|al|ent|ive|ous|ic|ate|ble|ary)$|^(urgent|express|recurring|private|public|hot|fast|silent|gift)$")


def clause(name: str, schema: Mapping[str, Any], value: Any, head: str) -> str:
    """The words that say a value after `head`, what the tool does; they begin with a blank or a comma."""
    if isinstance(value, bool):
        return _boolean(name, value)
    if isinstance(value, dict):
        return "".join(
            clause(key, schema.get("properties", {}).get(key, {}), item, head)
            for key, item in value.items()
            if item is not None
        )
    if isinstance(value, list):
        return _list(name, schema, value, head)
    if isinstance(value, (int, float)):
        return _number(name, schema, value, head)
    return _text(name, schema, value, head)


def said(value: str, name: str = "", schema: Mapping[str, Any] | None = None) -> str:
    """A text as people say it, with an article where it is a thing in a house or a shop."""
    words = spoken(value)
    kind = kind_in_pools(name, schema or {}) if name else None
    if kind in ("room", "door", "device", "product") and words.islower() and not is_plural(words):
        return f"the {words}"
    return words


def spoken(value: str) -> str:
    """A text without underscores, and a moment in a form that people use."""
    kind = kind_of(value)
    if kind == "date":
        return write(value, f"day month of {value[:4]}") or value
    if kind == "date and time":
        return f"{spoken(value[:10])} at {value[11:16]}"
    return value.replace("_", " ") if kind in ("words", "name", "order") else value


def joined(items: list[str]) -> str:
    """Words of several values: `a, b and c`."""
    return " and ".join([", ".join(items[:-1]), items[-1]]) if len(items) > 1 else items[0]


def _text(name: str, schema: Mapping[str, Any], value: str, head: str) -> str:
    words, verb = split_words(name), head.split(" ")[0]
    if re.search(r"\bids?$|\b(number|code|reference)$", words):
        return f", {words} {value}" if noun_of(name) in head.split() else f" for {noun_of(name)} {value}"
    pattern = next((pattern for match, pattern in _BY_NAME if re.search(match, words)), None)
    if pattern is None:
        asked = "for {the}" if verb in ("get", "tell", "check", "find", "look", "calculate") else ", {name}: {value}"
        pattern = "with {name} {value}" if enum_of(schema) is not None else asked
    pattern = _moved(pattern, kind_of(value), verb, head)
    day = spoken(value)
    text = pattern.format(
        value=day,
        name=words,
        the=said(value, name, schema),
        on=day if kind_of(value) == "relative day" else f"on {day}",
        about=f"for {day}" if verb in ("search", "look", "google") else f"about {day}",
    )
    return text if text[0] in ",:" else f" {text}"


def _moved(pattern: str, kind: str, verb: str, head: str) -> str:
    """A pattern that suits the kind of a value and the verb: `to friday` after move, `to France` after shipping."""
    if kind in ("date", "date and time") and pattern == "at {value}":
        return "{on}"
    if pattern == "to {value}" and verb not in _SETTING:
        return ", {name} {value}"
    if kind == "time" and pattern == "from {value}":
        return "at {value}"
    if pattern == "{on}" and verb in ("move", "reschedule", "postpone", "shift", "delay", "push"):
        return "to {value}"
    return (
        "to {the}"
        if pattern == "in {the}" and re.search(r"\b(ship|shipping|send|deliver|delivery|fly|flights?)\b", head)
        else pattern
    )


def _number(name: str, schema: Mapping[str, Any], value: float, head: str) -> str:
    words, description = split_words(name), str(schema.get("description", "")).lower()
    number = f"{value:g}" if isinstance(value, float) else str(value)
    unit = _UNITS.search(words) or _UNITS.search(description)
    if re.search(r"\b(id|number|code)$", words):
        return f", {words} {number}" if noun_of(name) in head.split() else f" {noun_of(name)} {number}"
    if re.search(r"\b(limit|max|top|results)\b", words):
        return f", at most {number}"
    if unit is None:
        return f", {words} {number}"
    several = unit[0] if value != 1 else unit[0].removesuffix("s") if unit[0] != "people" else "person"
    if unit[0] in _SPANS:
        return f" for {number} {several}"
    if head.split(" ")[0] in _SETTING:
        return f" to {number} {several}"
    return f", {number} {several}"


def _list(name: str, schema: Mapping[str, Any], value: list[Any], head: str) -> str:
    items: Mapping[str, Any] = next(
        (one["items"] for one in (schema, *schema.get("anyOf", ())) if isinstance(one.get("items"), Mapping)), {}
    )
    if value and isinstance(value[0], dict):
        return "".join(clause(name, items, item, head) for item in value)
    if value and not isinstance(value[0], str):
        return f" of {joined([f'{item:g}' if isinstance(item, float) else str(item) for item in value])}"
    one = re.sub(r"(?<=[a-z]{2})s$", "", split_words(name))
    texts = joined([said(item, one, items) for item in value])
    mark = "Marked value"  # a name: the items bring their own articles
    pattern = _text(one, items, mark, head)
    return pattern.replace(mark, texts)


def _boolean(name: str, value: bool) -> str:
    """`with breakfast` and `without breakfast`, `urgent` and `not urgent`."""
    words = re.sub(r"^(is|has|should|be|include|with|show|enable|use|add|send|allow)\s+", "", split_words(name))
    if _ADVERBS.search(words.split()[-1]) or words.split()[0] in VERBS:
        return f", {words}" if value else f", not {words}"
    return f" {'with' if value else 'without'} {words}"
