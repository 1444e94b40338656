"""`aria init`: what it writes runs as it is, names the user's tools as seen from the new folder, and overwrites nothing."""

import json
import re
import shlex
import sys
from collections import Counter
from pathlib import Path

import pytest
import typer
import yaml
from typer.testing import CliRunner

from aria_ray.cli import app
from aria_ray.config import load_config
from aria_ray.dataset.from_requests.own import own_requests
from aria_ray.errors import DataError
from aria_ray.init import write_project
from aria_ray.init.paths import from_inside

MODULE = '''
"""Tools of a kitchen."""
from datetime import time
from typing import Literal

def set_oven(degrees: int, mode: Literal["fan", "grill"] = "fan") -> str:
    """Heat the oven: no food yet.

    Args:
        degrees: Temperature in degrees Celsius, 50 to 250.
        mode: How it heats; # is no comment.
    """
    return f"{mode} at {degrees}"

def switch(lamp: str, on: bool) -> str:
    """Switch a lamp.

    Examples:
        lights out in the hallway -> lamp="hallway", on=False
    """
    return "done"

def wake_me(at: time) -> str:
    """Wake the user."""
    return f"at {at}"
'''
DEFINITIONS = [
    {
        "name": "find-recipe",
        "description": "Find a recipe.\n\u0007Second: line",
        "parameters": {
            "type": "object",
            "properties": {
                "on": {"type": "string", "enum": ["monday", "off"]},
                "null": {"type": "string", "description": "A dish"},
            },
            "required": ["on", "null"],
        },
    },
    {
        "name": "seal",
        "parameters": {
            "type": "object",
            "properties": {"digest": {"type": "string", "pattern": "^a(?<!a)$"}},
            "required": ["digest"],
        },
    },
]
OPENAPI = """
openapi: 3.0.3
info: {title: Pets, version: "1"}
paths:
  /pets:
    get:
      operationId: find_pets
      summary: "Find pets: all of a kind"
      parameters:
        - {name: kind, in: query, required: true, schema: {type: string, enum: [cat, dog]}}
      responses: {}
"""
SERVER = '''
from typing import Annotated

from mcp.server import MCPServer
from pydantic import Field

app = MCPServer("clock")

@app.tool()
def time_in(city: str, format: Annotated[str, Field(description="How it is written.")] = "24 hours") -> str:
    """The time in a city.

    Args:
        city: The city, such as Lisbon.
        format: Not shown: the schema says it too.
    """
    return "12:00"

app.run()
'''


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's folder with tools of every kind, where `aria init` is run."""
    package = tmp_path / "kitchen_home"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "oven.py").write_text(MODULE)
    (tmp_path / "kitchen_file.py").write_text(MODULE)
    (tmp_path / "tools.json").write_text(json.dumps(DEFINITIONS))
    (tmp_path / "pets.yaml").write_text(OPENAPI)
    (tmp_path / "clock_server.py").write_text(SERVER)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)  # as `aria` does with the folder that it is run in
    return tmp_path


def recipe_of(folder: Path, monkeypatch: pytest.MonkeyPatch):
    """The recipe's configuration, read as a user reads it: from inside the project."""
    monkeypatch.chdir(folder)
    return load_config("recipe.yaml")


