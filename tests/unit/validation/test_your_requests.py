"""Requests in people's words: which answers are right, and what the figures and the list of wrong ones say."""

import asyncio
import json

import httpx
import pytest

from aria_ray.grammar import Call, answer_message, thought_for_calls, thought_without_call, tool_call_message
from aria_ray.validation.client import Client
from aria_ray.validation.conversations import MAX_TOKENS, run_case
from aria_ray.validation.your_requests import (
    declining_answers,
    keyword_answers,
    put_together,
    summarise,
    wrong_requests,
)

ROOM = {"type": "string", "enum": ["kitchen", "bedroom"]}
LIGHT = {
    "type": "function",
    "function": {
        "name": "set_light",
        "description": "Set the brightness of the lights.",
        "parameters": {
            "type": "object",
            "properties": {"room": ROOM, "brightness": {"type": "integer"}},
            "required": ["room", "brightness"],
        },
    },
}
LOCK = {"type": "function", "function": {"name": "lock_door", "parameters": {"type": "object", "properties": {}}}}
NAMES = {
    "set_light": {
        "tool": "set_light",
        "parameters": {"room": "room", "brightness": "brightness"},
        "backend": {"kind": "fixed", "text": "done"},
    },
    "lock_door": {"tool": "lock_door", "parameters": {}, "backend": {"kind": "fixed", "text": "done"}},
}


def light(room, brightness):
    return Call("set_light", {"room": room, "brightness": brightness})


def case(number, request, *calls, missing=None, family=None):
    reply = [answer_message(thought_without_call("it", f"{missing} is missing" if missing else "no tool needed"), "Hm?")]
    if calls:
        reply = [
            tool_call_message(thought_for_calls("it", calls), calls),
            *({"role": "tool", "tool_call_id": f"call_{index}", "content": "done"} for index in range(len(calls))),
            answer_message(thought_without_call("it", "result is ready"), "The light in the kitchen is at 80 now."),
        ]
    return {
        "id": f"request/{number:04}/test",
        "template_family": family or f"request/{number:04}",
        "category": "own",
        "scenario": "hit" if calls else "miss",
        "difficulty": 1,
        "split": "test",
        "tools": [LIGHT, LOCK],
        "tool_names": json.dumps(NAMES),
        "answer_contains": ["the light in the kitchen"],
        "messages": [{"role": "user", "content": request}, *reply],
    }


HIT = case(1, "kitchen light to 80", light("kitchen", 80))
TWO = case(2, "kitchen and bedroom light to 80", light("kitchen", 80), light("bedroom", 80))
MISS = case(3, "who wrote Hamlet?")
ASK = case(4, "set the light to 20", missing="room")


def calling(*calls):
    items = [
        {"id": f"c{number}", "function": {"name": call.name, "arguments": json.dumps(call.arguments)}}
        for number, call in enumerate(calls)
    ]
    return {"role": "assistant", "content": None, "tool_calls": items}


def saying(content):
    return {"role": "assistant", "content": content}


BROKEN = {
    "role": "assistant",
    "content": None,
    "tool_calls": [{"id": "x", "function": {"name": "set_light", "arguments": "{"}}],
}


def answered(case, *replies, requests=None, reason="stop", **options):
    """The result of a case where the endpoint answers with these replies in turn; a number is an HTTP status."""
    seen = [] if requests is None else requests

    def handler(request):
        seen.append(json.loads(request.content))
        reply = replies[min(len(seen), len(replies)) - 1]
        if isinstance(reply, int):
            return httpx.Response(reply, text="out of order")
        return httpx.Response(200, json={"choices": [{"message": reply, "finish_reason": reason}], "usage": {}})

    async def go():
        async with httpx.AsyncClient(base_url="http://endpoint/v1", transport=httpx.MockTransport(handler)) as http:
            return await run_case(Client(http, "aria", retry_s=0), case, strict=True, **options)

    return asyncio.run(go())


