"""The keyword baseline: which tool the words of a request suggest, and which values stand in them."""

from collections import Counter

import pytest

from aria_ray.grammar import Call
from aria_ray.validation.baselines import bm25, keyword_call, words
from aria_ray.validation.keyword_values import arguments

TEXT = {"type": "string"}


def tool(name, description, properties, required=None):
    parameters = {"type": "object", "properties": properties, "required": list(properties) if required is None else required}
    return {"type": "function", "function": {"name": name, "description": description, "parameters": parameters}}


ROOMS = {"type": "string", "enum": ["room", "living room", "kitchen"]}
TOOLS = [
    tool("set_light", "Set the brightness of lamps.", {"room": ROOMS, "brightness": {"type": "integer", "maximum": 100}}),
    tool("trackOrder", "Look up where a parcel is.", {"order_id": TEXT}),
    tool("book-table", "Book a table at a restaurant.", {"people": {"type": "integer"}, "time": TEXT}),
    tool("no.parameters", "List all reminders.", {}),
]


@pytest.mark.parametrize(
    ("request_text", "call"),
    [
        ("kitchen light to 80 please", Call("set_light", {"room": "kitchen", "brightness": 80})),
        ("dim the lamp in the living room to twenty", Call("set_light", {"room": "living room", "brightness": 20})),
        ("where is my parcel #AB-1234?", Call("trackOrder", {"order_id": "AB-1234"})),
        ("Track order 88213.", Call("trackOrder", {"order_id": "88213"})),
        ("a table for four at 7:30 pm", Call("book-table", {"people": 4, "time": "19:30"})),
        ("which reminders do I have", Call("no.parameters", {})),
        ("who wrote Hamlet?", None),
        ("is it there?", None),
        ("", None),
    ],
)
def test_the_call_that_the_words_suggest(request_text, call):
    assert keyword_call(TOOLS, request_text) == call


def test_without_tools_it_declines():
    assert keyword_call([], "kitchen light to 80") is None


def test_a_parameter_alone_is_no_reason_to_call():
    """It declines unless a word stands in a tool's name or description."""
    assert keyword_call([tool("alpha", "Does beta.", {"kitchen": TEXT})], "the kitchen") is None


def test_bm25_prefers_the_rarer_word_the_repeated_one_and_the_shorter_text():
    documents = [Counter(words(text)) for text in ("door lamp", "door bell", "door tap")]
    scores = bm25({"door", "bell"}, documents)
    assert scores.index(max(scores)) == 1
    assert scores[0] == scores[2] > 0
    twice, once, long = (Counter(words(text)) for text in ("lamp lamp", "lamp door", "lamp door bell tap roof"))
    first, second, third = bm25({"lamp"}, [twice, once, long])
    assert first > second > third


def test_bm25_is_the_published_formula():
    # One word in one of two documents of equal length: ln(1 + 1.5 / 1.5) x 2.2 / (1 + 1.2).
    assert bm25({"lamp"}, [Counter(["lamp"]), Counter(["door"])]) == pytest.approx([0.6931, 0.0], abs=1e-4)


def test_names_are_split_into_words():
    assert words("setLight-levels get_HTTPStatus room.entries") == ["set", "light", "level", "http", "status", "room", "entry"]


@pytest.mark.parametrize(
    ("schema", "name", "request_text", "value"),
    [
        ({"type": "boolean"}, "locked", "turn it off", False),
        ({"type": "boolean"}, "on", "switch on the fan", True),
        ({"type": "number"}, "total", "split 1,250.50 evenly", 1250.5),
        ({"type": "integer", "minimum": 10}, "age", "for 2 people of 30", 30),
        ({"type": "number"}, "change", "by -4.5 degrees", -4.5),
        ({"type": ["integer", "null"]}, "count", "three of them", 3),
        ({"anyOf": [{"type": "null"}, {"type": "string", "format": "email"}]}, "to", "mail a.b@c.org now", "a.b@c.org"),
        ({"type": "string", "format": "uri"}, "page", "open https://x.org/a?b=1.", "https://x.org/a?b=1"),
        ({"type": "string", "format": "date"}, "due", "by 2026-03-04 please", "2026-03-04"),
        (TEXT, "dueDate", "until next Friday", "next Friday"),
        (TEXT, "start_time", "at noon", "12:00"),
        (TEXT, "start_time", "at 12 am", "00:00"),
        (TEXT, "order_id", "15 euros back on C1187", "C1187"),
        (TEXT, "title", 'call it "Big day" then', "Big day"),
        (TEXT, "city", "weather for New York tomorrow", "New York"),
        (TEXT, "item", "put a note about the old bike, please", "old bike"),
        ({"type": "array", "items": {"type": "integer"}}, "values", "sum 3, 4 and 5", [3, 4, 5]),
        ({"type": "array", "items": TEXT}, "items", "a list with 'milk, eggs and bread'", ["milk", "eggs", "bread"]),
        ({"type": "array", "items": {"enum": ["red", "blue"]}}, "colours", "blue and red", ["blue", "red"]),
        ({"type": "object", "properties": {"city": TEXT}, "required": ["city"]}, "place", "go to Rome", {"city": "Rome"}),
        ({"enum": ["", None, 5]}, "size", "size 5", 5),
        ({"const": "fast"}, "mode", "the fast one", "fast"),
        ({}, "anything", "whatever it is", None),
        (True, "anything", "whatever it is", None),
    ],
)
def test_the_value_of_a_parameter(schema, name, request_text, value):
    found = arguments({"type": "object", "properties": {name: schema}, "required": [name]}, request_text)
    assert found == ({} if value is None else {name: value})
    assert type(found.get(name)) is type(value)


def test_a_text_that_need_not_be_given_is_read_from_quotes_alone():
    schema = {"type": "object", "properties": {"note": TEXT}}
    assert arguments(schema, "book it for Anna") == {}
    assert arguments(schema, "book it with the note 'for Anna'") == {"note": "for Anna"}


def test_nothing_is_read_twice():
    numbers = {name: {"type": "integer"} for name in ("low", "high")}
    assert arguments({"properties": numbers}, "between 3 and 9") == {"low": 3, "high": 9}
    assert arguments({"properties": numbers}, "only 3") == {"low": 3}
