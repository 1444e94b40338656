"""Each format of conversations that people have, with an input of its own."""

import json

import pytest

from aria_ray.dataset.conversations.formats import conversation_of
from aria_ray.grammar import message_calls

LAMP = {
    "name": "dim_lamp",
    "description": "Dim a lamp.",
    "parameters": {
        "type": "object",
        "properties": {"lamp": {"type": "string"}, "level": {"type": "integer"}},
        "required": ["lamp"],
    },
}
TOOL = {"type": "function", "function": LAMP}
USER = {"role": "user", "content": "Hall lamp down to 20, please"}
ARGUMENTS = {"lamp": "hall", "level": 20}
CALL = {"id": "a", "type": "function", "function": {"name": "dim_lamp", "arguments": json.dumps(ARGUMENTS)}}
CALLING = {"role": "assistant", "content": None, "tool_calls": [CALL]}
RESULT = {"role": "tool", "tool_call_id": "a", "content": "ok"}
ANSWER = {"role": "assistant", "content": "The hall is at 20."}
IN_TEXT = f"<tool_call>\n{json.dumps({'name': 'dim_lamp', 'arguments': ARGUMENTS})}\n</tool_call>"


def talk(*messages, tools=(TOOL,), **more):
    return {"messages": list(messages), "tools": list(tools), **more}


def from_to(*turns):
    return {"conversations": [{"from": role, "value": text} for role, text in turns]}


