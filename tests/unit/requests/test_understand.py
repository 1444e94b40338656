"""What is understood of an example: which words are slots, which other values may stand there, and what a person is told."""

import random

import pytest

from aria_ray.requests.example import ExampleRequest
from aria_ray.requests.understand import understand, values_by_parameter


def tool(name, description="", **properties):
    parameters = {"type": "object", "properties": properties, "required": []}
    return {name: {"type": "function", "function": {"name": name, "description": description, "parameters": parameters}}}


def understood(request, arguments, tools, others=(), values=None):
    (name,) = tools
    lines = [(request, arguments), *others]
    examples = [
        ExampleRequest.model_validate({"request": text, "calls": [{"name": name, "arguments": given}], "values": values or {}})
        for text, given in lines
    ]
    return understand(examples[0], tools, values_by_parameter(examples))


TEXT, INTEGER, BOOLEAN = {"type": "string"}, {"type": "integer"}, {"type": "boolean"}


def slots(template):
    return [template.example.request[slot.start : slot.end] for slot in template.slots]


def requests(template, draws=60):
    return {template.filled(random.Random(draw)).request for draw in range(draws)}


def test_the_number_near_its_parameters_name_is_taken_and_a_number_for_two_is_told():
    tools = tool("order", size=INTEGER, quantity=INTEGER)
    template = understood("size 2 trousers, quantity 2", {"size": 2, "quantity": 2}, tools)
    places = {slot.places[0][1]: template.example.request[: slot.start] for slot in template.slots}
    assert places == {("size",): "size ", ("quantity",): "size 2 trousers, quantity "}
    assert any("stands 2 times" in note for note in template.notes)


def test_one_word_for_two_arguments_is_one_slot():
    tools = tool("copy", source=TEXT, target=TEXT)
    template = understood("swap Paris", {"source": "Paris", "target": "Paris"}, tools)
    assert slots(template) == ["Paris"]
    for draw in range(10):
        filled = template.filled(random.Random(draw))
        assert (
            filled.calls[0].arguments["source"] == filled.calls[0].arguments["target"] == filled.request.removeprefix("swap ")
        )


def test_a_word_that_is_said_twice_changes_in_both_places():
    template = understood("it's dark in the kitchen, kitchen light on", {"room": "kitchen"}, tool("light", room=TEXT))
    for filled in requests(template) - {template.example.request}:
        before, after = filled.removeprefix("it's dark in the ").removesuffix(" light on").split(", ")
        assert before == after != "kitchen"


def test_items_and_properties_are_found_by_their_path():
    address = {"type": "object", "properties": {"city": TEXT, "street": TEXT}}
    tools = tool("send", to=address, people={"type": "array", "items": TEXT})
    arguments = {"to": {"city": "Graz", "street": "12 Mill Lane"}, "people": ["Ana", "Tom", "Lee"]}
    template = understood("send it to 12 Mill Lane in Graz for Ana, Tom and Lee", arguments, tools)
    assert slots(template) == ["12 Mill Lane", "Graz", "Ana", "Tom", "Lee"]
    for draw in range(20):
        people = template.filled(random.Random(draw)).calls[0].arguments["people"]
        assert len(set(people)) == 3


def test_values_that_the_example_names_are_the_only_others():
    template = understood(
        "lights in the kitchen", {"room": "kitchen"}, tool("light", room=TEXT), values={"room": ["hall", "den"]}
    )
    assert requests(template) == {"lights in the kitchen", "lights in the hall", "lights in the den"}


def test_numbers_stay_within_the_bounds_of_schema_description_and_percent():
    bounded = {"type": "integer", "minimum": 1, "maximum": 30}
    described = {"type": "integer", "description": "From 5 to 25"}
    percent = {"type": "integer", "description": "Brightness in percent"}
    for schema, low, high in ((bounded, 1, 30), (described, 5, 25), (percent, 0, 100)):
        (slot,) = understood("set it to 20", {"level": 20}, tool("set", level=schema)).slots
        assert len(slot.values) > 5
        assert all(low <= value <= high for value in slot.values)


