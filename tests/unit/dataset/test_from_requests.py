"""Rows that are made of example requests: what is in them, on which side of the split they are, and that they are true."""

import json
from collections import Counter

import pytest

from aria_ray.config.schema import DatasetConfig
from aria_ray.dataset.checks import shape_problems
from aria_ray.dataset.from_requests.cases import request_cases
from aria_ray.dataset.from_requests.own import MAX_COMPOSED, own_requests
from aria_ray.dataset.from_requests.rows import RequestRows
from aria_ray.dataset.from_requests.talk import spoken_result
from aria_ray.errors import DataError
from aria_ray.grammar import message_calls
from aria_ray.validation.conversations import expected_rounds

TOOLS = '''
"""Tools of a house."""
import itertools

RUNS = itertools.count()
LOG = []


def set_light(room: str, brightness: int) -> str:
    """Set the light of a room.

    Args:
        room: The room, e.g. "kitchen".
        brightness: Percent, 1 to 100.
    """
    return f"The light in the {room} is at {brightness} percent."


def ring(times: int) -> str:
    """Ring the bell."""
    LOG.append(times)
    return f"rung {times} times, number {next(RUNS)}"


def lock(door: str, closed: bool) -> str:
    """Lock a door."""
    if door == "moon":
        raise ValueError("there is no such door")
    return f"{door}: {closed}"
'''


def light(request, room, brightness):
    return {"request": request, "calls": [{"name": "set_light", "arguments": {"room": room, "brightness": brightness}}]}


REQUESTS = [
    light("turn the kitchen lights up to 80", "kitchen", 80),
    light("bedroom at forty percent", "bedroom", 40),
    light("I want 15 in the hallway", "hallway", 15),
    light("Dim the office to 5", "office", 5),
    light("how about 60 in the attic?", "attic", 60),
    {"request": "ring 3 times", "calls": [{"name": "ring", "arguments": {"times": 3}}]},
    {"request": "order a pizza", "calls": []},
    {"request": "who are you", "calls": [], "answer": "I look after this house."},
    {"request": "dim the lights to 20", "calls": [], "ask": "room"},
]


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "house_for_tests.py").write_text(TOOLS)
    (tmp_path / "requests.jsonl").write_text("".join(json.dumps(line) + "\n" for line in REQUESTS))
    return tmp_path


def configured(folder, **changes):
    tools, requests = (str(folder / name) for name in ("house_for_tests.py", "requests.jsonl"))
    return DatasetConfig(num_templates=0, **{"tools": [tools], "requests": [requests], **changes})


def made(config):
    rows = RequestRows(own_requests(config), config.num_request_rows, config.seed)
    return [row for item_id in rows.item_ids() for row in rows.rows(item_id)]


def said(row):
    return [message["content"] for message in row["messages"] if message["role"] == "user"]


def talks(rows):
    return [(row["id"], said(row), expected_rounds(row)) for row in rows]


def test_every_row_passes_the_checks_and_ids_are_unique(folder):
    rows = made(configured(folder))
    assert [problem for row in rows for problem in shape_problems(row)] == []
    assert len({row["id"] for row in rows}) == len(rows)


def test_rows_depend_on_the_seed_and_their_ids_alone(folder):
    config = configured(folder, tools=[str(folder / "house_for_tests.py")])
    rows = RequestRows(own_requests(config), config.num_request_rows, config.seed)
    forward = {item: rows.rows(item) for item in rows.item_ids() if not item.startswith("request/0006")}  # ring counts
    again = RequestRows(own_requests(config), config.num_request_rows, config.seed)
    backward = {item: again.rows(item) for item in reversed(list(forward))}
    assert {item: talks(rows) for item, rows in forward.items()} == {item: talks(backward[item]) for item in forward}


def test_values_in_calls_are_said_in_the_request(folder):
    for row in made(configured(folder)):
        if row["augmentation"] in ("none", "values") and row["template_id"].startswith("request/"):
            for call in (call for message in row["messages"] for call in message_calls(message)):
                if call.name == "set_light":
                    assert call.arguments["room"] in said(row)[0].lower()


def test_all_kinds_of_rows_are_there(folder):
    kinds = Counter(row["augmentation"] for row in made(configured(folder, num_request_rows=600)))
    assert set(kinds) == {"none", "values", "absent", "missing", "two", "follow_up", "correction", "no_tool"}
    assert kinds["values"] > kinds["absent"] > 0


def test_a_request_without_a_value_is_about_the_tool_that_lacks_it(folder):
    row = next(row for row in made(configured(folder)) if said(row) == ["dim the lights to 20"])
    assert row["messages"][-1]["reasoning_content"] == "ask: set light; function: none; reason: room is missing"


