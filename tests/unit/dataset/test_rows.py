import json
from collections import Counter

import pytest

from aria_ray.dataset.augment import augmentations
from aria_ray.dataset.checks import is_held_out, verify
from aria_ray.dataset.rows import RowMaker
from aria_ray.dataset.sampling import choose_templates
from aria_ray.grammar import message_calls

KINDS = ("context", "paraphrase", "noise", "formats", "tool_list", "masking")


@pytest.fixture(scope="module")
def rows(row_maker):
    """Some two hundred rows from all over the templates, each under one kind of its own."""
    return [
        row_maker.row(template.id, *augmentations(template, 2, KINDS, row_maker.library.frames)[1], 0)
        for template in choose_templates(row_maker.library, 3000, 0.7, 0)[::15]
    ]


def test_unseen_tools_are_listed_nowhere_else(rows):
    splits = Counter()
    for row in rows:
        held_out = any(is_held_out(names) for names in json.loads(row["tool_names"]).values())
        assert held_out == (row["split"] == "test_unseen_tools"), row["id"]
        splits[row["split"]] += 1
    assert set(splits) == {"train", "validation", "test", "test_unseen_tools"}


@pytest.mark.vllm
def test_rows_are_right(rows):
    assert {row["augmentation"] for row in rows} == set(KINDS)
    assert {row["id"]: problems for row in rows if (problems := verify(row))} == {}


def test_shape_of_rows(rows):
    for row in rows:
        assert row["id"].startswith(f"{row['template_id']}/{row['augmentation']}")
        assert row["template_id"].startswith(f"{row['template_family']}/")
        assert 3 <= len(row["tools"]) <= 7
        assert [tool["function"]["name"] for tool in row["tools"]] == list(json.loads(row["tool_names"]))
        assert row["difficulty"] in (1, 2, 3, 4)
        assert row["messages"][0]["role"] == "user"
        assert row["messages"][-1]["role"] == "assistant"
        assert all(isinstance(text, str) for text in row["answer_contains"])


def test_scenarios_call_what_they_should(rows):
    for row in rows:
        calls = sum(len(message_calls(message)) for message in row["messages"])
        least, most = {"hit": (1, 1), "miss": (0, 0), "error": (0, 1), "multi": (2, 3)}[row["scenario"]]
        assert least <= calls <= most, row["id"]
    turns = {len(row["messages"]) for row in rows if row["scenario"] == "multi"}
    assert len(turns) >= 2, "one round of parallel calls, or two rounds"


def test_rows_depend_on_seed_and_identity_alone(row_maker):
    first = row_maker.row("book_flight/1/plain", "masking", 0, 0)
    assert RowMaker(row_maker.library).row("book_flight/1/plain", "masking", 0, 0) == first
    assert row_maker.row("book_flight/1/plain", "masking", 0, 1)["messages"] != first["messages"]
    again = row_maker.row("book_flight/1/plain", "masking", 1, 0)
    assert again["id"] == "book_flight/1/plain/masking-1"
    assert again["messages"] != first["messages"]


def test_rows_of_a_template_differ_in_their_values(row_maker):
    rows = [row_maker.row("multiply/1/plain", kind, 0, 0) for kind in ("none", "context", "tool_list")]
    assert len({row["messages"][-1]["content"] for row in rows}) == 3


def test_masked_rows_hide_every_name(rows):
    masked = [row for row in rows if row["augmentation"] == "masking"]
    assert masked
    for row in masked:
        assert all(tool["function"]["name"].startswith("tool_") for tool in row["tools"])
        for message in row["messages"]:
            assert all(call.name.startswith("tool_") for call in message_calls(message))
