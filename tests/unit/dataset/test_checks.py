import copy
import json

import pytest

from aria_ray.dataset.checks import is_held_out, verify
from aria_ray.grammar import MAX_THOUGHT_PIECES, thought_pieces


@pytest.fixture
def row(row_maker):
    """A call of a built-in tool, free to be changed."""
    return copy.deepcopy(row_maker.row("percent_of/1/plain", "none", 0, 0))


@pytest.fixture
def booking(row_maker):
    """A call of a simulated tool under masked names."""
    return copy.deepcopy(row_maker.row("book_flight/1/plain", "masking", 0, 0))


def arguments_of(row):
    return json.loads(row["messages"][1]["tool_calls"][0]["function"]["arguments"])


def call_with(row, **changes):
    """Make the first call give these arguments instead."""
    row["messages"][1]["tool_calls"][0]["function"]["arguments"] = json.dumps({**arguments_of(row), **changes})


@pytest.mark.vllm
@pytest.mark.parametrize(
    "template_id",
    [
        "percent_of/1/plain",
        "sign_name/2/hi",
        "negative_root/1/plain",
        "check_flight_twice/1/plain",
        "find_and_check_order/1/now",
    ],
)
def test_a_right_row_has_no_problem(row_maker, template_id):
    assert verify(row_maker.row(template_id, "none", 0, 0)) == []


@pytest.mark.vllm
def test_an_argument_of_the_wrong_type(row):
    call_with(row, percent="ten")
    problems = verify(row)
    assert "percent_of: percent: 'ten' is not of type 'number'" in problems
    assert any(problem.startswith("percent_of gives 'error: percent: ") for problem in problems)


@pytest.mark.vllm
def test_an_argument_of_the_wrong_type_for_a_simulated_tool(booking):
    name, parameter = booking["messages"][1]["tool_calls"][0]["function"]["name"], next(iter(arguments_of(booking)))
    call_with(booking, **{parameter: 7})
    assert f"{name}: {parameter}: 7 is not of type 'string'" in verify(booking)


@pytest.mark.vllm
def test_an_argument_that_the_tool_does_not_have(booking):
    call_with(booking, city="Rome")
    assert any("Additional properties are not allowed ('city' was unexpected)" in problem for problem in verify(booking))


@pytest.mark.vllm
@pytest.mark.parametrize("which", ["row", "booking"])
def test_a_result_that_the_tool_does_not_give(which, request):
    row = request.getfixturevalue(which)
    real = row["messages"][2]["content"]
    row["messages"][2]["content"] = "12345"
    name = row["messages"][1]["tool_calls"][0]["function"]["name"]
    assert verify(row) == [f"{name} gives {real!r} but '12345' is shown"]


@pytest.mark.vllm
def test_a_call_without_its_result(row):
    del row["messages"][2]
    assert any("but None is shown" in problem for problem in verify(row))


@pytest.mark.vllm
def test_a_tool_that_is_not_listed(row):
    row["messages"][1]["tool_calls"][0]["function"]["name"] = "percentage"
    assert "percentage is called but not listed" in verify(row)


@pytest.mark.vllm
def test_an_answer_without_the_result(row):
    (result,) = row["answer_contains"]
    row["messages"][-1]["content"] = "I do not know."
    assert verify(row) == [f"the answer 'I do not know.' lacks {result!r}"]


@pytest.mark.vllm
def test_an_answer_may_have_the_result_in_any_case(row_maker):
    row = copy.deepcopy(row_maker.row("no_book_flight/1/plain", "none", 0, 0))
    row["messages"][-1]["content"] = row["messages"][-1]["content"].upper()
    assert verify(row) == []


@pytest.mark.vllm
@pytest.mark.parametrize(
    "thought",
    [None, "", "let me think", "ask: x; function: none", "function: percent_of; args: 1", "ask: x; function: a b; args: 1"],
)
@pytest.mark.parametrize("turn", [1, -1])
def test_a_thought_of_another_shape(row, thought, turn):
    row["messages"][turn]["reasoning_content"] = thought
    assert f"thought {thought!r} has not the fixed shape" in verify(row)


@pytest.mark.vllm
def test_a_thought_that_names_another_function(row):
    thought = "ask: percentage; function: divide; args: 1, 2"
    row["messages"][1]["reasoning_content"] = thought
    assert verify(row) == [f"thought {thought!r} names divide, called is percent_of"]
    row["messages"][1]["reasoning_content"] = "ask: percentage; function: none; reason: no tool needed"
    assert "names no function, called is percent_of" in verify(row)[0]


