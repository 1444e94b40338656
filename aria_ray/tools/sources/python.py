"""Tools of Python code: the typed public functions of a module or of a file."""

import ast
import functools
import importlib
import importlib.util
import inspect
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from pydantic import PydanticUserError

from aria_ray.errors import DataError
from aria_ray.tools.execution import load_module, tool_definition
from aria_ray.tools.json_schema import plain_schema
from aria_ray.tools.sources import SourcedTool

GIVE_MODULE = "give a module on the path, a .py file or a .json file"


def read_functions(source: str, named: str) -> Iterator[SourcedTool]:
    """The tools of a module, or of a file whose name ends in `.py`.

    Raises:
        DataError: it cannot be imported, or a function of it cannot be a tool.
    """
    try:
        module = load_module(source)
    except Exception as error:  # noqa: BLE001  # importing runs the user's code, which may fail in any way
        raise DataError(f"{named} cannot be imported ({error!r})", GIVE_MODULE) from None
    for name, function in _public_functions(module):
        problem = _problem(function)
        if problem is not None:
            raise DataError(f"{named}.{name}: {problem[0]}", problem[1])
        try:
            definition = tool_definition(function)
            parameters = plain_schema(definition["function"]["parameters"])
        except (NameError, PydanticUserError, ValueError) as error:
            reason = str(error).splitlines()[0]
            raise DataError(f"{named}.{name}: a type is not understood ({reason})", "use JSON's types") from None
        definition["function"] |= {"name": name, "parameters": parameters}
        yield SourcedTool(f"{source}:{name}", definition, None, _examples(name, inspect.getdoc(function) or ""))


def _public_functions(module: ModuleType) -> Iterator[tuple[str, Any]]:
    exported = getattr(module, "__all__", None)
    root = module.__name__.split(".")[0]
    for name, function in inspect.getmembers(module, callable):
        if name.startswith("_") or not (inspect.isfunction(function) or inspect.ismethod(function)):
            continue
        if exported is not None and name not in exported:
            continue
        if function.__module__ == module.__name__ or (exported and function.__module__.split(".")[0] == root):
            yield name, function


def _problem(function: Any) -> tuple[str, str] | None:
    """Why a function cannot be a tool, and the way out; None if it can."""
    for parameter in inspect.signature(function).parameters.values():
        if parameter.annotation is parameter.empty:
            return f"parameter {parameter.name} has no type", "annotate every parameter"
        if parameter.kind not in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY) or parameter.name.startswith("_"):
            return f"parameter {parameter.name} cannot be given by name", "use ordinary parameters"
    return None


def _examples(name: str, docstring: str) -> tuple[Mapping[str, Any], ...]:
    """Lines `TEXT -> name=value, name=value` of a docstring, as lines of a file of requests."""
    found = []
    for line in docstring.splitlines():
        text, arrow, call = line.partition(" -> ")
        text = text.strip().strip("\"'-* ").strip()
        if not arrow or not text or text.startswith(">>>"):
            continue
        arguments = _keywords(call.strip())
        if arguments is not None:
            found.append({"request": text, "calls": [{"name": name, "arguments": arguments}]})
    return tuple(found)


def _keywords(text: str) -> dict[str, Any] | None:
    inner = text[text.index("(") + 1 : -1] if text.endswith(")") and text.split("(")[0].isidentifier() else text
    try:
        call = ast.parse(f"f({inner})", mode="eval").body
        assert isinstance(call, ast.Call)
        if call.args or not call.keywords:
            return {} if not inner.strip() else None
        return {str(keyword.arg): ast.literal_eval(keyword.value) for keyword in call.keywords}
    except (SyntaxError, ValueError):
        return None


def module_files(source: str, named: str) -> list[Path]:
    """The file of a module and those of the user's own modules that it imports.

    Raises:
        DataError: there is no such module or file.
    """
    path = _module_file(source, named)
    return [path, *sorted(_imported(path, path.parent))]


def _module_file(source: str, named: str) -> Path:
    if source.endswith(".py"):
        return Path(source).expanduser()
    try:
        spec = importlib.util.find_spec(source)
    except Exception as error:  # noqa: BLE001  # looking a module up imports the packages that it is in
        raise DataError(f"{named} is no module ({error})", GIVE_MODULE) from None
    if spec is None or spec.origin is None:
        raise DataError(f"{named} is no module", GIVE_MODULE)
    return Path(spec.origin)


@functools.cache
def _imported(path: Path, folder: Path) -> frozenset[Path]:
    """Files below a folder that a file imports, and those that they import."""
    found: set[Path] = set()
    waiting = [path]
    while waiting:
        current = waiting.pop()
        if not current.is_file():
            continue
        for name in _imported_names(current):
            parts = name.split(".")
            for base in (folder, *folder.parents[:2], current.parent):
                for file in (base.joinpath(*parts).with_suffix(".py"), base.joinpath(*parts, "__init__.py")):
                    if file.is_file() and file != path and file not in found and "site-packages" not in file.parts:
                        found.add(file)
                        waiting.append(file)
    return frozenset(found)


def _imported_names(path: Path) -> Iterator[str]:
    try:
        tree = ast.parse(path.read_text(encoding="utf-8-sig"))
    except (SyntaxError, UnicodeDecodeError):
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            yield from [base] if base else []
            yield from (f"{base}.{alias.name}".strip(".") for alias in node.names)
