import json
import math
import random
from typing import Annotated

import jsonschema
import pytest
from pydantic import Field

from aria_ray.grammar import Call
from aria_ray.tools import TOOLS, ToolResult, execute, execute_listed, tool_definition


@pytest.mark.parametrize(
    ("name", "arguments", "text"),
    [
        ("percent_of", {"percent": 15, "value": 80}, "12"),
        ("percent_change", {"old": 80, "new": 100}, "25"),
        ("divide", {"a": 10, "b": 3}, "3.33333"),
        ("power", {"base": 2, "exponent": 10}, "1024"),
        ("square_root", {"number": 2}, "1.41421"),
        ("add_numbers", {"numbers": [0.1, 0.2]}, "0.3"),
        ("median", {"numbers": [4, 1, 3, 2]}, "2.5"),
        ("gcd", {"a": 12, "b": 18}, "6"),
        ("is_prime", {"number": 97}, "97 is prime"),
        ("is_prime", {"number": 1}, "1 is not prime"),
        ("days_between", {"start": "2024-02-28", "end": "2024-03-01"}, "2"),
        ("count_letter", {"text": "Anna", "letter": "a"}, "2"),
        ("change_case", {"text": "red hat", "case": "title"}, "Red Hat"),
        ("sort_words", {"text": "b C a"}, "a b C"),
        ("slugify", {"text": "Red hat, blue!"}, "red-hat-blue"),
        ("convert_units", {"value": 25, "from_unit": "celsius", "to_unit": "fahrenheit"}, "77"),
        ("convert_units", {"value": 5, "from_unit": "kilograms", "to_unit": "pounds"}, "11.0231"),
        ("number_to_base", {"number": 255, "base": 16}, "ff"),
        ("number_to_roman", {"number": 1994}, "MCMXCIV"),
        ("compare_numbers", {"a": 9.11, "b": 9.9}, "9.9 is greater than 9.11"),
        ("filter_above", {"numbers": [1, 5.5, 9], "threshold": 5}, "5.5, 9"),
        ("filter_above", {"numbers": [1], "threshold": 5}, "none"),
        ("highest", {"names": ["Ana", "Tom", "Lee"], "scores": [3, 7, 7]}, "Tom and Lee"),
        ("end_time", {"start": "23:30", "minutes": 45}, "00:15"),
        ("weekday", {"date": "2024-02-29"}, "Thursday"),
    ],
)
def test_results(name, arguments, text):
    assert execute(name, arguments) == ToolResult(True, text)


@pytest.mark.parametrize(
    ("name", "arguments", "text"),
    [
        ("divide", {"a": 1, "b": 0}, "error: division by zero"),
        ("nothing", {}, "error: no such tool 'nothing'"),
        ("square_root", {"number": -4}, "error: square root of a negative number"),
        (
            "convert_units",
            {"value": 1, "from_unit": "kilograms", "to_unit": "meters"},
            "error: cannot convert kilograms to meters",
        ),
        ("convert_units", {"value": 1, "from_unit": "m**9**9", "to_unit": "m"}, "error: no such unit 'm**9**9'"),
        ("weekday", {"date": "2023-02-30"}, "error: no such date 2023-02-30"),
        ("power", {"base": 10, "exponent": 999}, "error: the result is too large"),
        ("power", {"base": 2, "exponent": 1e9}, "error: the exponent must be at most 1000"),
        ("reverse_text", {"text": "x" * 1001}, "error: text: text must be at most 1000 characters"),
        ("average", {"numbers": []}, "error: numbers: list must have 1 to 100 entries"),
        ("divide", {"a": 1}, "error: b: Field required"),
    ],
)
def test_failures_are_values(name, arguments, text):
    assert execute(name, arguments) == ToolResult(False, text)


@pytest.mark.parametrize(
    "arguments",
    [{"a": "1", "b": 2}, {"a": True, "b": 2}, {"a": math.nan, "b": 1}, {"a": 1, "b": 2, "c": 3}, {"a": [1], "b": 2}],
)
def test_arguments_of_the_wrong_type_are_refused(arguments):
    assert not execute("divide", arguments).ok


def google(bill: float, low: Annotated[int, Field(description="Lowest percent.")], high: int = 20) -> float:
    """Tip on a bill.

    Rounded to cents.

    Args:
        bill (float): The bill,
            in euros.
        low: Not used: the annotation says it.
        high: Highest percent: 0 to 100.

    Returns:
        The tip in euros.
    """
    return bill * (low + high) / 200


