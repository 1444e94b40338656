import json
import sys
from collections import Counter

import pytest

from aria_ray.dataset.checks import verify
from aria_ray.dataset.loading import read_library
from aria_ray.dataset.rows import RowMaker
from aria_ray.dataset.sampling import choose_templates
from aria_ray.dataset.user_tools import tool_file, user_tools
from aria_ray.errors import DataError
from aria_ray.grammar import message_calls
from aria_ray.tools import execute_listed

MODULE = '''
from typing import Literal

from json import dumps

from aria_ray.tools import ToolError


def area(width: int, height: int) -> int:
    """Area of a field.

    The rest is not listed.

    Args:
        width: From the left fence
            to the right one, in meters.
    """
    return width * height


def label(text: str, size: Literal["small", "large"], bold: bool) -> str:
    """Make a label."""
    return f"{size}{'!' if bold else ''} {text}"


def total(prices: list[float], share: float) -> float:
    """Add up prices and take a share."""
    if min(prices) < 20:
        raise ToolError("a price is too low")
    return sum(prices) * share


def _hidden(value):
    return value
'''
DEFINITIONS = [
    {
        "type": "function",
        "function": {
            "name": "book_court",
            "description": "Book a court.",
            "parameters": {
                "type": "object",
                "properties": {
                    "player": {"type": "string", "description": "Who plays"},
                    "day": {"type": "string", "format": "date"},
                    "hour": {"type": "string", "format": "time"},
                    "mail": {"type": "string", "format": "email"},
                    "surface": {"type": "string", "enum": ["clay", "grass"]},
                    "players": {"type": "integer", "minimum": 2, "maximum": 4},
                    "price": {"type": "number", "exclusiveMinimum": 5, "maximum": 30},
                    "guests": {"type": "array", "items": {"type": "string"}},
                    "club": {"type": "string", "pattern": "^C[0-9]$", "examples": ["C1", "C2"]},
                    "note": {"anyOf": [{"type": "null"}, {"type": "string"}]},
                    "coach": {"$ref": "#/$defs/Coach"},
                    "unsure": {"type": "object"},
                },
                "required": ["player", "day", "hour", "mail", "surface", "players", "price", "guests", "club", "coach"],
                "$defs": {"Coach": {"enum": ["Ida", "Joe"]}},
            },
        },
    },
    {"type": "function", "function": {"name": "court_state", "description": "State of {courts}."}},
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("user")
    (folder / "my_tools_for_tests.py").write_text(MODULE)
    (folder / "tools.json").write_text(json.dumps(DEFINITIONS))
    sys.path.insert(0, str(folder))
    yield folder
    sys.path.remove(str(folder))
    sys.modules.pop("my_tools_for_tests", None)


@pytest.fixture(scope="module")
def user_maker(folder):
    """The library with tools of a module and of a JSON file."""
    return RowMaker(read_library(("my_tools_for_tests", str(folder / "tools.json"))))


def families(row_maker):
    return [family for family in row_maker.library.families() if family.intent.domain == "own"]


def write_module(folder, monkeypatch, text, name="other_tools_for_tests"):
    (folder / f"{name}.py").write_text(text)
    monkeypatch.syspath_prepend(folder)
    monkeypatch.delitem(sys.modules, name, raising=False)
    return name


def write_json(folder, content):
    path = folder / "other.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return str(path)


def definition(properties, **changes):
    parameters = {"type": "object", "properties": properties, "required": list(properties)}
    return {"type": "function", "function": {"name": "mine", "description": "Mine.", "parameters": parameters, **changes}}


def test_public_functions_of_a_module_are_tools(folder):
    tools = user_tools("my_tools_for_tests")
    assert set(tools) == {f"my_tools_for_tests:{name}" for name in ("area", "label", "total")}
    area = tools["my_tools_for_tests:area"]
    assert area.domain == "own"
    assert area.backend is None
    assert area.definition["function"]["name"] == "area"
    assert area.definition["function"]["description"] == "Area of a field."
    assert area.definition["function"]["parameters"]["properties"] == {
        "width": {"type": "integer", "description": "From the left fence to the right one, in meters."},
        "height": {"type": "integer"},
    }
    assert tool_file("my_tools_for_tests") == folder / "my_tools_for_tests.py"


def test_tools_of_a_file_are_simulated(folder):
    tools = user_tools(str(folder / "tools.json"))
    assert set(tools) == {"book_court", "court_state"}
    assert {tool.backend.kind for tool in tools.values()} == {"reference"}
    assert tools["court_state"].definition["function"]["parameters"] == {"type": "object", "properties": {}}
    assert tool_file(str(folder / "tools.json")) == folder / "tools.json"


def test_one_definition_needs_no_list(tmp_path):
    assert set(user_tools(write_json(tmp_path, definition({"n": {"type": "integer"}})))) == {"mine"}


@pytest.mark.vllm
@pytest.mark.parametrize("kind", ["none", "paraphrase", "noise", "formats", "tool_list", "masking"])
def test_rows_are_right(user_maker, kind):
    extended = kind == "tool_list"  # which may add back the one that must not be there, so few are the tools
    chosen = [family for family in families(user_maker) if not (extended and family.intent.error == "unavailable")]
    rows = [user_maker.row(family.id, kind, 0, 0) for family in chosen]
    assert {row["id"]: problems for row in rows if (problems := verify(row))} == {}
    assert len(rows) > (25 if extended else 40)


def test_functions_are_run(user_maker):
    row = user_maker.row("own_area/1/plain", "masking", 0, 0)
    (call,) = message_calls(row["messages"][1])
    width, height = call.arguments.values()
    assert row["messages"][2]["content"] == str(width * height)
    assert execute_listed(row["tools"], row["tool_names"], call).text == str(width * height)


def test_values_that_a_function_refuses_are_drawn_again(user_maker):
    rows = [user_maker.row("own_total/1/plain", "none", turn, 0) for turn in range(10)]
    assert not [row["id"] for row in rows if any(turn["content"] == "error: a price is too low" for turn in row["messages"])]


def test_values_fit_their_schema(user_maker):
    seen = {}
    for turn in range(15):
        row = user_maker.row("own_book_court_more/2/plain", "none", turn, 0)
        (call,) = message_calls(row["messages"][1])
        for name, value in call.arguments.items():
            seen.setdefault(name, []).append(value)
    assert "unsure" not in seen, "nothing can be made up for it and it may be left out"
    assert set(seen["surface"]) == {"clay", "grass"}
    assert set(seen["club"]) == {"C1", "C2"}
    assert set(seen["coach"]) == {"Ida", "Joe"}
    assert set(seen["players"]) == {2, 3, 4}
    assert all(5 < price <= 30 for price in seen["price"])
    assert all("@example." in mail for mail in seen["mail"])
    assert all(isinstance(guest, str) for guests in seen["guests"] for guest in guests)


def test_what_is_asked_of_a_tool(user_maker):
    names = {intent.name for _, intent in user_maker.library.intents if intent.domain == "own"}
    assert {"own_area", "own_area_without_width", "no_own_area", "own_book_court", "own_book_court_more"} <= names
    assert "own_area_more" not in names
    assert "own_court_state_without" not in str(names)
    missing = user_maker.row("own_area_without_width/1/plain", "none", 0, 0)
    assert missing["messages"][-1]["content"] == "Which width should I use?"
    assert "area" in [tool["function"]["name"] for tool in missing["tools"]]
    unavailable = user_maker.row("no_own_area/1/plain", "none", 0, 0)
    assert "area" not in [tool["function"]["name"] for tool in unavailable["tools"]]


@pytest.mark.vllm
def test_two_tools_are_enough(tmp_path):
    tools = [definition({"n": {"type": "integer"}}, name=name) for name in ("one", "other")]
    user_maker = RowMaker(read_library((write_json(tmp_path, tools),)))
    rows = [user_maker.row(family.id, kind, 0, 0) for family in families(user_maker) for kind in ("none", "masking")]
    assert {row["id"]: problems for row in rows if (problems := verify(row))} == {}
    assert "unavailable" in {family.intent.error for family in families(user_maker)}


def test_fewer_intents_leave_all_of_the_users(tmp_path):
    user_maker = RowMaker(
        read_library((write_json(tmp_path, [definition({"n": {"type": "integer"}}, name=name) for name in "ab"]),))
    )
    chosen = choose_templates(user_maker.library, 300, 0.7, 0, num_intents=25)
    assert {family.intent.name for family in families(user_maker)} <= {template.intent.name for template in chosen}


@pytest.mark.vllm
def test_a_tool_alone_is_never_missing_from_its_list(tmp_path):
    user_maker = RowMaker(
        read_library((write_json(tmp_path, definition({"n": {"type": "integer"}, "m": {"type": "integer"}})),))
    )
    rows = [
        user_maker.row(family.id, kind, 0, 0) for family in families(user_maker) for kind in ("none", "tool_list", "masking")
    ]
    assert {row["id"]: problems for row in rows if (problems := verify(row))} == {}
    assert {row["scenario"] for row in rows} == {"hit", "error"}


def test_user_tools_take_half_of_what_they_can(user_maker):
    chosen = choose_templates(user_maker.library, 1000, 0.7, 0)
    hits = [t for t in chosen if (t.category, t.intent.scenario, t.split) == ("reasoning", "hit", "train")]
    counts = Counter(template.intent.domain == "own" for template in hits)
    assert counts[True] / len(hits) == pytest.approx(0.5, abs=0.05)
    assert {template.split for template in chosen if template.intent.domain == "own"} <= {"train", "validation", "test"}


def test_the_templates_of_the_package_stay(user_maker, row_maker):
    assert user_maker.library.intents[: len(row_maker.library.intents)] == row_maker.library.intents
    assert set(row_maker.library.tools) < set(user_maker.library.tools)


def test_a_module_that_is_not_there():
    with pytest.raises(DataError, match=r"dataset.tools no_such_module_here cannot be imported .*give a module on the path"):
        user_tools("no_such_module_here")
    with pytest.raises(DataError, match=r"dataset.tools no_such_module_here is no module"):
        tool_file("no_such_module_here")


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ('def f(a) -> int:\n    """Do."""\n    return 1\n', r"other_tools_for_tests.f: parameter a has no type; annotate"),
        ("def f(a: int) -> int:\n    return 1\n", r"other_tools_for_tests.f: there is no docstring; say what it does"),
        ('def f(*a: int) -> int:\n    """Do."""\n    return 1\n', r"f: parameter a cannot be given by name"),
        ('async def f(a: int) -> int:\n    """Do."""\n    return 1\n', r"f: it is a coroutine; give an ordinary function"),
        ('def f(a: "Nope") -> int:\n    """Do."""\n    return 1\n', r"f: a type is not understood \(.*Nope"),
        ("raise RuntimeError('no luck')\n", r"cannot be imported \(.*no luck"),
        ("x = 1\n", r"other_tools_for_tests has no tools; give typed public functions"),
        ("from json import dumps\n", r"other_tools_for_tests has no tools"),
        ("def f(:\n", r"other_tools_for_tests cannot be imported \(.*invalid syntax"),
    ],
)
def test_a_module_with_something_wrong(tmp_path, monkeypatch, text, rule):
    with pytest.raises(DataError, match=rule):
        user_tools(write_module(tmp_path, monkeypatch, text))


