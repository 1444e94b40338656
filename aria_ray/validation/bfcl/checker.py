"""Whether the calls of an answer are right, by the rules of the Berkeley Function Calling Leaderboard (BFCL) for Python.

A question's possible answer lists, for each call and each parameter, the values that are right; `""` among them says that the
parameter may be left out. The verdicts are meant to be the leaderboard's own, oddities included, so that a share can be set
beside published ones; a test compares them over all questions. Two verdicts differ on purpose, where the leaderboard's program
has none and stops with an error: an element that is no object in a list of objects that may be left out, and a whole number
beyond the range of a float where a float is due, are wrong answers here.

Source of the rules: https://gorilla.cs.berkeley.edu/blogs/8_berkeley_function_calling_leaderboard.html and, where that is
silent, the verdicts of package bfcl-eval 2026.3.23.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from aria_ray.grammar import Call

Schema = Mapping[str, Any]
PossibleCall = Mapping[str, Mapping[str, Sequence[Any]]]
"""{function: {parameter: right values}}, with one function."""

LEFT_OUT = ""
"""Among the right values of a parameter: it need not be given."""
PYTHON_TYPES: Mapping[str, type] = {
    "string": str,
    "integer": int,
    "float": float,
    "boolean": bool,
    "array": list,
    "tuple": list,
    "dict": dict,
    "any": str,
}
"""What a value of each documented type is once it is read from JSON; `any` is a string unless the right values are not."""
_STRING_RULE = str.maketrans("'", '"', " ,./-_*^")


def openai_name(function: str) -> str:
    """The name under which a function is offered and called: names of OpenAI's functions have no dots."""
    return function.replace(".", "_")


def calls_problem(functions: Sequence[Schema], possible: Sequence[PossibleCall], calls: Sequence[Call]) -> str | None:
    """What is wrong with the calls of one answer, in one line; None if they are right.

    Each expected call takes the first given call that fits it, in any order, and no given call may be left. (A better matching
    is not sought: the leaderboard does not. It can matter in the three questions whose right calls overlap:
    parallel_96, parallel_178 and parallel_180.)

    Args:
        functions: the question's function documents, in the leaderboard's own types.
        possible: the calls that are expected.
        calls: the calls that were made.
    """
    if len(calls) != len(possible):
        return f"{len(calls)} calls, not {len(possible)}"
    documents = {function["name"]: function for function in functions}
    left = list(calls)
    for expected in possible:
        ((name, values),) = expected.items()
        problems = [_call_problem(documents[name], values, call) for call in left]
        if None not in problems:
            found = "; ".join(f"{call.name}: {problem}" for call, problem in zip(left, problems, strict=True))
            return f"no call is {openai_name(name)} as expected ({found})" if len(possible) > 1 else str(problems[0])
        left.pop(problems.index(None))
    return None


def _call_problem(function: Schema, values: Mapping[str, Sequence[Any]], call: Call) -> str | None:
    """What is wrong with one call; `values` are the right ones by parameter."""
    if call.name != openai_name(function["name"]):
        return f"function {call.name!r}, not {openai_name(function['name'])!r}"
    properties = function["parameters"]["properties"]
    needed = {*function["parameters"]["required"], *(name for name, right in values.items() if LEFT_OUT not in right)}
    missing = sorted(needed - call.arguments.keys())
    if missing:
        return f"parameter {', '.join(map(repr, missing))} is missing"
    for name, value in call.arguments.items():
        if name not in properties or name not in values:
            return f"parameter {name!r} is not expected"
        problem = _value_problem(properties[name], value, values[name])
        if problem is not None:
            return f"parameter {name!r} is {value!r}: {problem}"
    return None


def _value_problem(schema: Schema, value: Any, right: Sequence[Any]) -> str | None:
    """What is wrong with one argument: its type first, then its value.

    A value may also have the type of the right values where that is not the documented one: the leaderboard takes such values
    for names of variables, and compares them as they are.
    """
    documented, answered = PYTHON_TYPES[schema["type"]], _answer_type(right)
    # A whole number will do for a float, as in Python; but not as an element of a list.
    given = float if schema["type"] == "float" and type(value) is int else type(value)
    if given is documented:
        if documented is list and not _elements_fit(PYTHON_TYPES[schema["items"]["type"]], value, right):
            return f"elements should be of type {schema['items']['type']}"
        is_right = _is_among(schema, value, right) if answered in (documented, None) else value in right
    elif given is answered:
        is_right = value in right
    else:
        return f"type should be {schema['type']}"
    return None if is_right else f"should be one of {list(right)}"


def _answer_type(right: Sequence[Any]) -> type | None:
    """The type of the right values: they are all of that of the first; None if the parameter can only be left out."""
    return next((type(value) for value in right if value != LEFT_OUT), None)


def _elements_fit(documented: type, values: Sequence[Any], right: Sequence[Any]) -> bool:
    """Whether the elements of a list are of the documented type or that of a right list; one level deep.

    Where the list may be left out, types are not looked at: its value decides alone.
    """
    return any(
        not isinstance(answer, list) or all(type(value) in (documented, _answer_type(answer)) for value in values)
        for answer in right
    )


def _is_among(schema: Schema, value: Any, right: Sequence[Any]) -> bool:
    """Whether a value of the documented type is one of the right ones."""
    documented = PYTHON_TYPES[schema["type"]]
    if documented is dict:
        return any(_same_object(value, answer) for answer in right)
    if documented is not list:
        return _normal(value) in map(_normal, right)
    # An empty list says the same as a list left out: `""` has no elements either.
    if PYTHON_TYPES[schema["items"]["type"]] is dict:
        return any(len(value) == len(answer) and all(map(_same_object, value, answer)) for answer in right)
    return [*map(_normal, value)] in [[*map(_normal, answer)] for answer in right]


def _same_object(value: Any, answer: Any) -> bool:
    """Whether an object has only keys of the answer, each with a right value, and lacks none that must be there."""
    if not isinstance(value, dict) or not isinstance(answer, dict):
        return False
    return all(key in answer and _normal(item) in map(_normal, answer[key]) for key, item in value.items()) and all(
        key in value or LEFT_OUT in right for key, right in answer.items()
    )


def _normal(value: Any) -> Any:
    """A string as strings are compared: without blanks and the signs `,./-_*^`, in lower case, with one kind of quotes."""
    return value.translate(_STRING_RULE).lower() if isinstance(value, str) else value
