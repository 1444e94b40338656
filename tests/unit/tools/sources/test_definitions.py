"""Definitions of tools in the shapes that people have saved them in."""

import json
import logging

import pytest

from aria_ray.config.schema import ToolSource
from aria_ray.errors import DataError
from aria_ray.tools import schema_problem
from aria_ray.tools.sources import read_tools, tool_files

PARAMETERS = {"type": "object", "properties": {"town": {"type": "string"}}, "required": ["town"]}


@pytest.fixture
def read(tmp_path):
    def reading(content, name="tools.json"):
        path = tmp_path / name
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        return read_tools([str(path)])

    return reading


SHAPES = {
    "openai": [{"type": "function", "function": {"name": "ask", "description": "Ask.", "parameters": PARAMETERS}}],
    "without type": [{"function": {"name": "ask", "description": "Ask.", "parameters": PARAMETERS}}],
    "one alone": {"type": "function", "function": {"name": "ask", "description": "Ask.", "parameters": PARAMETERS}},
    "responses": [{"type": "function", "name": "ask", "description": "Ask.", "parameters": PARAMETERS, "strict": True}],
    "bare": [{"name": "ask", "description": "Ask.", "parameters": PARAMETERS}],
    "anthropic": [{"name": "ask", "description": "Ask.", "input_schema": PARAMETERS}],
    "mcp": {
        "tools": [{"name": "ask", "description": "Ask.", "inputSchema": PARAMETERS | {"$schema": "http://json-schema.org/x"}}]
    },
    "json-rpc": {
        "jsonrpc": "2.0",
        "id": 2,
        "result": {"tools": [{"name": "ask", "description": "Ask.", "inputSchema": PARAMETERS}]},
    },
    "request": {
        "model": "m",
        "messages": [],
        "tools": [{"type": "function", "function": {"name": "ask", "description": "Ask.", "parameters": PARAMETERS}}],
    },
    "gemini": {"tools": [{"functionDeclarations": [{"name": "ask", "description": "Ask.", "parameters": PARAMETERS}]}]},
    "bedrock": {"tools": [{"toolSpec": {"name": "ask", "description": "Ask.", "inputSchema": {"json": PARAMETERS}}}]},
    "by name": {"ask": {"description": "Ask.", "parameters": PARAMETERS}},
    "pydantic": [{"title": "ask", "description": "Ask.", **PARAMETERS}],
    "text": [{"name": "ask", "description": "Ask.", "parameters": json.dumps(PARAMETERS)}],
}


@pytest.mark.parametrize("shape", SHAPES)
def test_shapes(read, shape):
    (tool,) = read(SHAPES[shape]).values()
    function = {"name": "ask", "description": "Ask.", "parameters": PARAMETERS}
    assert tool.definition == {"type": "function", "function": function}
    assert (tool.name, tool.backend.kind) == ("ask", "reference")


def test_yaml_is_read_as_json(read):
    text = "- name: ask\n  parameters:\n    properties:\n      day: {type: string, format: date, examples: [2026-01-02]}\n"
    assert read(text, "tools.yaml")["ask"].definition["function"]["parameters"]["properties"]["day"]["examples"] == [
        "2026-01-02"
    ]


@pytest.mark.parametrize("parameters", [{}, {"parameters": None}, {"inputSchema": {"type": "object"}}])
def test_a_tool_without_parameters(read, parameters):
    (tool,) = read([{"name": "list-rooms.all/now", **parameters}]).values()
    assert tool.definition["function"] == {
        "name": "list-rooms.all/now",
        "description": "list rooms.all/now",
        "parameters": {"type": "object", "properties": {}},
    }


def test_odd_names_of_properties_stay(read):
    properties = {"X-Client-Id": {"type": "string"}, "filter[status]": {"type": "string"}, "$top": {"type": "integer"}}
    definition = read([{"name": "ask", "parameters": {"properties": properties, "required": ["X-Client-Id"]}}])[
        "ask"
    ].definition
    assert definition["function"]["parameters"]["properties"] == properties
    assert schema_problem(definition, {"X-Client-Id": "a", "$top": 3}) is None
    assert schema_problem(definition, {"$top": 3}) == "'X-Client-Id' is a required property"


