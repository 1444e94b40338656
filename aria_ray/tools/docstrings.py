"""Docstrings in Google, NumPy and Sphinx style: what a function does, what its parameters are, example requests."""

import ast
import re
from collections.abc import Mapping, Sequence
from itertools import zip_longest
from typing import Any

import docstring_parser

Example = dict[str, Any]
"""A line of a file of requests: `request`, and `calls` with `name` and `arguments`."""

_HEADER = re.compile(r"\s*(?:\.\. rubric:: |\*\*|:)?examples?(?:\*\*)?:{0,2}\s*", re.I)
_OTHER_HEADER = re.compile(
    r"\s*(?:(?:args|arguments|parameters|params|returns?|raises|yields|notes?|see also|references|warnings?|attributes|todo)"
    r"\s*:{0,2}|:(?:param|type|returns?|rtype|raises)\b.*)\s*",
    re.I,
)
_UNDERLINE = re.compile(r"[-=~]{3,}")
_ARROW = re.compile(r"\s(?:->|=>|→)\s")
_BULLET = re.compile(r"(?:[-*•]|\d+[.)])\s+")
_LOOKS_LIKE_CALL = re.compile(r"[A-Za-z_][\w.]*\s*(?:\(.*\)|=[^=].*)", re.S)
_QUOTED = re.compile(r"""["'`\u201c\u2018](.+)["'`\u201d\u2019]""", re.S)


def summary(docstring: str) -> str:
    """The first paragraph, on one line."""
    return " ".join(docstring.strip().split("\n\n", 1)[0].split())


def parameter_descriptions(docstring: str) -> dict[str, dict[str, str]]:
    """`{"description": ...}` by parameter, its first paragraph on one line; the NumPy style names several as `low, high`."""
    return {
        name.strip().lstrip("*"): {"description": summary(parameter.description.split("\n.. ", 1)[0])}
        for parameter in docstring_parser.parse(docstring).params
        if parameter.description
        for name in parameter.arg_name.split(",")
    }


def examples(docstring: str, function: str, parameters: Sequence[str]) -> tuple[Example, ...]:
    """The example requests in the section `Examples:`, lines of the form `TEXT -> name=value, ...` or `TEXT -> tool(...)`.

    `function` is the tool that the first form calls, `parameters` are its parameters, for values without a name. Values are
    Python literals. Several calls are separated by commas. Lines of doctest, and other lines with an arrow, are code.

    Raises:
        ValueError: a line is such a request, and its values are no literals.
    """
    found = []
    for line in _section(docstring):
        text = _BULLET.sub("", line.strip(), count=1).strip()
        example = None if text.startswith((">>>", "...")) else _example(text, function, parameters)
        if example is not None:
            found.append(example)
    return tuple(found)


def _section(docstring: str) -> list[str]:
    """The entries of the examples; a line that is indented more deeply goes on with the one before it."""
    entries: list[tuple[int, str]] = []
    inside = False
    lines = docstring.expandtabs().splitlines()
    for line, following in zip_longest(lines, lines[1:], fillvalue=""):
        text = line.strip()
        if _HEADER.fullmatch(line):
            inside = True
        elif _UNDERLINE.fullmatch(text):
            continue
        elif _OTHER_HEADER.fullmatch(line) or _UNDERLINE.fullmatch(following.strip()):
            inside = False
        elif inside and text:
            indent = len(line) - len(line.lstrip())
            if entries and indent > entries[-1][0] and not text.startswith(">>>"):
                entries[-1] = (entries[-1][0], f"{entries[-1][1]} {text}")
            else:
                entries.append((indent, text))
    return [text for _, text in entries]


def _example(text: str, function: str, parameters: Sequence[str]) -> Example | None:
    for arrow in _ARROW.finditer(text):
        said, call = _unquoted(text[: arrow.start()].strip()), text[arrow.end() :].strip().rstrip(".;`")
        if not said or not _LOOKS_LIKE_CALL.fullmatch(call) or _is_code(said):
            continue
        return {"request": said, "calls": _calls(call, function, parameters)}
    return None


def _unquoted(text: str) -> str:
    quoted = _QUOTED.fullmatch(text)
    return quoted[1].strip() if quoted else text


def _is_code(text: str) -> bool:
    """Whether a text is Python, such as `area(2, 3)`; a word alone is not."""
    try:
        return not isinstance(ast.parse(text, mode="eval").body, ast.Name | ast.Constant)
    except SyntaxError:
        return False


def _calls(text: str, function: str, parameters: Sequence[str]) -> list[Mapping[str, Any]]:
    """The calls after the arrow. Raises ValueError where they are none, or a value is no literal."""
    try:
        parsed = ast.parse(f"({text},)", mode="eval").body
        calls = parsed.elts if isinstance(parsed, ast.Tuple) else []
    except SyntaxError:
        calls = []
    if calls and all(isinstance(call, ast.Call) for call in calls):
        return [_call(call, parameters if ast.unparse(call.func) == function else ()) for call in calls]  # type: ignore[attr-defined]  # all are calls
    try:
        alone = ast.parse(f"{function if function.isidentifier() else 'tool'}({text})", mode="eval").body
    except SyntaxError:
        raise ValueError(f"{text!r} is not of the form name=value, name=value") from None
    assert isinstance(alone, ast.Call)
    return [{**_call(alone, parameters), "name": function}]


def _call(call: ast.expr, parameters: Sequence[str]) -> dict[str, Any]:
    assert isinstance(call, ast.Call)
    arguments = {}
    if len(call.args) > len(parameters):
        raise ValueError(f"{ast.unparse(call)} has values without a name")
    named = [*zip(parameters, call.args, strict=False), *((keyword.arg, keyword.value) for keyword in call.keywords)]
    for name, value in named:
        try:
            arguments[str(name)] = ast.literal_eval(value)
        except (ValueError, TypeError):
            raise ValueError(f"{ast.unparse(value)} is no literal; write texts in quotes") from None
    return {"name": ast.unparse(call.func), "arguments": arguments}
