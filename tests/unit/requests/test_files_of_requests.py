"""Files of example requests: every form that is read, and every wrong line named at once."""

import json

import pytest
from typer.testing import CliRunner

from aria_ray.cli import app
from aria_ray.errors import DataError
from aria_ray.requests.read import check_examples, read_requests

LIGHT = {
    "type": "function",
    "function": {
        "name": "set_light",
        "description": "Set the light of a room.",
        "parameters": {
            "type": "object",
            "properties": {
                "room": {"type": "string"},
                "brightness": {"type": "integer", "maximum": 100},
                "at": {"type": "string"},
            },
            "required": ["room"],
        },
    },
}
CALL = {"name": "set_light", "arguments": {"room": "kitchen", "brightness": 80}}
LINE = {"request": "kitchen light to 80", "calls": [CALL]}


def written(tmp_path, text, name="requests.jsonl"):
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("name", "text", "line"),
    [
        ("lines.jsonl", f"\n{json.dumps(LINE)}\n\n", 2),
        ("bom.jsonl", f"\ufeff{json.dumps(LINE)}", 1),
        ("list.json", json.dumps([LINE], indent=1), 1),
        ("list.yaml", f"# ours\n- {json.dumps(LINE)}\n", 2),
        (
            "named.yml",
            "requests:\n- request: a\n  calls: [{name: b, arguments: {room: kitchen, brightness: 80}}]",
            2,
        ),
    ],
)
def test_a_file_is_read_in_each_form(tmp_path, name, text, line):
    path = written(tmp_path, text, name)
    ((place, example),) = read_requests(path, "dataset.requests")
    assert place == f"{path}:{line}"
    assert example.calls[0].arguments == CALL["arguments"]


def test_yaml_words_dates_and_times_stay_text(tmp_path):
    text = "- {request: x, calls: [{name: a, arguments: {state: off, at: 19:30, day: 2026-03-04, n: 5, x: 1.5, b: true}}]}"
    ((_, example),) = read_requests(written(tmp_path, text, "words.yaml"), "dataset.requests")
    assert example.calls[0].arguments == {"state": "off", "at": "19:30", "day": "2026-03-04", "n": 5, "x": 1.5, "b": True}


def test_every_wrong_line_is_named_with_what_is_wrong(tmp_path):
    lines = [
        json.dumps(LINE),
        '{"request": "x", "calls": [}',
        '{"reqest": "x", "calls": []}',
        '{"request": "x"}',
        "[1]",
        '{"request": "x", "calls": [{"name": "a", "arguments": "{}"}]}',
        '{"request": "x", "calls": [{"type": "function", "function": {"name": "a"}}]}',
        '{"request": "", "calls": []}',
        '{"request": "x", "calls": [{"name": "a"}], "ask": "room"}',
    ]
    path = written(tmp_path, "\n".join(lines))
    with pytest.raises(DataError) as refused:
        read_requests(path, "dataset.requests")
    named = str(refused.value)
    assert [f"{path}:{number}:" in named for number in range(1, 10)] == [False] + [True] * 8
    for words in ("did you mean 'request'", "`calls` is missing", "[1] is no object", "write them as an object", "without it"):
        assert words in named


def test_twenty_problems_are_named_and_the_others_counted(tmp_path):
    with pytest.raises(DataError, match="and 5 more"):
        read_requests(written(tmp_path, "{}\n" * 25), "dataset.requests")


@pytest.mark.parametrize("text", ["", "\n\n"])
def test_a_file_without_requests_is_refused(tmp_path, text):
    with pytest.raises(DataError, match="has no requests"):
        read_requests(written(tmp_path, text), "dataset.requests")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"calls": [{**CALL, "name": "set_lights"}]}, "there is no tool 'set_lights'; there are set_light"),
        ({"calls": [{**CALL, "arguments": {"room": "kitchen", "brightness": 180}}]}, "180"),
        ({"calls": [], "ask": "rom"}, "`ask` 'rom' is no parameter of a tool; there are room"),
        ({"tools": ["set_lamp"]}, "there is no tool 'set_lamp'"),
        ({"values": {"bright": [5]}}, "`values` has 'bright'"),
    ],
)
def test_examples_that_do_not_fit_the_tools_are_refused(tmp_path, changes, words):
    placed = read_requests(written(tmp_path, json.dumps(LINE | changes)), "dataset.requests")
    with pytest.raises(DataError) as refused:
        check_examples(placed, {"set_light": LIGHT})
    assert words in str(refused.value)


def test_the_same_words_with_other_calls_are_refused(tmp_path):
    other = {**LINE, "request": "Kitchen  light to 80", "calls": []}
    placed = read_requests(written(tmp_path, f"{json.dumps(LINE)}\n{json.dumps(other)}"), "dataset.requests")
    with pytest.raises(DataError, match=r"has other calls at .*:1"):
        check_examples(placed, {"set_light": LIGHT})


def test_check_says_what_was_understood(tmp_path):
    tools = written(tmp_path, json.dumps([LIGHT]), "tools.json")
    asking = {"request": "dim the light", "calls": [], "ask": "room"}
    wrong = {"request": "office at 30", "calls": [{"name": "set_light", "arguments": {"room": "office", "brightness": 40}}]}
    path = written(tmp_path, "\n".join(json.dumps(line) for line in (LINE, asking, wrong)))
    result = CliRunner().invoke(app, ["requests", "check", str(path), "--tools", str(tools)], catch_exceptions=False)
    assert result.exit_code == 0
    for words in (
        "[kitchen] light to [80]",
        'room = "kitchen"',
        "asks for room",
        "40 is not in the words and stays as it is; the words say 30: is one of them wrong?",
        "set_light: 2 examples",
        "6 or more",
    ):
        assert words in result.stdout
