"""Held-out conversations through the live endpoint, with tools really executed between the turns."""

import asyncio
import json
import math
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from aria_ray.grammar import MARKERS, Call, ToolDefinition, is_thought, message_calls
from aria_ray.tools import execute_listed, schema_problem
from aria_ray.validation.client import Client, RequestFailure

Outcome = Literal["correct", "wrong", "malformed", "request_failed"]

MAX_ROUNDS = 4
"""Assistant turns after which a conversation is cut: the longest reference takes three."""
MAX_TOKENS = 160
"""Of one assistant turn. The longest reference turn of the laptop dataset takes 119."""


@dataclass(frozen=True)
class CaseResult:
    """What became of one conversation."""

    id: str
    category: str
    scenario: str
    outcome: Outcome
    compliant: bool | None
    """Tools called exactly when the reference does, each listed and with valid arguments; None if the request failed."""
    expects_call: bool
    made_call: bool
    num_turns: int
    num_thoughts: int
    """Assistant turns whose thought has the fixed shape."""
    detail: str
    transcript: tuple[dict[str, Any], ...]


def choose_cases(rows: Sequence[Mapping[str, Any]], num_cases: int, seed: int = 0) -> list[Mapping[str, Any]]:
    """A random sample of rows, the same for every model: all of them where there are fewer than `num_cases`."""
    ordered = sorted(rows, key=lambda row: row["id"])
    return random.Random(seed).sample(ordered, min(num_cases, len(ordered)))


async def run_cases(
    client: Client,
    cases: Sequence[Mapping[str, Any]],
    concurrency: int,
    on_case: Callable[[CaseResult], None],
    *,
    strict: bool,
) -> list[CaseResult]:
    """Every case, `concurrency` at a time, in the order given. Answers are greedy, so the same weights give the same ones.

    `strict` sends the tools with that property, see `run_case`: then the grammar too keeps calls within the schemas.
    """
    free = asyncio.Semaphore(concurrency)

    async def one(case: Mapping[str, Any]) -> CaseResult:
        async with free:
            result = await run_case(client, case, strict=strict)
        on_case(result)
        return result

    return list(await asyncio.gather(*(one(case) for case in cases)))


async def run_case(client: Client, case: Mapping[str, Any], *, strict: bool) -> CaseResult:
    """Put one row's question, execute the calls that come back, and score the whole conversation.

    With `strict` each tool says so (OpenAI's function calling): vLLM then decodes only calls that fit a listed tool's schema.
    """
    tools = [_strict(tool) for tool in case["tools"]] if strict else case["tools"]
    messages = [message for message in case["messages"] if message["role"] in ("system", "user")]
    rounds: list[tuple[Call, ...]] = []
    thoughts = 0
    for turn in range(1, MAX_ROUNDS + 1):
        reply = await client.chat([_sent(message) for message in messages], tools=tools, max_tokens=MAX_TOKENS, temperature=0)
        if isinstance(reply, RequestFailure):
            return _result(case, "request_failed", None, rounds, (turn - 1, thoughts), reply.reason, messages)
        message = _assistant(reply.message)
        thoughts += is_thought(message["reasoning"])
        messages = [*messages, message]
        content = message.get("content") or ""
        try:
            calls = message_calls(message)
        except ValueError as error:
            return _result(case, "malformed", False, rounds, (turn, thoughts), str(error), messages)
        if any(marker in content for marker in MARKERS):
            return _result(case, "malformed", False, rounds, (turn, thoughts), "a marker in the content", messages)
        if not calls:
            return _scored(case, rounds, content, (turn, thoughts), messages)
        rounds.append(calls)
        messages += _tool_messages(case, message, calls)
    return _result(case, "wrong", False, rounds, (MAX_ROUNDS, thoughts), "still calling tools", messages)


def expected_rounds(case: Mapping[str, Any]) -> list[tuple[Call, ...]]:
    """The reference's calls, one tuple per assistant turn that calls."""
    rounds = [message_calls(message) for message in case["messages"] if message["role"] == "assistant"]
    return [calls for calls in rounds if calls]


