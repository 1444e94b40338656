"""Which rows of a dataset are cases, where the user's own conversations have several requests."""

import json

from aria_ray.validation.conversations import judge_calls
from aria_ray.validation.quality import read_cases

HI, SUN = {"role": "user", "content": "Hi"}, {"role": "user", "content": "Is it sunny?"}
THOUGHT = "ask: question; function: none; reason: no tool needed"
HELLO = {"role": "assistant", "reasoning_content": THOUGHT, "content": "Hello."}


def row(number, *messages):
    return {
        "id": f"own/1-talks/{number:06}",
        "split": "test",
        "scenario": "miss",
        "category": "reasoning",
        "difficulty": 1,
        "tools": [],
        "tool_names": "{}",
        "answer_contains": [],
        "messages": list(messages),
    }


def cases(folder, *rows):
    path = folder / "rows.jsonl"
    path.write_text("".join(f"{json.dumps(each)}\n" for each in rows))
    return read_cases(path, "test", 10)


def test_conversations_with_one_request_are_the_cases_where_there_are_any(tmp_path):
    (case,) = cases(tmp_path, row(1, HI, HELLO), row(2, HI, HELLO, SUN, HELLO))
    assert case["messages"] == [HI, HELLO]


def test_else_the_last_request_is_one_after_what_came_before(tmp_path):
    (case,) = cases(tmp_path, row(2, HI, HELLO, SUN, HELLO))
    assert case["messages"] == [SUN, HELLO]
    said = judge_calls(case, (), "Yes.").transcript
    assert [message["content"] for message in said] == ["Hi", "Hello.", "Is it sunny?", "Yes."]
    assert "reasoning_content" not in said[1]
