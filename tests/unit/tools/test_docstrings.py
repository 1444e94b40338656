"""What is read from docstrings in the three styles."""

import pytest

from aria_ray.tools.docstrings import examples, parameter_descriptions, summary

GOOGLE = """Set a light, or a group of lights,
    of the house.

    Colors a -> b are not set.

    Args:
        room: the room, e.g. "kitchen",
            or a floor
        brightness (int): 0 to 100

    Returns:
        str: what was done -> said

    Examples:
        turn the kitchen lights up to 80 -> room="kitchen", brightness=80
        - "lights off in the hall" -> set_light("hall", 0)
        1. dim both -> set_light(room="a", brightness=1), set_light(room="b", brightness=2)
        a request that is too long
            for one line -> room="attic",
            brightness=5
        is it on? => get_light()
        >>> set_light("a", 1) -> room=3
        set_light("a", 1) -> 3
        set_light(b) -> c(d)

    Raises:
        ValueError: too bright -> x=1
    """
NUMPY = """Draw a number.

    Parameters
    ----------
    low, high : float
        Bounds of the number.

    Examples
    --------
    >>> draw(1)
    2.0
    from one to six please -> low=1, high=6.5

    Notes
    -----
    no example -> low=3
    """
SPHINX = """Draw a number.

    :param low: the lower bound
    :param float high: the upper bound

    .. rubric:: Examples

    up to 6 → high=6, kinds=["a", {"b": None}], sure=True

    :returns: a -> b=3
    """


def test_google_style():
    assert summary(GOOGLE) == "Set a light, or a group of lights, of the house."
    assert parameter_descriptions(GOOGLE) == {
        "room": {"description": 'the room, e.g. "kitchen", or a floor'},
        "brightness": {"description": "0 to 100"},
    }
    found = examples(GOOGLE, "set_light", ["room", "brightness"])
    assert [(each["request"], [(call["name"], call["arguments"]) for call in each["calls"]]) for each in found] == [
        ("turn the kitchen lights up to 80", [("set_light", {"room": "kitchen", "brightness": 80})]),
        ("lights off in the hall", [("set_light", {"room": "hall", "brightness": 0})]),
        ("dim both", [("set_light", {"room": "a", "brightness": 1}), ("set_light", {"room": "b", "brightness": 2})]),
        ("a request that is too long for one line", [("set_light", {"room": "attic", "brightness": 5})]),
        ("is it on?", [("get_light", {})]),
    ]


def test_numpy_style():
    assert parameter_descriptions(NUMPY) == {name: {"description": "Bounds of the number."} for name in ("low", "high")}
    assert examples(NUMPY, "draw", []) == (
        {"request": "from one to six please", "calls": [{"name": "draw", "arguments": {"low": 1, "high": 6.5}}]},
    )


def test_sphinx_style():
    assert parameter_descriptions(SPHINX)["high"] == {"description": "the upper bound"}
    arguments = {"high": 6, "kinds": ["a", {"b": None}], "sure": True}
    assert examples(SPHINX, "draw", []) == ({"request": "up to 6", "calls": [{"name": "draw", "arguments": arguments}]},)


@pytest.mark.parametrize(
    ("line", "rule"),
    [
        ("lights on -> room=kitchen", "kitchen is no literal; write texts in quotes"),
        ("lights on -> other(3)", "has values without a name"),
        ("lights on -> room='kitchen' brightness=3", "is not of the form"),
        ("lights on -> set_light(room=kitchen)", "kitchen is no literal"),
    ],
)
def test_an_example_that_is_not_understood_is_told(line, rule):
    with pytest.raises(ValueError, match=rule):
        examples(f"Do.\n\nExamples:\n    {line}\n", "set_light", ["room"])


@pytest.mark.parametrize(
    "docstring", ["", "Do.", "Do a -> b.", "Do.\n\nExamples:\n    nothing of the kind\n\n    at all -> really\n"]
)
def test_a_docstring_without_examples(docstring):
    assert examples(docstring, "f", []) == ()
