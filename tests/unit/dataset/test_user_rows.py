import json
from collections import Counter

import pytest

from aria_ray.dataset.checks import verify
from aria_ray.dataset.quality import Quality, facts_of
from aria_ray.dataset.user_rows import path_and_share, read_source
from aria_ray.errors import DataError
from aria_ray.grammar import message_calls

TOOL = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Weather in a city.",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}
NOW = {"type": "function", "function": {"name": "now"}}
USER = {"role": "user", "content": "How is the weather in Rome?"}
ANSWER = {"role": "assistant", "content": "It is sunny."}


def calling(*cities, name="get_weather", **more):
    calls = [
        {"id": f"c{index}", "type": "function", "function": {"name": name, "arguments": json.dumps({"city": city})}}
        for index, city in enumerate(cities)
    ]
    return {"role": "assistant", "content": None, "tool_calls": calls, **more}


def result(text="sunny", call="c0"):
    return {"role": "tool", "tool_call_id": call, "content": text}


def conversation(*messages, tools=(TOOL,)):
    return {"messages": list(messages), "tools": list(tools)}


GOOD = conversation(USER, calling("Rome"), result(), ANSWER)


def read(folder, *items, share=""):
    path = folder / "talks.jsonl"
    path.write_text("".join(f"{item if isinstance(item, str) else json.dumps(item)}\n" for item in items), encoding="utf-8")
    return list(read_source(f"{path}{share}"))


@pytest.mark.vllm
def test_a_conversation_becomes_a_verified_row(tmp_path):
    (row,) = read(tmp_path, GOOD)
    assert verify(row) == []
    assert row["id"] == row["template_id"] == row["template_family"] == "own/1-talks/000001"
    assert (row["scenario"], row["category"], row["difficulty"], row["augmentation"]) == ("hit", "reasoning", 2, "none")
    assert row["tools"] == [TOOL]
    assert [message["role"] for message in row["messages"]] == ["user", "assistant", "tool", "assistant"]


def test_tools_are_listed_as_the_endpoint_lists_them(tmp_path):
    city = {"$ref": "#/$defs/City"}
    parameters = {"type": "object", "properties": {"city": city}, "$defs": {"City": {"const": "Rome"}}}
    tool = {"type": "function", "function": {"name": "weather/get.now", "description": "x", "parameters": parameters}}
    talk = conversation(USER, calling("Rome", name="weather/get.now"), result(), ANSWER, tools=(tool,))
    (row,) = read(tmp_path, talk)
    assert row["tools"][0]["function"]["parameters"]["properties"] == {"city": {"enum": ["Rome"]}}


def test_thoughts_are_added_where_they_are_missing(tmp_path):
    (row,) = read(tmp_path, GOOD)
    assert [turn["reasoning_content"] for turn in row["messages"] if turn["role"] == "assistant"] == [
        "ask: get weather; function: get_weather; args: Rome",
        "ask: get weather; function: none; reason: result is ready",
    ]


@pytest.mark.vllm
def test_a_thought_that_is_there_stays(tmp_path):
    mine = "ask: sun; function: get_weather; args: Rome"
    (row,) = read(tmp_path, conversation(USER, calling("Rome", reasoning_content=mine), result(), ANSWER))
    assert row["messages"][1]["reasoning_content"] == mine
    assert verify(row) == []


@pytest.mark.vllm
@pytest.mark.parametrize(
    ("messages", "scenario", "difficulty", "reason"),
    [
        ((USER, ANSWER), "miss", 1, "no tool needed"),
        ((USER, calling("Rome"), result(), ANSWER), "hit", 2, "result is ready"),
        ((USER, calling("Rome"), result("error: no such city"), ANSWER), "error", 3, "the tool failed"),
        ((USER, calling("Rome", "Oslo"), result(), result("rain", "c1"), ANSWER), "multi", 4, "result is ready"),
        ((USER, calling("Rome"), result(), ANSWER, USER, ANSWER), "hit", 2, "result is ready"),
        (({"role": "system", "content": "Be brief."}, USER, ANSWER), "miss", 1, "no tool needed"),
        ((USER, calling("Rome", content="Let me look."), result(), ANSWER), "hit", 2, "result is ready"),
        ((USER, calling("città è 東京"), result("<think> </tool_response>"), ANSWER), "hit", 2, "result is ready"),
    ],
)
def test_what_a_conversation_shows(tmp_path, messages, scenario, difficulty, reason):
    (row,) = read(tmp_path, conversation(*messages))
    assert verify(row) == []
    assert (row["scenario"], row["difficulty"]) == (scenario, difficulty)
    assert row["category"] == ("tool_errors" if scenario == "error" else "reasoning")
    assert row["messages"][-1]["reasoning_content"].endswith(f"; function: none; reason: {reason}")