SAME = {
    "OpenAI chat": talk(USER, CALLING, RESULT, ANSWER),
    "fine-tuning": talk(USER, CALLING, RESULT, {**ANSWER, "weight": 1}, parallel_tool_calls=False),
    "tools as text": {"messages": [USER, CALLING, RESULT, ANSWER], "tools": json.dumps([TOOL])},
    "messages as text": {"messages": json.dumps([USER, CALLING, RESULT, ANSWER]), "tools": [TOOL]},
    "tools as texts": talk(USER, CALLING, RESULT, ANSWER, tools=[json.dumps(TOOL)]),
    "no ids": talk(
        USER,
        {"role": "assistant", "tool_calls": [{"function": {"name": "dim_lamp", "arguments": ARGUMENTS}}]},
        {"role": "tool", "name": "dim_lamp", "content": "ok"},
        ANSWER,
    ),
    "older functions": {
        "messages": [
            USER,
            {"role": "assistant", "content": None, "function_call": CALL["function"]},
            {"role": "function", "name": "dim_lamp", "content": "ok"},
            ANSWER,
        ],
        "functions": [LAMP],
    },
    "ms-swift": talk(
        USER,
        {"role": "tool_call", "content": json.dumps({"name": "dim_lamp", "arguments": ARGUMENTS})},
        {"role": "tool_response", "content": "ok"},
        ANSWER,
    ),
    "Anthropic": talk(
        {"role": "user", "content": [{"type": "text", "text": USER["content"]}]},
        {"role": "assistant", "content": [{"type": "tool_use", "id": "t", "name": "dim_lamp", "input": ARGUMENTS}]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t", "content": [{"type": "text", "text": "ok"}]}]},
        {
            "role": "assistant",
            "content": [{"type": "thinking", "thinking": "Done."}, {"type": "text", "text": ANSWER["content"]}],
        },
        tools=[{"name": "dim_lamp", "description": "Dim a lamp.", "input_schema": LAMP["parameters"]}],
    ),
    "Hermes": from_to(
        (
            "system",
            f"You are a function calling AI model. You are provided with function signatures within <tools></tools> XML tags. "
            f"<tools>{json.dumps([TOOL])}</tools> For each call return JSON within <tool_call></tool_call> tags.",
        ),
        ("human", USER["content"]),
        ("gpt", IN_TEXT),
        ("tool", '<tool_response>\n{"name": "dim_lamp", "content": "ok"}\n</tool_response>'),
        ("gpt", ANSWER["content"]),
    ),
    "Hermes, a tool a line, results from the user": talk(
        {"role": "system", "content": f"<tools>\n{json.dumps(TOOL)}\n</tools>"},
        USER,
        {"role": "assistant", "content": f"<think>Which lamp? The hall's.</think>{IN_TEXT}"},
        {"role": "user", "content": "<tool_response>\nok\n</tool_response>"},
        ANSWER,
        tools=[],
    ),
    "Glaive": from_to(
        ("system", f"You can use the following functions. Use them if required - {json.dumps(LAMP)}"),
        ("human", USER["content"]),
        ("gpt", '<functioncall> {"name": "dim_lamp", "arguments": \'' + json.dumps(ARGUMENTS) + "'} <|endoftext|>"),
        ("function_response", "ok"),
        ("gpt", ANSWER["content"]),
    ),
    "Llama": talk(
        USER,
        {"role": "assistant", "content": "<|python_tag|>" + json.dumps({"name": "dim_lamp", "parameters": ARGUMENTS})},
        {"role": "ipython", "content": "ok"},
        ANSWER,
    ),
    "Mistral": talk(
        USER,
        {"role": "assistant", "content": "[TOOL_CALLS] " + json.dumps([{"name": "dim_lamp", "arguments": ARGUMENTS}])},
        {"role": "tool", "content": "ok"},
        ANSWER,
    ),
    "columns that are null": talk(
        {**USER, "name": None, "tool_calls": None},
        {**CALLING, "tool_call_id": None, "weight": None},
        {**RESULT, "tool_calls": None},
        {**ANSWER, "tool_calls": None},
        source=None,
    ),
    "an answer in two messages": talk(
        USER, CALLING, RESULT, {"role": "assistant", "content": "The hall"}, {"role": "assistant", "content": "is at 20."}
    ),
    "something after the end": talk(USER, CALLING, RESULT, ANSWER, {"role": "user", "content": "Thanks"}),
}


@pytest.mark.parametrize("name", SAME)
def test_the_same_conversation_in_each_format(name):
    found = conversation_of(SAME[name])
    assert [message["role"] for message in found.messages] == ["user", "assistant", "tool", "assistant"]
    assert found.messages[0]["content"] == USER["content"]
    (call,) = message_calls(found.messages[1])
    assert (call.name, call.arguments) == ("dim_lamp", ARGUMENTS)
    assert not found.messages[1]["content"]
    assert found.messages[2] == {"role": "tool", "tool_call_id": found.messages[1]["tool_calls"][0]["id"], "content": "ok"}
    assert found.messages[3]["content"].replace("\n", " ") == ANSWER["content"]
    assert found.tools == [TOOL]


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("OpenAI chat", "OpenAI chat"),
        ("older functions", "OpenAI chat with the older functions"),
        ("ms-swift", "ms-swift"),
        ("Anthropic", "Anthropic"),
        ("Hermes", "ShareGPT with Hermes' tools in the system text"),
    ],
)
def test_the_format_has_a_name(name, told):
    assert conversation_of(SAME[name]).format == told


def test_xlam_ends_with_its_calls_and_its_types_are_python_s():
    record = {
        "id": 3,
        "query": "Hall lamp to 20 and the porch too",
        "tools": json.dumps(
            [
                {
                    "name": "dim lamp",
                    "description": "Dim.",
                    "parameters": {
                        "lamp": {"type": "str", "description": "which"},
                        "level": {"type": "int, optional", "description": "how far", "default": 50},
                        "hours": {"type": "List[int]", "default": ""},
                        "extra": {"type": "Union[str, int]", "default": ""},
                    },
                }
            ]
        ),
        "answers": json.dumps([{"name": "dim lamp", "arguments": {"lamp": lamp, "level": 20}} for lamp in ("hall", "porch")]),
    }
    found = conversation_of(record)
    assert [message["role"] for message in found.messages] == ["user", "assistant"]
    assert [call.arguments["lamp"] for call in message_calls(found.messages[1])] == ["hall", "porch"]
    assert {call.name for call in message_calls(found.messages[1])} == {"dim_lamp"}
    parameters = found.tools[0]["function"]["parameters"]
    assert parameters["required"] == ["lamp"]
    assert parameters["properties"]["lamp"]["type"] == "string"
    assert parameters["properties"]["level"]["type"] == "integer"
    assert parameters["properties"]["hours"] == {"type": "array", "items": {"type": "integer"}}
    assert "type" not in parameters["properties"]["extra"]


