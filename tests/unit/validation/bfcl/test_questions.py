"""Reading, asking and summing up the leaderboard's questions. Its data and the endpoint are small ones of the test."""

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

import httpx
import jsonschema
import pytest

from aria_ray.errors import DataError
from aria_ray.intervals import wilson_interval
from aria_ray.results import Estimate
from aria_ray.validation.bfcl.questions import (
    CATEGORIES,
    IRRELEVANCE,
    MAX_TOKENS,
    BfclResult,
    Outcome,
    Question,
    as_json,
    judge,
    openai_tool,
    read_questions,
    run_bfcl,
    summarise,
)
from aria_ray.validation.client import Client

AREA = {
    "name": "shape.area",
    "description": "Area of a rectangle.",
    "parameters": {
        "type": "dict",
        "properties": {
            "width": {"type": "integer", "description": "In metres."},
            "height": {"type": "float", "description": "In metres."},
        },
        "required": ["width", "height"],
    },
}
ROW = {"question": [[{"role": "user", "content": "How large is 3 by 2.5?"}]], "function": [AREA]}
RIGHT = {"shape.area": {"width": [3], "height": [2.5]}}
OTHER = {"shape.area": {"width": [4], "height": [1.0]}}


def question(category: str = "simple_python", identity: str = "q", content: str = "How large is 3 by 2.5?") -> Question:
    possible = {"simple_python": (RIGHT,), "multiple": (RIGHT,), "parallel": (RIGHT, OTHER), IRRELEVANCE: ()}[category]
    return Question(identity, category, ({"role": "user", "content": content},), (AREA,), (openai_tool(AREA),), possible)


def calling(*arguments: Any, name: str = "shape_area", content: str | None = None) -> dict[str, Any]:
    """A message that calls; arguments that are text are sent as they are."""
    texts = [text if isinstance(text, str) else json.dumps(text) for text in arguments]
    calls = [{"id": "x", "type": "function", "function": {"name": name, "arguments": text}} for text in texts]
    return {"role": "assistant", "content": content, "tool_calls": calls}


def saying(text: str | None) -> dict[str, Any]:
    return {"role": "assistant", "content": text}


@pytest.fixture
def fake_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package of the leaderboard's name and layout: 30 questions of each category. Importing it is an error."""
    data = tmp_path / "bfcl_eval" / "data"
    (data / "possible_answer").mkdir(parents=True)
    (tmp_path / "bfcl_eval" / "__init__.py").write_text("raise RuntimeError('imported')")
    for category in CATEGORIES:
        rows = [{"id": f"{category}_{number}", **ROW} for number in range(30)]
        answers = [{"id": row["id"], "ground_truth": [{"shape.area": {"width": [number]}}]} for number, row in enumerate(rows)]
        (data / f"BFCL_v4_{category}.json").write_text("\n".join(map(json.dumps, rows)))
        if category != IRRELEVANCE:
            (data / "possible_answer" / f"BFCL_v4_{category}.json").write_text("\n".join(map(json.dumps, answers)))
    monkeypatch.delitem(sys.modules, "bfcl_eval", raising=False)
    monkeypatch.syspath_prepend(tmp_path)
    return data


@pytest.mark.usefixtures("fake_package")
@pytest.mark.parametrize("category", CATEGORIES)
def test_questions_are_read_with_their_answers(category: str) -> None:
    questions = read_questions(category, 1000)
    assert sorted(item.id for item in questions) == sorted(f"{category}_{number}" for number in range(30))
    for item in questions:
        number = int(item.id.rsplit("_", 1)[1])
        assert item.possible_answer == (() if category == IRRELEVANCE else ({"shape.area": {"width": [number]}},))
        assert item.messages == (ROW["question"][0][0],)
        assert item.functions == (AREA,)
        assert item.tools == (openai_tool(AREA),)


@pytest.mark.usefixtures("fake_package")
def test_a_sample_is_the_same_each_time_and_not_the_first_ones() -> None:
    sample = [item.id for item in read_questions("multiple", 10)]
    assert sample == [item.id for item in read_questions("multiple", 10)]
    assert len(set(sample)) == 10
    assert set(sample) != {f"multiple_{number}" for number in range(10)}


def test_without_the_package_one_line_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "bfcl_eval", None)  # Python's way to say that there is none
    with pytest.raises(DataError, match=r"bfcl_eval is not installed.*pip install --no-deps bfcl-eval") as caught:
        read_questions("multiple", 1)
    assert "\n" not in str(caught.value)


def test_a_package_with_other_files_is_refused(fake_package: Path) -> None:
    path = fake_package / "possible_answer" / "BFCL_v4_multiple.json"
    path.unlink()
    with pytest.raises(DataError, match=rf"{path}.*pip install --no-deps bfcl-eval"):
        read_questions("multiple", 1)


def test_an_unknown_category_is_refused() -> None:
    with pytest.raises(DataError, match="'simple' must be one of simple_python, multiple, parallel, irrelevance"):
        read_questions("simple", 1)


