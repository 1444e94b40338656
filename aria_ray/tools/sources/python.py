"""Tools of Python code: the typed public functions of a module, and the methods of its instances."""

import ast
import inspect
from collections.abc import Iterator, Sequence
from types import ModuleType
from typing import Any

from pydantic import PydanticUserError

from aria_ray.errors import DataError
from aria_ray.tools.docstrings import examples
from aria_ray.tools.json_schema import plain_schema
from aria_ray.tools.modules import as_function, load_module
from aria_ray.tools.signatures import tool_definition
from aria_ray.tools.sources import SourcedTool, check_only

WAY_OUT = "give a module on the path, a .py file, a .json or .yaml file, mcp:COMMAND, or an address"
LEAVE_OUT = "or start its name with an underscore, or name the tools in __all__ or with `only`"
NEVER_TOOLS = ("main",)
"""Functions that start a program."""


def read_functions(source: str, named: str, only: Sequence[str] = ()) -> Iterator[SourcedTool]:
    """The tools of a module by its name, of a file whose name ends in `.py`, or of the folder of a package.

    With `only` the others need not be fit to be tools.

    Raises:
        DataError: it cannot be imported, or a function of it cannot be a tool.
    """
    try:
        module = load_module(source)
    except (Exception, SystemExit) as error:  # noqa: BLE001  # importing runs the user's code, which may fail in any way
        reason = f"{type(error).__name__}: {error}".strip(": ")
        raise DataError(f"{named} cannot be imported ({reason})", _import_fix(error)) from None
    found = list(_functions(module)) or list(_methods(module))
    short = [path.rpartition(".")[2] for path, _ in found]
    # Two instances of one class have the same methods.
    names = [
        path.replace(".", "_") if short.count(method) > 1 else method for (path, _), method in zip(found, short, strict=True)
    ]
    check_only(only, names, named)
    for name, (path, function) in zip(names, found, strict=True):
        if not only or name in only:
            yield _tool(f"{source}:{path}", name, function, named)


def _import_fix(error: BaseException) -> str:
    if isinstance(error, SystemExit):
        return "it ends the program when it is imported: put what it runs under `if __name__ == '__main__':`"
    return WAY_OUT if isinstance(error, ImportError) else "correct it there"


def _functions(module: ModuleType) -> Iterator[tuple[str, Any]]:
    """The public functions, in the order in which the module has them."""
    exported = getattr(module, "__all__", None)
    decorators = _decorators(module)
    for name in exported if exported is not None else list(vars(module)):
        function = as_function(getattr(module, name, None))
        if function is None or (exported is None and (name.startswith("_") or name in NEVER_TOOLS or name in decorators)):
            continue
        if exported is not None or _is_own(function, module):
            yield name, function


def _methods(module: ModuleType) -> Iterator[tuple[str, Any]]:
    """The public methods of the module's public instances, where their classes are the user's own."""
    for name in getattr(module, "__all__", None) or list(vars(module)):
        instance = getattr(module, name, None)
        if name.startswith("_") or inspect.isclass(instance) or not _is_own(type(instance), module):
            continue
        own = [key for kind in reversed(type(instance).__mro__) if _is_own(kind, module) for key in vars(kind)]
        for key in dict.fromkeys(own):
            is_property = isinstance(inspect.getattr_static(instance, key, None), property)
            method = None if key.startswith("_") or is_property else as_function(getattr(instance, key, None))
            if method is not None:
                yield f"{name}.{key}", method


def _is_own(value: Any, module: ModuleType) -> bool:
    """Whether a function or a class is of the module, or of the package whose `__init__` the module is."""
    home = str(getattr(value, "__module__", ""))
    return home == module.__name__ or (hasattr(module, "__path__") and home.startswith(f"{module.__name__}."))


def _decorators(module: ModuleType) -> set[str]:
    """Names that the module's source uses as decorators: helpers that make tools and are none."""
    try:
        tree = ast.parse(inspect.getsource(module))
    except (OSError, TypeError, SyntaxError):  # no source, as for a compiled module
        return set()
    nodes = (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))
    used = (each.func if isinstance(each, ast.Call) else each for node in nodes for each in node.decorator_list)
    return {each.id for each in used if isinstance(each, ast.Name)}


def _tool(real_name: str, name: str, function: Any, named: str) -> SourcedTool:
    place = f"{named}: {name}"
    problem = _problem(name, function)
    if problem is not None:
        raise DataError(f"{place}: {problem[0]}", f"{problem[1]}, {LEAVE_OUT}")
    try:
        definition = tool_definition(function, name)
        definition["function"]["parameters"] = plain_schema(definition["function"]["parameters"])
    except (NameError, TypeError, ValueError, AttributeError, PydanticUserError) as error:
        reason = str(error).splitlines()[0].split(". ")[0].rstrip(".")  # pydantic goes on with advice on its own settings
        raise DataError(f"{place}: a type is not understood ({reason})", f"use JSON's types, {LEAVE_OUT}") from None
    try:
        said = examples(inspect.getdoc(function) or "", name, list(inspect.signature(function).parameters))
    except ValueError as error:
        raise DataError(f"{place}: an example of its docstring is not understood: {error}", "correct it there") from None
    return SourcedTool(real_name, definition, None, said)


def _problem(name: str, function: Any) -> tuple[str, str] | None:
    """Why a function cannot be a tool, and the way out; None if it can."""
    for parameter in inspect.signature(function).parameters.values():
        if parameter.kind not in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
            fix = "use ordinary parameters"
            if function.__name__ != name:
                fix = "use functools.wraps in its decorator"
            return f"parameter {parameter.name} cannot be given by name", fix
        if parameter.annotation is parameter.empty:
            return f"parameter {parameter.name} has no type", "annotate every parameter"
    return None