def test_a_persona_stays_where_the_system_text_has_tools():
    told = f"You work for Hotel Birke. # Tools\n\nYou may call functions:\n<tools>{json.dumps(TOOL)}</tools>"
    found = conversation_of(talk({"role": "system", "content": told}, USER, ANSWER, tools=[]))
    assert found.messages[0] == {"role": "system", "content": "You work for Hotel Birke."}


def test_developer_is_the_system_and_texts_at_the_start_are_one():
    found = conversation_of(
        talk({"role": "system", "content": "Be brief."}, {"role": "developer", "content": "No jokes."}, USER, ANSWER)
    )
    assert [message["role"] for message in found.messages] == ["system", "user", "assistant"]
    assert found.messages[0]["content"] == "Be brief.\nNo jokes."


@pytest.mark.parametrize("turn", [{"weight": 0}, {"loss": False}, {"train": False}])
def test_a_turn_that_is_not_trained_on_has_weight_0(turn):
    found = conversation_of(talk(USER, {**ANSWER, **turn}, {"role": "user", "content": "And?"}, {**ANSWER, "weight": 1}))
    assert found.messages[1]["weight"] == 0
    assert "weight" not in found.messages[3]


@pytest.mark.parametrize("tools", [None, [], "", "[]"])
def test_no_tools(tools):
    assert conversation_of({"messages": [USER, ANSWER], "tools": tools}).tools == []


def test_arrow_s_nulls_in_definitions_are_no_parameters():
    filled = {"type": "object", "properties": {"lamp": {"type": "string", "enum": None}, "city": None}, "required": ["lamp"]}
    found = conversation_of(talk(USER, ANSWER, tools=[{"type": "function", "function": {**LAMP, "parameters": filled}}]))
    assert found.tools[0]["function"]["parameters"]["properties"] == {"lamp": {"type": "string"}}


@pytest.mark.parametrize("parameters", [None, {}])
def test_parameters_may_be_missing(parameters):
    found = conversation_of(
        talk(USER, ANSWER, tools=[{"type": "function", "function": {"name": "now", "parameters": parameters}}])
    )
    assert found.tools[0]["function"]["parameters"] == {"type": "object", "properties": {}}


@pytest.mark.parametrize("ids", [("x", "x"), (None, None), ("", ""), ("x", "y")])
def test_ids_that_are_missing_or_constant_or_come_again(ids):
    calls = [{**CALL, "id": own} for own in ids]
    results = [{"role": "tool", "tool_call_id": own, "content": text} for own, text in zip(ids, ("one", "two"), strict=True)]
    once = [USER, {**CALLING, "tool_calls": calls}, *results, ANSWER]
    found = conversation_of(talk(*once, *once))
    given = [call["id"] for message in found.messages for call in message.get("tool_calls", ())]
    assert len(set(given)) == len(given) == 4
    shown = [(message["tool_call_id"], message["content"]) for message in found.messages if message["role"] == "tool"]
    assert shown == list(zip(given, ("one", "two", "one", "two"), strict=True))


def test_results_in_another_order_go_to_their_calls():
    calls = [{**CALL, "id": own} for own in "ab"]
    results = [{"role": "tool", "tool_call_id": own, "content": f"of {own}"} for own in "ba"]
    found = conversation_of(talk(USER, {**CALLING, "tool_calls": calls}, *results, ANSWER))
    by_id = {message["tool_call_id"]: message["content"] for message in found.messages if message["role"] == "tool"}
    assert [by_id[call["id"]] for call in found.messages[1]["tool_calls"]] == ["of a", "of b"]


