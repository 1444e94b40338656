import random
import sys

import pytest

from aria_ray.dataset import parsers
from aria_ray.dataset.parsers import round_trip_problems
from aria_ray.errors import DataError
from aria_ray.grammar import MARKERS, TURN_END, TURN_START, Call, answer_message, tool_call_message

THOUGHT = "ask: weather; function: get; args: Rome"
READY = "ask: weather; function: none; reason: result is ready"
HOSTILE = " ".join((*MARKERS, TURN_START, TURN_END))
TOOL = {
    "type": "function",
    "function": {"name": "get", "description": "Get it.", "parameters": {"type": "object", "properties": {}}},
}
CALLS = {
    "no argument": [Call("get", {})],
    "nested": [Call("get", {"a": {"b": [1, 2.5, None, True, {"c": []}]}, "d": {}})],
    "unicode": [Call("get", {"città": "東京 é 🙂 \u0301", "emoji": ["👩‍👩‍👧"]})],
    "quotes and newlines": [Call("get", {"text": 'a "b" \\ \n\t\r \'c\' {"d": 1}'})],
    "markers": [Call("get", {"text": HOSTILE})],
    "two parallel": [Call("get", {"city": "Rome"}), Call("find_it", {"n": -1e-7})],
    "the same twice": [Call("get", {"n": 1}), Call("get", {"n": 1})],
    "three": [Call(name, {}) for name in ("a", "b", "get_the_longest_name_of_all")],
}
ANSWERS = {
    "plain": "It is 5 < 6.",
    "lines": "One\n\n- two\n- three",
    "unicode": "Es ist schön in 東京 🙂.",
    "JSON": '{"name": "get", "arguments": {}}',
}
QUESTION = {"role": "user", "content": "How is it?"}


def conversation(calls):
    results = [{"role": "tool", "tool_call_id": f"call_{index}", "content": "fine"} for index in range(len(calls))]
    return [QUESTION, tool_call_message(THOUGHT, calls), *results, answer_message(READY, "It is fine.")]


@pytest.mark.vllm
@pytest.mark.parametrize("name", CALLS)
def test_calls_come_back_whole_and_streamed(name):
    for seed in range(25):
        assert round_trip_problems([TOOL], conversation(CALLS[name]), str(seed)) == []
        assert round_trip_problems([TOOL], conversation(CALLS[name])[:2], str(seed)) == []


@pytest.mark.vllm
@pytest.mark.parametrize("name", ANSWERS)
def test_answers_come_back_whole_and_streamed(name):
    for seed in range(25):
        assert round_trip_problems([TOOL], [QUESTION, answer_message(READY, ANSWERS[name])], str(seed)) == []


@pytest.mark.vllm
def test_markers_in_the_text_of_users_tools_and_definitions_do_no_harm():
    messages = conversation(CALLS["two parallel"])
    for message in messages:
        if message["role"] in ("user", "tool"):
            message["content"] = HOSTILE
    hostile = {"type": "function", "function": {**TOOL["function"], "description": HOSTILE}}
    for seed in range(10):
        assert round_trip_problems([hostile], messages, str(seed)) == []


@pytest.mark.vllm
def test_a_system_message_takes_the_place_of_ours():
    assert round_trip_problems([TOOL], [{"role": "system", "content": "Be brief."}, *conversation(CALLS["nested"])], "0") == []


@pytest.mark.vllm
def test_several_requests_come_back():
    assert round_trip_problems([TOOL], conversation(CALLS["nested"]) * 2, "0") == []


@pytest.mark.vllm
def test_no_tools_are_no_problem():
    assert round_trip_problems([], [QUESTION, answer_message(READY, "Fine.")], "0") == []


@pytest.mark.vllm
@pytest.mark.parametrize("marker", MARKERS[:3])
def test_an_answer_with_a_marker_does_not_come_back(marker):
    problems = round_trip_problems([TOOL], [QUESTION, answer_message(READY, f"Say {marker}")], "0")
    assert [problem.split(",")[0] for problem in problems] == ["whole", "streamed"]


@pytest.mark.vllm
def test_a_thought_with_a_marker_does_not_come_back():
    problems = round_trip_problems([TOOL], [QUESTION, answer_message(f"{READY} {MARKERS[1]}", "Fine.")], "0")
    assert len(problems) == 2


@pytest.mark.vllm
def test_a_defect_in_an_earlier_turn_is_found():
    messages = conversation(CALLS["nested"])
    messages[1]["reasoning_content"] += MARKERS[1]
    assert len(round_trip_problems([TOOL], messages, "0")) == 2


@pytest.mark.vllm
def test_an_earlier_call_that_does_not_come_back(monkeypatch):
    render = parsers._render
    monkeypatch.setattr(parsers, "_render", lambda *args: render(*args).replace("fine", "bad").replace('"Rome"', '"Oslo"'))
    problems = round_trip_problems([TOOL], conversation(CALLS["two parallel"]), "0")
    assert any(problem.startswith("whole") and "Oslo" in problem for problem in problems)
    assert any(problem.startswith("streamed") and "Oslo" in problem for problem in problems)


def test_pieces_are_the_turn_cut_within_characters():
    turn = f"<think>{'東京🙂' * 40}</think>ok"
    cut = 0
    for seed in range(10):
        pieces = list(parsers._pieces(turn, random.Random(seed)))
        assert "".join(text for text, _, _ in pieces) == turn
        assert [token for _, ids, _ in pieces for token in ids] == parsers._token_ids(turn)
        assert [finished for _, _, finished in pieces] == [False] * (len(pieces) - 1) + [True]
        cut += sum(text != parsers._decode(ids) for text, ids, _ in pieces)
    assert cut > 10


def test_markers_are_single_tokens_and_the_rest_bytes():
    assert parsers._token_ids(f"{MARKERS[0]}é{TURN_END}") == [256, 0xC3, 0xA9, 256 + len(MARKERS) + 1]
    text = "".join(MARKERS) + "é"
    assert parsers._decode(parsers._token_ids(text)) == text


def test_the_tokenizer_agrees_with_our_token_ids():
    tokenizer = parsers._byte_tokenizer()
    text = f"<think>é 東 \n</think><tool_call>{{}}</tool_call>{TURN_END}"
    assert tokenizer(text, add_special_tokens=False)["input_ids"] == parsers._token_ids(text)


def test_without_vllm_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "vllm.parser.parser_manager", None)
    with pytest.raises(DataError, match=r"vLLM is needed to prove .* install the extra cpu, cuda or rocm"):
        parsers._engine.__wrapped__()