def is_compliant(case: Mapping[str, Any], rounds: Sequence[Sequence[Call]]) -> bool:
    """Whether tools are called exactly when the reference calls any, each one listed and given valid arguments."""
    if bool(rounds) != bool(expected_rounds(case)):
        return False
    tools = {tool["function"]["name"]: tool for tool in case["tools"]}
    return all(
        call.name in tools and schema_problem(tools[call.name], call.arguments) is None for calls in rounds for call in calls
    )


def same_rounds(ours: Sequence[Sequence[Call]], theirs: Sequence[Sequence[Call]]) -> bool:
    """Whether two sequences of rounds call the same, in any order within a round; 15 and 15.0 are the same."""
    return [_canonical(calls) for calls in ours] == [_canonical(calls) for calls in theirs]


def wilson_interval(successes: int, cases: int) -> tuple[float, float]:
    """95 % score interval of a share (Wilson 1927): stays within 0..1 and holds for small numbers of cases."""
    if cases == 0:
        return (0.0, 1.0)
    z, share = 1.959964, successes / cases
    centre = (share + z * z / (2 * cases)) / (1 + z * z / cases)
    half = z * math.sqrt(share * (1 - share) / cases + z * z / (4 * cases * cases)) / (1 + z * z / cases)
    return (max(0.0, centre - half), min(1.0, centre + half))


def as_json(result: CaseResult) -> str:
    """One line of `cases.jsonl`."""
    return json.dumps(asdict(result))


def _scored(
    case: Mapping[str, Any], rounds: list[tuple[Call, ...]], answer: str, turns: tuple[int, int], messages: list[dict[str, Any]]
) -> CaseResult:
    compliant = is_compliant(case, rounds)
    outcome: Outcome
    missing = [text for text in case["answer_contains"] if text.casefold() not in answer.casefold()]
    if not same_rounds(rounds, expected_rounds(case)):
        outcome, detail = "wrong", "calls differ from the reference"
    elif missing or not answer.strip():
        outcome, detail = "wrong", f"answer lacks {missing}" if missing else "empty answer"
    else:
        outcome, detail = "correct", ""
    return _result(case, outcome, compliant, rounds, turns, detail, messages)


def _result(
    case: Mapping[str, Any],
    outcome: Outcome,
    compliant: bool | None,
    rounds: list[tuple[Call, ...]],
    turns: tuple[int, int],
    detail: str,
    messages: list[dict[str, Any]],
) -> CaseResult:
    return CaseResult(
        id=case["id"],
        category=case["category"],
        scenario=case["scenario"],
        outcome=outcome,
        compliant=compliant,
        expects_call=bool(expected_rounds(case)),
        made_call=bool(rounds),
        num_turns=turns[0],
        num_thoughts=turns[1],
        detail=detail,
        transcript=tuple(messages),
    )


def _assistant(message: Mapping[str, Any]) -> dict[str, Any]:
    """What the transcript keeps of an assistant message."""
    kept = {"role": "assistant", "reasoning": message.get("reasoning") or message.get("reasoning_content")}
    kept["content"] = message.get("content")
    if message.get("tool_calls"):
        kept["tool_calls"] = message["tool_calls"]
    return kept


def _strict(tool: ToolDefinition) -> ToolDefinition:
    return {**tool, "function": {**tool["function"], "strict": True}}


def _sent(message: Mapping[str, Any]) -> dict[str, Any]:
    """A message as a client sends it back: without the thought, as clients of the protocol do."""
    return {key: value for key, value in message.items() if key != "reasoning"}


def _tool_messages(case: Mapping[str, Any], message: Mapping[str, Any], calls: Sequence[Call]) -> list[dict[str, Any]]:
    return [
        {"role": "tool", "tool_call_id": item["id"], "content": execute_listed(case["tools"], case["tool_names"], call).text}
        for item, call in zip(message["tool_calls"], calls, strict=True)
    ]


def _canonical(calls: Sequence[Call]) -> list[str]:
    return sorted(json.dumps([call.name, _plain(call.arguments)], sort_keys=True) for call in calls)


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value.strip().casefold() if isinstance(value, str) else value