@pytest.mark.parametrize(
    ("content", "text"),
    [({"state": "on"}, '{"state": "on"}'), (None, ""), ([1, 2], "[1, 2]"), ([{"type": "text", "text": "on"}], "on"), (3, "3")],
)
def test_a_result_of_any_type_is_text(content, text):
    found = conversation_of(talk(USER, CALLING, {**RESULT, "content": content}, ANSWER))
    assert found.messages[2]["content"] == text


@pytest.mark.parametrize("given", [None, "", "{}", {}, '"{}"'])
def test_arguments_may_be_nothing(given):
    call = {**CALL, "function": {"name": "dim_lamp", "arguments": given}}
    found = conversation_of(talk(USER, {**CALLING, "tool_calls": [call]}, RESULT, ANSWER))
    assert message_calls(found.messages[1])[0].arguments == {}


@pytest.mark.parametrize(
    "record",
    [
        {"prompt": "Hi", "completion": "Hello."},
        {"prompt": [{"role": "user", "content": "Hi"}], "completion": [{"role": "assistant", "content": "Hello."}]},
        {"instruction": "Hi", "input": "", "output": "Hello."},
        {
            "input": {"messages": [{"role": "user", "content": "Hi"}]},
            "preferred_output": [{"role": "assistant", "content": "Hello."}],
        },
        [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello."}],
    ],
)
def test_a_question_and_an_answer(record):
    found = conversation_of(record)
    assert [(message["role"], message["content"]) for message in found.messages] == [("user", "Hi"), ("assistant", "Hello.")]


@pytest.mark.parametrize(
    ("record", "rule"),
    [
        (5, "no conversation: "),
        ({"tools": []}, "no conversation: "),
        (talk({"content": "hi"}, ANSWER), "a message has no role"),
        (talk({**USER, "role": "narrator"}, ANSWER), "unknown role: 'narrator'"),
        (talk({**USER, "content": [{"type": "image_url", "image_url": {}}]}, ANSWER), "content is no text: image_url"),
        (talk({**USER, "content": " "}, ANSWER), "a user message has no content"),
        (talk(USER, {"role": "assistant"}), "an assistant message has neither content nor calls"),
        (talk(USER, CALLING, USER, ANSWER), "a call has no result: dim_lamp"),
        (talk(USER, RESULT, ANSWER), "a result follows no call: 'ok'"),
        (talk(USER, CALLING, {**RESULT, "tool_call_id": "b"}, ANSWER), "a result is for a call that is not there: b"),
        (talk(USER, {**CALLING, "tool_calls": [{"id": "a", "function": {}}]}), "a call has no name: "),
        (
            talk(USER, {**CALLING, "tool_calls": [{**CALL, "function": {"name": "f", "arguments": "[1]"}}]}),
            "arguments are no JSON object: '[1]' of f",
        ),
        (talk(USER, {**CALLING, "tool_calls": [{**CALL, "function": {"name": "f", "arguments": "{a"}}]}), "not JSON: '{a'"),
        (talk(USER, ANSWER, tools=[{"function": {"name": "x", "parameters": {"type": 5}}}]), "a tool is wrong: x: "),
        (talk(USER, ANSWER, tools=[{"function": {}}]), "a tool is wrong: None: "),
        (
            talk(USER, ANSWER, tools=[TOOL, {**TOOL, "function": {**LAMP, "description": "?"}}]),
            "two tools have the same name: ",
        ),
        ({"query": "Hi", "tools": "[]", "answers": "[]"}, "no answer: "),
    ],
)
def test_what_is_wrong_is_said_by_its_rule(record, rule):
    with pytest.raises(ValueError) as caught:  # noqa: PT011  # the rule is compared below
        conversation_of(record)
    assert str(caught.value).startswith(rule)
