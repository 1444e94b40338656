"""Sources of conversations: how files are read, which conversations become rows, which are left out."""

import bz2
import gzip
import json
import lzma
from collections import Counter

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from aria_ray.config.schema import DatasetConfig
from aria_ray.dataset.checks import shape_problems, verify
from aria_ray.dataset.conversations.files import name_and_share, read_records, source_state
from aria_ray.dataset.conversations.importing import import_source
from aria_ray.dataset.conversations.sources import read_conversations, read_sources, told
from aria_ray.dataset.quality import Quality, facts_of
from aria_ray.errors import DataError
from aria_ray.grammar import Call, message_calls
from aria_ray.tools import execute_listed

TOOL = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Weather in a city.",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}, "days": {"type": "integer"}, "note": {"type": ["string", "null"]}},
            "required": ["city"],
        },
    },
}
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


def asked(text):
    return conversation({**USER, "content": text}, ANSWER)


GOOD = conversation(USER, calling("Rome"), result(), ANSWER)


def written(folder, *items, name="talks.jsonl"):
    path = folder / name
    path.write_text("".join(f"{item if isinstance(item, str) else json.dumps(item)}\n" for item in items), encoding="utf-8")
    return str(path)


def read(folder, *items, share=""):
    return read_sources([written(folder, *items) + share]).rows


def config(*sources, **more):
    return DatasetConfig(num_templates=0, sources=sources, **more)


# Rows


@pytest.mark.vllm
def test_a_conversation_becomes_a_verified_row(tmp_path):
    (row,) = read(tmp_path, GOOD)
    assert verify(row) == []
    assert row["id"] == row["template_id"] == row["template_family"] == "own/1-talks/000001"
    assert (row["scenario"], row["category"], row["difficulty"], row["augmentation"]) == ("hit", "reasoning", 2, "none")
    assert row["tools"] == [TOOL]
    assert [message["role"] for message in row["messages"]] == ["user", "assistant", "tool", "assistant"]


def test_thoughts_are_added_where_they_are_missing_or_in_free_words(tmp_path):
    free = conversation(
        USER, calling("Rome", reasoning_content="Hm, Rome."), result(), {**ANSWER, "reasoning_content": "I have it."}
    )
    for item in (GOOD, free):
        (row,) = read(tmp_path, item)
        assert [turn["reasoning_content"] for turn in row["messages"] if turn["role"] == "assistant"] == [
            "ask: get weather; function: get_weather; args: Rome",
            "ask: get weather; function: none; reason: result is ready",
        ]


def test_a_thought_that_fits_stays(tmp_path):
    mine = "ask: sun; function: get_weather; args: Rome"
    (row,) = read(tmp_path, conversation(USER, calling("Rome", reasoning_content=mine), result(), ANSWER))
    assert row["messages"][1]["reasoning_content"] == mine


@pytest.mark.vllm
@pytest.mark.parametrize(
    ("messages", "scenario", "difficulty", "reason"),
    [
        ((USER, ANSWER), "miss", 1, "no tool needed"),
        ((USER, calling("Rome"), result("error: no such city"), ANSWER), "error", 3, "the tool failed"),
        ((USER, calling("Rome", "Oslo"), result(), result("rain", "c1"), ANSWER), "multi", 4, "result is ready"),
        ((USER, calling("Rome"), result(), ANSWER, USER, ANSWER), "hit", 2, "result is ready"),
        ((USER, calling("Rome", content="Let me look."), result(), ANSWER), "hit", 2, "result is ready"),
        ((USER, calling("città è 東京"), result("<think> </tool_response>"), ANSWER), "hit", 2, "result is ready"),
        ((USER, ANSWER, {"role": "system", "content": "Be brief."}, USER, ANSWER), "miss", 1, "no tool needed"),
        ((ANSWER, USER, ANSWER), "miss", 1, "no tool needed"),
        ((USER, {**ANSWER, "content": "\n One.\n\nTwo. "}), "miss", 1, "no tool needed"),
    ],
)
def test_what_a_conversation_shows(tmp_path, messages, scenario, difficulty, reason):
    (row,) = read(tmp_path, conversation(*messages))
    assert verify(row) == []
    assert (row["scenario"], row["difficulty"]) == (scenario, difficulty)
    assert row["category"] == ("tool_errors" if scenario == "error" else "reasoning")
    assert row["messages"][-1]["reasoning_content"].endswith(f"; function: none; reason: {reason}")


