import json
import math
from collections import Counter

import pytest

from aria_ray.dataset.quality import BOUNDS, MAX_SAMPLED_ROWS, Quality, facts_of, sampled_share
from aria_ray.dataset.sampling import choose_templates
from aria_ray.errors import DataError
from aria_ray.grammar import Call, answer_message, tool_call_message


@pytest.fixture(scope="module")
def facts(row_maker):
    """What is counted of 300 right rows."""
    templates = choose_templates(row_maker.library, 300, 0.7, 0)
    return [facts_of(row_maker.row(template.id, "none", 0, 0), ()) for template in templates]


def counted(facts, share=1.0):
    quality = Quality(share)
    for item in facts:
        quality.add(item)
    return quality


def changed(facts, **changes):
    """The facts with some of them computed anew from their number and themselves."""
    return [{**item, **{key: make(number, item) for key, make in changes.items()}} for number, item in enumerate(facts)]


def hashes_of(words):
    return row_facts("x", words=words)["min_hash"]


def row_facts(row_id, words="hello there", tool=None, arguments=None, **columns):
    """The facts of a small row of a list with one tool."""
    calls = [Call("tool_a1", arguments or {})] if tool else []
    row = {
        "id": row_id,
        "template_id": f"{row_id}/plain",
        "template_family": row_id,
        "augmentation": "none",
        "category": "math",
        "scenario": "hit",
        "difficulty": 1,
        "split": "train",
        "tools": [{"type": "function", "function": {"name": "tool_a1", "parameters": {"type": "object"}}}],
        "messages": [
            {"role": "user", "content": words},
            *([tool_call_message("-", calls)] if calls else []),
            answer_message("-", "-"),
        ],
        "tool_names": json.dumps({"tool_a1": {"tool": tool or "divide", "parameters": {}}}),
        **columns,
    }
    return facts_of(row, ())


def refused(facts):
    with pytest.raises(DataError) as caught:
        counted(facts).checked()
    return str(caught.value)


def test_right_rows_pass_every_gate(facts):
    figures = counted(facts).checked()
    assert figures["num_rows"] == figures["num_templates"] == figures["num_sampled_rows"] == 300
    assert figures["rows_with_problems"] == 0
    assert sum(figures["num_families"].values()) == 300
    json.dumps(figures)


def test_figures_of_a_known_set():
    figures = counted(
        [
            row_facts("a", "What is 2?", "divide", {"a": 2, "b": 2}),
            row_facts("b", "What is 3?", "multiply", {"a": 3, "b": "x"}, split="test"),
            row_facts("c", "Tell me it, what is 5?", "multiply", {"a": 5, "b": [1]}),
            row_facts("d", "hi", "divide", {"a": 5, "b": 2}, scenario="error"),
        ]
    ).figures()
    # Bigrams: what is, is 2, 2 ?, what is, is 3, 3 ?, tell me, me it, it ",", "," what, what is, is 5, 5 ?.
    assert figures["distinct_2"] == pytest.approx(11 / 13)
    # Trigrams: all nine are different: 2 + 2 + 6 - 1 of the repeated "what is N".
    assert figures["distinct_3"] == 1.0
    # Words: what is 2 ? what is 3 ? tell me it , what is 5 ? hi.
    assert figures["distinct_1"] == pytest.approx(11 / 17)
    assert figures["tool_entropy_bits"] == 1.0
    assert figures["tools_called"] == {"divide": 2, "multiply": 2}
    assert figures["num_tools_called"] == 2
    # Values: 2 three times, 5 twice, and 3, "x", [1] once each, of eight.
    assert figures["value_entropy_bits"] == pytest.approx(3 / 8 * math.log2(8 / 3) + 2 / 8 * 2 + 3 * 1 / 8 * 3)
    # Openings: "what is" twice, "tell me" and "hi" once each.
    assert figures["opening_entropy_bits"] == pytest.approx(1.5)
    assert figures["num_families"] == {"test": 1, "train": 3}
    assert figures["num_tool_lists"] == 2
    assert figures["shares"]["scenario"] == {"error": 0.25, "hit": 0.75}
    assert figures["shares"]["split"] == {"test": 0.25, "train": 0.75}
    assert figures["near_duplicate_share"] == 0


def test_without_rows_there_are_no_figures_to_divide_by():
    figures = Quality().figures()
    assert figures["num_rows"] == figures["self_similarity"] == 0
    assert figures["near_duplicate_share"] is None


@pytest.mark.parametrize("template_id", ["own/1-chats/000001", "request/0001", "builtin/0001", "taught/0001", "no_tool/0001"])
def test_what_a_user_brings_is_counted_and_passes_no_gate_of_templates(template_id):
    quality = Quality()
    facts = row_facts("a")
    for number in range(20):  # the same words twenty times, all of one scenario
        columns = {**facts["columns"], "template_id": template_id}
        quality.add({**facts, "id": f"{template_id}-{number}", "columns": columns})
    figures = quality.checked()
    assert figures["num_rows"] == 20
    assert figures["rows_by_source"] == {template_id.split("/")[0].replace("own", "conversation"): 20}


def test_masked_calls_count_under_their_real_names():
    assert row_facts("a", tool="slugify")["called"] == ["slugify"]
    assert row_facts("a")["called"] == []


