"""Sources of tools as they are named from inside another folder."""

import os
import shlex
from pathlib import Path

from aria_ray.tools.sources import tool_files

_INSTALLED = ("site-packages", "dist-packages")


def from_inside(source: str, folder: Path) -> str:
    """A source of tools, given as seen from the working directory, as seen from `folder`.

    A module that lies in the working directory becomes the path of its file. Installed modules, addresses and absolute paths
    stay. In a command `mcp:COMMAND` the words that are paths are moved.
    """
    if source.startswith(("http://", "https://", "package:")) or Path(source).expanduser().is_absolute():
        return source
    if source.startswith("mcp:"):
        words = shlex.split(source.removeprefix("mcp:"))
        return f"mcp:{shlex.join(_moved(Path(word), folder) if _is_path(word) else word for word in words)}"
    if _is_path(source):
        return _moved(Path(source), folder)
    module = tool_files([source], "--from")[0]
    is_installed = any(part in _INSTALLED for part in module.parts) or not module.is_relative_to(Path.cwd())
    return source if is_installed else _moved(module, folder)


def _is_path(word: str) -> bool:
    """Whether a word is the relative path of a file, or of a folder by its slash."""
    path = Path(word)
    return not path.is_absolute() and (path.is_file() or (path.is_dir() and ("/" in word or word in (".", ".."))))


def _moved(path: Path, folder: Path) -> str:
    return os.path.relpath(path.resolve(), folder.resolve())
