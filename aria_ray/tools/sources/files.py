"""The files of the user's own that a module consists of: itself, and what it imports from outside the installed packages."""

import ast
import importlib.util
import sysconfig
from collections.abc import Iterator
from pathlib import Path

from aria_ray.errors import DataError
from aria_ray.tools.modules import import_root, source_path

_INSTALLED = ("site-packages", "dist-packages")
_STANDARD = tuple(Path(sysconfig.get_path(key)).resolve() for key in ("stdlib", "platstdlib"))


def module_files(source: str, named: str, way_out: str) -> list[Path]:
    """The file of a module, and those of the user's own modules that it imports, at once or by way of others.

    Raises:
        DataError: there is no such module or file.
    """
    first = _module_file(source, named, way_out)
    found, waiting = {first}, [first]
    while waiting:
        for path in _imported(waiting.pop()):
            if path not in found:
                found.add(path)
                waiting.append(path)
    return [first, *sorted(found - {first})]


def _module_file(source: str, named: str, way_out: str) -> Path:
    path = source_path(source)
    if path is None:
        try:
            spec = importlib.util.find_spec(source)
        except Exception as error:  # noqa: BLE001  # looking a module up imports the packages that it is in
            raise DataError(f"{named} is no module ({error})", way_out) from None
        path = Path(spec.origin).resolve() if spec is not None and spec.origin is not None else None
    if path is None or not path.is_file():
        raise DataError(f"{named} is no module", way_out)
    return path


def _imported(path: Path) -> Iterator[Path]:
    """The files of the user's own that one file imports, with the `__init__` files on the way, its own packages' too."""
    root, name = import_root(path)
    yield from _files(root, name.split(".")[:-1])
    try:
        tree = ast.parse(path.read_text(encoding="utf-8-sig"))
    except (SyntaxError, UnicodeDecodeError):  # a compiled module
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield from _files(_folder(alias.name, path), alias.name.split("."))
        elif isinstance(node, ast.ImportFrom):
            parts = node.module.split(".") if node.module else []
            base = path.parents[node.level - 1] if 0 < node.level <= len(path.parents) else None
            folder = base if node.level else _folder(node.module or "", path)
            for alias in node.names:
                yield from _files(folder, [*parts, alias.name])


def _folder(name: str, path: Path) -> Path | None:
    """The folder in which the first part of a dotted name is found; None if it is an installed package or Python's own."""
    top = name.split(".")[0]
    root, own_name = import_root(path)
    is_own_package = top == own_name.split(".")[0]
    if is_own_package or (not _is_installed(root) and ((root / f"{top}.py").is_file() or (root / top).is_dir())):
        return root
    try:
        spec = importlib.util.find_spec(top)
    except (ImportError, ValueError):
        return None
    if spec is None or top == "aria_ray":  # what this package does is in the version of the fingerprint
        return None
    packages = list(spec.submodule_search_locations or ())
    found = Path(packages[0]) if packages else Path(spec.origin or "") if spec.has_location else None
    return None if found is None or _is_installed(found.resolve()) else found.resolve().parent


def _is_installed(path: Path) -> bool:
    return bool({*_INSTALLED} & {*path.parts}) or any(path.is_relative_to(each) for each in _STANDARD)


def _files(folder: Path | None, parts: list[str]) -> Iterator[Path]:
    """The files that importing a dotted name from a folder reads."""
    if folder is None:
        return
    for part in parts:
        module = folder / f"{part}.py"
        folder = folder / part
        if (folder / "__init__.py").is_file():
            yield (folder / "__init__.py").resolve()
        elif module.is_file():
            yield module.resolve()
            return