def test_rows_with_problems_are_named(facts):
    bad = changed(facts, problems=lambda number, _: [f"wrong {number}", "more"] if number in (3, 7) else [])
    message = refused(bad)
    assert message.startswith("2 rows have problems and none may")
    assert f"{facts[3]['id']}: wrong 3" in message
    assert f"{facts[7]['id']}: wrong 7" in message


def test_at_most_five_rows_with_problems_are_named(facts):
    message = refused(changed(facts, problems=lambda number, _: [f"wrong {number}"]))
    assert message.startswith("300 rows have problems")
    assert message.count(": wrong ") == 5


def test_near_duplicates_are_named(facts):
    copies = [{**item, "id": f"{item['id']}-again"} for item in facts[:9]]
    message = refused([*facts, *copies])
    assert message.startswith("2.9% of the rows are near-duplicates")
    assert f"{facts[0]['id']}-again is like {facts[0]['id']}" in message


def test_a_few_near_duplicates_are_let_pass(facts):
    copies = [{**item, "id": f"{item['id']}-again"} for item in facts[:3]]
    assert counted([*facts, *copies]).checked()["near_duplicate_share"] == pytest.approx(3 / 303)


def test_near_duplicates_are_texts_with_most_trigrams_in_common():
    words = [f"w{number}" for number in range(60)]
    other = [*words[:58], "x", "y"]
    another = [*words[:25], *(f"x{number}" for number in range(35))]
    quality = counted([row_facts(name, " ".join(text)) for name, text in (("a", words), ("b", other), ("c", another))])
    assert quality.near_duplicates == {"b": "a"}


def test_the_same_question_with_other_tools_is_no_duplicate(row_maker):
    rows = [row_maker.row("multiply/1/plain", "none", 0, 0) for _ in range(2)]
    other = row_maker.row("book_flight/1/plain", "none", 0, 0)
    rows[1] = {**rows[1], "id": "other", "tools": other["tools"], "tool_names": other["tool_names"]}
    assert counted([facts_of(row, ()) for row in rows]).near_duplicates == {}


@pytest.mark.parametrize("scenario", ["hit", "miss", "error", "multi"])
def test_a_scenario_share_that_is_off(facts, scenario):
    kept = [item for item in facts if item["columns"]["scenario"] != scenario]
    message = refused(kept)
    assert "have the scenario " in message
    assert "and it must be " in message


def test_a_category_share_that_is_off(facts):
    def moved(number, item):
        columns = item["columns"]
        return {**columns, "category": "text_processing"} if columns["category"] == "math" and number % 2 else columns

    assert "have the category math and it must be 18% ± 2.0%" in refused(changed(facts, columns=moved))


def test_small_sets_may_be_off_by_two_templates(facts):
    picked, wanted = [], Counter({"math": 4, "text_processing": 2, "reasoning": 8, "conversions": 3, "tool_errors": 3})
    for item in facts:
        if wanted[item["columns"]["category"]]:
            wanted[item["columns"]["category"]] -= 1
            picked.append(item)
    message = refused(picked)
    assert "of category" not in message


PLANTED = {
    "distinct_2": {"words": lambda _number, _item: ["a", "b"] * 10},
    "distinct_3": {"words": lambda number, _item: [f"{number % 24}-{place}" for place in range(12)]},
    "opening_entropy_bits": {"words": lambda _number, item: ["what", "is", *item["words"]]},
    "tool_entropy_bits": {"called": lambda _number, item: ["divide"] * len(item["called"])},
    "value_entropy_bits": {"values": lambda _number, item: ["1"] * len(item["values"])},
    "self_similarity": {
        "min_hash": lambda number, _item: hashes_of(
            " ".join([*(f"w{at}" for at in range(20)), *(f"{number}-{at}" for at in range(4))])
        )
    },
}


def test_every_bound_has_a_planted_defect():
    assert set(PLANTED) == set(BOUNDS)


@pytest.mark.parametrize("name", PLANTED)
def test_rows_that_are_too_much_alike(facts, name):
    message = refused(changed(facts, **PLANTED[name]))
    assert message.startswith(f"{name} is ")
    assert f"must be {BOUNDS[name][0]} to {BOUNDS[name][1]}: rows are too much alike" in message


def test_conversations_of_the_user_do_not_change_the_shares(facts):
    conversations = [
        row_facts(
            f"own/mine/{number}", f"word {number} of mine {number * 7}", scenario="miss", template_id=f"own/mine/{number}"
        )
        for number in range(100)
    ]
    figures = counted([*facts, *conversations]).figures()
    assert figures["num_rows"] == 400
    assert figures["shares"] == counted(facts).figures()["shares"]


def test_a_share_of_the_families_is_sampled_whole(facts):
    assert sampled_share(MAX_SAMPLED_ROWS // 2) == 1.0
    assert sampled_share(MAX_SAMPLED_ROWS * 4) == 0.25
    assert sampled_share(0) == 1.0
    again = [{**item, "id": f"{item['id']}-again"} for item in facts]
    quality = counted([*facts, *again], share=0.25)
    kept = set(quality.hashes)
    assert 90 < len(kept) < 210
    assert {row_id.removesuffix("-again") for row_id in kept} == {row_id for row_id in kept if not row_id.endswith("-again")}
    assert quality.figures()["num_sampled_rows"] == len(kept)
    assert quality.figures()["num_rows"] == 600


def test_figures_do_not_depend_on_how_facts_travelled(facts):
    travelled = [json.loads(json.dumps(item)) for item in facts]
    assert counted(travelled).figures() == counted(facts).figures()