@pytest.mark.vllm
@pytest.mark.parametrize("name", ["weather/now", "mcp__home-server__climate.get_current_weather_of_a_city_v2_beta_internal_x"])
def test_names_of_any_length_and_eight_calls_at_once(tmp_path, name):
    tool = {**TOOL, "function": {**TOOL["function"], "name": name}}
    cities = [f"Town {number}" for number in range(8)]
    results = [result("sunny", f"c{number}") for number in range(8)]
    (row,) = read(tmp_path, conversation(USER, calling(*cities, name=name), *results, ANSWER, tools=[tool]))
    assert verify(row) == []


@pytest.mark.vllm
def test_a_conversation_may_end_with_calls(tmp_path):
    (row,) = read(tmp_path, conversation(USER, calling("Rome")))
    assert verify(row) == []
    assert message_calls(row["messages"][-1]) == (Call("get_weather", {"city": "Rome"}),)
    assert execute_listed(row["tools"], row["tool_names"], Call("get_weather", {"city": "Rome"})).ok


def test_the_same_call_again_gives_the_next_result_and_then_the_last(tmp_path):
    once = (calling("Rome"), result("rain"), calling("Rome"), result("sunny"))
    (row,) = read(tmp_path, conversation(USER, *once, ANSWER))
    assert shape_problems(row) == []
    call = Call("get_weather", {"city": "Rome"})
    given = [execute_listed(row["tools"], row["tool_names"], call, earlier).text for earlier in range(4)]
    assert given == ["rain", "sunny", "sunny", "sunny"]


def test_a_result_that_was_changed_is_noticed(tmp_path):
    (row,) = read(tmp_path, GOOD)
    row["messages"][2]["content"] = "rain"
    assert shape_problems(row) == ["get_weather gives 'sunny' but 'rain' is shown"]


def test_nulls_that_arrow_filled_in_are_no_arguments(tmp_path):
    arguments = {"city": "Rome", "days": None, "note": None, "parcel": None}
    call = {"id": "c0", "function": {"name": "get_weather", "arguments": arguments}}
    (row,) = read(tmp_path, conversation(USER, {"role": "assistant", "tool_calls": [call]}, result(), ANSWER))
    assert message_calls(row["messages"][1])[0].arguments == {"city": "Rome", "note": None}


def test_a_weight_of_0_stays_in_the_row_which_is_not_judged_by(tmp_path):
    bad = conversation(USER, {**ANSWER, "weight": 0}, USER, ANSWER)
    rows = read(tmp_path, bad, *(asked(f"Question {number}?") for number in range(3)))
    assert [message.get("weight") for message in rows[0]["messages"]] == [None, 0, None, None]
    assert rows[0]["split"] == "train"


@pytest.mark.vllm
def test_models_write_functions_before_a_name(tmp_path):
    (row,) = read(tmp_path, conversation(USER, calling("Rome", name="functions.get_weather"), result(), ANSWER))
    assert verify(row) == []
    assert message_calls(row["messages"][1])[0].name == "get_weather"


# Splits and shares


def test_a_share_takes_that_part_the_same_each_time(tmp_path):
    items = [asked(f"Question {number}?") for number in range(400)]
    assert len(read(tmp_path, *items)) == 400
    half = [row["id"] for row in read(tmp_path, *items, share=":0.5")]
    assert 160 < len(half) < 240
    assert [row["id"] for row in read(tmp_path, *items, share=":0.5")] == half
    assert {row["id"] for row in read(tmp_path, *items, share=":0.1")} < set(half)


@pytest.mark.parametrize("count", [3, 10, 1000])
def test_no_split_is_empty_but_that_of_unseen_tools(tmp_path, count):
    splits = Counter(row["split"] for row in read(tmp_path, *(asked(f"Question {number}?") for number in range(count))))
    assert set(splits) == {"train", "validation", "test"}
    assert count < 100 or 0.75 < splits["train"] / count < 0.85