def test_a_tool_that_is_not_listed_is_not_called(folder):
    for row in made(configured(folder)):
        if row["augmentation"] == "absent":
            assert expected_rounds(row) == []
            called = row["messages"][1]["reasoning_content"]
            assert "no listed tool can do it" in called


def test_a_held_out_request_is_in_the_test_word_for_word_and_nowhere_else(folder):
    rows = made(configured(folder, held_out_share=0.4))
    held = [row for row in rows if row["split"] == "test" and row["id"].startswith("request/")]
    assert held
    written = {line["request"] for line in REQUESTS}
    families = {row["template_family"] for row in held}
    assert all(said(row)[0] in written for row in held)
    assert [row for row in rows if row["template_family"] in families and row["split"] != "test"] == []


def test_without_held_out_requests_the_test_has_refilled_ones_that_are_nobodys_words(folder):
    test = [row for row in made(configured(folder, held_out_share=0)) if row["split"] == "test"]
    assert test
    assert not any(row["id"].startswith("request/") for row in test)


def test_a_tool_is_run_once_a_row_and_its_result_is_kept(folder):
    config = configured(folder)
    row = next(row for row in made(config) if row["augmentation"] == "none" and said(row) == ["ring 3 times"])
    result = row["messages"][2]["content"]
    assert result.startswith("rung 3 times")
    assert shape_problems(row) == []  # a second run would give another number


def test_composed_requests_stand_beside_few_examples_and_in_for_none(folder):
    own = own_requests(configured(folder))
    composed = Counter(source.example.calls[0].name for source in own.sources if source.origin == "composed")
    assert composed["set_light"] == composed["ring"] == MAX_COMPOSED < composed["lock"]
    many = [light(f"{word} the study at 30", "study", 30) for word in "abcdefghijklmnop"]
    (folder / "requests.jsonl").write_text("".join(json.dumps(line) + "\n" for line in many))
    composed = Counter(source.example.calls[0].name for source in own_requests(configured(folder)).sources[len(many) :])
    assert "set_light" not in composed


def test_a_failing_example_is_kept_with_the_tools_own_words(folder):
    line = {"request": "lock moon", "calls": [{"name": "lock", "arguments": {"door": "moon", "closed": True}}]}
    (folder / "requests.jsonl").write_text(json.dumps(line))
    row = next(row for row in made(configured(folder, held_out_share=0)) if row["augmentation"] == "none")
    assert row["scenario"] == "error"
    assert row["messages"][-1]["content"] == "That did not work: there is no such door"


def test_examples_that_do_not_fit_the_tools_are_all_named(folder):
    lines = [
        {"request": "a", "calls": [{"name": "set_lihgt", "arguments": {}}]},
        {"request": "b", "calls": [{"name": "ring", "arguments": {"times": "three"}}]},
        {"request": "c", "calls": [], "ask": "rooom"},
    ]
    (folder / "requests.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    with pytest.raises(DataError) as error:
        own_requests(configured(folder))
    for part in ("requests.jsonl:1", "set_light", "requests.jsonl:2", "times", "requests.jsonl:3", "room"):
        assert part in str(error.value)


def test_cases_are_the_words_of_the_file_with_every_tool_listed(folder):
    cases = request_cases(configured(folder, requests=[]), [str(folder / "requests.jsonl")])
    assert [said(case)[0] for case in cases] == [line["request"] for line in REQUESTS]
    assert {case["split"] for case in cases} == {"test"}
    assert all(case["id"].startswith("request/") for case in cases)
    assert all(len(case["tools"]) == 3 for case in cases)
    with pytest.raises(DataError, match="names no tools"):
        request_cases(DatasetConfig(num_templates=25), [str(folder / "requests.jsonl")])


@pytest.mark.parametrize(
    ("result", "spoken"),
    [
        ("It rains.", "It rains."),
        ('{"degrees": 21.5, "where_to": "attic", "on": true}', "degrees 21.5, where to attic, on yes"),
        ("[]", "none"),
        ("12.0", "12.0"),
        ("x" * 500, "the result is above"),
    ],
)
def test_results_are_told_in_words(result, spoken):
    assert spoken_result(result) == spoken


UNASKABLE = '''

def run_query(sql: str) -> str:
    """Run a query.

    Args:
        sql: The SQL statement.
    """
    return sql
'''


def test_a_tool_of_which_nothing_is_asked_is_named(folder, caplog):
    (folder / "house_for_tests.py").write_text(TOOLS + UNASKABLE)
    own_requests(configured(folder, requests=[]))
    assert "nothing is asked of run_query" in caplog.text
