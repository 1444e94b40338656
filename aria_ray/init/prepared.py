"""A file of example requests that is prepared for filling in: every tool with what is known of it, and empty places."""

import json
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import yaml

from aria_ray.grammar import ToolDefinition
from aria_ray.init.listing import signature
from aria_ray.requests.composed import composed_requests
from aria_ray.tools import schema_problem
from aria_ray.tools.sources import SourcedTool

PLACES = 6
"""Requests that a tool should have at least: with fewer than four none of them is held out for the test."""
COMPOSED = 2
"""Composed requests to start from."""
WIDTH = 110
"""Longest line of a comment, in characters."""
HEAD = """\
# Example requests for {sources}.
#
# A request is what a person types, word for word, with the calls that are right for it. Values are found in the words and
# replaced by others, so a request stands for many: different ways of asking are worth more than different values.
# - Write six or more for each tool: short and long ones, questions and orders, as different people would type them.
# - Every value must be said in the request in some form. What is not said must not be in the arguments.
# - `calls: []` is for requests that no tool is for, with an `answer` if you like.
# - `ask: PARAMETER` with `calls: []` is for requests in which its value is missing.
# - `values: {{PARAMETER: [...]}}` names further values that may stand in place of the one that is said.
# Check the file after every change: `aria requests check`, as README.md has it.

requests:
"""
NO_TOOL = """\
# ---- Requests that no tool is for. The most is learnt from near ones: what people might take these tools for.
- request: "are you a real person?"
  calls: []
  answer: "No, I am an assistant. What can I do for you?"
# - request: ""
#   calls: []
# - request: ""
#   calls: []
# - request: ""
#   calls: []"""
ASK = "# ---- Requests in which a value is missing, so that the assistant has to ask for it."


def prepared_requests(tools: Mapping[str, SourcedTool], sources: Sequence[str]) -> str:
    """The text of the file, as YAML. `tools` are by listed name, `sources` are where they are from."""
    said: set[str] = set()
    parts = ["\n".join(_part(name, tool, said)) for name, tool in tools.items()]
    asked = next((key for tool in tools.values() for key in _required(tool.definition)), None)
    if asked is not None:
        empty = f'- request: ""\n  calls: []\n  ask: {_flow(asked)}'
        parts.append(f"{ASK}\n{textwrap.indent(empty, '# ')}")
    head = HEAD.format(sources=_printable(", ".join(sources)))
    return head + "\n\n".join(textwrap.indent(part, "  ") for part in (*parts, NO_TOOL)) + "\n"


def _part(name: str, tool: SourcedTool, said: set[str]) -> Iterator[str]:
    """The lines of one tool: what is known of it, requests to start from, and empty places."""
    yield from (f"# {line}".rstrip() for line in (f"---- {_printable(signature(tool.definition))}", *_about(tool.definition)))
    starts = [] if tool.examples else list(_starts(tool.definition, said))
    if tool.examples:
        yield f"# {len(tool.examples)} example requests are in its docstring already. Add others."
    if starts:
        yield "# Replace these by your own words: they are composed from the definition."
        yield from (_entry(item["request"], item["calls"]) for item in starts)
    empty = _entry("", [{"name": name, "arguments": dict.fromkeys(_required(tool.definition))}]).replace(": null", ": ")
    yield from [textwrap.indent(empty, "# ")] * max(1, PLACES - len(tool.examples) - len(starts))


def _starts(definition: ToolDefinition, said: set[str]) -> Iterator[dict[str, Any]]:
    """Composed requests of a tool that no other tool has in the same words."""
    fitting = [
        example
        for example in composed_requests(definition)
        if example.request.lower() not in said
        and all(schema_problem(definition, call.arguments) is None for call in example.calls)
    ]
    for example in fitting[:COMPOSED]:
        said.add(example.request.lower())
        yield example.model_dump(mode="json", include={"request", "calls"})


def _about(definition: ToolDefinition) -> Iterator[str]:
    """What a tool does, and what its parameters are described as, in lines of a comment."""
    function = definition["function"]
    yield from textwrap.wrap(_printable(function["description"].split("\n\n")[0]), WIDTH)
    for key, schema in function["parameters"]["properties"].items():
        description = _printable(str(schema.get("description", "")))
        if description:
            yield from textwrap.wrap(f"{key}: {description}", WIDTH, initial_indent="  ", subsequent_indent="    ")


def _required(definition: ToolDefinition) -> list[str]:
    return list(definition["function"]["parameters"].get("required", ()))


def _printable(text: str) -> str:
    """A text on one line without signs that YAML does not take."""
    return "".join(sign for sign in " ".join(text.split()) if sign.isprintable())


def _entry(request: str, calls: Sequence[Mapping[str, Any]]) -> str:
    """A request as an entry of a list. Its words are in quotes, which they need where they have a colon or a number sign."""
    return f"- request: {json.dumps(request, ensure_ascii=False)}\n  calls: {_flow(calls)}"


def _flow(value: Any) -> str:
    """A value as YAML on one line; as JSON, which is YAML too, where a text in it has several."""
    text = yaml.safe_dump(value, default_flow_style=True, allow_unicode=True, sort_keys=False, width=10_000)
    line = text.removesuffix("...\n").removesuffix("\n")
    return json.dumps(value) if "\n" in line else line
