"""A checker of calls by the rules of the Berkeley Function Calling Leaderboard (BFCL) for Python.

A question's possible answer lists the right values of each parameter of each call; `""` among them means that the parameter may
be left out. Judgements are the leaderboard's own, oddities included, so that shares can be compared with published ones; a test
compares them over all questions. Two judgements differ on purpose, because the leaderboard's program stops there with an error.
Here they are wrong answers: an element that is no object, in a list of objects that may be left out; and a whole number beyond
the range of a float, where a float is expected.

Source of the rules: https://gorilla.cs.berkeley.edu/blogs/8_berkeley_function_calling_leaderboard.html and, where that is
silent, the verdicts of package bfcl-eval 2026.3.23.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from aria_ray.grammar import Call

Schema = Mapping[str, Any]
PossibleCall = Mapping[str, Mapping[str, Sequence[Any]]]
"""A right call, as {function: {parameter: right values}} with one function."""

LEFT_OUT = ""
"""Marks, among the right values of a parameter, that it may be left out."""
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
"""Python type of a JSON value by its documented type. `any` is a string unless the right values are something else."""
_STRING_RULE = str.maketrans("'", '"', " ,./-_*^")


def openai_name(function: str) -> str:
    """A function's name in requests and calls: OpenAI allows no dots in it."""
    return function.replace(".", "_")


def calls_problem(functions: Sequence[Schema], possible: Sequence[PossibleCall], calls: Sequence[Call]) -> str | None:
    """The problem with the calls of one answer, in one line; None if they are right.

    Each expected call is matched with the first call that fits it, in any order, and no call may be left over. As in the
    leaderboard, no better matching is searched for. This can matter in the three questions whose right calls overlap:
    parallel_96, parallel_178 and parallel_180.

    Args:
        functions: the question's functions, as documented with the leaderboard's own types.
        possible: the expected calls.
        calls: the calls of the answer.
    """
    if len(calls) != len(possible):
        return f"{len(calls)} calls, not {len(possible)}"
    documents = {function["name"]: function for function in functions}
    left = list(calls)
    for expected in possible:
        ((name, values),) = expected.items()
        problems = [_call_problem(documents[name], values, call) for call in left]
        if None not in problems:
            reasons = "; ".join(f"{call.name}: {problem}" for call, problem in zip(left, problems, strict=True))
            return f"no call is {openai_name(name)} as expected ({reasons})" if len(possible) > 1 else str(problems[0])
        left.pop(problems.index(None))
    return None


def _call_problem(function: Schema, values: Mapping[str, Sequence[Any]], call: Call) -> str | None:
    """The problem with one call, given the right values by parameter; None if it is right."""
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
    """The problem with one argument, of its type or else of its value; None if it is right.

    A value may also have the type of the right values where that differs from the documented type. The leaderboard treats such
    values as names of variables and compares them unchanged.
    """
    documented, answered = PYTHON_TYPES[schema["type"]], _answer_type(right)
    # A whole number is accepted for a float, as in Python, but not as an element of a list.
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
    """Type of the right values, which all have that of the first; None if the parameter can only be left out."""
    return next((type(value) for value in right if value != LEFT_OUT), None)


def _elements_fit(documented: type, values: Sequence[Any], right: Sequence[Any]) -> bool:
    """Whether the elements of a list have the documented type or that of a right list's elements, one level deep.

    True where the list may be left out: then its value alone decides.
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
    # An empty list equals a list left out: `""` has no elements either.
    if PYTHON_TYPES[schema["items"]["type"]] is dict:
        return any(len(value) == len(answer) and all(map(_same_object, value, answer)) for answer in right)
    return [*map(_normal, value)] in [[*map(_normal, answer)] for answer in right]


def _same_object(value: Any, answer: Any) -> bool:
    """Whether an object has only keys of the answer, each with a right value, and every required key."""
    if not isinstance(value, dict) or not isinstance(answer, dict):
        return False
    return all(key in answer and _normal(item) in map(_normal, answer[key]) for key, item in value.items()) and all(
        key in value or LEFT_OUT in right for key, right in answer.items()
    )


def _normal(value: Any) -> Any:
    """A value normalised for comparison: a string in lower case, without blanks and `,./-_*^`, with one kind of quotes."""
    return value.translate(_STRING_RULE).lower() if isinstance(value, str) else value
