"""The Berkeley Function Calling Leaderboard (BFCL) on a live endpoint: questions and right answers from outside the project.

Questions and answers are the data files of the package `bfcl-eval`; its code and dependencies are not used. Requests are those
that the leaderboard sends to models with OpenAI's tools, with two differences. A parameter of type `any` has no type in the
schema (leaderboard: string). An answer without a call is right only if it is text (leaderboard: also if it is empty or a call
that cannot be parsed, so that gibberish gets 100 % on irrelevance).

Four categories of one turn: `simple_python` (one function, one call), `multiple` (two to four functions, one call), `parallel`
(one function, several calls), `irrelevance` (no function helps, no call).
"""

import asyncio
import importlib.util
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from aria_ray.errors import DataError
from aria_ray.grammar import MARKERS, ToolDefinition, message_calls
from aria_ray.intervals import wilson_interval
from aria_ray.results import Estimate
from aria_ray.validation.bfcl.checker import PYTHON_TYPES, PossibleCall, calls_problem, openai_name
from aria_ray.validation.client import Client, RequestFailure
from aria_ray.validation.conversations import choose_cases
from aria_ray.versions import BFCL_EVAL

IRRELEVANCE = "irrelevance"
POSITIVE_CATEGORIES = ("simple_python", "multiple", "parallel")
"""Categories whose questions need a call."""
CATEGORIES = (*POSITIVE_CATEGORIES, IRRELEVANCE)
MAX_TOKENS = 256
"""Token limit of an answer."""

INSTALL = f"pip install --no-deps bfcl-eval=={BFCL_EVAL}"
"""Command that installs the questions. Without dependencies, which pin numpy 1.26 and bring a dozen vendors' clients."""
_FILE_PREFIX = "BFCL_v4_"
_JSON_TYPES = {"dict": "object", "float": "number", "tuple": "array"}
_LANGUAGE_NOTE = " Note that the provided function is in Python 3 syntax."
_FLOAT_NOTE = " This is a float type value."
"""Sentences that the leaderboard adds to descriptions."""

Outcome = Literal["correct", "wrong", "request_failed"]


@dataclass(frozen=True)
class Question:
    """One question of the leaderboard."""

    id: str
    category: str
    messages: tuple[dict[str, Any], ...]
    functions: tuple[dict[str, Any], ...]
    """The functions as documented in the data, with the leaderboard's own types."""
    tools: tuple[ToolDefinition, ...]
    """The same functions as OpenAI's tools."""
    possible_answer: tuple[PossibleCall, ...]
    """The right calls, see `checker`; none in category irrelevance."""


@dataclass(frozen=True)
class BfclResult:
    """Judgement of the answer to one question."""

    id: str
    category: str
    outcome: Outcome
    detail: str
    """The problem with the answer, or why the request failed; empty where it is correct."""
    called: tuple[dict[str, Any], ...] = ()
    """Name and arguments of each call as the endpoint sent them: arguments are JSON text that may be invalid."""
    answer: str = ""


def read_questions(category: str, num: int) -> list[Question]:
    """A random sample of `num` questions of a category, the same each time; all of them where there are fewer.

    Raises:
        DataError: the package bfcl-eval is not installed, holds other files, or has no such category.
    """
    if category not in CATEGORIES:
        raise DataError(f"BFCL category {category!r} must be one of {', '.join(CATEGORIES)}", "give one of those")
    data = _data_folder()
    rows = choose_cases(_read_lines(data / f"{_FILE_PREFIX}{category}.json"), num)
    answers = {}
    if category in POSITIVE_CATEGORIES:
        lines = _read_lines(data / "possible_answer" / f"{_FILE_PREFIX}{category}.json")
        answers = {line["id"]: line["ground_truth"] for line in lines}
    return [_question(category, row, answers.get(row["id"], ())) for row in rows]


def openai_tool(function: Mapping[str, Any]) -> ToolDefinition:
    """A documented function as OpenAI's tool: JSON Schema types, no dots in its name, the leaderboard's notes.

    Raises:
        DataError: a parameter has a type that the leaderboard does not define.
    """
    return {
        "type": "function",
        "function": {
            "name": openai_name(function["name"]),
            "description": function["description"] + _LANGUAGE_NOTE,
            "parameters": _json_schema(function["parameters"]),
        },
    }


async def run_bfcl(
    client: Client, questions: Sequence[Question], concurrency: int, on_case: Callable[[BfclResult], None]
) -> list[BfclResult]:
    """Ask every question, `concurrency` at a time, with greedy decoding.

    Results are in the order of `questions`; `on_case` gets each as it arrives.
    """
    free = asyncio.Semaphore(concurrency)

    async def one(question: Question) -> BfclResult:
        async with free:
            reply = await client.chat(list(question.messages), tools=list(question.tools), temperature=0, max_tokens=MAX_TOKENS)
        if isinstance(reply, RequestFailure):
            result = BfclResult(question.id, question.category, "request_failed", reply.reason)
        else:
            result = judge(question, reply.message)
        on_case(result)
        return result

    return list(await asyncio.gather(*(one(question) for question in questions)))


