"""The texts that the package brings for requests, and the example requests of the benchmark's three sets of tools."""

from collections import Counter
from importlib import resources
from pathlib import Path

import pytest

from aria_ray.dataset.from_requests.wordings import wordings
from aria_ray.requests.read import check_examples, read_requests
from aria_ray.tools import TOOLS, execute, tool_definition
from aria_ray.tools.sources import read_tools

ROOT = Path(__file__).parents[2]
SETS = ROOT / "benchmarks" / "own_tools"
BUILTIN = resources.files("aria_ray.dataset").joinpath("requests", "builtin.jsonl")


def builtin_requests():
    return read_requests(Path(str(BUILTIN)), "builtin")


def test_requests_for_built_in_tools_call_tools_that_run():
    results = [
        (place, call, execute(call.name, call.arguments)) for place, example in builtin_requests() for call in example.calls
    ]
    assert [(place, call.name, result.text) for place, call, result in results if not result.ok] == []


def test_requests_for_built_in_tools_fit_the_schemas_and_are_twelve_a_tool():
    placed = builtin_requests()
    calls = Counter(call.name for _, example in placed for call in example.calls)
    check_examples(placed, {name: tool_definition(TOOLS[name]) for name in calls})
    assert set(calls.values()) == {12}


def test_alternative_units_of_a_request_are_of_one_dimension():
    tried = [
        execute("convert_units", {"value": 3, "from_unit": one, "to_unit": other})
        for _, example in builtin_requests()
        for one in example.values.get("from_unit", ())
        for other in example.values["to_unit"]
    ]
    assert tried
    assert [result.text for result in tried if not result.ok] == []


@pytest.mark.parametrize("name", ["home", "shop", "office"])
def test_a_set_of_tools_has_six_requests_a_tool_and_some_without_calls(name):
    tools = {listed: tool.definition for listed, tool in read_tools([str(SETS / name / "tools.py")]).items()}
    placed = read_requests(SETS / name / "requests.jsonl", name)
    check_examples(placed, tools)
    assert Counter(call.name for _, example in placed for call in example.calls) == dict.fromkeys(tools, 6)
    kinds = Counter("ask" if example.ask else "none" for _, example in placed if not example.calls)
    assert kinds == {"none": 11, "ask": 5}


def test_messages_without_a_tool_are_distinct_and_their_answers_short():
    messages = wordings().no_tool
    assert len({message.request.casefold() for message in messages}) == len(messages)
    assert [message.answer for message in messages if len(message.answer.split()) > 15] == []


def test_wordings_have_the_place_that_is_filled():
    texts = wordings()
    for marker, group in (
        ("{value}", (*texts.asking, *texts.follow_ups, *texts.corrections)),
        ("{other}", texts.second_requests),
        ("{result}", texts.confirming),
    ):
        assert [text for text in group if text.count(marker) != 1] == []