@pytest.mark.vllm
def test_a_thought_that_is_too_long(row):
    thought = "ask: percentage; function: percent_of; args: " + " ".join(["ten"] * 30)
    row["messages"][1]["reasoning_content"] = thought
    assert verify(row) == [f"thought {thought!r} has {thought_pieces(thought)} pieces, must have 8 to {MAX_THOUGHT_PIECES}"]


@pytest.mark.vllm
def test_a_call_that_fails_in_a_hit(row_maker):
    row = copy.deepcopy(row_maker.row("negative_root/1/plain", "none", 0, 0))
    row["scenario"] = "hit"
    assert verify(row) == ["1 of 1 calls fail, which does not fit the scenario hit"]


@pytest.mark.vllm
def test_an_error_whose_call_succeeds(row):
    row["scenario"] = "error"
    assert verify(row) == ["0 of 1 calls fail, which does not fit the scenario error"]


@pytest.mark.vllm
@pytest.mark.parametrize(
    ("template_id", "tool"), [("median/1/plain", "median"), ("schedule_vet_visit/1/plain", "schedule_vet_visit")]
)
@pytest.mark.parametrize("split", ["train", "validation", "test"])
def test_a_held_out_tool_outside_its_split(row_maker, template_id, tool, split):
    row = copy.deepcopy(row_maker.row(template_id, "none", 0, 0))
    assert row["split"] == "test_unseen_tools"
    row["split"] = split
    (problem,) = verify(row)
    assert problem.startswith("held-out tools ")
    assert tool in problem
    assert problem.endswith(f"are listed in {split}")


@pytest.mark.vllm
def test_a_masked_name_does_not_hide_a_held_out_tool(row_maker):
    row = copy.deepcopy(row_maker.row("median/1/plain", "masking", 0, 0))
    row["split"] = "train"
    assert any(problem.startswith("held-out tools tool_") for problem in verify(row))


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ({"tool": "median"}, True),
        ({"tool": "average"}, False),
        ({"tool": "x", "domain": "pets", "backend": {}}, True),
        ({"tool": "x", "domain": "travel", "backend": {}}, False),
        ({"tool": "median", "domain": "own", "backend": {}}, False),
    ],
)
def test_held_out_tools(names, expected):
    assert is_held_out(names) is expected


@pytest.mark.vllm
@pytest.mark.parametrize("marker", ["<|im_start|>", "<think>", "<tool_call>", "<tool_response>"])
@pytest.mark.parametrize("role", ["user", "tool"])
def test_text_that_would_become_a_control_token(row, monkeypatch, marker, role):
    message = next(message for message in row["messages"] if message["role"] == role)
    message["content"] += f" {marker}"
    escaped = [problem for problem in verify(row) if "occurs" in problem]
    _without_escapes(monkeypatch)
    broken = [problem for problem in verify(row) if "occurs" in problem]
    assert escaped == []
    assert len(broken) == 1
    assert broken[0].startswith(f"{marker} occurs ")


def _without_escapes(monkeypatch):
    """Render with our template as it would be if it left data as it is."""
    from aria_ray.dataset import parsers
    from aria_ray.dataset.patches import compile_chat_template
    from aria_ray.grammar import chat_template

    start, end = chat_template().index("{{- text | replace"), chat_template().index("{%- endmacro -%}")
    careless = compile_chat_template(chat_template()[:start] + "{{- text -}}\n" + chat_template()[end:])
    monkeypatch.setattr(parsers, "_template", lambda: careless)


@pytest.mark.vllm
@pytest.mark.parametrize("text", ["<think>", "</think>", "<tool_call>"])
def test_a_turn_that_the_parsers_do_not_give_back(row, text):
    row["messages"][-1]["content"] += f" {text}"
    problems = verify(row)
    assert [problem.split(",")[0] for problem in problems] == ["whole", "streamed"]
    assert all("the parsers read" in problem for problem in problems)


@pytest.mark.vllm
def test_every_defect_is_named(row):
    row["messages"][1]["reasoning_content"] = "hm"
    row["messages"][2]["content"] = "12345"
    row["messages"][-1]["content"] = "No."
    assert len(verify(row)) == 3
