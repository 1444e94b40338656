"""Scoring a conversation, with an endpoint that says what the test tells it to."""

import asyncio
import json
from dataclasses import replace

import httpx
import pytest

from aria_ray.grammar import Call, answer_message, thought_for_calls, thought_without_call, tool_call_message
from aria_ray.tools import TOOLS, tool_definition
from aria_ray.validation.client import Client
from aria_ray.validation.conversations import run_case
from aria_ray.validation.quality import compare_models, summarise
from aria_ray.validation.references import same_rounds

DEFINITION = tool_definition(TOOLS["multiply"])
PARAMETERS = list(DEFINITION["function"]["parameters"]["properties"])
CALL = Call("multiply", dict(zip(PARAMETERS, (6, 7), strict=True)))
THOUGHT = thought_for_calls("product", [CALL])
READY = thought_without_call("product", "result is ready")
HIT = {
    "id": "hit",
    "category": "math",
    "scenario": "hit",
    "difficulty": 1,
    "tools": [DEFINITION],
    "tool_names": json.dumps({"multiply": {"tool": "multiply", "parameters": {name: name for name in PARAMETERS}}}),
    "answer_contains": ["42"],
    "messages": [
        {"role": "user", "content": "6 times 7?"},
        tool_call_message(THOUGHT, [CALL]),
        {"role": "tool", "tool_call_id": "call_0", "content": "42"},
        answer_message(thought_without_call("product", "result is ready"), "It is 42."),
    ],
}
ASK = {**HIT, "id": "ask", "scenario": "error", "answer_contains": ["which"]}
ASK["messages"] = [
    HIT["messages"][0],
    answer_message(thought_without_call("product", "factor is missing"), "Times which number?"),
]
MISS = {**HIT, "id": "miss", "scenario": "miss", "answer_contains": [], "messages": [HIT["messages"][0], HIT["messages"][3]]}


def calling(arguments, name="multiply", thought=THOUGHT):
    function = {"name": name, "arguments": arguments if isinstance(arguments, str) else json.dumps(arguments)}
    return {"role": "assistant", "reasoning": thought, "content": None, "tool_calls": [{"id": "x", "function": function}]}


def saying(content):
    return {"role": "assistant", "reasoning": READY, "content": content}


def converse(case, *replies, strict=True):
    """The result of a case, and the requests the endpoint got, where it answers with these replies in turn."""
    requests = []

    def handler(request):
        requests.append(json.loads(request.content))
        reply = replies[min(len(requests), len(replies)) - 1]
        if isinstance(reply, int):
            return httpx.Response(reply, text="out of order")
        body = {"choices": [{"message": reply, "finish_reason": "stop"}], "usage": {"completion_tokens": 5}}
        return httpx.Response(200, json=body)

    async def go():
        async with httpx.AsyncClient(base_url="http://endpoint/v1", transport=httpx.MockTransport(handler)) as http:
            return await run_case(Client(http, "aria", retry_s=0), case, strict=strict)

    return asyncio.run(go()), requests


def test_a_right_conversation_executes_the_tool_and_is_correct():
    result, requests = converse(HIT, calling(CALL.arguments), saying("That makes 42."))
    assert (result.outcome, result.compliant, result.num_turns, result.num_thoughts) == ("correct", True, 2, 2)
    sent = requests[1]["messages"]
    assert sent[-1] == {"role": "tool", "tool_call_id": "x", "content": "42"}
    assert "reasoning" not in sent[1]


@pytest.mark.parametrize("strict", [True, False])
def test_tools_are_sent_as_strict_if_asked_for(strict):
    _, (first, second) = converse(HIT, calling(CALL.arguments), saying("42"), strict=strict)
    for request in (first, second):
        assert [tool["function"]["name"] for tool in request["tools"]] == [tool["function"]["name"] for tool in HIT["tools"]]
        assert [tool["function"].get("strict") for tool in request["tools"]] == [True if strict else None] * len(HIT["tools"])


@pytest.mark.parametrize(
    ("case", "replies", "outcome", "compliant"),
    [
        (HIT, [calling(dict(zip(PARAMETERS, (6, 8), strict=True))), saying("It is 42.")], "wrong", True),
        (HIT, [calling(CALL.arguments), saying("It is 41.")], "wrong", True),
        (HIT, [calling(CALL.arguments), saying("")], "wrong", True),
        (HIT, [saying("It is 42.")], "wrong", False),
        (HIT, [calling({PARAMETERS[0]: "six"}), saying("It is 42.")], "wrong", False),
        (HIT, [calling(CALL.arguments, name="plus"), saying("It is 42.")], "wrong", False),
        (HIT, [calling(CALL.arguments)], "wrong", False),
        (HIT, [calling("{")], "malformed", False),
        (HIT, [saying('<tool_call>{"name": "multiply"}')], "malformed", False),
        (HIT, [500], "request_failed", None),
        (HIT, [calling(CALL.arguments), 503], "request_failed", None),
        (HIT, [saying(f"{READY}\nIt is 42.")], "malformed", False),
        (HIT, [calling(CALL.arguments), saying(READY)], "malformed", False),
        (ASK, [saying("Times which number?")], "correct", True),
        (ASK, [saying("It is 42.")], "wrong", True),
        (ASK, [calling(CALL.arguments), saying("Times which number?")], "wrong", False),
        (MISS, [saying("Fine.")], "correct", True),
        (MISS, [calling(CALL.arguments), saying("Fine.")], "wrong", False),
    ],
)
def test_outcomes(case, replies, outcome, compliant):
    result, _ = converse(case, *replies)
    assert (result.outcome, result.compliant) == (outcome, compliant)


