"""Values for a request that nobody has worded: of the kind that the schema names, or that name and description tell."""

import datetime
import random
import re
from collections.abc import Mapping
from typing import Any

from aria_ray.requests.fitting import kind_of
from aria_ray.requests.kin import like
from aria_ray.requests.pools import enum_of, fitting_values, kind_in_pools, named_values, pool_named, split_words, type_of

MAX_ITEMS = 3
"""Most items of a list that is drawn."""
_GENERIC = re.compile(r"^(query|q|search|search term|keywords?|text|name|title|value|term|item|object|what|input|message)$")
# A usual number, by the words of a parameter's name and description.
_USUAL: tuple[tuple[str, float], ...] = (
    (r"\byears?\b", 2026),
    (r"\b(percent|percentage|brightness|volume|opacity|level)\b|%", 40),
    (r"\b(degrees|temperature|celsius)\b", 21),
    (r"\b(minutes?|mins?)\b", 30),
    (r"\bseconds?\b", 60),
    (r"\b(latitude|lat)\b", 48.2),
    (r"\b(longitude|lon|lng)\b", 16.4),
    (r"\b(guests?|people|persons?|party size|seats?|passengers?|adults)\b", 4),
    (r"\b(price|amount|cost|sum|budget|total|euros?|dollars?|money|bill|balance|payment|fee|salary)\b", 50),
    (r"\b(distance|km|kilometers|kilometres|miles|meters|metres)\b", 10),
    (r"\b(weight|kg|kilograms?|kilos)\b", 3),
    (r"\b(hours?|days|nights|weeks|months|count|quantity|limit|number of|rating|stars)\b", 3),
    (r"\b(id|number|code|account|ticket|invoice|order|pin)\b", 4821),
)
_PIECE = re.compile(
    r"(?:(?P<digit>\\d)|\[(?P<members>[^\]^\\]+)\]|(?P<sign>[\w #:/-]|\\[.#/-]))"
    r"(?:\{(?P<least>\d+)(?:,(?P<most>\d+))?\}|(?P<mark>[+?]))?"
)
_CODE_NAME = re.compile(
    r"\b(ids?|numbers?|no|codes?|references?|ref|keys?|sku|isbn|iban|plate|serial|postcode|zip|postal code)\b"
)
_PROGRAM = re.compile(r"\b(sql|json|regex|regular expression|xml|html|source code|base64|checksum|hash)\b", re.I)
"""Texts that no person says."""
_QUERY = re.compile(r"^(query|q|search|search term|keywords?|term)$")
_NAME_ENDING = re.compile(r"\s*\b(ids?|names?|numbers?|codes?|references?|keys?|titles?|text|value|string)$")


def drawn_value(name: str, schema: Mapping[str, Any], tool: str, rng: random.Random) -> Any:
    """A value of a parameter; None where no kind of value fits."""
    named = [value for value in named_values(schema) if value is not None]
    kind = type_of(schema) or ("string" if not named or isinstance(named[0], str) else "number")
    if kind == "boolean":
        return rng.random() < 0.6
    if kind in ("integer", "number"):
        return _number(name, schema, named, rng)
    if kind == "array":
        return _items(name, schema, tool, rng)
    return _object(schema, tool, rng) if kind == "object" else _text(name, schema, tool, named, rng)


def _text(name: str, schema: Mapping[str, Any], tool: str, named: list[Any], rng: random.Random) -> str | None:
    named = [value for value in named if isinstance(value, str) and value]
    texts = named if enum_of(schema) is not None else fitting_values(_texts(name, schema, tool, named, rng), schema)
    return rng.choice(texts) if texts else None


def noun_of(name: str) -> str:
    """What a parameter is about: `order` of `order_id`, `city` of `cityName`; its words where nothing is left."""
    words = split_words(name)
    return _NAME_ENDING.sub("", words) or words


def _number(name: str, schema: Mapping[str, Any], named: list[Any], rng: random.Random) -> Any:
    words = f"{split_words(name)} {str(schema.get('description', '')).lower()}"
    numbers = [value for value in named if isinstance(value, (int, float)) and not isinstance(value, bool)]
    if enum_of(schema) is not None:
        return rng.choice(numbers) if numbers else None
    usual = next((number for pattern, number in _USUAL if re.search(pattern, split_words(name))), None)
    usual = usual if usual is not None else next((number for pattern, number in _USUAL if re.search(pattern, words)), 5)
    base = rng.choice(numbers) if numbers else usual
    low, high = schema.get("minimum", schema.get("exclusiveMinimum")), schema.get("maximum", schema.get("exclusiveMaximum"))
    if isinstance(low, (int, float)) and base < low:
        base = low + 1
    if isinstance(high, (int, float)) and base > high:
        base = high - 1 if not isinstance(low, (int, float)) or high - 1 >= low else high
    base = int(base) if type_of(schema) == "integer" or float(base).is_integer() else base
    drawn = fitting_values([base, *like(base, name, schema, (), f"{name}:{rng.random()}")], schema)
    return rng.choice(drawn) if drawn else None