def test_a_function_becomes_an_openai_tool() -> None:
    document = {
        "name": "lib.sub.find",
        "description": "Finds.",
        "parameters": {
            "type": "dict",
            "properties": {
                "type": {"type": "string", "enum": ["a", "b"], "description": "A parameter that is called type."},
                "ratio": {"type": "float", "description": "How much.", "default": 0.5},
                "data": {"type": "any", "description": "Whatever."},
                "pair": {"type": "tuple", "items": {"type": "float"}, "description": "Two."},
                "rows": {"type": "array", "items": {"type": "array", "items": {"type": "dict"}}},
                "nested": {
                    "type": "dict",
                    "properties": {"deep": {"type": "dict", "properties": {"x": {"type": "float"}}, "required": ["x"]}},
                },
            },
            "required": ["type"],
        },
    }
    before = json.dumps(document)
    assert openai_tool(document) == {
        "type": "function",
        "function": {
            "name": "lib_sub_find",
            "description": "Finds. Note that the provided function is in Python 3 syntax.",
            "parameters": {
                "type": "object",
                "properties": {
                    "type": {"type": "string", "enum": ["a", "b"], "description": "A parameter that is called type."},
                    "ratio": {
                        "type": "number",
                        "format": "float",
                        "description": "How much. This is a float type value.",
                        "default": 0.5,
                    },
                    "data": {"description": "Whatever."},
                    "pair": {"type": "array", "items": {"type": "number"}, "description": "Two."},
                    "rows": {"type": "array", "items": {"type": "array", "items": {"type": "object"}}},
                    "nested": {
                        "type": "object",
                        "properties": {"deep": {"type": "object", "properties": {"x": {"type": "number"}}, "required": ["x"]}},
                    },
                },
                "required": ["type"],
            },
        },
    }
    assert json.dumps(document) == before


def test_a_type_that_is_not_documented_is_refused() -> None:
    parameters = {"type": "dict", "properties": {"x": {"type": "array", "items": {"type": "HashMap"}}}, "required": []}
    with pytest.raises(DataError, match=r"'HashMap'.*must be one of string, integer, float"):
        openai_tool({"name": "f", "description": "", "parameters": parameters})


@pytest.mark.parametrize(
    ("category", "message", "detail"),
    [
        ("simple_python", calling({"width": 3, "height": 2.5}), None),
        ("simple_python", calling({"width": 3, "height": 2.5}, content="Here:"), None),
        ("simple_python", calling({"width": 3, "height": 2}), "'height' is 2: should be one of"),
        ("simple_python", calling({"width": 3, "height": 2.5}, name="shape.area"), "function 'shape.area'"),
        ("simple_python", calling('{"width": 3, '), "cannot be read"),
        ("simple_python", calling("[3, 2.5]"), "cannot be read"),
        ("simple_python", calling({"width": 3, "height": 2.5}, "{"), "cannot be read"),
        ("simple_python", {**saying(None), "tool_calls": [{"id": "x"}]}, "cannot be read"),
        (
            "simple_python",
            {**saying(None), "tool_calls": [{"function": {"name": "shape_area", "arguments": None}}]},
            "cannot be read",
        ),
        ("simple_python", saying("It is 7.5."), "0 calls, not 1"),
        ("simple_python", saying(None), "0 calls, not 1"),
        ("parallel", calling({"width": 4, "height": 1}, {"width": 3, "height": 2.5}), None),
        ("parallel", calling({"width": 3, "height": 2.5}), "1 calls, not 2"),
        (IRRELEVANCE, saying("None of these functions can tell."), None),
        (IRRELEVANCE, {**saying("Sorry."), "tool_calls": []}, None),
        (IRRELEVANCE, saying(None), "neither a call nor text"),
        (IRRELEVANCE, saying(" \n"), "neither a call nor text"),
        (IRRELEVANCE, saying('<tool_call>{"name": "shape_area"'), "<tool_call> in the text"),
        (IRRELEVANCE, saying("<think>hm"), "<think> in the text"),
        (IRRELEVANCE, calling({"width": 3, "height": 2.5}), "1 calls, not 0"),
        (IRRELEVANCE, calling("{"), "1 calls, not 0"),
    ],
)
def test_answers_are_judged(category: str, message: dict[str, Any], detail: str | None) -> None:
    result = judge(question(category), message)
    assert result.outcome == ("correct" if detail is None else "wrong")
    assert (detail or "") in result.detail
    assert (result.detail == "") == (detail is None)


def ask(questions: list[Question], answers: dict[str, dict[str, Any] | int]) -> tuple[list[BfclResult], list[Any], list[Any]]:
    """Results, results as they came, and requests, of a fake endpoint that answers by what the user says."""
    requests, came = [], []

    def fake_endpoint(request: httpx.Request) -> httpx.Response:
        requests.append(json.loads(request.content))
        answer = answers[requests[-1]["messages"][-1]["content"]]
        if isinstance(answer, int):
            return httpx.Response(answer, json={"error": {"message": "out of order"}})
        return httpx.Response(200, json={"choices": [{"message": answer}]})

    async def go() -> list[BfclResult]:
        async with httpx.AsyncClient(base_url="http://endpoint/v1", transport=httpx.MockTransport(fake_endpoint)) as http:
            return await run_bfcl(Client(http, "aria", retry_s=0), questions, 2, came.append)

    return asyncio.run(go()), came, requests


