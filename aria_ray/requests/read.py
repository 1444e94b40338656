"""Files of example requests, JSON Lines or YAML, read and checked against the tools."""

import difflib
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from aria_ray.errors import DataError
from aria_ray.grammar import ToolDefinition
from aria_ray.requests.example import ExampleRequest
from aria_ray.requests.lines import Unreadable, json_lines, yaml_lines
from aria_ray.requests.values import leaves
from aria_ray.tools import schema_problem

PlacedExample = tuple[str, ExampleRequest]
"""An example, and where it stands, for messages."""
KEYS = tuple(ExampleRequest.model_fields)
"""Keys of a line."""
MAX_SHOWN = 60
"""Most characters of a value that a message shows."""
MAX_NAMED = 20
"""Most problems that one message names."""
SHAPE = 'write {"request": "...", "calls": [{"name": "...", "arguments": {...}}]}'


def read_requests(path: Path, named_by: str) -> list[PlacedExample]:
    """The example requests of a file of JSON Lines, a JSON list or YAML, each with its place, `FILE:LINE`.

    Raises:
        DataError: the file cannot be read, or lines of it are wrong; the message names each of the first 20.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise DataError(f"{named_by} {path} cannot be read ({reason})", "give JSON Lines or YAML in UTF-8") from None
    is_yaml = path.suffix.lower() in (".yaml", ".yml")
    try:
        lines = list(yaml_lines(text) if is_yaml else json_lines(text))
    except (yaml.YAMLError, ValueError) as error:
        raise DataError(f"{named_by} {path} cannot be read ({' '.join(str(error).split())})", SHAPE) from None
    placed, problems = [], []
    for number, item in lines:
        place = f"{path}:{number}"
        problem = item.problem if isinstance(item, Unreadable) else _shape_problem(item)
        if problem is not None:
            problems.append(f"{place}: {problem}")
            continue
        try:
            placed.append((place, ExampleRequest.model_validate_json(json.dumps(item))))
        except (ValidationError, ValueError) as error:
            problems.append(f"{place}: {_first_problem(error)}")
    _refuse(problems, SHAPE)
    if not placed:
        raise DataError(f"{named_by} {path} has no requests", SHAPE)
    return placed


def check_examples(placed: Sequence[PlacedExample], tools: Mapping[str, ToolDefinition]) -> None:
    """Raise DataError if examples do not fit the tools: every place, with what is wrong."""
    problems = [f"{place}: {problem}" for place, example in placed for problem in _problems(example, tools)]
    said: dict[str, tuple[str, ExampleRequest]] = {}
    for place, example in placed:
        earlier = said.setdefault(" ".join(example.request.lower().split()), (place, example))
        if earlier[1].calls != example.calls and earlier[1].tools == example.tools:
            problems.append(f"{place}: {example.request!r} has other calls at {earlier[0]}")
    _refuse(problems, "correct these lines")


def _problems(example: ExampleRequest, tools: Mapping[str, ToolDefinition]) -> Iterator[str]:
    listed = example.tools if example.tools is not None else tuple(tools)
    for name in dict.fromkeys((*(call.name for call in example.calls), *(example.tools or ()))):
        if name not in tools:
            near = difflib.get_close_matches(name, tools, n=3, cutoff=0.3) or list(tools)[:3]
            yield f"there is no tool {name!r}; there are {', '.join(near)}"
        elif name not in listed:
            yield f"{name} is called and not among its `tools`"
    for call in example.calls:
        if call.name in tools:
            problem = schema_problem(tools[call.name], call.arguments)
            if problem is not None:
                yield f"arguments of {call.name}: {problem}"
    yield from _value_problems(example, tools)
    parameters = {key for name in listed if name in tools for key in _parameters(tools[name])}
    if example.ask is not None and example.ask not in parameters:
        near = difflib.get_close_matches(example.ask, parameters, n=3, cutoff=0.3) or sorted(parameters)[:3]
        yield f"`ask` {example.ask!r} is no parameter of a tool; there are {', '.join(near)}"


def _value_problems(example: ExampleRequest, tools: Mapping[str, ToolDefinition]) -> Iterator[str]:
    """Values under `values` that stand for no argument of the calls."""
    named = {
        str(key)
        for call in example.calls
        for path, _ in leaves(call.arguments)
        for key in path
        if isinstance(key, str) and call.name in tools
    }
    for key in example.values:
        if named and key not in named:
            near = difflib.get_close_matches(key, sorted(named), n=3, cutoff=0.3) or sorted(named)[:3]
            yield f"`values` has {key!r}, and no call has that argument; there are {', '.join(near)}"


def _parameters(definition: ToolDefinition) -> Mapping[str, Any]:
    properties: Mapping[str, Any] = definition["function"]["parameters"].get("properties") or {}
    return properties


def _refuse(problems: Sequence[str], fix: str) -> None:
    if problems:
        more = f"; and {len(problems) - MAX_NAMED} more" if len(problems) > MAX_NAMED else ""
        raise DataError("; ".join(problems[:MAX_NAMED]) + more, fix)


def _shape_problem(item: Any) -> str | None:
    """What is wrong with a line in a way that its reader would not name: no object, a key misspelled, calls in another form."""
    if not isinstance(item, dict):
        return f"{_short(item)} is no object"
    for key in item:
        if key not in KEYS:
            near = difflib.get_close_matches(str(key), KEYS, n=1)
            return f"there is no key {key!r}; {f'did you mean {near[0]!r}?' if near else 'there are ' + ', '.join(KEYS)}"
    missing = [key for key in ("request", "calls") if key not in item]
    if missing:
        none = "; `calls` is [] where no tool is to be called" if missing == ["calls"] else ""
        return f"`{missing[0]}` is missing{none}"
    calls = item["calls"] if isinstance(item["calls"], list) else []
    for call in calls:
        if isinstance(call, dict) and isinstance(call.get("arguments"), str):
            return f"the arguments {_short(call['arguments'])} are text; write them as an object"
        if isinstance(call, dict) and "function" in call:
            return "a call has `function`; write its name and arguments without it"
    return None


def _first_problem(error: ValueError) -> str:
    """A violation with its value and rule."""
    if not isinstance(error, ValidationError):
        return " ".join(str(error).split())
    first = error.errors(include_url=False, include_context=False)[0]
    where = ".".join(str(part) for part in first["loc"])
    message = first["msg"].removeprefix("Value error, ")
    return f"{where} {_short(first['input'])}: {message}" if where else message


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}..."