def test_the_example_is_six_requests_a_tool_and_some_without(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_project(tmp_path / "mine")
    own = own_requests(recipe_of(tmp_path / "mine", monkeypatch).dataset)
    said = [source.example for source in own.sources if source.origin == "request"]
    calls = Counter(call.name for example in said for call in example.calls)
    assert set(calls) == set(own.tools)
    assert len(own.tools) in (3, 4)
    assert min(calls.values()) >= 6
    assert sum(not example.calls and example.ask is None for example in said) >= 6
    assert 1 <= sum(example.ask is not None for example in said) <= 2
    assert {call.name for source in own.sources if source.held_out for call in source.example.calls} == set(own.tools)


def test_every_value_of_the_example_is_found_in_its_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_project(tmp_path / "mine")
    own = own_requests(recipe_of(tmp_path / "mine", monkeypatch).dataset)
    assert [note for source in own.sources for note in source.template.notes] == []


def test_the_recipe_trains_and_measures_as_the_laptop_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_project(tmp_path / "mine")
    config, laptop = recipe_of(tmp_path / "mine", monkeypatch), load_config("laptop")
    for section in ("model", "hardware", "training", "serving", "validation"):
        assert getattr(config, section) == getattr(laptop, section), section
    assert not config.dataset.has_builtin


def test_every_line_of_the_recipe_is_explained(tmp_path: Path) -> None:
    write_project(tmp_path / "mine")
    lines = [line for line in (tmp_path / "mine" / "recipe.yaml").read_text().splitlines() if line.startswith("  ")]
    assert len(lines) > 15
    assert [line for line in lines if " # " not in line and not line.lstrip().startswith("- ")] == []


@pytest.mark.parametrize(
    ("source", "named", "tools"),
    [
        ("kitchen_home.oven", "../kitchen_home/oven.py", ["set_oven", "switch", "wake_me"]),
        ("kitchen_file", "../kitchen_file.py", ["set_oven", "switch", "wake_me"]),
        ("kitchen_file.py", "../kitchen_file.py", ["set_oven", "switch", "wake_me"]),
        ("tools.json", "../tools.json", ["find-recipe", "seal"]),
        ("pets.yaml", "../pets.yaml", ["find_pets"]),
    ],
)
def test_a_project_of_the_user_s_tools(
    home: Path, source: str, named: str, tools: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    write_project(Path("mine"), [source])
    assert sorted(path.name for path in (home / "mine").iterdir()) == ["README.md", "recipe.yaml", "requests.yaml"]
    config = recipe_of(home / "mine", monkeypatch)
    assert config.dataset.tools == (named,)
    assert list(own_requests(config.dataset).tools) == tools


@pytest.mark.subprocess
def test_a_project_of_a_server_s_tools(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_project(Path("mine"), [f"mcp:{sys.executable} clock_server.py"])
    config = recipe_of(home / "mine", monkeypatch)
    own = own_requests(config.dataset)
    assert list(own.tools) == ["time_in"]
    text = (home / "mine" / "requests.yaml").read_text()
    assert "time_in(city: string" in text
    assert "city: The city, such as Lisbon." in text
    assert "format: How it is written." in text


def test_prepared_requests_have_what_is_known_and_places_to_fill(home: Path) -> None:
    write_project(Path("mine"), ["kitchen_file.py"])
    text = (home / "mine" / "requests.yaml").read_text()
    assert '# ---- set_oven(degrees: integer, mode?: "fan"|"grill")' in text
    assert "# Heat the oven: no food yet." in text
    assert "degrees: Temperature in degrees Celsius, 50 to 250." in text
    assert "1 example requests are in its docstring already" in text
    given = Counter(call["name"] for item in yaml.safe_load(text)["requests"] for call in item["calls"])
    assert given == {"set_oven": 2, "wake_me": 2}
    filled = yaml.safe_load(uncommented(text))["requests"]
    places = Counter(call["name"] for item in filled for call in item["calls"])
    assert places["set_oven"] == places["wake_me"] == 6
    assert places["switch"] == 5
    arguments = next(call["arguments"] for item in filled for call in item["calls"] if call["name"] == "switch")
    assert arguments == {"lamp": None, "on": None}, "names that YAML reads as other values are in quotes"


def test_names_and_texts_of_any_kind_stay_yaml(home: Path) -> None:
    write_project(Path("mine"), ["tools.json"])
    filled = yaml.safe_load(uncommented((home / "mine" / "requests.yaml").read_text()))["requests"]
    arguments = [call["arguments"] for item in filled for call in item["calls"] if call["name"] == "find-recipe"]
    assert all(set(each) == {"on", "null"} for each in arguments)


def uncommented(text: str) -> str:
    """A file of prepared requests with its empty places taken out of their comments."""
    return re.sub(r"^  # (?=- request|  (?:calls|ask):)", "  ", text, flags=re.MULTILINE)


def test_a_tool_whose_value_cannot_be_made_has_empty_places_alone(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_project(Path("mine"), ["tools.json"])
    assert (home / "mine" / "requests.yaml").read_text().count('# - request: ""\n  #   calls: [{name: seal,') == 6
    own_requests(recipe_of(home / "mine", monkeypatch).dataset)


def test_long_lists_of_tools_get_rows_that_hold_them(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(home)
    long = [{"name": f"tool_{number}", "description": "word " * 60, "parameters": {}} for number in range(30)]
    (home / "long.json").write_text(json.dumps(long))
    (home / "short.json").write_text(json.dumps(long[:1]))
    for name in ("long", "short"):
        write_project(Path(name), [f"{name}.json"])
    laptop = load_config("laptop").training
    training = load_config("long/recipe.yaml").training
    assert training.max_tokens == training.tokens_per_step > laptop.max_tokens
    assert load_config("short/recipe.yaml").training == laptop


def test_values_of_several_lines_stay_on_one(home: Path) -> None:
    text = {"type": "string", "enum": ["one\ntwo", "three\n\nfour"]}
    parameters = {"type": "object", "properties": {"text": text}, "required": ["text"]}
    (home / "lines.json").write_text(json.dumps([{"name": "say", "description": "Say a text.", "parameters": parameters}]))
    write_project(Path("mine"), ["lines.json"])
    given = yaml.safe_load((home / "mine" / "requests.yaml").read_text())["requests"]
    assert {call["arguments"]["text"] for item in given for call in item["calls"]} <= set(text["enum"])


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    for name, text in (("file", "mine"), ("folder/requests.jsonl", "my words")):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    for name in ("file", "folder", "link"):
        with pytest.raises(DataError, match=r"nothing is overwritten; give a new or an empty folder$"):
            write_project(tmp_path / name)
    assert (tmp_path / "folder" / "requests.jsonl").read_text() == "my words"
    assert [path.name for path in (tmp_path / "folder").iterdir()] == ["requests.jsonl"]


def test_an_empty_folder_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_project(Path())
    assert len(list(tmp_path.iterdir())) == 4


@pytest.mark.parametrize("source", ["nowhere.py", "no_such_module_at_all", "missing.json"])
def test_tools_that_cannot_be_read_leave_nothing(home: Path, source: str) -> None:
    with pytest.raises(DataError, match=source):
        write_project(Path("mine"), [source])
    assert not (home / "mine").exists()


@pytest.mark.parametrize(
    ("source", "named"),
    [
        ("https://example.com/mcp", "https://example.com/mcp"),
        ("package:some_client/openapi.yaml", "package:some_client/openapi.yaml"),
        ("mcp:uvx mcp-server-time --zone UTC", "mcp:uvx mcp-server-time --zone UTC"),
        ("mcp:python clock_server.py 'my files'", "mcp:python ../../clock_server.py 'my files'"),
        ("mcp:kitchen_home/run.sh .", "mcp:../../kitchen_home/run.sh ../.."),
        ("mcp:python -m kitchen_home", "mcp:python -m kitchen_home"),
        ("kitchen_home/", "../../kitchen_home"),
        ("/opt/tools.json", "/opt/tools.json"),
        ("~/tools.json", "~/tools.json"),
        ("json", "json"),
    ],
)
def test_a_source_as_seen_from_inside_another_folder(home: Path, source: str, named: str) -> None:
    (home / "kitchen_home" / "run.sh").write_text("")
    assert from_inside(source, Path("deep/mine")) == named


def test_the_command_prints_what_to_type_next(home: Path) -> None:
    done = CliRunner().invoke(app, ["init", "my project", "--from", "kitchen_file.py", "--from", "pets.yaml"])
    assert done.exit_code == 0, done.output
    assert "  cd 'my project'\n" in done.output
    assert "  aria chat --tool ../kitchen_file.py --tool ../pets.yaml\n" in done.output
    typed = [shlex.split(line)[1:] for line in done.output.splitlines() if line.startswith("  aria ")]
    assert [words[0] for words in typed] == ["requests", "generate", "run", "serve", "chat"]
    commands = typer.main.get_command(app).commands
    for name, *arguments in typed:
        command = commands[name].commands["check"] if name == "requests" else commands[name]
        command.make_context(name, arguments[1:] if name == "requests" else arguments)
    readme = (home / "my project" / "README.md").read_text()
    assert all(line.strip() in readme for line in done.output.splitlines() if line.startswith("  aria "))
