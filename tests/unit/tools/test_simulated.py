import json
import re

import pytest

from aria_ray.grammar import Call
from aria_ray.tools import Backend, ToolError, ToolResult, canonical, execute_listed, reference_exists, schema_problem
from aria_ray.tools.simulated import simulate

SCHEMA = {
    "type": "object",
    "properties": {
        "arg_a": {"type": "string"},
        "arg_b": {"type": "integer"},
        "arg_c": {"type": "string", "enum": ["x", "y"]},
        "arg_d": {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]},
    },
    "required": ["arg_a"],
    "additionalProperties": False,
}
TOOL = {"type": "function", "function": {"name": "tool_k3", "description": "Book it.", "parameters": SCHEMA}}
KNOWN = next(text for number in range(1000, 2000) if reference_exists(text := f"HR-{number}"))
UNKNOWN = next(text for number in range(1000, 2000) if not reference_exists(text := f"HR-{number}"))
REAL = {"arg_a": "city", "arg_b": "nights", "arg_c": "class", "arg_d": "room"}


def run(backend, **arguments):
    """The result of a call under masked names."""
    names = {"tool_k3": {"tool": "book_room", "parameters": REAL, "backend": backend}}
    return execute_listed([TOOL], json.dumps(names), Call("tool_k3", arguments))


def answers(**backend):
    return [simulate(Backend(**backend), "book_room", {"n": number}) for number in range(500)]


def test_the_result_depends_on_name_and_arguments_alone():
    backend = Backend(kind="reference", prefix="HR")
    first = simulate(backend, "book_room", {"city": "Rome", "nights": 2, "room": {"a": 1, "b": 2}})
    assert simulate(backend, "book_room", {"room": {"b": 2, "a": 1}, "nights": 2, "city": "Rome"}) == first
    assert simulate(backend, "book_room", {"city": "Rome", "nights": 3, "room": {"a": 1, "b": 2}}) != first
    assert simulate(backend, "book_bed", {"city": "Rome", "nights": 2, "room": {"a": 1, "b": 2}}) != first


def test_canonical_arguments_do_not_depend_on_their_order():
    assert (
        canonical({"b": "é", "a": {"d": 1, "c": 2}})
        == canonical({"a": {"c": 2, "d": 1}, "b": "é"})
        == ('{"a": {"c": 2, "d": 1}, "b": "é"}')
    )


def test_new_references_exist():
    texts = answers(kind="reference", prefix="HR")
    assert all(re.fullmatch(r"HR-[1-9]\d{3}", text) and reference_exists(text) for text in texts)
    assert len(set(texts)) > 400


def test_three_of_four_references_exist_whatever_their_last_digit():
    known = [number for number in range(1000, 10_000) if reference_exists(f"HR-{number}")]
    assert 0.72 < len(known) / 9000 < 0.78
    assert all(0.6 < sum(number % 10 == digit for number in known) / 900 < 0.9 for digit in range(10))


def test_states_are_the_declared_ones():
    assert set(answers(kind="state", states=("paid", "open", "late"))) == {"paid", "open", "late"}


def test_found_says_how_many_and_the_first():
    texts = answers(kind="found", prefix="HR")
    assert all(re.fullmatch(r"[1-9], first HR-[1-9]\d{3}", text) for text in texts)
    assert len({text[0] for text in texts}) == 9


def test_listed_gives_up_to_three_references():
    lists = [text.split(", ") for text in answers(kind="listed", prefix="HR")]
    assert {len(references) for references in lists} == {1, 2, 3}
    assert all(reference_exists(reference) for references in lists for reference in references)
    assert sum(len(set(references)) == len(references) for references in lists) > 490


def test_no_more_is_found_or_listed_than_the_limit():
    calls = [{"n": number, "limit": limit} for number in range(50) for limit in range(1, 10)]
    for arguments in calls:
        text = simulate(Backend(kind="found", prefix="HR"), "search", arguments)
        assert 1 <= int(text[0]) <= arguments["limit"]
        listed = simulate(Backend(kind="listed", prefix="HR"), "list", arguments)
        assert 1 <= len(listed.split(", ")) <= min(3, arguments["limit"])


def test_fixed_says_its_text():
    assert set(answers(kind="fixed", text="cancelled")) == {"cancelled"}


@pytest.mark.parametrize("kind", ["state", "fixed"])
def test_a_reference_that_does_not_exist_fails(kind):
    backend = Backend(kind=kind, states=("paid",), text="done", reference_parameter="room_id")
    assert simulate(backend, "check_room", {"room_id": KNOWN}) in ("paid", "done")
    with pytest.raises(ToolError, match=f"there is no {UNKNOWN}"):
        simulate(backend, "check_room", {"room_id": UNKNOWN})


def test_recorded_results_are_given_again_whatever_the_order():
    backend = Backend(kind="recorded", results={canonical({"a": 1, "b": 2}): "sunny"})
    assert simulate(backend, "weather", {"b": 2, "a": 1}) == "sunny"
    with pytest.raises(ToolError, match=r'nothing is recorded for \{"a": 1\}'):
        simulate(backend, "weather", {"a": 1})


def test_a_call_by_masked_names_gives_what_the_real_names_give():
    backend = {"kind": "reference", "prefix": "HR"}
    wanted = simulate(Backend(**backend), "book_room", {"city": "Rome", "nights": 2})
    assert run(backend, arg_b=2, arg_a="Rome") == ToolResult(True, wanted)


def test_failures_are_values_in_listed_names():
    backend = {"kind": "fixed", "text": "done", "reference_parameter": "city"}
    assert run(backend, arg_a=UNKNOWN) == ToolResult(False, f"error: there is no {UNKNOWN}")
    assert run({"kind": "recorded"}, arg_a="x") == ToolResult(False, 'error: nothing is recorded for {"city": "x"}')


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ({"arg_a": "Rome"}, None),
        ({"arg_a": "Rome", "arg_b": 2, "arg_c": "y", "arg_d": {"n": 1}}, None),
        ({"arg_b": 2}, "'arg_a' is a required property"),
        ({"arg_a": 5}, "arg_a: 5 is not of type 'string'"),
        ({"arg_a": "Rome", "arg_b": "two"}, "arg_b: 'two' is not of type 'integer'"),
        ({"arg_a": "Rome", "arg_c": "z"}, "arg_c: 'z' is not one of ['x', 'y']"),
        ({"arg_a": "Rome", "arg_d": {"n": "1"}}, "arg_d.n: '1' is not of type 'integer'"),
        ({"arg_a": "Rome", "city": "Rome"}, "Additional properties are not allowed ('city' was unexpected)"),
    ],
)
def test_schema_problems_name_listed_parameters(arguments, problem):
    assert schema_problem(TOOL, arguments) == problem
    result = run({"kind": "fixed", "text": "done"}, **arguments)
    assert result == (ToolResult(True, "done") if problem is None else ToolResult(False, f"error: {problem}"))


def test_a_backend_refuses_what_it_does_not_know():
    with pytest.raises(ValueError, match="kind"):
        Backend(kind="random")
    with pytest.raises(ValueError, match="delay"):
        Backend(kind="fixed", delay=3)
