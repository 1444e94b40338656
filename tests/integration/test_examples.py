"""`aria generate recipe.yaml` in a copy of each example that makes a dataset, and in what `aria init` writes."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from aria_ray.init import write_project

pytestmark = pytest.mark.subprocess

EXAMPLES = Path(__file__).parents[2] / "examples"
COMMAND = ["generate", "recipe.yaml"]
DEFINITIONS = [
    {
        "name": "get_weather",
        "description": "Weather in a town.",
        "parameters": {
            "type": "object",
            "properties": {"town": {"type": "string", "description": "The town, such as Lisbon"}},
            "required": ["town"],
        },
    }
]


def generated(name, folder, *overrides):
    """The rows of the dataset that the example makes in a copy of its folder."""
    copy = shutil.copytree(EXAMPLES / name, folder / name)
    assert f"aria {' '.join(COMMAND)} " in (copy / "README.md").read_text()
    return generated_in(copy, *overrides)


def generated_in(project, *overrides):
    """The rows of the dataset that a project's recipe makes."""
    command = [sys.executable, "-m", "aria_ray", *COMMAND, "dataset.num_workers=1", *overrides]
    done = subprocess.run(command, cwd=project, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return [json.loads(line) for line in (project / "aria_llama_final_output" / "final_dataset.jsonl").read_text().splitlines()]


def results_of(rows):
    """(name of the tool, its result) for every call."""
    return [
        (call["function"]["name"], message["content"])
        for row in rows
        for turn in row["messages"]
        for call in turn.get("tool_calls") or ()
        for message in row["messages"]
        if message.get("tool_call_id") == call["id"]
    ]


def test_own_tools(tmp_path):
    rows = generated("own_tools", tmp_path, "dataset.num_request_rows=150")
    called = results_of(rows)
    assert {name for name, _ in called} == {"order_status", "shipping_cost", "loyalty_points"}
    # The functions were really run.
    assert {result for name, result in called if name == "order_status"} <= {"being packed", "on its way", "delivered"}
    said = {json.loads(line)["request"] for line in (EXAMPLES / "own_tools" / "requests.jsonl").read_text().splitlines()}
    held_out = {row["messages"][0]["content"] for row in rows if row["id"].startswith("request/") and row["split"] == "test"}
    assert held_out
    assert held_out <= said | {"what's happening with 1420", "Is order 1998 here already?"}  # two are of a docstring
    assert not held_out & {row["messages"][0]["content"] for row in rows if row["split"] == "train"}


def test_a_project_of_aria_init(tmp_path):
    write_project(tmp_path / "mine")
    called = results_of(generated_in(tmp_path / "mine", "dataset.num_request_rows=150"))
    assert {name for name, _ in called} == {"opening_hours", "find_books", "renew_loan", "reserve_room"}
    assert {result for name, result in called if name == "opening_hours"} <= {"9:00 to 19:00", "10:00 to 14:00", "closed"}


def test_a_project_of_aria_init_from_the_user_s_tools(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tools.json").write_text(json.dumps(DEFINITIONS))
    write_project(Path("mine"), ["tools.json"])
    assert {name for name, _ in results_of(generated_in(tmp_path / "mine"))} == {"get_weather"}


def test_own_conversations(tmp_path):
    rows = generated("own_conversations", tmp_path, "dataset.num_templates=120")
    own = [row for row in rows if row["tools"] and row["tools"][0]["function"]["name"] == "find_table"]
    assert len(own) == 14
    assert all(turn["reasoning_content"] for row in own for turn in row["messages"] if turn["role"] == "assistant")
