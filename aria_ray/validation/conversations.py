"""Held-out conversations through the live endpoint, with tools really executed between the turns."""

import asyncio
import json
import logging
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from aria_ray.grammar import MARKERS, Call, ToolDefinition, is_thought, message_calls
from aria_ray.tools import execute_listed, schema_problem
from aria_ray.validation.client import Client, RequestFailure

Outcome = Literal["correct", "wrong", "malformed", "request_failed", "check_failed"]
"""The last two are no answers: the service failed, or the check did. They are counted, and judge no model."""

NO_ANSWER = ("request_failed", "check_failed")

MAX_ROUNDS = 4
"""Assistant turns after which a conversation is cut: the longest reference takes three."""
MAX_TOKENS = 160
"""Of one assistant turn. The longest reference turn of the laptop dataset takes 119."""


logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class CaseResult:
    """What became of one conversation."""

    id: str
    category: str
    scenario: str
    difficulty: int
    outcome: Outcome
    compliant: bool | None
    """Tools called exactly when the reference does, each listed and with valid arguments; None if there is no answer."""
    expects_call: bool
    expects_question: bool
    """The request leaves out a value that no default stands for: the assistant has to ask for it."""
    made_call: bool
    right_tools: bool | None
    """The reference's tools were called, turn by turn, whatever the arguments; None where it calls none, or no answer came."""
    right_arguments: bool | None
    """Their arguments are the reference's too; None where the tools are not right."""
    num_calls: int
    num_valid_calls: int
    """Calls of a listed tool whose arguments fit its schema; a call that cannot be read is none."""
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
    talk = _Talk([message for message in case["messages"] if message["role"] in ("system", "user")])
    try:
        await _converse(client, case, talk, [_strict(tool) for tool in case["tools"]] if strict else case["tools"])
        return _result(case, talk)
    except Exception as error:  # a check that crashes must cost neither the model a point nor the run its other cases
        logger.warning("the check of case %s crashed", case["id"], exc_info=error)
        talk.outcome, talk.ended, talk.detail = "check_failed", False, f"{type(error).__name__}: {error}"
        return _result(case, talk)


@dataclass
class _Talk:
    """A conversation as it goes, and what became of it."""

    messages: list[dict[str, Any]]
    rounds: list[tuple[Call, ...]] = field(default_factory=list)
    num_turns: int = 0
    num_thoughts: int = 0
    num_unreadable: int = 0
    """Calls that are none by the protocol."""
    ended: bool = False
    """An answer came that the user can be shown."""
    outcome: Outcome = "wrong"
    detail: str = "still calling tools"


async def _converse(client: Client, case: Mapping[str, Any], talk: _Talk, tools: Sequence[ToolDefinition]) -> None:
    for _ in range(MAX_ROUNDS):
        sent = [_sent(message) for message in talk.messages]
        reply = await client.chat(sent, tools=tools, max_tokens=MAX_TOKENS, temperature=0)
        if isinstance(reply, RequestFailure):
            talk.outcome, talk.detail = "request_failed", reply.reason
            return
        message = _assistant(reply.message)
        talk.messages.append(message)
        talk.num_turns += 1
        talk.num_thoughts += is_thought(message["reasoning"])
        try:
            calls = message_calls(message)
        except (ValueError, TypeError, KeyError, AttributeError) as error:  # not in the protocol's shape
            talk.num_unreadable += 1
            talk.outcome, talk.detail = "malformed", f"a call that cannot be read ({type(error).__name__}: {error})"
            return
        content = message["content"] or ""
        leak = _leak(content)
        if leak:
            talk.outcome, talk.detail = "malformed", leak
            return
        if not calls:
            talk.ended = True
            talk.outcome, talk.detail = _judged(case, talk.rounds, content)
            if reply.finish_reason == "length" and talk.outcome != "correct":
                talk.detail = f"cut off at {MAX_TOKENS} tokens; {talk.detail}"
            return
        talk.rounds.append(calls)
        talk.messages += _tool_messages(case, message, calls)


def _leak(content: str) -> str | None:
    """What of the format, which the server's parsers should take out, is in the text for the user; None if nothing is."""
    marker = next((marker for marker in MARKERS if marker in content), None)
    if marker:
        return f"{marker} in the content"
    first, _, _ = content.strip().partition("\n")
    return "the thought in the content" if is_thought(first) else None


