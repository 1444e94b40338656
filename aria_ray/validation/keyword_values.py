"""Arguments that the keyword baseline reads from a request, by rules from the schema of a tool alone."""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from aria_ray.tools import schema_problem

_NUMBERS = {
    word: number
    for number, word in enumerate(
        re.findall(
            r"\w+",
            "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
            "eighteen nineteen twenty",
        )
    )
} | {"thirty": 30, "forty": 40, "fifty": 50, "sixty": 60, "seventy": 70, "eighty": 80, "ninety": 90, "hundred": 100}
_NUMBER = re.compile(rf"(?<![\w.:])-?\d[\d,]*(?:\.\d+)?(?![\d:])|\b(?:{'|'.join(_NUMBERS)})\b", re.I)
_ON = re.compile(r"\b(?:on|yes|true|enable|enabled|with|lock|open)\b", re.I)
_OFF = re.compile(r"\b(?:off|no|not|false|disable|disabled|without|unlock|close)\b", re.I)
_DAYS = "monday|tuesday|wednesday|thursday|friday|saturday|sunday"
_MONTHS = "january|february|march|april|may|june|july|august|september|october|november|december"
_DATE = re.compile(
    rf"\d{{4}}-\d\d-\d\d|\b(?:{_MONTHS}) \d{{1,2}}(?:st|nd|rd|th)?|\b\d{{1,2}}(?:st|nd|rd|th)? (?:of )?(?:{_MONTHS})\b"
    rf"|\b(?:today|tomorrow|tonight|(?:next |this )?(?:{_DAYS}))\b",
    re.I,
)
_TIME = re.compile(r"\b(\d{1,2})(?:[:.](\d\d))? ?([ap])\.?m\b\.?|\b([01]?\d|2[0-3]):(\d\d)\b|\b(noon|midnight)\b", re.I)
_DATE_AND_TIME = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(?::\d\d)?(?:Z|[+-]\d\d:\d\d)?")
_EMAIL = re.compile(r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+")
_URL = re.compile(r"https?://[^\s<>\"']+[^\s<>\"'.,?!)]")
_CODE = re.compile(r"(?<![\w#-])#?(?=[\w-]*\d)[A-Za-z0-9]+(?:[-_][A-Za-z0-9]+)*")
_CODE_WITH_LETTERS = re.compile(rf"(?=[#\d_-]*[A-Za-z]){_CODE.pattern}")
_QUOTED = re.compile(r"\"([^\"]+)\"|\u201c([^\u201d]+)\u201d|(?<!\w)['\u2018]([^'\u2019]+)['\u2019](?!\w)")
_CAPITALISED = re.compile(r"(?<=[\w,;:] )(?!I\b)[A-Z][\w'-]*(?: [A-Z][\w'-]*)*")
_PREPOSITIONS = "in|on|at|to|for|from|about|with|of|by|called|named|titled|saying|that|into|as"
_AFTER_PREPOSITION = re.compile(
    rf"\b(?:{_PREPOSITIONS}) (?:the |a |an |my |our )?(\S.*?)(?= (?:{_PREPOSITIONS}|please|thanks)\b|[,;?!]|[.](?:\s|$)|$)",
    re.I,
)
_SEPARATOR = re.compile(r"\s*,\s*(?:and\s+)?|\s+and\s+", re.I)
_BY_FORMAT = {"date": _DATE, "time": _TIME, "date-time": _DATE_AND_TIME, "email": _EMAIL, "uri": _URL, "url": _URL}
_BY_NAME = {
    "email": _EMAIL,
    "mail": _EMAIL,
    "url": _URL,
    "link": _URL,
    "date": _DATE,
    "day": _DATE,
    "due": _DATE,
    "time": _TIME,
    "id": _CODE,
    "code": _CODE,
    "number": _CODE,
    "order": _CODE,
    "ticket": _CODE,
    "invoice": _CODE,
    "reference": _CODE,
    "sku": _CODE,
}
"""What a parameter of text holds if this word is in its name."""
MAX_ITEMS = 20
Schema = Mapping[str, Any]
Fits = Callable[[re.Match[str]], bool]
_Reader = Callable[["_Request", Schema, str, bool], Any]


def arguments(schema: Schema, request: str) -> dict[str, Any]:
    """Values for the parameters of a tool, as far as a rule finds one in the request.

    Enums: the option that is in the request. Booleans: words such as "on" and "off". Numbers, dates, times, e-mail
    addresses, web addresses and codes: by their patterns, in order. Other text: what is quoted; if it is required also
    capitalised words, else the words after a preposition. Nothing is read twice.
    """
    return _Request(request).object(schema)


class _Request:
    """A request, and which parts of it were read."""

    def __init__(self, text: str) -> None:
        self.text, self.taken = text, [False] * len(text)

    def object(self, schema: Schema) -> dict[str, Any]:
        """Values of an object, those first that have the narrowest rules, in the order of the schema."""
        parameters = {name: _plain(each) for name, each in (schema.get("properties") or {}).items()}
        required = schema.get("required") or ()
        found: dict[str, Any] = {}
        for name in sorted(parameters, key=lambda name: _width(parameters[name], name)):
            value = self.value(parameters[name], name, name in required)
            if value is not None:
                found[name] = value
        return {name: found[name] for name in parameters if name in found}

    def value(self, schema: Schema, name: str, required: bool) -> Any:
        """The value of a parameter; None where no rule finds any."""
        if "enum" in schema:
            return self.option(schema["enum"])
        reader = _READERS.get(str(schema.get("type")))
        return reader(self, schema, name, required) if reader else None

    def option(self, options: Sequence[Any]) -> Any:
        """The option whose words come first in the request, the longest of those that come there."""
        found = {}
        for index, option in enumerate(option for option in options if re.search(r"\w", str(option))):
            spoken = r"[\s_-]+".join(map(re.escape, re.split(r"[\s_-]+", str(option))))
            pattern = re.compile(rf"\b{spoken}(?:s|es)?\b", re.I)
            match = self.find(pattern)
            if match is not None:
                found[match.start(), -len(match.group()), index] = (option, pattern)
        if not found:
            return None
        option, pattern = found[min(found)]
        self.take(pattern)
        return option

    def boolean(self, _schema: Schema, _name: str, _required: bool) -> bool | None:
        """False for a word such as "off", else true for one such as "on"."""
        if self.take(_OFF) is not None:
            return False
        return True if self.take(_ON) is not None else None

    def number(self, schema: Schema, _name: str, _required: bool) -> float | None:
        """The first number that fits the schema."""
        match = self.take(_NUMBER, lambda match: _fits(schema, _number(match.group())))
        return None if match is None else _number(match.group())

    def text_value(self, schema: Schema, name: str, required: bool) -> str | None:
        """A text: by pattern, format or name of the parameter, else what is quoted; else by its place, if it is required."""
        pattern = _pattern(schema, name)
        # A code of digits alone may be any number of the request.
        for each in (_CODE_WITH_LETTERS, _CODE) if pattern is _CODE else (pattern,) if pattern else ():
            match = self.take(each, lambda match: _fits(schema, _written(match)))
            if match is not None:
                return _written(match)
        for rule in (_QUOTED, *((_CAPITALISED, _AFTER_PREPOSITION) if required else ())):
            match = self.take(rule)
            if match is not None:
                return next((part for part in match.groups() if part), match.group()).strip()
        return None

    def array(self, schema: Schema, name: str, required: bool) -> list[Any] | None:
        """Values of the items' kind as long as there are any; a text is split at commas and "and"."""
        items = _plain(schema.get("items") or {"type": "string"})
        values: list[Any] = []
        while len(values) < MAX_ITEMS and (value := self.value(items, name, required and not values)) is not None:
            is_list = items.get("type") == "string" and "enum" not in items and _pattern(items, name) is None
            values += _SEPARATOR.split(value) if is_list else [value]
        return values or None

    def nested(self, schema: Schema, _name: str, _required: bool) -> dict[str, Any] | None:
        """The values of an object within the arguments."""
        return self.object(schema) or None

    def take(self, pattern: re.Pattern[str], fits: Fits = lambda _match: True) -> re.Match[str] | None:
        """The first match that fits and of which nothing was read before; it counts as read from now on."""
        match = self.find(pattern, fits)
        if match is not None:
            start, end = match.span()
            self.taken[start:end] = [True] * (end - start)
        return match

    def find(self, pattern: re.Pattern[str], fits: Fits = lambda _match: True) -> re.Match[str] | None:
        """The first match that fits and of which nothing was read before."""
        matches = (match for match in pattern.finditer(self.text) if not any(self.taken[match.start() : match.end()]))
        return next((match for match in matches if fits(match)), None)


_READERS: dict[str, _Reader] = {
    "boolean": _Request.boolean,
    "integer": _Request.number,
    "number": _Request.number,
    "string": _Request.text_value,
    "array": _Request.array,
    "object": _Request.nested,
}


def _plain(schema: Any) -> Schema:
    """A schema with one type: of several, or of several schemas, the first that is not null."""
    if not isinstance(schema, Mapping):
        return {}
    parts = schema.get("anyOf") or schema.get("oneOf")
    if parts:
        return _plain(next((part for part in parts if part.get("type") != "null"), {}))
    if isinstance(schema.get("type"), list):
        return {**schema, "type": next((each for each in schema["type"] if each != "null"), "string")}
    if "const" in schema:
        return {**schema, "enum": [schema["const"]]}
    return schema


def _width(schema: Schema, name: str) -> int:
    """How much of a request a parameter's rule would take: enums before numbers before free text."""
    if "enum" in schema or "enum" in _plain(schema.get("items")):
        return 0
    kind = _plain(schema.get("items")).get("type") if schema.get("type") == "array" else schema.get("type")
    if kind == "string":
        return 1 if _pattern(schema, name) else 4
    return 2 if kind in ("integer", "number") else 3


def _pattern(schema: Schema, name: str) -> re.Pattern[str] | None:
    """The pattern of a parameter of text, by its format, else by the last word of its name that tells one."""
    by_format = _BY_FORMAT.get(str(schema.get("format")))
    parts = re.findall(r"[A-Z]?[a-z]+", name)
    return by_format or next((_BY_NAME[part.lower()] for part in reversed(parts) if part.lower() in _BY_NAME), None)


def _written(match: re.Match[str]) -> str:
    """A match as the argument has it: a time of day as HH:MM, a code without "#"."""
    if match.re is not _TIME:
        return match.group().lstrip("#")
    hour, minute, half, hour_of_day, minutes, word = match.groups()
    if word:
        return "12:00" if word.lower() == "noon" else "00:00"
    if half:
        return f"{int(hour) % 12 + 12 * (half.lower() == 'p'):02}:{minute or '00'}"
    return f"{int(hour_of_day):02}:{minutes}"


def _number(text: str) -> float:
    if text.lower() in _NUMBERS:
        return _NUMBERS[text.lower()]
    number = float(text.replace(",", ""))
    return int(number) if number.is_integer() else number


def _fits(schema: Schema, value: Any) -> bool:
    """Whether a value keeps to the schema of its parameter."""
    parameters = {"type": "object", "properties": {"value": schema}}
    return schema_problem({"function": {"parameters": parameters}}, {"value": value}) is None