def numpy_style(bill: float, low: int, high: int = 20) -> float:
    """Tip on a bill.

    Parameters
    ----------
    bill : float
        The bill,
        in euros.
    low, high : int
        Percent, 0 to 100.

    Returns
    -------
    float
        The tip in euros.
    """
    return bill * (low + high) / 200


def sphinx(bill: float, low: int, high: int = 20) -> float:
    """Tip on a bill.

    :param bill: The bill,
        in euros.
    :param int low: Lowest percent.
    :param high:
    :returns: The tip in euros.
    """
    return bill * (low + high) / 200


@pytest.mark.parametrize(
    ("function", "low", "high"),
    [
        (google, "Lowest percent.", "Highest percent: 0 to 100."),
        (numpy_style, "Percent, 0 to 100.", "Percent, 0 to 100."),
        (sphinx, "Lowest percent.", None),
    ],
)
def test_parameters_are_described_by_the_docstring(function, low, high):
    definition = tool_definition(function)["function"]
    assert definition["description"] == "Tip on a bill."
    assert definition["parameters"] == {
        "type": "object",
        "properties": {
            "bill": {"type": "number", "description": "The bill, in euros."},
            "low": {"type": "integer", "description": low},
            "high": {"type": "integer", "default": 20} | ({"description": high} if high else {}),
        },
        "required": ["bill", "low"],
        "additionalProperties": False,
    }


@pytest.mark.parametrize("name", TOOLS)
def test_parameters_of_built_in_tools_have_no_descriptions(name):
    """The training rows of every dataset list these definitions: one more word changes all of them."""
    for field in tool_definition(TOOLS[name])["function"]["parameters"]["properties"].values():
        assert "description" not in field


@pytest.mark.parametrize("name", TOOLS)
def test_definition_is_a_schema_with_a_one_line_description(name):
    function = tool_definition(TOOLS[name])["function"]
    jsonschema.Draft202012Validator.check_schema(function["parameters"])
    assert function["name"] == name
    assert function["description"].endswith(".")
    assert "title" not in json.dumps(function["parameters"]).replace('"title"]', "")
    assert list(function["parameters"]["properties"]) == function["parameters"]["required"]


def test_literal_becomes_enum():
    parameters = tool_definition(TOOLS["change_case"])["function"]["parameters"]
    assert parameters["properties"]["case"] == {"enum": ["upper", "lower", "title"], "type": "string"}


@pytest.mark.parametrize("name", TOOLS)
def test_no_tool_crashes_on_odd_values(name):
    rng = random.Random(name)
    numbers = [0, -1, 1, 2.5, -1e15, 1e15, 1e-9, 36, 999983, math.inf]
    texts = ["", "a", "a b", "2024-02-29", "24:00", "meter", "x" * 1000, "\n", "é"]
    fields = tool_definition(TOOLS[name])["function"]["parameters"]["properties"]
    for _ in range(200):
        arguments = {key: _odd(field, rng, numbers, texts) for key, field in fields.items()}
        result = execute(name, arguments)
        assert result.ok != result.text.startswith("error: ")
        assert len(result.text) < 5000


def _odd(field, rng, numbers, texts):
    if field["type"] == "array":
        return [_odd(field["items"], rng, numbers, texts) for _ in range(rng.randint(0, 3))]
    if field["type"] == "integer":
        return int(rng.choice(numbers[:-1]))
    return rng.choice(numbers if field["type"] == "number" else field.get("enum", texts))


def test_listed_names_are_mapped_back():
    tool_names = json.dumps({"tool_k3": {"tool": "divide", "parameters": {"arg_a": "a", "arg_b": "b"}}})
    assert execute_listed([], tool_names, Call("tool_k3", {"arg_b": 4, "arg_a": 8})) == ToolResult(True, "2")
    assert execute_listed([], tool_names, Call("tool_k3", {"arg_a": 8})).text == "error: arg_b: Field required"
    assert not execute_listed([], tool_names, Call("tool_k3", {"a": 8, "arg_a": 8, "b": 4})).ok
    assert execute_listed([], tool_names, Call("divide", {"a": 8, "b": 4})).text == "error: no such tool 'divide'"