@pytest.mark.vllm
def test_arguments_may_be_an_object_and_parameters_may_be_missing(tmp_path):
    call = {"id": "c0", "function": {"name": "now", "arguments": {}}}
    (row,) = read(
        tmp_path, conversation(USER, {"role": "assistant", "tool_calls": [call]}, result("noon"), ANSWER, tools=[NOW])
    )
    assert verify(row) == []
    assert [call.arguments for message in row["messages"] for call in message_calls(message)] == [{}]
    assert row["messages"][1]["reasoning_content"] == "ask: now; function: now; args: none"


@pytest.mark.vllm
def test_without_tools_it_is_talk(tmp_path):
    (row,) = read(tmp_path, {"messages": [USER, ANSWER]})
    assert row["tools"] == []
    assert verify(row) == []


@pytest.mark.vllm
def test_a_result_is_given_again_for_its_arguments_alone(tmp_path):
    (row,) = read(tmp_path, GOOD)
    row["messages"][1] = {**row["messages"][1], "tool_calls": calling("Oslo")["tool_calls"]}
    assert any("nothing is recorded" in problem for problem in verify(row))


def test_empty_lines_are_passed_over_and_counted(tmp_path):
    rows = read(tmp_path, GOOD, "", GOOD)
    assert [row["id"] for row in rows] == ["own/1-talks/000001", "own/1-talks/000003"]


def test_a_share_takes_that_part_the_same_each_time(tmp_path):
    items = [GOOD] * 400
    assert len(read(tmp_path, *items)) == 400
    half = [row["id"] for row in read(tmp_path, *items, share=":0.5")]
    assert 160 < len(half) < 240
    assert [row["id"] for row in read(tmp_path, *items, share=":0.5")] == half
    assert {row["id"] for row in read(tmp_path, *items, share=":0.1")} < set(half)


def test_rows_fall_into_all_splits_but_that_of_unseen_tools(tmp_path):
    asked = [conversation({**USER, "content": f"Question {number}?"}, ANSWER) for number in range(1000)]
    splits = Counter(row["split"] for row in read(tmp_path, *asked))
    assert set(splits) == {"train", "validation", "test"}
    assert 0.75 < splits["train"] / 1000 < 0.85


def test_the_same_request_is_in_one_split(tmp_path):
    other = {**ANSWER, "content": "It rains."}
    items = [conversation({**USER, "content": f"Question {number}?"}, ANSWER) for number in range(30)]
    again = [conversation(item["messages"][0], other) for item in items]
    rows = read(tmp_path, *items, *again)
    assert [row["split"] for row in rows[:30]] == [row["split"] for row in rows[30:]]


def test_what_else_a_line_has_is_left_out(tmp_path):
    (row,) = read(tmp_path, {**GOOD, "score": 3, "messages": [{**USER, "name": "Ana"}, *GOOD["messages"][1:]]})
    assert row["messages"][0] == USER


def test_a_byte_order_mark_is_no_part_of_the_line(tmp_path):
    (tmp_path / "talks.jsonl").write_text(json.dumps(GOOD), encoding="utf-8-sig")
    assert len(list(read_source(str(tmp_path / "talks.jsonl")))) == 1


@pytest.mark.parametrize("share", ["0", "1.5", "-0.1", "nan"])
def test_a_share_out_of_bounds_is_refused(share):
    with pytest.raises(DataError, match=rf"talks.jsonl:{share}: the share {share} must be above 0 and at most 1"):
        path_and_share(f"talks.jsonl:{share}")


def test_a_colon_may_be_part_of_a_name():
    assert [str(path_and_share(text)[0]) for text in ("a:b.jsonl", "b.jsonl:0.5", "a:b.jsonl:1")] == [
        "a:b.jsonl",
        "b.jsonl",
        "a:b.jsonl",
    ]