def test_the_same_request_is_in_one_split(tmp_path):
    items = [asked(f"Question {number}?") for number in range(30)]
    again = [conversation(item["messages"][0], {**ANSWER, "content": "It rains."}) for item in items]
    rows = read(tmp_path, *items, *again)
    assert [row["split"] for row in rows[:30]] == [row["split"] for row in rows[30:]]


@pytest.mark.parametrize("share", ["0", "1.5", "-0.1", "nan"])
def test_a_share_out_of_bounds_is_refused(share):
    with pytest.raises(DataError, match=rf"talks.jsonl:{share}: the share {share} must be above 0 and at most 1"):
        name_and_share(f"talks.jsonl:{share}")


def test_a_colon_may_be_part_of_a_name():
    assert [name_and_share(text)[0] for text in ("a:b.jsonl", "b.jsonl:0.5", "s3://a/b")] == [
        "a:b.jsonl",
        "b.jsonl",
        "s3://a/b",
    ]


# Files


def packed(data):
    return {
        "gz": gzip.compress(data),
        "bz2": bz2.compress(data),
        "xz": lzma.compress(data),
        "zst": pa.compress(data, "zstd", asbytes=True),
        "bom": b"\xef\xbb\xbf" + data,
        "utf16": data.decode().encode("utf-16"),
        "crlf": data.replace(b"\n", b"\r\n"),
    }


@pytest.mark.parametrize("kind", ["gz", "bz2", "xz", "zst", "bom", "utf16", "crlf"])
def test_a_file_s_first_bytes_say_how_it_is_packed(tmp_path, kind):
    (tmp_path / "talks.data").write_bytes(
        packed("".join(f"{json.dumps(item, ensure_ascii=False)}\n" for item in (GOOD, asked("Hé\u2028?"))).encode())[kind]
    )
    assert len(read_sources([str(tmp_path / "talks.data")]).rows) == 2


@pytest.mark.parametrize(
    "text",
    [
        json.dumps([GOOD, asked("Hi")]),
        json.dumps([GOOD, asked("Hi")], indent=1),
        json.dumps({"data": [GOOD, asked("Hi")]}),
        json.dumps({"conversations": [GOOD, asked("Hi")]}, indent=1),
        f"{json.dumps(GOOD)}\n\n{json.dumps(asked('Hi'))}",
        f"{json.dumps(GOOD['messages'][:1] + GOOD['messages'][3:])}\n{json.dumps(asked('Hi')['messages'])}\n",
    ],
)
def test_json_in_its_forms(tmp_path, text):
    (tmp_path / "talks.json").write_text(text)
    assert len(read_sources([str(tmp_path / "talks.json")]).rows) == 2