@pytest.mark.parametrize(
    ("content", "rule"),
    [
        ("{", "cannot be read as JSON .*give a list of OpenAI tool definitions"),
        ("[]", "has no tools"),
        ([{"name": "x"}], "tool 1 is no OpenAI tool definition: function: Field required"),
        (
            [definition({}, description="x"), {"function": {"description": "x"}}],
            "tool 2 is no OpenAI .*: function.name: Field required",
        ),
        ([{"function": {"name": "x"}}], "tool 1 is no OpenAI tool definition: function.description: Field required"),
        (
            [definition({}, parameters={"type": 5})],
            "tool 1 is no OpenAI tool definition: function.parameters: .*no JSON schema: 5 is not",
        ),
        ([definition({"a b": {"type": "integer"}})], "function.parameters: .*plain names"),
        ([definition({}, name="get it")], "tool 1 is no OpenAI tool definition: function.name: String should match"),
        ([definition({}), definition({})], "tool 2: there is a tool mine already"),
        (["x"], "tool 1 is no OpenAI tool definition: .*Input should be a valid dictionary"),
    ],
)
def test_a_file_with_something_wrong(tmp_path, content, rule):
    path = write_json(tmp_path, content)
    with pytest.raises(DataError, match=rule) as caught:
        user_tools(path)
    assert f"dataset.tools {path}" in str(caught.value)


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(DataError, match="cannot be read as JSON"):
        user_tools(str(tmp_path / "none.json"))


