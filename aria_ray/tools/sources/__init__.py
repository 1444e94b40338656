"""The user's tools from where they are: Python modules and files, JSON definitions, MCP servers, OpenAPI documents.

Python functions are run; the tools of all other sources are simulated.
"""

import difflib
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
    """Name for its execution: `module:function`, `folder/file.py:function`, `module:instance.method`; the tool's own if it is
    simulated."""
    definition: ToolDefinition
    """OpenAI definition, its schema in plain form (`json_schema`)."""
    backend: Backend | None
    """How its results are made up; None for a function, which is run."""
    examples: tuple[Mapping[str, Any], ...] = ()
    """Example requests of its docstring, as lines of a file of requests."""
    labels: tuple[str, ...] = ()
    """Further names by which it can be chosen: tags and operationId of an OpenAPI document."""

    @property
    def listed_name(self) -> str:
        """The name in its definition."""
        return str(self.definition["function"]["name"])


class Source(Protocol):
    """A source with what is to be done with its tools (`config.schema.ToolSource`)."""

    @property
    def source(self) -> str:
        """Where they are."""

    @property
    def simulate(self) -> bool | None:
        """Whether results are made up; None for what is usual for the kind of source."""

    @property
    def only(self) -> tuple[str, ...]:
        """Names or labels of those to take; empty for all."""


def read_tools(sources: Sequence["str | Source"], named_by: str = "dataset.tools") -> dict[str, SourcedTool]:
    """The tools of the sources by listed name, in order.

    `named_by` is what errors put before the source: the setting that names it.

    Raises:
        DataError: there is no such source, it has no tools, one of them cannot be understood, or two have the same name.
    """
    from aria_ray.tools.sources.reading import found_in  # its modules import the shapes above

    tools: dict[str, SourcedTool] = {}
    places: dict[str, str] = {}
    for each in sources:
        source, only, simulate = (each, (), None) if isinstance(each, str) else (each.source, each.only, each.simulate)
        named = f"{named_by} {source}"
        for tool in _chosen(list(found_in(source, named, only)), only, named):
            name = tool.listed_name
            if name in tools:
                fix = "rename one of them, or choose with `only`"
                raise DataError(f"{named}: there is a tool {name} already, from {places[name]}", fix)
            tools[name], places[name] = _answering(tool, simulate, named), source
    return tools


def tool_files(sources: Sequence["str | Source"], named_by: str = "dataset.tools") -> list[Path]:
    """The files that decide the tools of the sources, each once, in order. A live MCP server has none.

    Raises:
        DataError: there is no such source.
    """
    from aria_ray.tools.sources.reading import files_of

    names = [each if isinstance(each, str) else each.source for each in sources]
    return list(dict.fromkeys(path for source in names for path in files_of(source, f"{named_by} {source}")))


def live_definitions(sources: Sequence["str | Source"], named_by: str = "dataset.tools") -> list[ToolDefinition]:
    """The definitions of tools that no file decides: those of live MCP servers.

    Raises:
        DataError: a server does not answer.
    """
    from aria_ray.tools.sources.mcp import is_mcp

    live = [each for each in sources if is_mcp(each if isinstance(each, str) else each.source)]
    return [tool.definition for tool in read_tools(live, named_by).values()]


def check_only(only: Iterable[str], known: Iterable[str], named: str) -> None:
    """Raise DataError where `only` names something that a source does not have."""
    names = sorted({name for name in known if name})
    for name in only:
        if name not in names:
            near = difflib.get_close_matches(name, names, n=5, cutoff=0.4) or names[:5]
            raise DataError(f"{named}: only names {name!r}, which is not there", f"there are {', '.join(near) or 'none'}")


def _chosen(found: list[SourcedTool], only: Iterable[str], named: str) -> list[SourcedTool]:
    if not found and not only:
        raise DataError(f"{named} has no tools", "give typed public functions, or tool definitions")
    check_only(only, [name for tool in found for name in (tool.listed_name, *tool.labels)], named)
    wanted = set(only)
    return [tool for tool in found if not wanted or wanted & {tool.listed_name, *tool.labels}]


def _answering(tool: SourcedTool, simulate: bool | None, named: str) -> SourcedTool:
    """The tool with its backend as `simulate` asks."""
    if simulate is False and tool.backend is not None:
        raise DataError(f"{named}: simulate is false, and only Python functions can be run", "leave simulate out")
    if not simulate or tool.backend is not None:
        return tool
    return replace(tool, name=tool.listed_name, backend=SIMULATED)
