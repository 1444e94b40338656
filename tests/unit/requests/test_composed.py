"""Requests composed from definitions: they say their values, and read like something that somebody types."""

import re
from pathlib import Path

import pytest
import yaml
from natural import TOOLS

from aria_ray.requests.composed import composed_requests
from aria_ray.requests.values import find, leaves
from aria_ray.tools import TOOLS as BUILT_IN
from aria_ray.tools import schema_problem, tool_definition
from aria_ray.tools.sources import read_tools

ROOT = Path(__file__).parents[3]
SETS = [read_tools([str(ROOT / "benchmarks" / "own_tools" / name / "tools.py")]) for name in ("home", "shop", "office")]
DEFINITIONS = TOOLS | {name: tool.definition for tools in SETS for name, tool in tools.items()}


def tool(name, description, properties, required=None):
    parameters = {"type": "object", "properties": properties, "required": list(properties) if required is None else required}
    return {"type": "function", "function": {"name": name, "description": description, "parameters": parameters}}


@pytest.mark.parametrize("name", DEFINITIONS)
def test_a_tool_gets_six_to_ten_requests_that_say_their_values(name):
    made = composed_requests(DEFINITIONS[name])
    assert 6 <= len(made) <= 10
    assert len({example.request for example in made}) == len(made)
    for example in made:
        (call,) = example.calls
        assert schema_problem(DEFINITIONS[name], call.arguments) is None
        assert not re.search(r"\b(True|False|None|null)\b|_|  |\bthe the\b|\bin in\b", example.request), example.request
        for _, value in leaves(call.arguments):
            assert isinstance(value, bool) or find(value, example.request), example.request
    assert made == composed_requests(DEFINITIONS[name])


@pytest.mark.parametrize("name", BUILT_IN)
def test_built_in_tools_fit_their_schemas_too(name):
    definition = tool_definition(BUILT_IN[name])
    made = composed_requests(definition)
    assert [schema_problem(definition, example.calls[0].arguments) for example in made] == [None] * len(made)


def test_a_choice_is_said_by_its_verb_and_a_door_is_a_door():
    door, locked = {"type": "string", "description": "The door"}, {"type": "boolean"}
    for example in composed_requests(
        tool("lock_door", "Lock or unlock a door of the house.", {"door": door, "locked": locked})
    ):
        verb = "lock" if example.calls[0].arguments["locked"] else "unlock"
        assert re.search(rf"\b{verb} the \w[\w ]* (door|gate|window|hatch|entrance|dock|flap)\b", example.request.lower())


@pytest.mark.parametrize(
    ("definition", "expected"),
    [
        (tool("get_order_status", "Look up where an order is.", {"order_id": {"type": "string"}}), r"order [A-Z0-9-]+"),
        (tool("get_weather", "Weather in a town.", {"town": {"type": "string"}}), r"weather in [A-Z]"),
        (tool("vat", "Tax on an amount.", {"amount": {"type": "number"}}), r"tax on \d"),
        (tool("send_sms", "", {"to": {"type": "string", "description": "Person"}, "text": {"type": "string"}}), r'to .*: "'),
        (tool("list_rooms", "Rooms of the house.", {}), r"rooms of the house"),
    ],
)
def test_values_stand_where_people_say_them(definition, expected):
    made = composed_requests(definition)
    assert made
    for example in made:
        assert re.search(expected, example.request), example.request


def test_an_optional_parameter_without_a_fitting_value_is_left_out():
    blob = {"type": "string", "pattern": "^(x|y)(?=never)z$"}
    made = composed_requests(tool("read_sensor", "Read a sensor.", {"sensor": {"type": "string"}, "blob": blob}, ["sensor"]))
    assert made
    assert {tuple(example.calls[0].arguments) for example in made} == {("sensor",)}


def test_a_tool_whose_required_value_is_unknown_gets_none():
    blob = {"type": "string", "pattern": "^(x|y)(?=never)z$"}
    assert composed_requests(tool("read_sensor", "Read a sensor.", {"blob": blob})) == []


def test_pools_are_valid_and_without_doubles():
    text = (ROOT / "aria_ray" / "requests" / "pools.yaml").read_text(encoding="utf-8")
    for pool in yaml.safe_load(text):
        re.compile(pool["match"])
        assert all(isinstance(value, str) for value in pool["values"]), pool["kind"]
        assert len(set(pool["values"])) == len(pool["values"]), pool["kind"]