def test_a_name_that_is_taken(tmp_path):
    for name in ("divide", "book_flight"):
        path = write_json(tmp_path, definition({"n": {"type": "integer"}}, name=name))
        with pytest.raises(DataError, match=f"other.json: there is a tool {name} already; give it another name"):
            read_library((path,))


def test_a_name_that_two_modules_have(tmp_path, monkeypatch):
    text = 'def f(a: int) -> int:\n    """Do."""\n    return a\n'
    names = tuple(write_module(tmp_path, monkeypatch, text, name) for name in ("first_for_tests", "second_for_tests"))
    with pytest.raises(DataError, match="second_for_tests: there is a tool f already"):
        read_library(names)


def test_a_source_that_is_given_twice(folder):
    path = str(folder / "tools.json")
    with pytest.raises(DataError, match="there is a tool book_court already"):
        read_library((path, path))


@pytest.mark.parametrize(
    "field",
    [
        {"type": "object"},
        {"type": "string", "pattern": "^[A-Z]{3}$"},
        {"type": "array", "items": {"type": "object"}},
        {},
    ],
)
def test_a_parameter_for_which_nothing_can_be_made_up(tmp_path, field):
    path = write_json(tmp_path, definition({"n": {"type": "integer"}, "odd": field}))
    with pytest.raises(
        DataError,
        match=r"dataset\.tools mine: its schema is not enough to generate values for odd; give it `examples` in the schema",
    ):
        read_library((path,))
    with_examples = {**field, "examples": [{"a": 1}]}
    assert read_library((write_json(tmp_path, definition({"odd": with_examples})),))