def test_a_range_stays_in_order():
    template = understood(
        "flats from 300 to 500", {"min_price": 300, "max_price": 500}, tool("search", min_price=INTEGER, max_price=INTEGER)
    )
    for draw in range(30):
        given = template.filled(random.Random(draw)).calls[0].arguments
        assert given["min_price"] < given["max_price"]


@pytest.mark.parametrize(
    ("request_text", "value", "others"),
    [
        ("switch the heater on", True, {"switch the heater on", "switch the heater off"}),
        ("heater off", False, {"heater off", "heater on"}),
        ("put it on the table", True, {"put it on the table"}),
        (
            "the baby is asleep and I am cold so turn the heater on",
            True,
            {"the baby is asleep and I am cold so turn the heater on"},
        ),
    ],
)
def test_true_and_false_are_said_by_opposites(request_text, value, others):
    tools = tool("heater", "Turn the heater on or off.", on=BOOLEAN)
    template = understood(request_text, {"on": value}, tools)
    assert requests(template) == others
    for draw in range(20):
        filled = template.filled(random.Random(draw))
        assert filled.calls[0].arguments["on"] is (value if filled.request == request_text else not value)


def test_a_free_text_of_an_unknown_kind_stays():
    template = understood("what does the blorb frobnicate", {"hypothesis": "blorb"}, tool("test", hypothesis=TEXT))
    assert requests(template) == {"what does the blorb frobnicate"}
    assert any("no other values" in note for note in template.notes)


@pytest.mark.parametrize(
    ("request_text", "arguments", "words"),
    [
        ("dim to 30", {"level": 40}, "40 is not in the words and stays as it is; the words say 30"),
        ("lights in the kichen", {"room": "kitchen"}, "the words say 'kichen': is one of them misspelled?"),
        ("lights please", {"room": "kitchen"}, '"kitchen" is not in the words and stays as it is'),
        ("lights please", {"on": True}, "true stays as it is"),
    ],
)
def test_what_is_not_found_or_contradicts_the_words_is_told(request_text, arguments, words):
    template = understood(request_text, arguments, tool("light", level=INTEGER, room=TEXT, on=BOOLEAN))
    assert any(words in note for note in template.notes)


@pytest.mark.parametrize(
    ("request_text", "arguments", "expected"),
    [
        ("turn on the light in the kitchen", {"room": "kitchen"}, "turn on the light"),
        ("turn the kitchen lights up", {"room": "kitchen"}, "turn the lights up"),
        ("dim it to 80 percent please", {"level": 80}, "dim it please"),
        ("book it for Anna at 5 pm", {"at": "17:00"}, "book it for Anna"),
        ('note saying "buy milk"', {"text": "buy milk"}, None),
        ('add a note saying "buy milk"', {"text": "buy milk"}, "add a note"),
        ("dim the kitchen to 5", {"room": "kitchen"}, None),
        ("with Ana and Tom", {"people": ["Ana", "Tom"]}, None),
        ("put on jazz in the hall", {"text": "jazz"}, None),
    ],
)
def test_the_words_of_a_value_are_left_out_where_a_sentence_is_left(request_text, arguments, expected):
    people = {"type": "array", "items": TEXT}
    tools = tool("light", room=TEXT, level=INTEGER, at=TEXT, text=TEXT, people=people)
    template = understood(
        request_text, arguments, tools, values={key: [value] for key, value in arguments.items() if key != "people"}
    )
    shorter = template.without(0, random.Random(0))
    assert (shorter and shorter.request) == expected
    if shorter:
        assert shorter.calls[0].arguments == arguments


def test_one_value_of_a_filled_request_is_changed():
    tools = tool("light", room=TEXT, level={"type": "integer", "maximum": 100})
    template = understood("kitchen lights to 80", {"room": "kitchen", "level": 80}, tools)
    first = template.filled(random.Random(1))
    second = template.changed(first, 1, random.Random(2))
    assert second.values[0] == first.values[0]
    assert second.values[1] != first.values[1]
    assert template.phrase(second, 1) == str(second.values[1])
