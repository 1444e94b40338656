import json
from collections import Counter

import pytest

from aria_ray.dataset.augment import AUGMENTATIONS
from aria_ray.dataset.checks import verify
from aria_ray.dataset.loading import library
from aria_ray.dataset.rows import SCENARIO_SHARES, apportion, choose_templates, make_row
from aria_ray.dataset.templates import UNSEEN_TOOLS
from aria_ray.errors import DataError


@pytest.fixture(scope="module")
def rows():
    """Every family once, under every augmentation."""
    templates = [template for template in library().templates.values() if template.frame == "plain"]
    return [make_row(template.id, index, 0) for template in templates for index in range(len(AUGMENTATIONS))]


def test_every_family_gives_right_rows(rows):
    assert {row["id"]: found for row in rows if (found := verify(row))} == {}


def test_splits_share_no_family_and_no_sentence(rows):
    families: dict[str, set[str]] = {}
    for row in rows:
        families.setdefault(row["template_family"], set()).add(row["split"])
    assert all(len(splits) == 1 for splits in families.values())
    by_sentence: dict[str, set[str]] = {}
    for template in library().templates.values():
        by_sentence.setdefault(template.phrasing.lower(), set()).add(template.split)
    assert all(len(splits) == 1 for splits in by_sentence.values())


def test_held_out_tools_are_seen_nowhere_else(rows):
    for row in rows:
        listed = {names["tool"] for names in json.loads(row["tool_names"]).values()}
        called_unseen = row["split"] == "test_unseen_tools"
        assert bool(listed & set(UNSEEN_TOOLS)) == called_unseen, row["id"]


def test_every_intent_is_trained_on_or_unseen():
    splits: dict[str, set[str]] = {}
    for template in library().templates.values():
        splits.setdefault(template.intent.name, set()).add(template.split)
    assert all(found & {"train", "test_unseen_tools"} for found in splits.values())


def test_shape_of_rows(rows):
    for row in rows:
        assert 2 <= len(row["tools"]) <= 5
        assert row["difficulty"] in (1, 2, 3, 4)
        assert len(row["messages"][-1]["content"].split()) <= 20
        assert len(row["messages"][-1]["reasoning_content"].split()) <= 20
        assert all(isinstance(text, str) for text in row["answer_contains"])
        assert row["messages"][0]["role"] == "user"


def test_scenarios_call_what_they_should(rows):
    for row in rows:
        calls = [call for message in row["messages"] for call in message.get("tool_calls", ())]
        if row["scenario"] == "miss":
            assert not calls
        if row["scenario"] == "hit":
            assert len(calls) == 1
        if row["scenario"] == "multi":
            assert len(calls) > 1
    turns = {len(row["messages"]) for row in rows if row["scenario"] == "multi"}
    assert len(turns) == 2, "one round of parallel calls, or two rounds"


def test_rows_depend_on_seed_and_identity_alone():
    first = make_row("percent_of/1/plain", 0, 0)
    make_row("divide/1/plain", 0, 0)
    assert make_row("percent_of/1/plain", 0, 0) == first
    assert make_row("percent_of/1/plain", 0, 1)["messages"] != first["messages"]


def test_tool_lists_are_few(rows):
    assert len({row["tool_names"] for row in rows}) <= 3 * (64 + 12)


def test_masked_rows_hide_every_name(rows):
    for row in rows:
        if row["augmentation"] == "masking":
            assert all(tool["function"]["name"].startswith("tool_") for tool in row["tools"])


@pytest.mark.parametrize("num_templates", [40, 100, 700, 3000])
def test_shares_hold_at_any_size(num_templates):
    chosen = choose_templates(library(), num_templates, 0)
    assert len({template.id for template in chosen}) == num_templates
    scenarios = Counter(template.intent.scenario for template in chosen)
    assert scenarios == apportion(num_templates, SCENARIO_SHARES)
    splits = Counter(template.split for template in chosen)
    assert set(splits) == {"train", "validation", "test", "test_unseen_tools"}
    assert 0.7 < splits["train"] / num_templates < 0.85


def test_too_many_templates():
    with pytest.raises(DataError, match=r"dataset.num_templates \(90000\) asks for 36000 hit templates"):
        choose_templates(library(), 90000, 0)


def test_apportion_adds_up():
    assert apportion(10, SCENARIO_SHARES) == {"hit": 4, "miss": 4, "error": 1, "multi": 1}
    assert sum(apportion(7, {"a": 1, "b": 1, "c": 1}).values()) == 7
