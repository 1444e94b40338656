"""Tools of a live MCP server, which is asked for its list and never for a call."""

import functools
import logging
import os
import shlex
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import AbstractAsyncContextManager, contextmanager
from typing import IO, Any
from urllib.parse import urlsplit

from aria_ray.errors import DataError
from aria_ray.tools.sources import SourcedTool
from aria_ray.tools.sources.definitions import read_definitions

COMMAND = "mcp:"
"""Start of a source that is the command of a server."""
TIMEOUT_S = 30.0
"""Longest wait for a server's whole list."""
MAX_PAGES = 1000
"""Most pages of a list: a server whose pages do not end is refused."""


def is_mcp(source: str) -> bool:
    """Whether a source is a live MCP server: `mcp:COMMAND ARGS...`, or an address."""
    return source.startswith((COMMAND, "http://", "https://"))


def read_server(source: str, named: str, only: Sequence[str] = ()) -> Iterator[SourcedTool]:
    """The tools of a server, which are simulated; with `only`, those of these names. It is asked once in a process.

    Raises:
        DataError: there is no such server, or it does not answer with a list of tools in time.
    """
    return read_definitions(list(_listed(source, named)), named, only)


@functools.cache
def _listed(source: str, named: str) -> tuple[dict[str, Any], ...]:
    import anyio
    import httpx2  # what mcp speaks HTTP with
    import mcp

    if not source.startswith(COMMAND) and urlsplit(source).path.endswith((".json", ".yaml", ".yml")):
        raise DataError(f"{named} is the address of a document", "download it and give the file")
    with tempfile.TemporaryFile("w+", errors="replace") as log, _quiet():
        try:
            return tuple(anyio.run(_ask, _transport(source, named, log)))
        except (OSError, ValueError, RuntimeError, mcp.MCPError, httpx2.HTTPError, ExceptionGroup) as error:
            raise DataError(f"{named} gave no tools ({_reason(error)}{_last_line(log)})", _fix(source)) from None


def _transport(source: str, named: str, log: IO[str]) -> AbstractAsyncContextManager[Any]:
    """The connection to the server. What a command writes to its standard error goes to `log`."""
    from mcp.client.sse import sse_client
    from mcp.client.stdio import StdioServerParameters, stdio_client
    from mcp.client.streamable_http import streamable_http_client

    if not source.startswith(COMMAND):
        is_sse = urlsplit(source).path.rstrip("/").endswith("/sse")
        return sse_client(source) if is_sse else streamable_http_client(source)
    try:
        words = shlex.split(source.removeprefix(COMMAND))
    except ValueError as error:
        raise DataError(f"{named} is no command ({error})", "write mcp:COMMAND ARGUMENTS, as in a shell") from None
    if not words:
        raise DataError(f"{named} has no command", "write mcp:COMMAND ARGUMENTS, as in a shell")
    # All of the environment: servers read their keys from it.
    server = StdioServerParameters(command=words[0], args=words[1:], env=dict(os.environ))
    return stdio_client(server, errlog=log)  # type: ignore[arg-type]  # any open file will do


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the package's own log off the terminal: it has a traceback for each line that a server should not have printed."""
    logger = logging.getLogger("mcp")
    before = logger.level
    logger.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        logger.setLevel(before)


async def _ask(transport: Any) -> list[dict[str, Any]]:
    import anyio
    from mcp import Client

    found: list[dict[str, Any]] = []
    with anyio.fail_after(TIMEOUT_S):
        async with Client(transport) as client:
            cursor = None
            for _ in range(MAX_PAGES):
                page = await client.list_tools(cursor=cursor)
                found += [tool.model_dump(mode="json", by_alias=True, exclude_none=True) for tool in page.tools]
                cursor = page.next_cursor
                if not cursor:
                    return found
    raise RuntimeError(f"its list has more than {MAX_PAGES} pages")


def _reason(error: BaseException) -> str:
    """One line on why a server gave no list."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    if isinstance(error, TimeoutError):
        return f"no answer in {TIMEOUT_S:.0f} s"
    if isinstance(error, FileNotFoundError | PermissionError):
        return f"its command cannot be started: {error}"
    return f"{type(error).__name__}: {error}".strip(": ")


def _last_line(log: IO[str]) -> str:
    log.seek(0)
    lines = [line.strip() for line in log.read().splitlines() if line.strip()]
    return f"; it said: {lines[-1]}" if lines else ""


def _fix(source: str) -> str:
    if source.startswith(COMMAND):
        return (
            f"run `{source.removeprefix(COMMAND)}` in a terminal to see what is wrong, or save its tools/list answer to a file"
        )
    return "check that an MCP server answers there, or save its tools/list answer to a file"