def test_a_failed_request_is_no_wrong_answer():
    results = [converse(HIT, 500)[0], converse(HIT, calling(CALL.arguments), saying("42"))[0]]
    summary = summarise(results)
    assert summary.outcomes == {"request_failed": 1, "correct": 1}
    assert summary.accuracy.value == 1.0
    assert summary.accuracy.cases == 1


def test_a_thought_out_of_shape_is_counted_as_none():
    quality = summarise([converse(HIT, calling(CALL.arguments, thought="hm"), saying("42"))[0]])
    assert quality.thinking_prefix.value == 0.5


def test_irrelevance_is_judged_where_no_call_is_expected():
    results = [converse(MISS, saying("Fine."))[0], converse(MISS, calling(CALL.arguments))[0]]
    quality = summarise([*results, converse(HIT, saying("42"))[0]])
    assert (quality.irrelevance.value, quality.irrelevance.cases) == (0.5, 2)


OTHER = dict(zip(PARAMETERS, (6, 8), strict=True))


@pytest.mark.parametrize(
    ("replies", "tools", "arguments", "valid"),
    [
        ([calling(CALL.arguments), saying("42")], True, True, (1, 1)),
        ([calling(OTHER), saying("42")], True, False, (1, 1)),
        ([calling({PARAMETERS[0]: "six"}), saying("42")], True, False, (0, 1)),
        ([calling(CALL.arguments, name="plus"), saying("42")], False, None, (0, 1)),
        ([calling(CALL.arguments), calling(CALL.arguments), saying("42")], False, None, (2, 2)),
        ([saying("42")], False, None, (0, 0)),
        ([calling("{")], False, None, (0, 1)),
        ([500], None, None, (0, 0)),
    ],
)
def test_what_was_right_of_the_calls(replies, tools, arguments, valid):
    result, _ = converse(HIT, *replies)
    assert (result.right_tools, result.right_arguments) == (tools, arguments)
    assert (result.num_valid_calls, result.num_calls) == valid


def test_shares_of_calls_and_of_questions():
    right, other = converse(HIT, calling(CALL.arguments), saying("42"))[0], converse(HIT, calling(OTHER), saying("42"))[0]
    asked, guessed = converse(ASK, saying("Times which number?"))[0], converse(ASK, saying("It is 42."))[0]
    quality = summarise([right, other, asked, guessed, asked])
    assert (quality.tool_selection.value, quality.tool_selection.cases) == (1.0, 2)
    assert (quality.argument_match.value, quality.argument_match.cases) == (0.5, 2)
    assert (quality.schema_validity.value, quality.schema_validity.cases) == (1.0, 2)
    assert (quality.missing_value.value, quality.missing_value.cases) == (pytest.approx(2 / 3), 3)
    assert (quality.by_difficulty["1"].value, quality.by_difficulty["1"].cases) == (pytest.approx(3 / 5), 5)


def test_a_check_that_crashes_is_no_wrong_answer_and_stops_nothing():
    broken = json.loads(json.dumps(DEFINITION))
    broken["function"]["parameters"]["properties"][PARAMETERS[0]] = {"type": "string", "pattern": "["}  # no regular expression
    crashed, _ = converse({**HIT, "tools": [broken]}, calling({**CALL.arguments, PARAMETERS[0]: "6"}), saying("42"))
    assert crashed.outcome == "check_failed"
    assert crashed.compliant is None
    summary = summarise([crashed, converse(HIT, calling(CALL.arguments), saying("42"))[0]])
    assert summary.outcomes == {"check_failed": 1, "correct": 1}
    assert summary.accuracy.cases == 1


def test_two_models_are_compared_on_the_cases_that_both_answered():
    right, wrong, failed = (
        converse(HIT, *replies)[0] for replies in ([calling(CALL.arguments), saying("42")], [saying("?")], [500])
    )
    named = [
        [replace(result, id=str(number)) for number, result in enumerate(each)]
        for each in ([right] * 30 + [wrong, failed], [wrong] * 20 + [right] * 12)
    ]
    gain = compare_models(*named).accuracy
    assert (gain.value, gain.cases) == (pytest.approx(19 / 31), 31)
    low, high = gain.interval
    assert 0 < low < 19 / 31 < high < 1


def test_calls_compare_by_meaning():
    one, other = Call("f", {"x": 15, "t": "A b"}), Call("g", {})
    assert same_rounds([[one, other]], [[other, Call("f", {"t": "a b ", "x": 15.0})]])
    assert not same_rounds([[one], [other]], [[one, other]])
    assert not same_rounds([[one]], [[Call("f", {"x": 15})]])


def test_an_argument_that_has_its_default_counts_as_left_out():
    schema = {"type": "object", "properties": {"day": {"type": "string", "default": "Today"}, "on": {"type": "boolean"}}}
    tools = [{"type": "function", "function": {"name": "hours", "parameters": schema}}]
    said, unsaid = [[Call("hours", {"day": "today", "on": True})]], [[Call("hours", {"on": True})]]
    assert same_rounds(said, unsaid, tools)
    assert not same_rounds(said, unsaid)
    assert not same_rounds([[Call("hours", {"day": "friday", "on": True})]], unsaid, tools)
