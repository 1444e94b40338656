"""Python modules of the user's, by dotted name or by path, and the functions in them by name."""

import functools
import hashlib
import importlib
import importlib.util
import inspect
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

WRAPPED_IN = ("func", "fn", "coroutine")
"""Attributes where the tool objects of agent libraries keep the function that they were made of."""


def load_module(source: str) -> ModuleType:
    """The module of a dotted name, of a `.py` file, or of the folder of a package.

    Raises:
        Exception: what the module's own code raises; ImportError where there is none.
    """
    path = source_path(source)
    return importlib.import_module(source) if path is None else _from_file(path)


def source_path(source: str) -> Path | None:
    """The file that a source names by its path; None where it is a dotted name."""
    path = Path(source).expanduser()
    if path.suffix == ".py":
        return path.resolve()
    return (path / "__init__.py").resolve() if "/" in source or "\\" in source else None


def import_root(path: Path) -> tuple[Path, str]:
    """The folder that has to be on the path for a file to be imported, and its dotted name from there."""
    names = [] if path.name == "__init__.py" else [path.stem]
    folder = path.parent
    while (folder / "__init__.py").is_file():
        names.insert(0, folder.name)
        folder = folder.parent
    return folder, ".".join(names)


def find_function(name: str) -> Callable[..., Any] | None:
    """The function of a real name, `MODULE:NAME` or `MODULE:INSTANCE.METHOD`; None if there is none."""
    source, _, attributes = name.rpartition(":")
    found: Any = load_module(source)
    for attribute in attributes.split("."):
        found = getattr(found, attribute, None)
    return as_function(found)


def as_function(value: Any) -> Callable[..., Any] | None:
    """A function, method, decorated function or an agent library's tool object as what can be called; None if it is none."""
    if inspect.isfunction(value) or inspect.ismethod(value):
        return value
    if inspect.isclass(value) or inspect.ismodule(value):
        return None
    if callable(value) and inspect.isfunction(getattr(value, "__wrapped__", None)):  # functools.cache and its like
        wrapped: Callable[..., Any] = value
        return wrapped
    inner = (vars(value).get(key) for key in WRAPPED_IN) if hasattr(value, "__dict__") else ()
    return next((each for each in inner if inspect.isfunction(each) or inspect.ismethod(each)), None)


@functools.cache
def _from_file(path: Path) -> ModuleType:
    if not path.is_file():
        raise ImportError(f"{path} is no file")
    folder, name = import_root(path)
    if _is_taken(name, path):
        return _under_own_name(path, folder)
    with _on_path(folder):
        return importlib.import_module(name)


def _is_taken(name: str, path: Path) -> bool:
    """Whether another module has the name already: one that is loaded, or one that everybody else finds by it."""
    if not all(part.isidentifier() for part in name.split(".")):
        return True
    loaded = sys.modules.get(name)
    if loaded is not None:
        return getattr(loaded, "__file__", None) is None or Path(str(loaded.__file__)).resolve() != path
    try:
        spec = importlib.util.find_spec(name.split(".")[0])
    except (ImportError, ValueError):
        return True
    if spec is None or spec.origin is None:
        return False
    return not path.is_relative_to(Path(spec.origin).resolve().parent) or (
        "." not in name and Path(spec.origin).resolve() != path
    )


def _under_own_name(path: Path, folder: Path) -> ModuleType:
    """The module of a file such as `calendar.py`, which must not take the place of the one that has the name."""
    own = f"{path.stem}_{hashlib.sha256(str(path).encode()).hexdigest()[:8]}"
    spec = importlib.util.spec_from_file_location(own, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} is no Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[own] = module  # types are looked up in it by its name
    try:
        with _on_path(folder):
            spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[own]
        raise
    return module


@contextmanager
def _on_path(folder: Path) -> Iterator[None]:
    """The folder first on the path, as for a script that is run; afterwards last, for what functions import later."""
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        sys.path.remove(str(folder))
        if str(folder) not in sys.path:
            sys.path.append(str(folder))
