"""`aria generate recipe.yaml` in a copy of each example that makes a dataset, as its README says, with fewer templates."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.subprocess

EXAMPLES = Path(__file__).parents[2] / "examples"
COMMAND = ["generate", "recipe.yaml"]


def generated(name, folder):
    """The rows of the dataset that the example makes in a copy of its folder."""
    copy = shutil.copytree(EXAMPLES / name, folder / name)
    assert f"aria {' '.join(COMMAND)} " in (copy / "README.md").read_text()
    command = [sys.executable, "-m", "aria_ray", *COMMAND, "dataset.num_templates=120", "dataset.num_workers=1"]
    done = subprocess.run(command, cwd=copy, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return [json.loads(line) for line in (copy / "aria_llama_final_output" / "final_dataset.jsonl").read_text().splitlines()]


def test_own_tools(tmp_path):
    rows = generated("own_tools", tmp_path)
    called = [
        (call["function"]["name"], message["content"])
        for row in rows
        for turn, message in zip(row["messages"], row["messages"][1:], strict=False)
        for call in turn.get("tool_calls") or ()
    ]
    assert {"order_status", "shipping_cost", "loyalty_points"} <= {name for name, _ in called}
    # The functions were really run.
    assert {result for name, result in called if name == "order_status"} <= {"being packed", "on its way", "delivered"}


def test_own_conversations(tmp_path):
    rows = generated("own_conversations", tmp_path)
    own = [row for row in rows if row["tools"] and row["tools"][0]["function"]["name"] == "find_table"]
    assert len(own) == 14
    assert all(turn["reasoning_content"] for row in own for turn in row["messages"] if turn["role"] == "assistant")
