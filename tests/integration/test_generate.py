"""The dataset stage on a real local Ray: its files, whatever the number of workers, and after a kill."""

import hashlib
import json
import logging
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import ray
from dataset_rows import read_rows

from aria_ray.config.schema import DatasetConfig
from aria_ray.dataset import generate
from aria_ray.dataset.generate import generate_dataset
from aria_ray.dataset.sampling import SCENARIO_SHARES
from aria_ray.dataset.templates import UNSEEN_DOMAINS, UNSEEN_TOOLS
from aria_ray.errors import DataError

pytestmark = pytest.mark.ray

TEMPLATES, ROWS = 120, 600
FILES = {"final_dataset.jsonl", "parquet/rows-00000.parquet", "parquet/rows-00001.parquet", "quality.json", "SAMPLES.md"}
ROWS_PER_FILE = 400

DRIVER = """
import sys
from pathlib import Path
import ray
from aria_ray.config.schema import DatasetConfig
from aria_ray.dataset import generate
ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
generate.ROWS_PER_PARQUET_FILE = 400
generate.ROWS_PER_BATCH = 50
config = DatasetConfig(num_templates=120)
generate.generate_dataset(config, Path(sys.argv[1]), lambda done, rows: print(done, flush=True))
"""

USER_TOOLS = '''
def tip(bill: float, percent: int) -> float:
    """Tip on a bill."""
    return bill * percent / 100


def shout(text: str, times: int = 1) -> str:
    """Say a text louder, some times."""
    return " ".join([text.upper() + "!"] * min(times, 5))
'''
USER_ROW = {
    "tools": [
        {
            "type": "function",
            "function": {
                "name": "room_temperature",
                "description": "Temperature of a room.",
                "parameters": {"type": "object", "properties": {"room": {"type": "string"}}, "required": ["room"]},
            },
        }
    ],
    "messages": [
        {"role": "user", "content": "How warm is it in the attic?"},
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [
                {"id": "a", "type": "function", "function": {"name": "room_temperature", "arguments": '{"room": "attic"}'}}
            ],
        },
        {"role": "tool", "tool_call_id": "a", "content": "31 degrees"},
        {"role": "assistant", "content": "It is 31 degrees in the attic."},
    ],
}


@pytest.fixture(scope="module", autouse=True)
def _ray():
    ray.init(num_cpus=4, include_dashboard=False, log_to_driver=False, logging_level=logging.WARNING)
    yield
    ray.shutdown()


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A dataset made by one worker, and the hashes of its files."""
    out = tmp_path_factory.mktemp("one")
    with pytest.MonkeyPatch.context() as patch:
        return out, make(out, 1, patch)


def make(out, num_workers, patch):
    patch.setattr(generate, "ROWS_PER_PARQUET_FILE", ROWS_PER_FILE)
    progress = []
    config = DatasetConfig(num_templates=TEMPLATES, num_workers=num_workers)
    generate_dataset(config, out, lambda done, rows: progress.append((done, rows)))
    assert progress[-1] == (ROWS, ROWS)
    return hashes(out)


def hashes(out):
    files = sorted(path for path in out.rglob("*") if path.is_file())
    return {str(path.relative_to(out)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.mark.parametrize("num_workers", [2, 4])
def test_files_do_not_depend_on_the_number_of_workers(made, tmp_path, monkeypatch, num_workers):
    assert set(made[1]) == FILES
    assert make(tmp_path, num_workers, monkeypatch) == made[1]


def test_files_are_the_same_after_a_kill(made, tmp_path):
    """kill -9 in the middle leaves no dataset behind, and the next run makes the same one."""
    command = [sys.executable, "-c", DRIVER, str(tmp_path / "out")]
    environment = {key: value for key, value in os.environ.items() if key != "RAY_ADDRESS"}
    running = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True, env=environment)
    assert int(running.stdout.readline()) < ROWS
    os.killpg(running.pid, signal.SIGKILL)
    running.wait()
    assert not (tmp_path / "out" / "final_dataset.jsonl").exists()
    time.sleep(1)
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, timeout=300, env=environment)
    assert {name: value for name, value in hashes(tmp_path / "out").items() if name in FILES} == made[1]
    assert not list((tmp_path / "out").glob(".*"))


def test_rows_are_what_is_promised(made):
    rows = read_rows(made[0] / "final_dataset.jsonl")
    ids = [row["id"] for row in rows]
    assert ids == sorted(set(ids))
    table = pq.read_table(made[0] / "parquet").to_pylist()
    assert [json.loads(item["messages"]) for item in table] == [row["messages"] for row in rows]
    assert [json.loads(item["tools"]) for item in table] == [row["tools"] for row in rows]
    samples = (made[0] / "SAMPLES.md").read_text()
    assert all(f"## {scenario}" in samples for scenario in SCENARIO_SHARES)
    assert samples.count("### ") == 3 * len(SCENARIO_SHARES)


def test_splits_are_disjoint(made):
    """By template family; and tools and domains that are held out occur in their own split alone, everywhere in it."""
    families: dict[str, set[str]] = {}
    for row in read_rows(made[0] / "final_dataset.jsonl"):
        families.setdefault(row["template_family"], set()).add(row["split"])
        listed = json.loads(row["tool_names"]).values()
        held_out = any(names["tool"] in UNSEEN_TOOLS or names.get("domain") in UNSEEN_DOMAINS for names in listed)
        assert held_out == (row["split"] == "test_unseen_tools"), row["id"]
    assert all(len(found) == 1 for found in families.values())
    assert set().union(*families.values()) == {"train", "validation", "test", "test_unseen_tools"}


def test_user_tools_and_conversations_are_mixed_in(tmp_path):
    """Through the command line, from the folder that they lie in."""
    (tmp_path / "my_tools.py").write_text(USER_TOOLS)
    (tmp_path / "tools.json").write_text(json.dumps(USER_ROW["tools"]))
    rows = [
        USER_ROW | {"messages": [{"role": "user", "content": f"How warm was it on day {day}?"}, *USER_ROW["messages"][1:]]}
        for day in range(10)
    ]
    (tmp_path / "mine.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    command = [Path(sys.executable).with_name("aria"), "generate", "smoke", "--out", "out"]
    overrides = ["dataset.tools=[my_tools, tools.json]", "dataset.sources=[mine.jsonl]", f"dataset.num_templates={TEMPLATES}"]
    environment = {key: value for key, value in os.environ.items() if key != "RAY_ADDRESS"}
    done = subprocess.run(
        [*command, *overrides], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    made = read_rows(tmp_path / "out" / "final_dataset.jsonl")
    called = [call["function"]["name"] for row in made for turn in row["messages"] for call in turn.get("tool_calls") or ()]
    assert sum(row["id"].startswith("own/") for row in made) == len(rows)
    assert called.count("room_temperature") > len(rows)
    assert {"tip", "shout"} <= set(called)


def test_dataset_that_fails_a_gate_is_not_left_behind(tmp_path, monkeypatch):
    monkeypatch.setattr("aria_ray.dataset.quality.MAX_NEAR_DUPLICATE_SHARE", -1.0)
    with pytest.raises(DataError, match="near-duplicates"):
        generate_dataset(DatasetConfig(num_templates=60, augmentations=2), tmp_path)
    assert list(tmp_path.iterdir()) == []
