"""Values that may stand in place of an example's, by what is known of the parameter."""

import datetime
import functools
import random
import re
from collections.abc import Mapping, Sequence
from importlib import resources
from typing import Any

import yaml
from jsonschema import Draft202012Validator

MAX_NUMBERS = 40
"""Most numbers, dates, times or codes that are drawn for one slot."""
_QUOTED = re.compile("[\"'\u201c\u2018`]([^\"'\u201d\u2019`]{1,40})[\"'\u201d\u2019`]")
_EXAMPLES = re.compile(r"(?:e\.g\.,?|for example,?|for instance,?|such as|like)\s+([^.;()]+)", re.I)
_CODE = re.compile(r"(?=.*\d)#?[A-Za-z0-9]+(-[A-Za-z0-9]+)*")


@functools.cache
def pools() -> tuple[tuple[str, re.Pattern[str], tuple[str, ...]], ...]:
    """The typed values of the package: kind, pattern over the words of a parameter, values."""
    items = yaml.safe_load(resources.files("aria_ray.requests").joinpath("pools.yaml").read_text(encoding="utf-8"))
    return tuple((item["kind"], re.compile(item["match"], re.I), tuple(map(str, item["values"]))) for item in items)


def pool_of(parameter: str, schema: Mapping[str, Any], tool: str = "") -> tuple[str, ...]:
    """The typed values of a text parameter by its name, its description, then the tool's name; empty if no kind fits."""
    if schema.get("format") == "email":
        parameter = "email"
    if schema.get("format") in ("uri", "url"):
        parameter = "url"
    for words in (split_words(parameter), str(schema.get("description", "")).lower(), split_words(tool) if tool else ""):
        for _, pattern, values in pools():
            if words and pattern.search(words):
                return values
    return ()


def named_values(schema: Mapping[str, Any]) -> tuple[Any, ...]:
    """Values that a parameter's schema names: enum, examples, default, and what its description gives as examples."""
    if "enum" in schema:
        return tuple(value for value in schema["enum"] if value is not None)
    for option in schema.get("anyOf", ()):
        if "enum" in option:
            return tuple(value for value in option["enum"] if value is not None)
    given = [*schema.get("examples", ()), *([schema["default"]] if schema.get("default") not in (None, "") else [])]
    return tuple(given) + tuple(value for value in described_values(schema) if fits(value, schema))


def described_values(schema: Mapping[str, Any]) -> list[Any]:
    """Values that a description names after "e.g.", "such as" or "for example", or in quotes."""
    description = str(schema.get("description", ""))
    found: list[str] = _QUOTED.findall(description)
    if not found:
        for match in _EXAMPLES.finditer(description):
            found += [part.strip() for part in re.split(r",|\bor\b|\band\b", match[1]) if 0 < len(part.strip()) <= 40]
    kind = _type(schema)
    if kind in ("integer", "number"):
        return [int(value) if kind == "integer" else float(value) for value in found if re.fullmatch(r"-?\d+", value)]
    return list(found)


def like(value: Any, schema: Mapping[str, Any], seed: str) -> tuple[Any, ...]:
    """Values like a number, a date, a time or a code, drawn with a seed; empty for other texts and for what has no kin."""
    rng = random.Random(seed)
    if isinstance(value, bool) or value is None:
        return ()
    if isinstance(value, (int, float)):
        return tuple(dict.fromkeys(_number_like(value, schema, rng) for _ in range(MAX_NUMBERS)))
    if re.fullmatch(r"\d{4}-\d\d-\d\d", value):
        year = int(value[:4])
        return tuple(
            datetime.date.fromordinal(datetime.date(year, 1, 1).toordinal() + rng.randrange(365)).isoformat()
            for _ in range(MAX_NUMBERS)
        )
    if re.fullmatch(r"([01]?\d|2[0-3]):[0-5]\d", value):
        steps = 60 if value.endswith("00") else 15 if value[-2:] in ("15", "30", "45") else 5
        return tuple(
            f"{minutes // 60:02}:{minutes % 60:02}"
            for minutes in (rng.randrange(7 * 60, 22 * 60, steps) for _ in range(MAX_NUMBERS))
        )
    if _CODE.fullmatch(value):
        return tuple(_code_like(value, rng) for _ in range(MAX_NUMBERS))
    return ()


def fits(value: Any, schema: Mapping[str, Any]) -> bool:
    """Whether a value fits a parameter's schema."""
    return Draft202012Validator(dict(schema)).is_valid(value)


def split_words(name: str) -> str:
    """The words of a name such as `room_name`, `roomName` or `X-Room`, in lower case."""
    return " ".join(re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", re.sub(r"[^A-Za-z0-9]+", " ", name)).lower().split())


def _type(schema: Mapping[str, Any]) -> str:
    """The type of a schema without null."""
    kinds: Sequence[Any] = schema.get("type") or next(
        (option.get("type") for option in schema.get("anyOf", ()) if option.get("type") != "null"), ""
    )
    named = [kinds] if isinstance(kinds, str) else [kind for kind in kinds if kind != "null"]
    return str(named[0]) if named else ""


def _number_like(value: float, schema: Mapping[str, Any], rng: random.Random) -> Any:
    """A number of the same size and roundness within the schema's bounds."""
    size = abs(value)
    low, high = (1.0, 12.0) if size <= 12 else (size / 4, size * 2.5)
    if size <= 1 and not float(value).is_integer():
        low, high = 0.1, 1.0
    low, high = max(low, schema.get("minimum", low)), min(high, schema.get("maximum", high))
    if high <= low:
        return value
    if not float(value).is_integer():
        digits = len(str(value).partition(".")[2])
        return round(rng.uniform(low, high), min(digits, 2))
    step = next(step for step in (1000, 100, 50, 10, 5, 1) if (value % step == 0 and size >= 2 * step) or step == 1)
    if step > 1 and rng.random() < 0.3:
        step = max(1, step // 10)  # rounder numbers are commoner, others occur
    first, last = -(-low // step), high // step
    number = int(rng.randint(int(first), max(int(first), int(last))) * step)
    number = -number if value < 0 else number
    return float(number) if isinstance(value, float) else number


def _code_like(value: str, rng: random.Random) -> str:
    letters, capitals = "abcdefghjkmnpqrstuvwxyz", "ABCDEFGHJKMNPQRSTUVWXYZ"
    signs = []
    has_digit_before = False
    for sign in value:
        if sign.isdigit():
            signs.append(rng.choice("0123456789" if has_digit_before else "123456789"))
            has_digit_before = True
        elif sign.isalpha() and not re.search(r"[A-Za-z]{4}", value):
            signs.append(rng.choice(capitals if sign.isupper() else letters))
        else:
            signs.append(sign)
    return "".join(signs)
