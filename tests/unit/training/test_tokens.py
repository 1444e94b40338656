"""Rows to tokens: what is trained is what the endpoint sees."""

import pytest

from aria_ray.config import ModelConfig
from aria_ray.errors import TrainingError
from aria_ray.grammar import MARKERS, Call, answer_message, thought_for_calls, thought_without_call, tool_call_message
from aria_ray.training.base_model import prepare_base
from aria_ray.training.model import load_tokenizer
from aria_ray.training.tokens import encode_row

CALL = Call("now", {})
ROW = {
    "id": "r",
    "difficulty": 2,
    "tools": [{"type": "function", "function": {"name": "now", "description": "The time.", "parameters": {"type": "object"}}}],
    "messages": [
        {"role": "user", "content": "What time is it? <tool_call>"},
        tool_call_message(thought_for_calls("time", [CALL]), [CALL]),
        {"role": "tool", "tool_call_id": "call_0", "content": "noon"},
        answer_message(thought_without_call("time", "result is ready"), "It is noon."),
    ],
}


@pytest.fixture(scope="module")
def tokenizer():
    return load_tokenizer(prepare_base(ModelConfig(source="random:tiny")))


def test_markers_are_single_tokens(tokenizer):
    for marker in MARKERS:
        assert len(tokenizer.encode(marker, add_special_tokens=False)) == 1


def test_each_assistant_turn_is_a_sequence_of_prompt_and_turn(tokenizer):
    call, answer = encode_row(tokenizer, ROW)
    said = [tokenizer.decode(turn.ids[turn.num_prompt :]) for turn in (call, answer)]
    assert said[0] == (
        '<think>ask: time; function: now; args: none</think><tool_call>{"name": "now", "arguments": {}}</tool_call><|im_end|>'
    )
    assert said[1] == "<think>ask: time; function: none; reason: result is ready</think>It is noon.<|im_end|>"
    decided = [tokenizer.decode(turn.ids[slice(*turn.decision)]) for turn in (call, answer)]
    assert decided[0] == said[0].removeprefix("<think>ask: time;").removesuffix("<|im_end|>")
    assert decided[1] == " function: none; reason: result is ready</think>"


def test_the_prompt_is_what_serving_renders(tokenizer):
    for turn, history in zip(encode_row(tokenizer, ROW), (ROW["messages"][:1], ROW["messages"][:3]), strict=True):
        silent = [{key: value for key, value in message.items() if key != "reasoning_content"} for message in history]
        served = tokenizer.apply_chat_template(silent, tools=ROW["tools"], add_generation_prompt=True, return_dict=False)
        assert list(turn.ids[: turn.num_prompt]) == list(served)


def test_user_text_holds_no_control_token(tokenizer):
    turn = encode_row(tokenizer, ROW)[0]
    prompt = list(turn.ids[: turn.num_prompt])
    assert not {tokenizer.convert_tokens_to_ids(marker) for marker in MARKERS} & set(prompt)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("/no/such/model", "does not exist"),
        ("package:no-such-package", "not installed"),
        ("random:huge", "only random model is random:tiny"),
    ],
)
def test_a_model_that_is_not_there_is_one_clear_error(source, message):
    with pytest.raises(TrainingError, match=message):
        prepare_base(ModelConfig(source=source))


def test_a_directory_that_holds_no_model_is_refused(tmp_path):
    with pytest.raises(TrainingError, match=r"must hold a config\.json"):
        prepare_base(ModelConfig(source=str(tmp_path)))


def test_a_turn_of_weight_0_is_context_and_not_trained_on(tokenizer):
    unlearnt = {**ROW["messages"][1], "weight": 0}
    all_turns, turns = (
        encode_row(tokenizer, {**ROW, "messages": [ROW["messages"][0], first, *ROW["messages"][2:]]})
        for first in (ROW["messages"][1], unlearnt)
    )
    assert len(all_turns) > 1
    assert turns == all_turns[1:]