def _items(name: str, schema: Mapping[str, Any], tool: str, rng: random.Random) -> list[Any] | None:
    options = [schema, *schema.get("anyOf", ())]
    item = next((option["items"] for option in options if isinstance(option.get("items"), Mapping)), {"type": "string"})
    described = {"description": schema.get("description", ""), **item}
    one = re.sub(r"(?<=[a-z]{2})s$", "", split_words(name))
    least = max(1, int(schema.get("minItems", 1)))
    most = max(least, min(int(schema.get("maxItems", MAX_ITEMS)), MAX_ITEMS if type_of(item) != "object" else 1))
    items: list[Any] = []
    for _ in range(4 * MAX_ITEMS):
        value = drawn_value(one, described, tool, rng)
        if value is not None and value not in items and len(items) < most:
            items.append(value)
    keep = max(least, min(len(items), rng.choice((1, 2, 2, 3))))
    return items[:keep] if len(items) >= least else None


def _object(schema: Mapping[str, Any], tool: str, rng: random.Random) -> dict[str, Any] | None:
    option = next((one for one in (schema, *schema.get("anyOf", ())) if "properties" in one), None)
    if option is None:
        return None
    drawn = {
        key: drawn_value(key, option["properties"][key], tool, rng) for key in option.get("required", option["properties"])
    }
    return drawn if drawn and None not in drawn.values() else None


def _texts(name: str, schema: Mapping[str, Any], tool: str, named: list[str], rng: random.Random) -> list[str]:
    """Texts that fit a parameter: moments and codes by format and name, what the schema names with its kin, typed values, and
    for an unknown kind a label such as `sensor 3`."""
    words = split_words(name)
    moment = _moment(words, str(schema.get("format", "")), bool(named), rng)
    if moment is not None:
        return [moment]
    if named:
        alike = [other for value in named for other in like(value, name, schema, (), f"{name}:{rng.random()}")]
        kind = kind_in_pools(name, schema)
        alike += [value for value in pool_named(kind or "") if any(kind_of(value) == kind_of(own) for own in named)]
        return [*named, *(alike if not _GENERIC.match(words) else [])]
    if str(schema.get("pattern", "")).endswith("$"):
        return [made for _ in range(5) if (made := _of_pattern(str(schema["pattern"]), rng)) is not None]
    if _CODE_NAME.search(words) and not re.search(r"\bphone\b", words):
        return [_random_digits(shape, "0123456789", rng) for shape in ("A####", "B####", "K####", "####", "AB-####", "AB####")]
    kind = kind_in_pools(name, schema, tool if _GENERIC.match(words) else "")
    if (kind is None or _GENERIC.match(words)) and _PROGRAM.search(str(schema.get("description", ""))):
        return []
    if _QUERY.match(words) and kind in (None, "text", "task"):
        kind = "topic"
    typed = list(pool_named(kind)) if kind is not None else []
    return typed or [f"{noun_of(name)} {number}" for number in range(1, 10)]


def _moment(words: str, form: str, is_named: bool, rng: random.Random) -> str | None:
    """A date, a time or an id by the format of a schema, or by the words of a parameter's name; None for other kinds."""
    day = (datetime.date(2026, 1, 1) + datetime.timedelta(days=rng.randrange(360))).isoformat()
    time = f"{rng.randint(8, 20):02}:{rng.choice(('00', '00', '30', '15'))}"
    by_format = {"date": day, "time": time, "date-time": f"{day}T{time}:00Z"}
    if form == "uuid":
        return _random_digits("########-####-4###-8###-############", "0123456789abcdef", rng)
    if form or is_named:
        return by_format.get(form)
    if re.search(r"\bdates?\b", words):
        return day
    return time if re.search(r"\btimes?\b|^(start|end|until|begin|from|opens|closes)$", words) else None


def _of_pattern(pattern: str, rng: random.Random) -> str | None:
    """A text of a simple pattern: signs, digits and classes of them with counts; None for others."""
    text, last = "", 0
    pattern = pattern.removeprefix("^").removesuffix("$")
    for match in _PIECE.finditer(pattern):
        if match.start() != last:
            return None
        last = match.end()
        signs = _signs(match)
        least = int(match["least"] or (0 if match["mark"] == "?" else 1))
        most = int(match["most"] or (max(least, 4) if match["mark"] == "+" else least))
        text += "".join(rng.choice(signs) for _ in range(rng.randint(least, most)))
    return text if last == len(pattern) else None


def _signs(piece: re.Match[str]) -> str:
    """The signs that a piece of a pattern stands for."""
    if piece["digit"] is not None:
        return "0123456789"
    if piece["members"] is None:
        return piece["sign"].removeprefix("\\")
    ranges = re.findall(r"(\w)-(\w)|(.)", piece["members"])
    return "".join(one or "".join(map(chr, range(ord(low), ord(high) + 1))) for low, high, one in ranges)


def _random_digits(shape: str, digits: str, rng: random.Random) -> str:
    return "".join(rng.choice(digits) if sign == "#" else sign for sign in shape)
