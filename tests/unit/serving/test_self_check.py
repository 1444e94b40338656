"""The self-check, with answers as a sound endpoint and as broken ones give them."""

import json
from typing import Any

import pytest

from aria_ray.errors import ServingError
from aria_ray.serving import self_check

THOUGHT = "ask: percentage; function: percent_of; args: 15, 80"


def called(name: str = "percent_of", arguments: str = '{"percent": 15, "value": 80}', **changes: Any) -> dict[str, Any]:
    calls = [{"id": "x", "type": "function", "function": {"name": name, "arguments": arguments}}]
    return {"role": "assistant", "reasoning": THOUGHT, "content": None, "tool_calls": calls, **changes}


def declined(content: str | None = "Cold.", **changes: Any) -> dict[str, Any]:
    return {
        "role": "assistant",
        "reasoning": "ask: opposite; function: none; reason: no tool needed",
        "content": content,
        **changes,
    }


def test_a_sound_endpoint_passes() -> None:
    self_check.check([called(), called(content=""), declined(), declined(content=" It is cold. ")])


def test_each_question_is_asked_plain_and_streamed() -> None:
    bodies = self_check.requests()
    assert [body["stream"] for body in bodies] == [False, True, False, True]
    assert all(body["tools"][0]["function"]["name"] == "percent_of" for body in bodies)
    assert json.dumps(bodies)


BAD_CALL_AS_TEXT = called(tool_calls=None, content='{"name": "percent_of"}')
BAD_THOUGHT = called(content="<think>" + THOUGHT)


@pytest.mark.parametrize(
    ("answers", "message"),
    [
        ([BAD_CALL_AS_TEXT, BAD_CALL_AS_TEXT, declined(), declined()], "must give one call of percent_of"),
        ([called(), called(arguments='{"percent": 15}'), declined(), declined()], "plain, but .* streamed"),
        ([called(), called(reasoning=None), declined(), declined()], "plain, but .* streamed"),
        ([BAD_THOUGHT, BAD_THOUGHT, declined(), declined()], "answered with <think> as text"),
        ([called(arguments="{"), called(arguments="{"), declined(), declined()], "a call's"),
        ([called(arguments="[]"), called(arguments="[]"), declined(), declined()], "must be a JSON object"),
        ([called("other"), called("other"), declined(), declined()], "must give one call of percent_of"),
        ([called(), called(), called(), called()], "must be answered without a call"),
        ([called(), called(), declined(""), declined("")], "must be answered without a call"),
    ],
)
def test_a_broken_one_is_told_with_the_way_out(answers: list[dict[str, Any]], message: str) -> None:
    with pytest.raises(ServingError, match=f"self-check: .*{message}"):
        self_check.check(answers)