@pytest.mark.parametrize(
    "item",
    [
        GOOD,
        GOOD["messages"][:1] + GOOD["messages"][3:],
        {"conversations": [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Yes?"}]},
    ],
)
@pytest.mark.parametrize("indent", [None, 1])
def test_one_conversation_alone(tmp_path, item, indent):
    (tmp_path / "talks.json").write_text(json.dumps(item, indent=indent))
    assert len(read_sources([str(tmp_path / "talks.json")]).rows) == 1


def test_parquet(tmp_path):
    now = {
        "type": "function",
        "function": {"name": "clock", "parameters": {"type": "object", "properties": {"zone": {"type": "string"}}}},
    }
    call = {"id": "c1", "function": {"name": "clock", "arguments": {"zone": "UTC"}}}
    other = conversation(
        {**USER, "content": "What time is it?"},
        {"role": "assistant", "tool_calls": [call]},
        result("noon", "c1"),
        ANSWER,
        tools=[now],
    )
    first = json.loads(json.dumps(GOOD))
    first["messages"][1]["tool_calls"][0]["function"]["arguments"] = {"city": "Rome"}
    for tool in first["tools"]:
        tool["function"]["parameters"]["properties"].pop("note")  # Arrow has one type in a column
    pq.write_table(pa.Table.from_pylist([first, other]), tmp_path / "talks.parquet")
    rows = read_sources([str(tmp_path / "talks.parquet")]).rows
    assert [message_calls(row["messages"][1])[0].arguments for row in rows] == [{"city": "Rome"}, {"zone": "UTC"}]
    assert [list(row["tools"][0]["function"]["parameters"]["properties"]) for row in rows] == [["city", "days"], ["zone"]]


def test_a_folder_a_glob_and_an_address(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        written(tmp_path / name, asked(f"Question {name}?"))
    written(tmp_path, "not data", name="README.md")
    folder = read_sources([str(tmp_path)]).rows
    assert [row["id"] for row in folder] == ["own/1-talks/000001", "own/1.2-talks/000001"]
    assert [row["id"] for row in read_sources([f"{tmp_path}/*/*.jsonl"]).rows] == [row["id"] for row in folder]
    assert [row["id"] for row in read_sources([f"file://{tmp_path}"]).rows] == [row["id"] for row in folder]
    assert len(read_sources([f"file://{tmp_path}/a/talks.jsonl:1"]).rows) == 1


def test_what_changes_a_source_changes_its_state(tmp_path):
    path = written(tmp_path, GOOD)
    for name in (path, f"file://{path}", str(tmp_path)):
        before = source_state(name)
        assert before == source_state(name)
        written(tmp_path, GOOD, *json.dumps(asked("Hi")).splitlines() * (2 + len(name)))
        assert source_state(name) != before


@pytest.mark.parametrize("name", ["none.jsonl", "/none/x.jsonl", "none-*.jsonl", "file:///none/talks.jsonl"])
def test_a_source_that_is_not_there(name, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match=r"dataset\.sources \S*none"):
        list(read_records(name))


def test_a_file_that_is_no_text(tmp_path):
    (tmp_path / "latin.jsonl").write_bytes('{"messages": "é"}'.encode("latin-1"))
    with pytest.raises(DataError, match=r"latin\.jsonl cannot be read .*; give JSON Lines or JSON in UTF-8, or Parquet"):
        list(read_records(str(tmp_path / "latin.jsonl")))


# What is left out


def test_a_wrong_line_is_left_out_and_the_others_stay(tmp_path):
    found = read_sources([written(tmp_path, GOOD, "{", "", asked("Hi"), conversation(USER, calling(5), result(), ANSWER))])
    assert [row["id"] for row in found.rows] == ["own/1-talks/000001", "own/1-talks/000004"]
    assert [each.place for each in found.left_out] == [f"{tmp_path}/talks.jsonl:{line}" for line in (2, 5)]
    assert [each.rule for each in found.left_out] == ["not JSON", "arguments do not fit the tool's schema"]
    assert "city: 5 is not of type 'string'" in found.left_out[1].reason
    assert found.figures()["left_out"] == {"not JSON": 1, "arguments do not fit the tool's schema": 1}


def test_one_that_comes_again_is_left_out_in_any_source(tmp_path):
    other = json.loads(json.dumps(GOOD).replace('"c0"', '"zz"'))
    paths = [written(tmp_path, GOOD, other, name="a.jsonl"), written(tmp_path, GOOD, asked("Hi"), name="b.jsonl")]
    found = read_sources(paths)
    assert [row["id"] for row in found.rows] == ["own/1-a/000001", "own/2-b/000002"]
    assert {each.reason for each in found.left_out} == {f"the same as an earlier one: {paths[0]}:1"}


@pytest.mark.parametrize(
    ("item", "rule"),
    [
        (
            '{"messages": [{"role": "user", "content": "\\ud83d"}, {"role": "assistant", "content": "x"}]}',
            "text is no valid Unicode",
        ),
        ('{"messages": NaN}', "not JSON"),
        (conversation(USER, USER), "no answer"),
        (conversation(ANSWER, ANSWER), "no request"),
        (conversation(ANSWER, USER), "no request"),
        (conversation(USER, {**ANSWER, "weight": 0}), "nothing to learn"),
        (conversation(USER, calling("Rome"), result(), ANSWER, tools=[]), "a tool is called that is not listed"),
        (
            conversation(USER, {**ANSWER, "content": "Write <think> first."}),
            "an answer has a control text of the chat format",
        ),
    ],
)
def test_rules_of_a_conversation(tmp_path, item, rule):
    found = read_sources([written(tmp_path, item)])
    assert [each.rule for each in found.left_out] == [rule]
    assert "\n" not in found.left_out[0].reason


def test_more_than_a_share_of_wrong_ones_ends_the_run(tmp_path):
    good = [asked(f"Question {number}?") for number in range(9)]
    path = written(tmp_path, *good, "{")
    assert len(read_conversations(config(path)).rows) == 9
    path = written(tmp_path, *good, "{", conversation(USER, USER), "[")
    with pytest.raises(DataError) as caught:
        read_conversations(config(path))
    assert str(caught.value).startswith(
        f"3 of 12 conversations of {path} are wrong, more than dataset.max_left_out_share (0.1): 2 not JSON ({path}:10: "
    )
    assert "1 no answer" in str(caught.value)
    assert "or raise dataset.max_left_out_share" in str(caught.value)
    assert len(read_conversations(config(path, max_left_out_share=0.25)).rows) == 9


def test_with_a_share_of_0_none_may_be_wrong_and_repeated_ones_are_not_wrong(tmp_path):
    good = [asked(f"Question {number}?") for number in range(4)]
    assert len(read_conversations(config(written(tmp_path, *good, *good), max_left_out_share=0)).rows) == 4
    with pytest.raises(DataError, match="1 of 5 conversations"):
        read_conversations(config(written(tmp_path, *good, "{"), max_left_out_share=0))


def test_a_run_on_conversations_alone_needs_three_requests(tmp_path):
    path = written(tmp_path, GOOD, asked("Hi"))
    with pytest.raises(DataError, match="2 different requests, and it takes at least 3"):
        read_conversations(config(path))
    assert len(read_conversations(DatasetConfig(num_templates=5, sources=(path,))).rows) == 2


def test_an_empty_source(tmp_path):
    with pytest.raises(DataError, match=r"talks.jsonl has no conversation"):
        read_conversations(config(written(tmp_path)))


def test_the_terminal_hears_how_many_and_why(tmp_path):
    path = written(tmp_path, *(asked(f"Question {number}?") for number in range(4)), "{")
    lines = told(config(path))
    assert lines[0] == "dataset.sources: 4 conversations are taken, 1 are left out"
    assert lines[1].startswith(f"  1 not JSON ({path}:5: ")


# aria import


def test_import_says_what_is_there_and_what_it_writes_is_taken_again(tmp_path):
    free = conversation(USER, {**calling("Oslo"), "weight": 0}, result("rain"), {**ANSWER, "content": "Rain."})
    path, out = written(tmp_path, GOOD, free, "{"), tmp_path / "out.jsonl"
    lines = import_source(path, out)
    assert lines[0] == (
        "OpenAI chat: 2 conversations with 4 turns of the assistant (1 of weight 0, which are not trained on), "
        "2 calls and 1 tools"
    )
    assert lines[1:3] == ["1 left out:", "     1  not JSON"]
    assert f"{path}:3" in lines[3]
    again, first = read_sources([str(out)]), read_sources([path])
    assert again.left_out == []
    assert [row["messages"] for row in again.rows] == [row["messages"] for row in first.rows]
    with pytest.raises(DataError, match="is there already"):
        import_source(path, out)


def test_import_of_nothing(tmp_path):
    with pytest.raises(DataError, match="has no conversation that can be taken"):
        import_source(written(tmp_path, "{"))


# Quality


def test_conversations_are_compared_by_what_is_said_and_called_and_only_told_of(tmp_path):
    hello = {"role": "user", "content": "Hello there, can you help me with the weather today?"}
    start = (hello, {"role": "assistant", "content": "Of course."})
    towns = ("Rome", "Oslo", "Lima")
    items = [
        conversation(*start, {**USER, "content": f"{town} {number * 'very '}soon"}, calling(town), result(), ANSWER)
        for number, town in enumerate(towns, start=2)
    ]
    alike = conversation(*items[0]["messages"][:-1], {**ANSWER, "content": "Sun."})
    quality = Quality()
    for row in read(tmp_path, *items, alike):
        quality.add(facts_of(row, ()))
    figures = quality.of_conversations()
    assert figures["near_duplicate_share"] == 0.25
    assert figures["near_duplicates"] == {"own/1-talks/000004": "own/1-talks/000001"}
    quality.checked()