def _judged(case: Mapping[str, Any], rounds: Sequence[Sequence[Call]], answer: str) -> tuple[Outcome, str]:
    if not same_rounds(rounds, expected_rounds(case)):
        return "wrong", f"calls differ from the reference: {_told(expected_rounds(case))}"
    missing = [text for text in case["answer_contains"] if text.casefold() not in answer.casefold()]
    if missing or not answer.strip():
        return "wrong", f"answer lacks {missing}" if missing else "empty answer"
    return "correct", ""


def expected_rounds(case: Mapping[str, Any]) -> list[tuple[Call, ...]]:
    """The reference's calls, one tuple per assistant turn that calls."""
    rounds = [message_calls(message) for message in case["messages"] if message["role"] == "assistant"]
    return [calls for calls in rounds if calls]


def is_compliant(case: Mapping[str, Any], rounds: Sequence[Sequence[Call]]) -> bool:
    """Whether tools are called exactly when the reference calls any, each one listed and given valid arguments."""
    if bool(rounds) != bool(expected_rounds(case)):
        return False
    return all(is_valid(case, call) for calls in rounds for call in calls)


def is_valid(case: Mapping[str, Any], call: Call) -> bool:
    """Whether a call is of a listed tool, with arguments that fit its schema."""
    tools = {tool["function"]["name"]: tool for tool in case["tools"]}
    return call.name in tools and schema_problem(tools[call.name], call.arguments) is None


def same_rounds(ours: Sequence[Sequence[Call]], theirs: Sequence[Sequence[Call]]) -> bool:
    """Whether two sequences of rounds call the same, in any order within a round; 15 and 15.0 are the same."""
    return [_canonical(calls) for calls in ours] == [_canonical(calls) for calls in theirs]


def as_json(result: CaseResult) -> str:
    """One line of `cases.jsonl`."""
    return json.dumps(asdict(result))


def _result(case: Mapping[str, Any], talk: _Talk) -> CaseResult:
    expected, answered = expected_rounds(case), talk.outcome not in NO_ANSWER
    calls = [call for calls in talk.rounds for call in calls]
    compliant = talk.ended and is_compliant(case, talk.rounds)
    right_tools = _names(talk.rounds) == _names(expected) and not talk.num_unreadable
    right_arguments = same_rounds(talk.rounds, expected)
    return CaseResult(
        id=case["id"],
        category=case["category"],
        scenario=case["scenario"],
        difficulty=case["difficulty"],
        outcome=talk.outcome,
        compliant=compliant if answered else None,
        expects_call=bool(expected),
        expects_question=_reference_thought(case).endswith(" is missing"),
        made_call=bool(calls) or talk.num_unreadable > 0,
        right_tools=right_tools if expected and answered else None,
        right_arguments=right_arguments if expected and answered and right_tools else None,
        num_calls=len(calls) + talk.num_unreadable if answered else 0,
        num_valid_calls=sum(is_valid(case, call) for call in calls) if answered else 0,
        num_turns=talk.num_turns,
        num_thoughts=talk.num_thoughts,
        detail=talk.detail,
        transcript=tuple(talk.messages),
    )


def _reference_thought(case: Mapping[str, Any]) -> str:
    """The thought of the reference's last turn."""
    thoughts = [message.get("reasoning_content") for message in case["messages"] if message["role"] == "assistant"]
    return (thoughts[-1] if thoughts else None) or ""


def _names(rounds: Sequence[Sequence[Call]]) -> list[list[str]]:
    return [sorted(call.name for call in calls) for calls in rounds]


def _told(rounds: Sequence[Sequence[Call]]) -> str:
    calls = [f"{call.name}({json.dumps(call.arguments, ensure_ascii=False)})" for calls in rounds for call in calls]
    return ", ".join(calls) or "no call"


def _assistant(message: Mapping[str, Any]) -> dict[str, Any]:
    """What the transcript keeps of an assistant message."""
    thought, content = message.get("reasoning") or message.get("reasoning_content"), message.get("content")
    kept = {"role": "assistant", "reasoning": thought if isinstance(thought, str) else None}
    kept["content"] = content if isinstance(content, str) else None
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
        {
            "role": "tool",
            "tool_call_id": item.get("id") or "",
            "content": execute_listed(case["tools"], case["tool_names"], call).text,
        }
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