UNTYPED = {"function": {"name": "x", "parameters": {"type": 5}}}
LONG = "ask: x; function: get_weather; args: " + "Rome " * 40
WRONG = {
    "no JSON": ("{", "Invalid JSON"),
    "half a character": ('{"messages": [{"role": "user", "content": "\\ud83d"}]}', "Invalid JSON"),
    "no object": ([1], "Input should be an object"),
    "no messages": ({"tools": []}, "messages: Field required"),
    "no role": (conversation({"content": "hi"}, ANSWER), "messages.0.role: Field required"),
    "another role": (conversation({**USER, "role": "human"}, ANSWER), "messages.0.role: Input should be 'system', 'user'"),
    "parts": (conversation({**USER, "content": [{"text": "x"}]}, ANSWER), "messages.0.content: Input should be a valid string"),
    "no question": (conversation({**USER, "content": " "}, ANSWER), "a user message must have content"),
    "nothing said": (conversation(USER, {"role": "assistant"}), "an assistant message must have content or tool_calls"),
    "no user": (conversation(ANSWER, ANSWER), "must have a user message and end with an answer"),
    "no answer": (conversation(USER, USER), "must have a user message and end with an answer"),
    "one message": (conversation(USER), "at least 2 items"),
    "ends with a call": (conversation(USER, calling("Rome")), "must have a user message and end with an answer"),
    "late system": (conversation(USER, {"role": "system", "content": "x"}, ANSWER), "a system message must come first"),
    "unlisted": (
        conversation(USER, calling("Rome"), result(), ANSWER, tools=[NOW]),
        "get_weather is called but not among the tools now",
    ),
    "no tools": (conversation(USER, calling("Rome"), result(), ANSWER, tools=[]), "not among the tools (none)"),
    "wrong argument": (
        conversation(USER, calling(5), result(), ANSWER),
        "arguments of get_weather do not fit its schema: city: 5 is not of type 'string'",
    ),
    "no result": (conversation(USER, calling("Rome"), ANSWER), "the call c0 has no tool message with its result"),
    "a late result": (conversation(USER, calling("Rome"), ANSWER, result(), ANSWER), "the call c0 has no tool message"),
    "no call": (conversation(USER, result(), ANSWER), "the tool message for 'c0' follows no such call"),
    "no id": (
        conversation(USER, calling("Rome"), {"role": "tool", "content": "x"}, ANSWER),
        "the tool message for None follows",
    ),
    "an id twice": (conversation(USER, calling("Rome"), result(), calling("Oslo"), result(), ANSWER), "comes twice"),
    "two results": (
        conversation(USER, calling("Rome", "Rome"), result(), result("rain", "c1"), ANSWER),
        "get_weather gives two results for the same arguments",
    ),
    "no function": (conversation(USER, ANSWER, tools=[{"name": "x"}]), "tools.0.function: Field required"),
    "no schema": (conversation(USER, ANSWER, tools=[UNTYPED]), "tools.0.function.parameters: '5' is no type; there are object"),
    "no name": (conversation(USER, ANSWER, tools=[{"function": {}}]), "tools.0.function.name: Field required"),
    "an odd name": (
        conversation(USER, ANSWER, tools=[{"function": {"name": "2 x"}}]),
        "tools.0.function.name: String should match",
    ),
    "a name twice": (conversation(USER, ANSWER, tools=[TOOL, TOOL]), "two tools have the same name"),
    "arguments": (
        conversation(
            USER, {"role": "assistant", "tool_calls": [{"id": "c0", "function": {"name": "now", "arguments": "[1]"}}]}
        ),
        "arguments '[1]' of now must be a JSON object",
    ),
    "not a number": (
        conversation(
            USER, {"role": "assistant", "tool_calls": [{"id": "c", "function": {"name": "f", "arguments": '{"a": NaN}'}}]}
        ),
        "NaN is not JSON",
    ),
    "a thought of another shape": (
        conversation(USER, {**ANSWER, "reasoning_content": "Hm."}),
        "thought 'Hm.' has not the fixed shape",
    ),
    "a long thought": (
        conversation(USER, calling("Rome", reasoning_content=LONG), result(), ANSWER),
        "pieces, must have 8 to 32",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_line_names_file_line_and_rule(tmp_path, name):
    item, rule = WRONG[name]
    with pytest.raises(DataError) as caught:
        read(tmp_path, GOOD, "", item)
    assert str(caught.value).startswith(f"{tmp_path / 'talks.jsonl'}:3: ")
    assert rule in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_that_cannot_be_read(tmp_path):
    with pytest.raises(DataError, match=r"dataset.sources .*none.jsonl cannot be read .*; give a JSON Lines file in UTF-8"):
        list(read_source(str(tmp_path / "none.jsonl")))
    (tmp_path / "latin.jsonl").write_bytes('{"messages": "é"}'.encode("latin-1"))
    with pytest.raises(DataError, match=r"latin\.jsonl cannot be read"):
        list(read_source(str(tmp_path / "latin.jsonl")))


@pytest.mark.vllm
def test_what_cannot_be_read_back_shows_when_rows_are_checked(tmp_path):
    (row,) = read(tmp_path, conversation(USER, {**ANSWER, "content": "Write <think> first."}))
    quality = Quality()
    quality.add(facts_of(row, verify(row)))
    with pytest.raises(DataError, match=r"1 rows have problems .*own/1-talks/000001: whole, the parsers read"):
        quality.checked()
