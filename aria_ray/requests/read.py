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
from aria_ray.tools import schema_problem

PlacedExample = tuple[str, ExampleRequest]
"""An example, and where it stands, for messages."""
MAX_NAMED = 20
"""Most problems that one message names."""
SHAPE = 'write {"request": "...", "calls": [{"name": "...", "arguments": {...}}]}'


def read_requests(path: Path, named_by: str) -> list[PlacedExample]:
    """The example requests of a file; each with its place, `FILE:LINE` or `FILE:NUMBER` in YAML.

    Raises:
        DataError: the file cannot be read, or lines of it are wrong; the message names each.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
        items = list(_yaml_items(text) if path.suffix in (".yaml", ".yml") else _json_lines(text))
    except (OSError, UnicodeDecodeError, yaml.YAMLError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise DataError(f"{named_by} {path} cannot be read ({reason})", "give JSON Lines or YAML in UTF-8") from None
    placed, problems = [], []
    for number, item in items:
        try:
            placed.append((f"{path}:{number}", ExampleRequest.model_validate_json(json.dumps(item))))
        except ValidationError as error:
            first = error.errors(include_url=False, include_context=False)[0]
            where = ".".join(str(part) for part in first["loc"])
            problems.append(f"{path}:{number}: {f'{where}: ' if where else ''}{first['msg'].removeprefix('Value error, ')}")
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
    parameters = {key for name in listed if name in tools for key in _parameters(tools[name])}
    if example.ask is not None and example.ask not in parameters:
        near = difflib.get_close_matches(example.ask, parameters, n=3, cutoff=0.3) or sorted(parameters)[:3]
        yield f"`ask` {example.ask!r} is no parameter of a tool; there are {', '.join(near)}"


def _parameters(definition: ToolDefinition) -> Mapping[str, Any]:
    properties: Mapping[str, Any] = definition["function"]["parameters"].get("properties") or {}
    return properties


def _refuse(problems: Sequence[str], fix: str) -> None:
    if problems:
        more = f"; and {len(problems) - MAX_NAMED} more" if len(problems) > MAX_NAMED else ""
        raise DataError("; ".join(problems[:MAX_NAMED]) + more, fix)


def _json_lines(text: str) -> Iterator[tuple[int, Any]]:
    for number, line in enumerate(text.splitlines(), start=1):
        if line.strip():
            try:
                yield number, json.loads(line)
            except ValueError as error:
                raise ValueError(f"line {number}: {error}") from None


def _yaml_items(text: str) -> Iterator[tuple[int, Any]]:
    content = yaml.safe_load(text)
    items = content.get("requests") if isinstance(content, Mapping) else content
    if not isinstance(items, list):
        raise ValueError("it must be a list, or have a list `requests`")
    yield from enumerate(items, start=1)