@pytest.mark.parametrize(
    ("case", "replies", "outcome", "kind"),
    [
        (HIT, [calling(light("kitchen", 80)), saying("Anything at all.")], "correct", None),
        (HIT, [calling(light(" Kitchen", 80.0)), saying("")], "correct", None),
        (HIT, [calling(light("kitchen", 8)), saying("Done.")], "wrong", "other values"),
        (HIT, [calling(Call("lock_door", {})), saying("Done.")], "wrong", "other tool"),
        (HIT, [saying("The light in the kitchen is at 80.")], "wrong", "no call"),
        (HIT, [calling(light("kitchen", 8)), calling(light("kitchen", 80)), saying("Done.")], "wrong", "other number of calls"),
        (
            HIT,
            [calling(light("kitchen", 80)), calling(light("bedroom", 80)), saying("Done.")],
            "wrong",
            "other number of calls",
        ),
        (HIT, [calling(light("kitchen", 80))], "wrong", "other number of calls"),  # and again, without an end
        (HIT, [calling(light("kitchen", 80)), saying("<tool_call>")], "malformed", "bad answer"),
        (HIT, [BROKEN], "malformed", "bad answer"),
        (TWO, [calling(light("bedroom", 80), light("kitchen", 80)), saying("Done.")], "correct", None),
        (TWO, [calling(light("kitchen", 80)), saying("Done.")], "wrong", "other number of calls"),
        (MISS, [saying("I cannot tell.")], "correct", None),
        (MISS, [calling(light("kitchen", 1)), saying("Done.")], "wrong", "needless call"),
        (MISS, [saying("")], "wrong", "bad answer"),
        (ASK, [saying("It is done.")], "correct", None),
        (ASK, [calling(light("kitchen", 20)), saying("Which room?")], "wrong", "needless call"),
    ],
)
def test_the_calls_are_judged_and_not_the_words_of_the_answer(case, replies, outcome, kind):
    result = answered(case, *replies)
    assert result.outcome == outcome
    assert [wrong.kind for wrong in wrong_requests([case], [result])] == ([kind] if kind else [])


@pytest.mark.parametrize(
    ("answer", "asks"),
    [("Which one?", True), ("Tell me the room.", True), ("It is done.", False), ("哪个房间？", True)],  # noqa: RUF001
)
def test_whether_the_answer_asks_for_what_is_missing_is_told_apart(answer, asks):
    quality = summarise([ASK], [answered(ASK, saying(answer))])
    assert (quality.accuracy.value, quality.questions.value) == (1.0, float(asks))


def test_a_call_may_be_as_long_as_the_right_one():
    """The limit of a turn grows with the reference; somebody else's endpoint has its own."""
    long, requests = case(5, "mail it", light("kitchen" * 100, 1)), []
    answered(long, saying("No."), requests=requests)
    answered(long, saying("No."), requests=requests, max_tokens=None)
    assert requests[0]["max_tokens"] > MAX_TOKENS + 700
    assert "max_tokens" not in requests[1]


def test_an_answer_that_was_cut_off_is_told_so():
    result = answered(HIT, saying("Let me think about"), reason="length")
    assert wrong_requests([HIT], [result])[0].got == "(cut off at 208 tokens) Let me think about"
    empty = answered(HIT, saying(" "), reason="length", max_tokens=None)
    assert wrong_requests([HIT], [empty])[0].got == "(cut off at the endpoint's limit) an empty answer"