def judge(question: Question, message: Mapping[str, Any]) -> BfclResult:
    """Judge an assistant message, in OpenAI's format, as the answer to a question."""
    items, text = message.get("tool_calls") or [], message.get("content") or ""
    items, text = items if isinstance(items, list) else [items], text if isinstance(text, str) else ""
    if question.category == IRRELEVANCE:
        problem = _text_problem(text) if not items else f"{len(items)} calls, not 0"
    else:
        problem = _calls_problem(question, message)
    return BfclResult(
        id=question.id,
        category=question.category,
        outcome="correct" if problem is None else "wrong",
        detail=problem or "",
        called=tuple(_function(item) for item in items),
        answer=text,
    )


def summarise(results: Sequence[BfclResult]) -> dict[str, Estimate]:
    """Share of right answers by category, over the requests that did not fail, with its 95 % interval (Wilson).

    An unknown share is None and has a `reason`: every request of the category failed, or no question that needs a call was
    answered beside irrelevance. A model that never calls is always right on irrelevance, so that share means nothing alone.
    """
    groups = {name: [result.outcome for result in results if result.category == name] for name in CATEGORIES}
    shares = {name: _share(outcomes) for name, outcomes in groups.items() if outcomes}
    if IRRELEVANCE in shares and not any(shares[name].cases for name in POSITIVE_CATEGORIES if name in shares):
        reason = "no question that needs a call was answered, and irrelevance alone means nothing"
        shares[IRRELEVANCE] = Estimate(value=None, interval=None, cases=shares[IRRELEVANCE].cases, reason=reason)
    return shares


def as_json(result: BfclResult) -> str:
    """A result as one line of JSON."""
    return json.dumps(asdict(result))


def _data_folder() -> Path:
    # Located, not imported: the package's modules create folders and read the settings of a dozen vendors' clients.
    spec = importlib.util.find_spec("bfcl_eval")
    if spec is None or not spec.submodule_search_locations:
        raise DataError("package bfcl_eval is not installed and has BFCL's questions", f"install it: {INSTALL}")
    return Path(spec.submodule_search_locations[0]) / "data"


def _read_lines(path: Path) -> list[dict[str, Any]]:
    try:
        return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    except FileNotFoundError:
        raise DataError(f"package bfcl_eval has no file {path}", f"install a release that has it: {INSTALL}") from None


def _question(category: str, row: Mapping[str, Any], possible: Sequence[PossibleCall]) -> Question:
    functions = tuple(row["function"])
    tools = tuple(openai_tool(function) for function in functions)
    # Questions of these categories have one turn.
    return Question(row["id"], category, tuple(row["question"][0]), functions, tools, tuple(possible))


def _json_schema(document: Mapping[str, Any]) -> dict[str, Any]:
    """A documented parameter as JSON Schema, nested parameters included."""
    kind = document["type"]
    if kind not in PYTHON_TYPES:
        raise DataError(
            f"type {kind!r} in BFCL's data must be one of {', '.join(PYTHON_TYPES)}", f"install a release that is so: {INSTALL}"
        )
    schema = dict(document)
    if kind == "any":
        del schema["type"]
    else:
        schema["type"] = _JSON_TYPES.get(kind, kind)
    if kind == "float" and "description" in document:
        schema |= {"format": "float", "description": document["description"] + _FLOAT_NOTE}
    if "properties" in document:
        schema["properties"] = {name: _json_schema(field) for name, field in document["properties"].items()}
    if "items" in document:
        schema["items"] = _json_schema(document["items"])
    return schema


def _calls_problem(question: Question, message: Mapping[str, Any]) -> str | None:
    try:
        calls = message_calls(message)
    except ValueError as error:
        return f"a call cannot be read: {error}"
    return calls_problem(question.functions, question.possible_answer, calls)


def _function(item: Any) -> dict[str, Any]:
    """The function of a call as it was sent; empty where the call has none."""
    function = item.get("function") if isinstance(item, Mapping) else None
    return dict(function) if isinstance(function, Mapping) else {}


def _text_problem(text: str) -> str | None:
    if not text.strip():
        return "neither a call nor text"
    marker = next((marker for marker in MARKERS if marker in text), None)
    return None if marker is None else f"{marker} in the text"


def _share(outcomes: Sequence[Outcome]) -> Estimate:
    answered, right = len(outcomes) - outcomes.count("request_failed"), outcomes.count("correct")
    if not answered:
        return Estimate(value=None, interval=None, cases=0, reason=f"all {len(outcomes)} requests failed")
    return Estimate(value=right / answered, interval=wilson_interval(right, answered), cases=answered)
