"""The examples that need no Ray: recipes that are valid and explained, tools and conversations that are taken, the client."""

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from fake_endpoint import CALL, Behaviour, fake_endpoint

from aria_ray.config import load_config
from aria_ray.dataset.conversations.sources import read_sources
from aria_ray.dataset.from_requests.own import own_requests
from aria_ray.grammar import message_calls
from aria_ray.init import write_project

EXAMPLES = Path(__file__).parents[2] / "examples"
RECIPES = sorted(EXAMPLES.glob("*/recipe.yaml"))


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: path.parent.name)
def test_a_recipe_is_valid_and_every_line_is_explained(recipe: Path) -> None:
    load_config(str(recipe))
    lines = [line for line in recipe.read_text().splitlines() if line.strip() and not line.lstrip().startswith("- ")]
    sections = [line for line in lines if not line.startswith((" ", "#"))]
    assert len(lines) > len(sections) > 4
    assert not [line for line in lines if line not in sections and "#" not in line]


def test_the_example_s_tools_are_taken_and_described(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(EXAMPLES / "own_tools")
    tools = own_requests(load_config("recipe.yaml").dataset).tools
    assert set(tools) == {"order_status", "shipping_cost", "loyalty_points"}
    for tool in tools.values():
        for parameter in tool.definition["function"]["parameters"]["properties"].values():
            assert parameter["description"]


def test_the_example_s_requests_are_six_a_tool_and_stand_for_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(EXAMPLES / "own_tools")
    own = own_requests(load_config("recipe.yaml").dataset)
    people = [source for source in own.sources if source.origin == "request"]
    calls = Counter(call.name for source in people for call in source.example.calls)
    assert min(calls[name] for name in own.tools) >= 6
    assert all(source.template.slots for source in people if source.example.calls)
    assert {source.held_out for source in people} == {True, False}


def test_the_example_s_recipe_is_the_one_that_aria_init_writes(tmp_path: Path) -> None:
    write_project(tmp_path / "mine")
    written = (tmp_path / "mine" / "recipe.yaml").read_text().replace("my_tools.py", "shop_tools.py")
    assert (EXAMPLES / "own_tools" / "recipe.yaml").read_text() == written, f"put this into the example:\n{written}"


def test_the_example_s_conversations_are_taken_line_by_line() -> None:
    path = EXAMPLES / "own_conversations" / "restaurant.jsonl"
    rows = read_sources([str(path)]).rows
    assert len(rows) == len(path.read_text().splitlines()) == 14
    assert {row["scenario"] for row in rows} == {"hit", "miss", "multi", "error"}


@pytest.mark.subprocess
def test_the_client_streams_runs_the_tool_and_gives_its_result_back() -> None:
    received: list[dict] = []

    def message(body: dict) -> dict:
        last = body["messages"][-1]
        if last["role"] == "tool":
            return {"role": "assistant", "content": f"It is {last['content']}."}
        call = {"id": "call_1", "type": "function", "function": CALL}
        return {"role": "assistant", "reasoning": "a percentage", "content": None, "tool_calls": [call]}

    with fake_endpoint(Behaviour(tokens=3, reasoning_tokens=1, message=message), received) as endpoint:
        done = subprocess.run(
            [sys.executable, str(EXAMPLES / "client" / "client.py"), "What is 15% of 80?"],
            env=os.environ | {"ARIA_URL": endpoint.base_url, "NO_PROXY": "127.0.0.1"},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
    assert done.returncode == 0, done.stderr
    assert "\nword word word \n" in done.stdout  # one token of thought, two of the answer
    assert f"percent_of({CALL['arguments']}) -> 12.0" in done.stdout
    assert done.stdout.rstrip().endswith("It is 12.0.")
    streamed, first, second = received
    assert streamed["stream"]
    assert [tool["function"]["name"] for tool in first["tools"]] == ["percent_of"]
    assert message_calls(second["messages"][1])[0].arguments == json.loads(CALL["arguments"])
    assert second["messages"][2] == {"role": "tool", "tool_call_id": "call_1", "content": "12.0"}


@pytest.mark.parametrize(
    ("name", "arguments", "told"),
    [
        ("divide", "{}", "error: there is no tool divide"),
        ("percent_of", '{"percent": 1', "error: "),
        ("percent_of", '{"percent": 1}', "error: "),
        ("percent_of", "[1]", "error: "),
    ],
)
def test_the_client_tells_the_model_what_went_wrong(
    name: str, arguments: str, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(EXAMPLES / "client")
    import client

    assert client.run(name, arguments).startswith(told)


@pytest.mark.parametrize("folder", [path.parent for path in EXAMPLES.glob("*/README.md")], ids=lambda path: path.name)
def test_a_readme_names_files_that_are_there(folder: Path) -> None:
    text = (folder / "README.md").read_text()
    named = {part.split(")")[0] for part in text.split("](")[1:]}
    assert named
    assert not [name for name in named if not (folder / name).is_file()]
