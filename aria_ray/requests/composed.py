"""Requests composed from a tool's definition, where nobody has said how people ask for it. The last resort.

They are short, as people type them, and their values are of fitting kinds only: what the schema names, or a typed pool. A value
whose kind is not known is not said where it may be left out.
"""

import random
import re
from collections.abc import Mapping
from typing import Any

from aria_ray.grammar import ToolDefinition
from aria_ray.requests.example import ExampleCall, ExampleRequest
from aria_ray.requests.pools import fits, named_values, pool_of, split_words

_ASKING = (
    "get", "find", "list", "show", "search", "check", "look", "read", "fetch", "query", "count", "calculate", "compute",
    "track",
)  # fmt: skip  # verbs of tools that answer a question
_ORDERS = (
    "{do}",
    "please {do}",
    "can you {do}",
    "could you {do} for me",
    "{do} please",
    "i want to {do}",
    "i need to {do}",
    "{Do}.",
)
_QUESTIONS = (
    "{do}",
    "what's the {thing}",
    "i need the {thing}",
    "can you {do}?",
    "{thing}?",
    "tell me the {thing}",
    "{Do}, please.",
)
_IN = re.compile(r"\b(room|zone|city|town|country|place|location|category|folder)\b")
_FOR = re.compile(r"\b(person|people|customer|user|guest|contact|who|item|product|minutes|hours|seconds|days|duration)\b")
_ON = re.compile(r"\b(date|day|weekday)\b")
_FROM_TO = {
    "from": "from",
    "to": "to",
    "source": "from",
    "target": "to",
    "destination": "to",
    "origin": "from",
    "recipient": "to",
}
_UNITS = re.compile(
    r"\b(minutes|hours|seconds|days|weeks|percent|degrees|people|guests|euros|dollars|kilograms|kilometers|miles)\b"
)
MAX_REQUESTS = 10
"""Most requests of one tool."""


def composed_requests(definition: ToolDefinition) -> list[ExampleRequest]:
    """Six to ten requests for a tool, the same every time; fewer where a required value has no fitting kind."""
    function = definition["function"]
    schema = function["parameters"]
    required = [key for key in schema.get("required", ()) if key in schema["properties"]]
    optional = [key for key in schema["properties"] if key not in required]
    words = split_words(str(function["name"]))
    does, thing = _does(words)
    ways = _QUESTIONS if words.split()[0] in _ASKING else _ORDERS
    made: dict[str, ExampleRequest] = {}
    for number in range(4 * MAX_REQUESTS):
        rng = random.Random(f"composed:{function['name']}:{number}")
        chosen = [*required, *(key for key in optional if rng.random() < 0.3)]
        arguments, clauses = {}, []
        for key in chosen:
            said = _said(key, schema["properties"][key], does, rng)
            if said is None and key in required:
                return []
            if said is not None:
                arguments[key] = said[0]
                clauses.append(said[1])
        tail = "".join(f" {clause}" for clause in clauses)
        way = ways[number % len(ways)]
        request = way.replace("{do}", does + tail).replace("{Do}", (does + tail).capitalize()).replace("{thing}", thing + tail)
        call = ExampleCall(name=function["name"], arguments=arguments)
        made.setdefault(request, ExampleRequest(request=request, calls=(call,)))
        if len(made) == MAX_REQUESTS:
            break
    return list(made.values())


def _does(words: str) -> tuple[str, str]:
    """What a tool does, and what it is about: `get weather` gives `get the weather` and `weather`."""
    verb, _, rest = words.partition(" ")
    if not rest:
        return words, words
    article = "" if rest.endswith("s") or re.match(r"(a|an|the|my|to|for|by|in|all)\b", rest) else "the "
    return f"{verb} {article}{rest}", rest


def _said(key: str, schema: Mapping[str, Any], does: str, rng: random.Random) -> tuple[Any, str] | None:
    """A value and the words that say it; None where no fitting value is known."""
    name = split_words(key)
    values = list(named_values(schema)) or _typed_values(key, schema, rng)
    values = [value for value in values if fits(value, schema) and not isinstance(value, (dict, list, bool))]
    if not values:
        return None
    value = rng.choice(values)
    words = f"{value:g}" if isinstance(value, float) else str(value).replace("_", " ")
    unit = _UNITS.search(name) or _UNITS.search(str(schema.get("description", "")).lower())
    if isinstance(value, (int, float)):
        return value, f"for {words} {unit[1]}" if unit else f"{name} {words}"
    if name in _FROM_TO:
        return value, f"{_FROM_TO[name]} {words}"
    if _ON.search(name):
        return value, f"on {words}"
    if re.search(r"\b(time|start|end|hour)\b", name):
        return value, f"at {words}"
    if _IN.search(name):
        article = "the " if words.islower() and "room" in name else ""
        return value, f"in {article}{words}"
    if _FOR.search(name):
        return value, f"for {words}"
    return value, words if "enum" in schema or name in does else f"{name} {words}"


def _typed_values(key: str, schema: Mapping[str, Any], rng: random.Random) -> list[Any]:
    kinds = [schema.get("type"), *(option.get("type") for option in schema.get("anyOf", ()))]
    name = split_words(key)
    if "integer" in kinds or "number" in kinds:
        low = schema.get("minimum", schema.get("exclusiveMinimum", 0) + 1 if "exclusiveMinimum" in schema else 1)
        high = schema.get("maximum", max(100, low * 2))
        return [int(rng.uniform(low, high)) if high - low >= 1 else low for _ in range(5)]
    if "string" not in kinds:
        return []
    form = schema.get("format")
    if form == "date" or (form is None and re.search(r"\bdate\b", name)):
        return [f"2026-{rng.randint(1, 12):02}-{rng.randint(1, 28):02}"]
    if form == "time" or (form is None and re.search(r"\btime\b", name)):
        return [f"{rng.randint(7, 21):02}:{rng.choice((0, 15, 30, 45)):02}"]
    if form == "date-time":
        return [f"2026-{rng.randint(1, 12):02}-{rng.randint(1, 28):02}T{rng.randint(7, 21):02}:00:00Z"]
    if form == "uuid":
        return [
            "".join(rng.choice("0123456789abcdef") if sign == "#" else sign for sign in "########-####-4###-8###-############")
        ]
    if re.search(r"\b(ids?|numbers?|codes?|references?|keys?)\b", name) and "pattern" not in schema:
        return [f"{rng.choice('ABCDEFGHK')}{rng.randint(1000, 9999)}"]
    return list(pool_of(key, schema))
