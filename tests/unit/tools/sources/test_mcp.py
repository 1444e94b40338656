"""Tools of a live MCP server, which the official package runs."""

import socket
import subprocess
import sys
import time

import pytest

from aria_ray.config.load import load_config
from aria_ray.dataset.inputs import dataset_inputs
from aria_ray.errors import DataError
from aria_ray.tools.sources import live_definitions, mcp, read_tools, tool_files

pytestmark = pytest.mark.subprocess

SERVER = '''
import os, sys
from typing import Annotated, Literal
from mcp.server.mcpserver import MCPServer
from pydantic import BaseModel, Field

app = MCPServer("shop")

class Address(BaseModel):
    street: str
    town: str = "Oslo"

@app.tool()
def find(query: Annotated[str, Field(description="what to look for")], limit: int = 3) -> str:
    """Find an item."""
    raise SystemExit("a tool of a server is never called")

@app.tool(name="orders.ship")
def ship(to: Address, speed: Literal["slow", "fast"] | None = None) -> str:
    """Ship an order."""
    raise SystemExit("a tool of a server is never called")

if "SHOP_KEY" in os.environ:
    @app.tool(name=os.environ["SHOP_KEY"])
    def keyed() -> str:
        """Needs the key."""

print("a line that is no message", flush=True)
app.run(*sys.argv[1:2], **({"port": int(sys.argv[2])} if sys.argv[2:] else {}))
'''
PAGES = """
import asyncio
from mcp.server import Server
from mcp.server.stdio import stdio_server
from mcp.types import ListToolsResult, Tool

async def list_tools(_context, parameters):
    page = int(parameters.cursor or 0) if parameters else 0
    tool = Tool(name=f"tool_{page}", input_schema={"type": "object"})
    return ListToolsResult(tools=[tool], next_cursor=str(page + 1) if page < 2 else None)

server = Server("pages", on_list_tools=list_tools)

async def main():
    async with stdio_server() as (read, write):
        await server.run(read, write, server.create_initialization_options())

asyncio.run(main())
"""


@pytest.fixture(autouse=True)
def forget():
    mcp._listed.cache_clear()


@pytest.fixture
def server(tmp_path):
    path = tmp_path / "server.py"
    path.write_text(SERVER)
    return path


def test_a_command(server, monkeypatch, capfd):
    monkeypatch.setenv("SHOP_KEY", "keyed")
    source = f"mcp:'{sys.executable}' {server}"
    tools = read_tools([source])
    assert list(tools) == ["find", "orders.ship", "keyed"], "the server has the environment, keys and all"
    assert tools["find"].definition["function"]["description"] == "Find an item."
    assert tools["find"].definition["function"]["parameters"] == {
        "type": "object",
        "properties": {
            "query": {"type": "string", "description": "what to look for"},
            "limit": {"type": "integer", "default": 3},
        },
        "required": ["query"],
    }
    ship = tools["orders.ship"].definition["function"]["parameters"]["properties"]
    assert ship["to"]["properties"]["street"] == {"type": "string"}
    assert ship["speed"]["enum"] == ["slow", "fast", None]
    assert (tools["find"].name, tools["find"].backend.kind) == ("find", "reference")
    assert "Traceback" not in "".join(capfd.readouterr())


def test_what_a_server_lists_is_part_of_the_fingerprint(server):
    source = f"mcp:{sys.executable} {server}"
    assert tool_files([source]) == []
    assert [each["function"]["name"] for each in live_definitions([source, "json"])] == ["find", "orders.ship"]
    config = load_config("smoke", [f"dataset.tools=['{source}']"]).dataset
    before = dataset_inputs(config)
    mcp._listed.cache_clear()
    assert dataset_inputs(config) == before
    mcp._listed.cache_clear()
    server.write_text(SERVER.replace("Find an item", "Find a thing"))
    assert dataset_inputs(config) != before


def test_pages_of_a_list(tmp_path):
    path = tmp_path / "pages.py"
    path.write_text(PAGES)
    assert list(read_tools([f"mcp:{sys.executable} {path}"])) == ["tool_0", "tool_1", "tool_2"]


@pytest.mark.parametrize(("transport", "path"), [("streamable-http", "mcp"), ("sse", "sse")])
def test_an_address(server, transport, path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with subprocess.Popen(
        [sys.executable, str(server), transport, str(port)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as running:
        try:
            while running.poll() is None and not answers(port):
                time.sleep(0.1)
            assert list(read_tools([f"http://127.0.0.1:{port}/{path}"])) == ["find", "orders.ship"]
        finally:
            running.terminate()


def answers(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["-c", "'import no_such_thing'"], r"it said: ModuleNotFoundError: No module named 'no_such_thing'\); run `"),
        (["-c", "'raise SystemExit(3)'"], r"gave no tools \(.*Connection closed"),
        (["-c", "'print(1)'"], r"gave no tools"),
    ],
)
def test_a_command_that_is_no_server(arguments, reason):
    with pytest.raises(DataError, match=reason) as caught:
        read_tools([f"mcp:{sys.executable} {' '.join(arguments)}"])
    assert "\n" not in str(caught.value)


def test_a_server_that_does_not_answer(monkeypatch):
    monkeypatch.setattr(mcp, "TIMEOUT_S", 0.5)
    with pytest.raises(DataError, match=r"gave no tools \(no answer in 0 s"):
        read_tools([f"mcp:{sys.executable} -c 'import time; time.sleep(60)'"])


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("mcp:no_such_command_here --x", r"its command cannot be started: .*No such file.*run `no_such_command_here --x`"),
        ("mcp:", r"has no command; write mcp:COMMAND ARGUMENTS"),
        ("mcp:'x", r"is no command \(No closing quotation\)"),
        ("http://127.0.0.1:9/mcp", r"gave no tools \(ConnectError.*; check that an MCP server answers there"),
        ("http://127.0.0.1:9/sse", r"gave no tools \(ConnectError.*; check that an MCP server answers there"),
        ("https://127.0.0.1:9/openapi.json", r"is the address of a document; download it and give the file"),
    ],
)
def test_a_source_without_a_server(source, reason):
    with pytest.raises(DataError, match=reason):
        read_tools([source])