def test_shares_of_calls_and_refusals_and_of_nothing_that_failed():
    cases = [HIT, TWO, MISS, ASK]
    results = [
        answered(HIT, calling(light("kitchen", 80)), saying("Done.")),
        answered(TWO, 500),
        answered(MISS, calling(Call("lock_door", {})), saying("Done.")),
        answered(ASK, saying("Which room?")),
    ]
    quality = summarise(cases, results)
    assert (quality.accuracy.value, quality.accuracy.cases) == (pytest.approx(2 / 3), 3)
    assert (quality.calls.value, quality.calls.cases) == (1.0, 1)
    assert (quality.refusals.value, quality.refusals.cases) == (0.5, 2)
    assert (quality.tool_selection.value, quality.tool_selection.cases) == (1.0, 1)
    assert quality.request_failures == 1
    assert wrong_requests(cases, results)[0].request == "who wrote Hamlet?"


def test_controls_answer_the_same_requests():
    cases = [HIT, TWO, MISS, ASK]
    assert [each.outcome for each in declining_answers(cases)] == ["wrong", "wrong", "correct", "correct"]
    keywords = keyword_answers(cases)
    assert [each.outcome for each in keywords] == ["correct", "wrong", "correct", "wrong"]
    assert keywords[0].transcript[-1]["tool_calls"][0]["function"]["name"] == "set_light"


def test_a_tool_whose_pattern_python_does_not_take_ends_nothing():
    order = {"type": "object", "properties": {"id": {"type": "string", "pattern": "["}}, "required": ["id"]}
    track = {"type": "function", "function": {"name": "track", "description": "Track an order.", "parameters": order}}
    cases = [HIT, {**case(9, "track order A-1", Call("track", {"id": "A-1"})), "tools": [track]}]
    assert [each.outcome for each in keyword_answers(cases)] == ["correct", "check_failed"]


def test_the_model_is_compared_with_each_control_on_the_same_requests():
    cases = [case(number, "bright in here please", light("kitchen", 80)) for number in range(30)]
    cases += [case(number, "who wrote Hamlet?") for number in range(30, 40)]
    right = [answered(each, calling(light("kitchen", 80)), saying("Done.")) for each in cases[:30]]
    right += [answered(each, saying("I cannot tell.")) for each in cases[30:]]
    found = put_together(cases, right, None, keyword_answers(cases))
    assert (found.ours.accuracy.value, found.declining.accuracy.value) == (1.0, 0.25)
    assert (found.over_declining.value, found.over_declining.cases) == (0.75, 40)
    assert found.over_declining.interval[0] > 0.5
    assert found.over_base is None
    assert found.wrong == ()
    worse = put_together(cases, declining_answers(cases), right, keyword_answers(cases))
    assert worse.over_base.interval[1] < 0
    assert worse.num_wrong == {"no call": 30}


def test_an_example_in_several_wordings_counts_once():
    apart = [case(number, "bright please", light("kitchen", 80)) for number in range(40)]
    together = [case(number, "bright please", light("kitchen", 80), family=f"f{number % 8}") for number in range(40)]
    results = [
        answered(each, calling(light("kitchen", 80 if number % 8 < 6 else 8)), saying("Done."))
        for number, each in enumerate(apart)
    ]
    narrow, wide = summarise(apart, results).accuracy, summarise(together, results).accuracy
    assert narrow.value == wide.value == 0.75
    assert wide.interval[1] - wide.interval[0] > 1.8 * (narrow.interval[1] - narrow.interval[0])


def test_the_first_wrong_ones_show_every_kind():
    cases = [case(number, "bright please", light("kitchen", 80)) for number in range(50)]
    results = [
        answered(each, saying("No.") if number < 48 else calling(light("kitchen", 1)), saying("Done."))
        for number, each in enumerate(cases)
    ]
    assert [each.kind for each in wrong_requests(cases, results)[:4]] == ["no call", "other values", "no call", "other values"]
    found = put_together(cases, results, None, keyword_answers(cases))
    assert len(found.wrong) == 30
    assert found.num_wrong == {"no call": 48, "other values": 2}
    assert found.wrong[1].wanted == 'set_light({"room": "kitchen", "brightness": 80})'
    assert found.wrong[1].got == 'set_light({"room": "kitchen", "brightness": 1})'
