"""The user's tools from where they are: Python modules and files, JSON definitions, MCP servers, OpenAPI documents."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from aria_ray.errors import DataError
from aria_ray.grammar import ToolDefinition
from aria_ray.tools.simulated import Backend

SIMULATED = Backend(kind="reference", prefix="REF")
"""How a tool answers that is not run: by a new reference."""


@dataclass(frozen=True)
class SourcedTool:
    """A tool of the user's."""

    name: str
    """Name for its execution: `module:function`, `folder/file.py:function`, or the tool's own where it is simulated."""
    definition: ToolDefinition
    """OpenAI definition, its schema in plain form (`json_schema`)."""
    backend: Backend | None
    """How its results are made up; None for a function, which is run."""
    examples: tuple[Mapping[str, Any], ...] = ()
    """Example requests of its docstring, as lines of a file of requests."""


class Source(Protocol):
    """A source with what is to be done with its tools (`config.schema.ToolSource`)."""

    @property
    def source(self) -> str:
        """Where they are."""
        ...

    @property
    def simulate(self) -> bool | None:
        """Whether results are made up."""
        ...

    @property
    def only(self) -> tuple[str, ...]:
        """Names of those to take."""
        ...


def read_tools(sources: Sequence["str | Source"], named_by: str = "dataset.tools") -> dict[str, SourcedTool]:
    """The tools of the sources by listed name, in order.

    `named_by` is what errors put before the source: the setting that names it.

    Raises:
        DataError: there is no such source, it has no tools, one of them cannot be understood, or two have the same name.
    """
    tools: dict[str, SourcedTool] = {}
    for each in sources:
        source = each if isinstance(each, str) else each.source
        found = list(_read(source, f"{named_by} {source}"))
        if not isinstance(each, str):
            found = _chosen(found, each, f"{named_by} {source}")
        if not found:
            raise DataError(f"{named_by} {source} has no tools", "give typed public functions, or tool definitions")
        for tool in found:
            name = tool.definition["function"]["name"]
            if name in tools:
                raise DataError(f"{named_by} {source}: there is a tool {name} already", "give it another name")
            tools[name] = tool
    return tools


def tool_files(sources: Sequence["str | Source"], named_by: str = "dataset.tools") -> list[Path]:
    """The files that decide the tools of the sources, each once, in order.

    Raises:
        DataError: there is no such source.
    """
    files: list[Path] = []
    for each in sources:
        source = each if isinstance(each, str) else each.source
        files += _files(source, f"{named_by} {source}")
    return list(dict.fromkeys(files))


def _chosen(found: Iterable[SourcedTool], source: Source, named: str) -> list[SourcedTool]:
    tools = {tool.definition["function"]["name"]: tool for tool in found}
    unknown = [name for name in source.only if name not in tools]
    if unknown:
        raise DataError(f"{named}: there is no tool {unknown[0]!r}", f"there are {', '.join(tools)}")
    chosen = [tool for name, tool in tools.items() if not source.only or name in source.only]
    return [replace(tool, backend=SIMULATED) if source.simulate else tool for tool in chosen]


def _read(source: str, named: str) -> Iterable[SourcedTool]:
    from aria_ray.tools.sources import definitions, python  # they import the shapes above

    return definitions.read_definitions(source, named) if source.endswith(".json") else python.read_functions(source, named)


def _files(source: str, named: str) -> list[Path]:
    from aria_ray.tools.sources import python

    return [Path(source).expanduser()] if source.endswith(".json") else python.module_files(source, named)
