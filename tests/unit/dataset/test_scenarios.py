import random

import pytest

from aria_ray.dataset.scenarios import converse, difficulty
from aria_ray.grammar import message_calls
from aria_ray.tools import reference_exists

KNOWN, OTHER = [text for number in range(1111, 1200) if reference_exists(text := f"FL-{number}")][:2]
UNKNOWN = next(text for number in range(1111, 1200) if not reference_exists(text := f"FL-{number}"))


def talk(row_maker, name, values):
    """The conversation of an intent over a tool list that fits, with these values."""
    _, intent = row_maker.library._by_name[name]
    listing = row_maker.tool_lists.choose(intent, "plain", random.Random(0))
    return intent, converse(intent, values, "Question?", listing)


def test_a_hit_calls_runs_and_answers(row_maker):
    _, conversation = talk(row_maker, "divide", {"a": 10, "b": 4})
    user, call, result, answer = conversation.messages
    assert user == {"role": "user", "content": "Question?"}
    assert message_calls(call)[0].arguments == {"a": 10, "b": 4}
    assert result == {"role": "tool", "tool_call_id": "call_0", "content": "2.5"}
    assert answer["content"] == "10 divided by 4 is 2.5."
    assert answer["reasoning_content"] == "ask: division; function: none; reason: result is ready"
    assert conversation.answer_contains == ("2.5",)
    assert not conversation.failed


def test_parallel_calls_are_one_turn(row_maker):
    _, conversation = talk(row_maker, "check_flight_twice", {"id": KNOWN, "other_id": OTHER})
    assert [message["role"] for message in conversation.messages] == ["user", "assistant", "tool", "tool", "assistant"]
    assert [message["tool_call_id"] for message in conversation.messages[2:4]] == ["call_0", "call_1"]
    results = [message["content"] for message in conversation.messages[2:4]]
    assert conversation.messages[-1]["content"] == f"{KNOWN} is {results[0]} and {OTHER} is {results[1]}."
    assert conversation.answer_contains == tuple(results)


def test_a_later_round_takes_earlier_results(row_maker):
    _, conversation = talk(row_maker, "find_and_check_flight", {"passenger": "Ana"})
    assert [message["role"] for message in conversation.messages] == [
        "user",
        "assistant",
        "tool",
        "assistant",
        "tool",
        "assistant",
    ]
    (then,) = message_calls(conversation.messages[3])
    assert then.arguments == {"flight_id": conversation.messages[2]["content"]}
    assert conversation.messages[4]["tool_call_id"] == "call_1"
    assert conversation.answer_contains == (conversation.messages[4]["content"],)


def test_a_failing_call_is_said_without_its_prefix(row_maker):
    _, conversation = talk(row_maker, "check_flight_unknown", {"id": UNKNOWN})
    assert conversation.failed
    assert conversation.messages[2]["content"] == f"error: there is no {UNKNOWN}"
    assert conversation.messages[-1]["content"] == f"I cannot do that for the flight: there is no {UNKNOWN}."
    assert conversation.messages[-1]["reasoning_content"].endswith("; function: none; reason: the tool failed")
    assert conversation.answer_contains == (f"there is no {UNKNOWN}",)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("check_flight_without_id", "reference is missing"),
        ("no_search_flights", "no listed tool can do it"),
        ("sign_name", "no tool needed"),
    ],
)
def test_why_nothing_is_called(row_maker, name, reason):
    _, intent = row_maker.library._by_name[name]
    values = dict.fromkeys(intent.slot_names, "x")
    _, conversation = talk(row_maker, name, values)
    assert len(conversation.messages) == 2
    assert conversation.messages[-1]["reasoning_content"].endswith(f"; function: none; reason: {reason}")


@pytest.mark.parametrize(
    ("name", "values", "level"),
    [
        ("divide", {"a": 1, "b": 2}, 1),
        ("check_flight", {"id": KNOWN}, 1),
        ("sort_numbers", {"numbers": [1, 2]}, 2),
        ("book_flight", {"origin": "Rome", "destination": "Oslo", "date": "2026-01-01"}, 2),
        ("check_flight_unknown", {"id": UNKNOWN}, 3),
        ("check_flight_without_id", {}, 3),
        ("check_flight_twice", {"id": KNOWN, "other_id": OTHER}, 4),
        ("sign_name", {"sign": "x"}, 1),
    ],
)
def test_how_hard_a_request_is(row_maker, name, values, level):
    assert difficulty(row_maker.library._by_name[name][1], values) == level


def test_a_miss_that_reads_like_a_call_is_harder(row_maker):
    looks = [intent for _, intent in row_maker.library.intents if intent.lookalike]
    assert looks
    assert {difficulty(intent, {}) for intent in looks} == {2}