def test_a_required_name_that_is_no_property_is_told_and_left_out(read, caplog):
    with caplog.at_level(logging.WARNING):
        definition = read([{"name": "ask", "parameters": PARAMETERS | {"required": ["town", "day"]}}])["ask"].definition
    assert definition["function"]["parameters"]["required"] == ["town"]
    assert "ask requires day, which is no property of it" in caplog.text


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([{"name": "a b"}], r"tool 1 \(a b\): name 'a b' must be a text without blanks"),
        ([{"name": "none"}], r"tool 1 \(none\): name 'none'"),
        ([{"description": "x"}, 3, None], r"tool 1: name '' .*tool 2: '3' is no definition.*tool 3: 'None' is no"),
        ([{"type": "web_search"}], r"tool 1: its type is web_search, which is no function"),
        (
            [{"name": "a", "parameters": {"town": {"type": "string"}}}],
            r"tool 1 \(a\): parameters has no `properties`; put town",
        ),
        ([{"name": "a", "parameters": [{"name": "town"}]}], r"tool 1 \(a\): parameters must be an object"),
        ([{"name": "a", "parameters": {"type": "array"}}] * 12, r"tool 10 \(a\).*; and 2 more"),
        ([{"name": "a"}, {"name": "a"}], r"there is a tool a already"),
        ([], r"has no tools"),
        ('"text"', r"tool 1: 'text' is no definition"),
        ('[{"name":', r"cannot be read as JSON"),
        (
            {"mcpServers": {"x": {"command": "npx"}}},
            r"is a configuration of MCP servers; give the command of one, as mcp:COMMAND",
        ),
    ],
)
def test_what_is_no_definition_is_one_line_with_all_of_a_file(read, content, message):
    with pytest.raises(DataError, match=message) as caught:
        read(content)
    assert "\n" not in str(caught.value)


def test_only_leaves_wrong_ones_out(tmp_path):
    path = tmp_path / "tools.json"
    path.write_text(json.dumps([{"name": "good"}, {"name": "wrong", "parameters": 3}]))
    assert list(read_tools([ToolSource(source=str(path), only=("good",))])) == ["good"]
    with pytest.raises(DataError, match=r"only names 'goood', which is not there; there are good"):
        read_tools([ToolSource(source=str(path), only=("goood",))])
    with pytest.raises(DataError, match=r"simulate is false, and only Python functions can be run; leave simulate out"):
        read_tools([ToolSource(source=str(path), only=("good",), simulate=False)])


def test_the_file_decides(tmp_path):
    path = tmp_path / "tools.json"
    assert tool_files([str(path), ToolSource(source=str(path))]) == [path]


def test_a_file_of_an_installed_package(tmp_path, monkeypatch):
    package = tmp_path / "pack_of_tools"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "tools.json").write_text('[{"name": "ask"}]')
    monkeypatch.syspath_prepend(tmp_path)
    assert list(read_tools(["package:pack_of_tools/tools.json"])) == ["ask"]
    assert tool_files(["package:pack_of_tools/tools.json"]) == [package / "tools.json"]
    with pytest.raises(DataError, match=r"there is no package no_such_pack .*write package:NAME/FILE"):
        read_tools(["package:no_such_pack/tools.json"])


def test_a_description_that_is_a_docstring_describes_the_parameters_that_the_schema_does_not(read):
    described = {"town": {"type": "string"}, "day": {"type": "string", "description": "Day of the week"}}
    text = "Ask.\n\nArgs:\n    town: Name of the town, such as Lisbon.\n    day: Some day.\n    other: Not in the schema."
    tool = read([{"name": "ask", "description": text, "parameters": {"type": "object", "properties": described}}])["ask"]
    properties = tool.definition["function"]["parameters"]["properties"]
    assert {key: field["description"] for key, field in properties.items()} == {
        "town": "Name of the town, such as Lisbon.",
        "day": "Day of the week",
    }
