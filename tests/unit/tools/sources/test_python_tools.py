"""Tools of Python code as people have it: found, listed, and run with what a model calls them with."""

import sys

import pytest

from aria_ray.config.schema import ToolSource
from aria_ray.errors import DataError
from aria_ray.tools import execute
from aria_ray.tools.sources import read_tools


@pytest.fixture
def write(tmp_path, monkeypatch):
    """Write a file below a folder of its own, which is the working directory; what is imported is forgotten afterwards."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    before = set(sys.modules)

    def written(name, text):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return name

    yield written
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", "")).startswith(str(tmp_path)):
            del sys.modules[name]


def parameters(tool):
    return tool.definition["function"]["parameters"]["properties"]


def run(tool, **arguments):
    return execute(tool.name, arguments)


TYPES = '''
from __future__ import annotations
import datetime, enum, uuid
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Literal, NotRequired, Optional, TypedDict, Union
from pydantic import BaseModel, Field


class Priority(enum.Enum):
    LOW = "low"
    HIGH = "high"


class Level(enum.IntEnum):
    ONE = 1
    TWO = 2


class Window(TypedDict):
    start: datetime.time
    note: NotRequired[str]


@dataclass
class Line:
    sku: str
    count: int = 1
    times: list[datetime.time] = field(default_factory=list)


class Address(BaseModel):
    town: str
    lines: list[Line] = []


class Tree(BaseModel):
    name: str
    children: list[Tree] = []


class Cat(BaseModel):
    kind: Literal["cat"]


class Dog(BaseModel):
    kind: Literal["dog"]
    loud: bool


NOBODY = object()


def moments(day: datetime.date, at: datetime.time, when: datetime.datetime, long: datetime.timedelta) -> str:
    """Moments."""
    return repr((day.year, at.hour, when.minute, long.total_seconds()))


def others(id: uuid.UUID, path: Path, price: Decimal, shares: dict[str, float]) -> str:
    """Others."""
    return f"{id.int} {path.name} {price!r} {shares}"


def choices(priority: Priority, level: Level = Level.ONE, mode: Literal["fast", "slow"] | None = None) -> str:
    """Choices."""
    return f"{priority.name} {level.name} {mode}"


def unions(either: Union[int, str], perhaps: Optional[int] = None, who: str = NOBODY) -> str:
    """Unions."""
    return f"{either!r} {perhaps} {who is NOBODY}"


def objects(to: Address, tree: Tree, pets: list[Annotated[Cat | Dog, Field(discriminator="kind")]], window: Window) -> str:
    """Objects."""
    return f"{to.lines[0].times[0].hour} {tree.children[0].name} {pets[0].loud} {window['start'].minute}"


def bounds(
    n: Annotated[int, Field(ge=1, le=5, description="how many", examples=[3])],
    code: str = Field(default="a1", pattern="^[a-z][0-9]$", description="the code"),
) -> str:
    """Bounds.

    Args:
        n: not shown, as the annotation has a description
        code: not shown either
    """
    return f"{n} {code}"


def names(copy: str, schema: str, json: bool, model_config: int, class_: str = "x") -> str:
    """Names that pydantic does not like."""
    return f"{copy} {schema} {json} {model_config}"


def keywords(*, a: int, b: float = 1.5) -> float:
    """Keywords."""
    return a * b
'''


@pytest.fixture
def typed(write):
    return read_tools([write("typed_things.py", TYPES)])


def test_types_become_schemas(typed):
    assert {name: field.get("format") for name, field in parameters(typed["moments"]).items()} == {
        "day": "date",
        "at": "time",
        "when": "date-time",
        "long": "duration",
    }
    assert parameters(typed["others"])["price"] == {"type": "number"}
    assert parameters(typed["others"])["shares"] == {"type": "object", "additionalProperties": {"type": "number"}}
    choices = parameters(typed["choices"])
    assert choices["priority"]["enum"] == ["low", "high"]
    assert choices["level"]["enum"] == [1, 2]
    assert choices["mode"]["enum"] == ["fast", "slow", None]
    assert typed["choices"].definition["function"]["parameters"]["required"] == ["priority"]
    objects = parameters(typed["objects"])
    assert objects["to"]["properties"]["lines"]["items"]["properties"]["times"]["items"]["format"] == "time"
    assert objects["window"]["required"] == ["start"]
    assert objects["tree"]["properties"]["children"]["items"] == {"type": "object"}
    assert objects["pets"]["items"]["anyOf"][0]["properties"]["kind"]["enum"] == ["cat"]
    assert "$ref" not in str(objects)
    assert parameters(typed["bounds"]) == {
        "n": {"type": "integer", "minimum": 1, "maximum": 5, "description": "how many", "examples": [3]},
        "code": {"type": "string", "default": "a1", "pattern": "^[a-z][0-9]$", "description": "the code"},
    }


@pytest.mark.parametrize(
    ("name", "arguments", "text"),
    [
        (
            "moments",
            {"day": "2026-01-02", "at": "08:30", "when": "2026-01-02T08:31:00", "long": "PT5M"},
            "(2026, 8, 31, 300.0)",
        ),
        (
            "others",
            {"id": "00000000-0000-0000-0000-000000000005", "path": "/a/b", "price": 1.1, "shares": {"x": 1}},
            "5 b Decimal('1.1') {'x': 1.0}",
        ),
        ("choices", {"priority": "high"}, "HIGH ONE None"),
        ("choices", {"priority": "low", "level": 2, "mode": "fast"}, "LOW TWO fast"),
        ("unions", {"either": 3}, "3 None True"),
        ("unions", {"either": "3", "perhaps": 4, "who": "me"}, "'3' 4 False"),
        (
            "objects",
            {
                "to": {"town": "Oslo", "lines": [{"sku": "a", "times": ["09:15"]}]},
                "tree": {"name": "r", "children": [{"name": "leaf"}]},
                "pets": [{"kind": "dog", "loud": True}],
                "window": {"start": "10:45", "note": "n"},
            },
            "9 leaf True 45",
        ),
        ("bounds", {"n": 3}, "3 a1"),
        ("names", {"copy": "a", "schema": "b", "json": True, "model_config": 3}, "a b True 3"),
        ("keywords", {"a": 3}, "4.5"),
    ],
)
def test_functions_get_what_their_types_say(typed, name, arguments, text):
    result = run(typed[name], **arguments)
    assert (result.ok, result.text) == (True, text)


@pytest.mark.parametrize(
    ("name", "arguments", "text"),
    [
        ("bounds", {"n": "3"}, "error: n: Input should be a valid integer"),
        ("bounds", {"n": 9}, "error: n: Input should be less than or equal to 5"),
        ("bounds", {"n": 3, "m": 1}, "error: m: Extra inputs are not permitted"),
        ("choices", {"priority": "urgent"}, "error: priority: Input should be 'low' or 'high'"),
        ("moments", {"day": "tomorrow", "at": "08:30", "when": "2026-01-02T08:31:00", "long": "PT5M"}, "error: day: "),
        ("objects", {"to": {"town": "Oslo", "lines": [{"sku": "a", "count": "2"}]}}, "error: to.lines.0.count: "),
        ("names", {}, "error: copy: Field required"),
    ],
)
def test_wrong_arguments_are_results_with_the_place(typed, name, arguments, text):
    result = run(typed[name], **arguments)
    assert not result.ok
    assert result.text.startswith(text)


def test_tools_are_in_the_order_of_the_source(typed):
    assert list(typed)[:3] == ["moments", "others", "choices"]
    assert typed["moments"].name == "typed_things.py:moments"
    assert typed["moments"].backend is None


def test_decorated_and_cached_functions_are_tools_and_their_decorators_are_none(write):
    text = '''
import functools

def logged(f):
    @functools.wraps(f)
    def inner(*args, **kwargs):
        return f(*args, **kwargs)
    return inner

def retried(times):
    return logged

@logged
def vat(amount: float) -> float:
    """Tax on an amount."""
    return amount * 0.2

@retried(3)
async def ask(town: str) -> str:
    """Ask a town."""
    return town.upper()

@functools.lru_cache
def slow(n: int) -> int:
    """Slow."""
    return n

def main():
    raise SystemExit

if __name__ == "__main__":
    main()
'''
    tools = read_tools([write("decorated_things.py", text)])
    assert list(tools) == ["vat", "ask", "slow"]
    assert [run(tools["vat"], amount=10).text, run(tools["ask"], town="oslo").text, run(tools["slow"], n=3).text] == [
        "2",
        "OSLO",
        "3",
    ]


def test_async_functions_share_one_loop(write):
    text = '''
import asyncio

first = []

async def get(x: str) -> str:
    """Get."""
    await asyncio.sleep(0)
    first.append(asyncio.get_running_loop())
    assert first[0] is first[-1], "a client that is kept between calls belongs to one loop"
    return x
'''
    tool = read_tools([write("async_things.py", text)])["get"]
    assert [run(tool, x=each).text for each in "ab"] == ["a", "b"]

    import asyncio

    async def inside() -> str:
        return run(tool, x="c").text

    assert asyncio.run(inside()) == "c"


def test_methods_of_instances_are_tools(write):
    text = '''
import logging

logger = logging.getLogger(__name__)

class Device:
    def on(self) -> str:
        """Switch on."""
        return "on"

class Home(Device):
    def __init__(self, rooms):
        self.rooms = rooms

    @property
    def size(self) -> int:
        return len(self.rooms)

    def light(self, room: str, level: int = 3) -> str:
        """Set the light.

        Args:
            room: which room
        """
        return f"{room} of {self.rooms} at {level}"

    async def wait(self, seconds: float) -> None:
        """Wait."""

    @staticmethod
    def version() -> str:
        """Version."""
        return "1"

    def _secret(self): ...

home = Home(["kitchen"])
'''
    tools = read_tools([write("home_things.py", text)])
    assert {name: tool.name for name, tool in tools.items()} == {
        name: f"home_things.py:home.{name}" for name in ("on", "light", "wait", "version")
    }
    assert parameters(tools["light"])["room"]["description"] == "which room"
    assert run(tools["light"], room="kitchen").text == "kitchen of ['kitchen'] at 3"
    assert [run(tools["wait"], seconds=0).text, run(tools["on"]).text] == ["done", "on"]


def test_methods_of_two_instances_have_the_instance_in_their_names(write):
    text = "class Lamp:\n    def on(self) -> str:\n        return str(self is kitchen)\nkitchen = Lamp()\nhall = Lamp()\n"
    tools = read_tools([write("lamps.py", text)])
    assert list(tools) == ["kitchen_on", "hall_on"]
    assert [run(tool).text for tool in tools.values()] == ["True", "False"]


def test_tool_objects_of_agent_libraries_are_their_functions(write):
    text = '''
class StructuredTool:
    def __init__(self, function):
        self.func = function

@StructuredTool
def search(query: str) -> str:
    """Search."""
    return query
'''
    tools = read_tools([write("agent_things.py", text)])
    assert run(tools["search"], query="tea").text == "tea"


def test_a_package_shows_the_tools_of_its_modules(write):
    write("shop_pack/impl.py", 'def find(title: str) -> str:\n    "Find."\n    return title\n')
    write("shop_pack/more.py", 'from shop_pack.impl import find\ndef count() -> int:\n    "Count."\n    return 1\n')
    package = write(
        "shop_pack/__init__.py", "from shop_pack.impl import find\nfrom .more import count\nfrom json import dumps\n"
    )
    sys.path.append(".")
    assert list(read_tools(["shop_pack"])) == ["find", "count"]
    assert list(read_tools([package])) == ["find", "count"]
    assert list(read_tools(["./shop_pack"])) == ["find", "count"]
    assert list(read_tools(["shop_pack/more.py"])) == ["count"], "what a module imports is not its own"
    assert run(read_tools(["shop_pack/more.py"])["count"]).text == "1"


def test_all_names_the_tools(write):
    write("all_impl.py", 'def find(title: str) -> str:\n    "Find."\n    return title\n')
    text = "from all_impl import find\n__all__ = ['find', 'VERSION']\nVERSION = 1\ndef helper(x):\n    return x\n"
    assert list(read_tools([write("all_tools.py", text)])) == ["find"]


def test_a_file_may_be_called_like_a_module_that_is_there(write):
    import calendar

    source = write(
        "calendar.py", 'def add_event(title: str) -> str:\n    "Add."\n    import cal_late\n    return cal_late.say(title)\n'
    )
    write("cal_late.py", "def say(text):\n    return f'late {text}'\n")
    tools = read_tools([source])
    assert run(tools["add_event"], title="tea").text == "late tea"
    assert sys.modules["calendar"] is calendar


def test_a_function_without_a_docstring_is_described_by_its_name(write):
    tools = read_tools([write("no_doc.py", "def set_room_temperature(room: str): ...\n")])
    assert tools["set_room_temperature"].definition["function"]["description"] == "Set room temperature."
    assert run(tools["set_room_temperature"], room="x").text == "done"


def test_examples_come_with_the_tool(write):
    text = '''
def light(room: str, level: int) -> str:
    """Set a light.

    Examples:
        kitchen to 80 -> room="kitchen", level=80
    """
'''
    assert read_tools([write("example_things.py", text)])["light"].examples == (
        {"request": "kitchen to 80", "calls": [{"name": "light", "arguments": {"room": "kitchen", "level": 80}}]},
    )


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ("raise LookupError('no such room')", "error: LookupError no such room"),
        ("raise Refused('there is no such room')", "error: there is no such room"),
        ("raise Refused('two\\nlines')", "error: two lines"),
        ("return {}['key']", "error: KeyError 'key'"),
        ("raise ValueError", "error: ValueError"),
        ("raise SystemExit(2)", "error: SystemExit 2"),
    ],
)
@pytest.mark.parametrize("start", ["def", "async def"])
def test_a_failing_tool_says_why_itself(write, body, text, start):
    source = write("failing_things.py", f'class Refused(Exception): ...\n{start} f(x: int) -> int:\n    "F."\n    {body}\n')
    result = run(read_tools([source])["f"], x=1)
    assert (result.ok, result.text) == (False, text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("def f(a):\n    'F.'\n", r"bad_things.py: f: parameter a has no type; annotate every parameter, or start its name"),
        ("def f(*a: int):\n    'F.'\n", r"f: parameter a cannot be given by name; use ordinary parameters"),
        ("def f(a: int, /):\n    'F.'\n", r"f: parameter a cannot be given by name"),
        (
            "def d(f):\n    def g(*a): ...\n    return g\n@d\ndef f(a: int):\n    'F.'\n",
            r"f: parameter a .*use functools.wraps in its",
        ),
        ("class C: ...\ndef f(a: C):\n    'F.'\n", r"f: a type is not understood \(.*C'>\); use JSON's types"),
        ("def f(a: 'Nope'):\n    'F.'\n", r"f: a type is not understood \(name 'Nope' is not defined\)"),
        ("X = 1\n", r"has no tools; give typed public functions"),
        ("def f(:\n", r"cannot be imported \(SyntaxError: .*\); correct it there"),
        ("import no_such_thing_at_all\n", r"cannot be imported \(ModuleNotFoundError: .*no_such_thing_at_all"),
        ("raise SystemExit(2)\n", r"cannot be imported \(SystemExit: 2\); it ends the program"),
        (
            "def f(a: str):\n    'F.\\n\\n    Examples:\\n        on -> a=b'\n",
            r"f: an example of its docstring is not understood: b is no",
        ),
    ],
)
def test_what_cannot_be_a_tool_is_one_clear_line(write, text, message):
    with pytest.raises(DataError, match=message) as caught:
        read_tools([write("bad_things.py", text)])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("source", ["no_such_module_here", "./no_such_file.py", "no/such/folder"])
def test_a_source_that_is_not_there(source):
    with pytest.raises(DataError, match=r"cannot be imported .*give a module on the path"):
        read_tools([source])


def test_only_and_simulate(write):
    source = write("chosen_things.py", "def a(x: int):\n    'A.'\ndef b(x):\n    'B.'\n")
    (tool,) = read_tools([ToolSource(source=source, only=("a",), simulate=True)]).values()
    assert (tool.name, tool.backend.kind) == ("a", "reference")
    with pytest.raises(DataError, match="only names 'c', which is not there; there are a, b"):
        read_tools([ToolSource(source=source, only=("c",))])


def test_two_sources_with_a_tool_of_one_name(write):
    sources = [write(name, "def a(x: int):\n    'A.'\n") for name in ("one_thing.py", "two_things.py")]
    with pytest.raises(DataError, match=r"two_things.py: there is a tool a already, from one_thing.py; rename one"):
        read_tools(sources)