def test_a_run_over_an_endpoint() -> None:
    answers: dict[str, dict[str, Any] | int] = {
        "right": calling({"width": 3, "height": 2.5}),
        "wrong": calling({"width": 8, "height": 2.5}),
        "malformed": calling("{"),
        "text": saying("7.5"),
        "broken": 500,
    }
    questions = [question(identity=name, content=name) for name in answers]
    results, came, requests = ask(questions, answers)
    assert [(result.id, result.outcome) for result in results] == [
        ("right", "correct"),
        ("wrong", "wrong"),
        ("malformed", "wrong"),
        ("text", "wrong"),
        ("broken", "request_failed"),
    ]
    assert sorted(came, key=results.index) == results
    assert "500" in results[-1].detail
    for request in requests:
        assert request["tools"] == [openai_tool(AREA)]
        assert (request["temperature"], request["max_tokens"], request["model"]) == (0, MAX_TOKENS, "aria")
    assert summarise(results)["simple_python"] == Estimate(value=1 / 4, cases=4, interval=wilson_interval(1, 4))


def test_a_line_of_results_says_what_was_called() -> None:
    (wrong, malformed), _, _ = ask(
        [question(identity="1", content="a"), question(identity="2", content="b")],
        {"a": calling({"width": 8, "height": 2.5}), "b": calling("{\u00e9")},
    )
    assert json.loads(as_json(wrong)) == {
        "id": "1",
        "category": "simple_python",
        "outcome": "wrong",
        "detail": "parameter 'width' is 8: should be one of [3]",
        "called": [{"name": "shape_area", "arguments": '{"width": 8, "height": 2.5}'}],
        "answer": "",
    }
    assert "\n" not in as_json(malformed)
    assert json.loads(as_json(malformed))["called"] == [{"name": "shape_area", "arguments": "{\u00e9"}]


def outcomes(category: str, *given: Outcome) -> list[BfclResult]:
    return [BfclResult(f"{category}_{number}", category, outcome, "why") for number, outcome in enumerate(given)]


def test_shares_are_by_category_over_the_requests_that_did_not_fail() -> None:
    results = [
        *outcomes(IRRELEVANCE, "correct", "wrong"),
        *outcomes("parallel", "correct", "correct", "request_failed", "wrong"),
        *outcomes("multiple", "request_failed", "request_failed"),
    ]
    assert summarise(results) == {
        "multiple": Estimate(value=None, cases=0, interval=None, reason="all 2 requests failed"),
        "parallel": Estimate(value=2 / 3, cases=3, interval=wilson_interval(2, 3)),
        IRRELEVANCE: Estimate(value=0.5, cases=2, interval=wilson_interval(1, 2)),
    }
    assert summarise([]) == {}


@pytest.mark.parametrize("positive", [[], outcomes("parallel", "request_failed")])
def test_irrelevance_is_not_told_without_questions_that_need_a_call(positive: list[BfclResult]) -> None:
    share = summarise([*outcomes(IRRELEVANCE, "correct", "correct"), *positive])[IRRELEVANCE]
    assert (share.value, share.interval) == (None, None)
    assert "no question that needs a call was answered" in share.reason


@pytest.mark.parametrize(
    ("category", "count"), [("simple_python", 400), ("multiple", 200), ("parallel", 200), (IRRELEVANCE, 240)]
)
def test_all_questions_of_the_package(category: str, count: int) -> None:
    pytest.importorskip("bfcl_eval", reason="bfcl_eval is not installed: pip install --no-deps bfcl-eval")
    questions = read_questions(category, 1000)
    assert len(questions) == count
    for item in questions:
        assert [message["role"] for message in item.messages] == ["user"]
        names = [tool["function"]["name"] for tool in item.tools]
        assert len(set(names)) == len(names)
        for tool in item.tools:
            jsonschema.Draft202012Validator.check_schema(tool["function"]["parameters"])
        call = calling({}, name=names[0])
        # The leaderboard judges a call the same; it takes an answer of no text for right.
        if category == IRRELEVANCE:
            verdicts = [judge(item, message).outcome for message in (call, saying("No."), saying(""))]
            assert verdicts == ["wrong", "correct", "wrong"]
        else:
            assert judge(item, saying("No.")).outcome == "wrong"


@pytest.mark.parametrize("odd", [["x"], "abc", 5, [{"function": 7}], {"a": 1}])
@pytest.mark.parametrize("category", ["simple_python", IRRELEVANCE])
def test_calls_of_a_wrong_shape_are_wrong(odd: Any, category: str) -> None:
    assert judge(question(category), {"role": "assistant", "content": ["a"], "tool_calls": odd}).outcome == "wrong"
