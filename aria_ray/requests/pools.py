"""Values that may stand in place of an example's, by what is known of the parameter."""

import functools
import re
from collections.abc import Mapping, Sequence
from importlib import resources
from typing import Any

import yaml
from jsonschema import Draft202012Validator

_QUOTED = re.compile("[\"'\u201c\u2018`]([^\"'\u201d\u2019`]{1,40})[\"'\u201d\u2019`]")
_EXAMPLES = re.compile(r"(?:e\.g\.,?|for example,?|for instance,?|such as|like)\s+([^.;()]+)", re.I)
_WHOLE = ("language", "currency", "weekday", "month", "city", "country", "colour")
_BY_FORMAT = {"email": "email", "idn-email": "email", "uri": "url", "url": "url"}


@functools.cache
def pools() -> tuple[tuple[str, re.Pattern[str], tuple[str, ...]], ...]:
    """The typed values of the package: kind, pattern over the words of a parameter, values."""
    items = yaml.safe_load(resources.files("aria_ray.requests").joinpath("pools.yaml").read_text(encoding="utf-8"))
    return tuple((item["kind"], re.compile(item["match"], re.I), tuple(map(str, item["values"]))) for item in items)


@functools.cache
def _members() -> dict[str, frozenset[str]]:
    return {kind: frozenset(value.lower() for value in values) for kind, _, values in pools()}


def pool_of(parameter: str, schema: Mapping[str, Any], tool: str = "") -> tuple[str, ...]:
    """The typed values of a text parameter by its name, its description, then the tool's name; empty if no kind fits."""
    kind = kind_in_pools(parameter, schema, tool)
    return pool_named(kind) if kind is not None else ()


def pool_named(kind: str) -> tuple[str, ...]:
    """The typed values of a kind."""
    return next((values for name, _, values in pools() if name == kind), ())


def kind_of_values(values: Sequence[str]) -> str | None:
    """The kind that has at least half of these values; None where no kind has, or where they are of a text without kind."""
    wanted = {value.lower() for value in values}
    for kind, members in _members().items():
        # One word alone is of many kinds (`gym`), unless the kind is a list that is nearly whole.
        enough = 1 if kind in _WHOLE else 2
        if len(wanted & members) >= max(enough, 0.6 * len(wanted)):
            return kind
    return None


def kind_in_pools(parameter: str, schema: Mapping[str, Any], tool: str = "") -> str | None:
    """The name of the kind of values that a text parameter takes; None where neither name nor description tells."""
    given = _BY_FORMAT.get(str(schema.get("format")))
    if given is not None:
        return given
    description = str(schema.get("description", "")).lower()
    # What a description gives as an example is no kind: `a label, e.g. "pasta"`.
    described = _EXAMPLES.sub(" ", _QUOTED.sub(" ", description)).split(";")[0].split(". ")[0]
    for words in (split_words(parameter), described, split_words(tool) if tool else ""):
        for kind, pattern, _ in pools():
            if words and pattern.search(words):
                return kind
    return None


def named_values(schema: Mapping[str, Any]) -> tuple[Any, ...]:
    """Values that a parameter's schema names: enum, examples, default, and what its description gives as examples."""
    enum = enum_of(schema)
    if enum is not None:
        return enum
    given = [*schema.get("examples", ()), *([schema["default"]] if schema.get("default") not in (None, "") else [])]
    return tuple(given) + tuple(value for value in described_values(schema) if fits(value, schema))


def enum_of(schema: Mapping[str, Any]) -> tuple[Any, ...] | None:
    """The values that a schema allows, without null; None where it has no such list."""
    for option in (schema, *schema.get("anyOf", ()), *schema.get("oneOf", ())):
        if "enum" in option:
            return tuple(value for value in option["enum"] if value is not None)
    return None


def described_values(schema: Mapping[str, Any]) -> list[Any]:
    """Values that a description names after "e.g.", "such as" or "for example", or in quotes."""
    description = str(schema.get("description", ""))
    found: list[str] = _QUOTED.findall(description)
    if not found:
        for match in _EXAMPLES.finditer(description):
            found += [part.strip() for part in re.split(r",|\bor\b|\band\b", match[1]) if 0 < len(part.strip()) <= 40]
    kind = type_of(schema)
    if kind in ("integer", "number"):
        return [int(value) if kind == "integer" else float(value) for value in found if re.fullmatch(r"-?\d+", value)]
    return list(found)


def fits(value: Any, schema: Mapping[str, Any]) -> bool:
    """Whether a value fits a parameter's schema."""
    return bool(fitting_values([value], schema))


def fitting_values(values: Sequence[Any], schema: Mapping[str, Any]) -> list[Any]:
    """Those of the values that fit a parameter's schema."""
    validator = Draft202012Validator(dict(schema))
    return [value for value in values if validator.is_valid(value)]


def split_words(name: str) -> str:
    """The words of a name such as `room_name`, `roomName` or `X-Room`, in lower case."""
    return " ".join(re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", re.sub(r"[^A-Za-z0-9]+", " ", name)).lower().split())


def type_of(schema: Mapping[str, Any]) -> str:
    """The type of a schema without null."""
    kinds: Sequence[Any] = schema.get("type") or next(
        (option.get("type") for option in schema.get("anyOf", ()) if option.get("type") != "null"), ""
    )
    named = [kinds] if isinstance(kinds, str) else [kind for kind in kinds if kind != "null"]
    return str(named[0]) if named else ""
