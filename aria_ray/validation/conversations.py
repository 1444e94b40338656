"""Held-out conversations on the live endpoint: the tools that the model calls are executed, and each conversation is scored."""

import asyncio
import json
import logging
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from aria_ray.grammar import MARKERS, Call, ToolDefinition, answer_message, is_thought, message_calls, tool_call_message
from aria_ray.tools import execute_listed
from aria_ray.validation.client import Client, RequestFailure
from aria_ray.validation.references import (
    calls_in_words,
    expected_rounds,
    is_compliant,
    is_request,
    is_valid,
    missing_value,
    same_rounds,
)

Outcome = Literal["correct", "wrong", "malformed", "request_failed", "check_failed"]
"""Result of a conversation. The last two are no answers, because the service or the check failed; they are counted apart."""

NO_ANSWER = ("request_failed", "check_failed")
"""Outcomes that say nothing about the model."""

MAX_ROUNDS = 4
"""Most assistant turns of a conversation; the longest reference has three."""
MAX_TOKENS = 160
"""Token limit of one assistant turn. The longest reference turn in the laptop dataset has 119."""


logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class CaseResult:
    """Score of one conversation."""

    id: str
    category: str
    scenario: str
    difficulty: int
    outcome: Outcome
    compliant: bool | None
    """Whether tools are called exactly when the reference calls any, all listed, with valid arguments; None if unanswered."""
    expects_call: bool
    expects_question: bool
    """Whether the request lacks a value that has no default, so that the assistant has to ask for it."""
    made_call: bool
    right_tools: bool | None
    """Whether the reference's tools were called, turn by turn, with any arguments; None if it calls none, or if unanswered."""
    right_arguments: bool | None
    """Whether their arguments are the reference's too; None where the tools are wrong."""
    num_calls: int
    num_valid_calls: int
    """Number of calls of a listed tool whose arguments fit its schema. A call that cannot be parsed is not one."""
    num_turns: int
    num_thoughts: int
    """Number of assistant turns whose thought has the required form."""
    detail: str
    """Reason for the outcome; empty where it is correct."""
    transcript: tuple[dict[str, Any], ...]


def choose_cases(rows: Sequence[Mapping[str, Any]], num_cases: int, seed: int = 0) -> list[Mapping[str, Any]]:
    """A random sample of `num_cases` rows, the same for every model; all rows where there are fewer."""
    ordered = sorted(rows, key=lambda row: row["id"])
    return random.Random(seed).sample(ordered, min(num_cases, len(ordered)))


async def run_cases(
    client: Client,
    cases: Sequence[Mapping[str, Any]],
    concurrency: int,
    on_case: Callable[[CaseResult], None],
    *,
    strict: bool,
    max_tokens: int | None = MAX_TOKENS,
) -> list[CaseResult]:
    """Run every case, `concurrency` at a time; results are in the order of `cases`, and `on_case` gets each as it arrives.

    Decoding is greedy, so the same weights give the same answers. `strict` and `max_tokens` are those of `run_case`.
    """
    free = asyncio.Semaphore(concurrency)

    async def one(case: Mapping[str, Any]) -> CaseResult:
        async with free:
            result = await run_case(client, case, strict=strict, max_tokens=max_tokens)
        on_case(result)
        return result

    return list(await asyncio.gather(*(one(case) for case in cases)))


async def run_case(client: Client, case: Mapping[str, Any], *, strict: bool, max_tokens: int | None = MAX_TOKENS) -> CaseResult:
    """Send one row's question, execute the calls of each reply, and score the whole conversation.

    `strict` sets OpenAI's `strict` on every tool: vLLM then decodes only calls that fit the schema of a listed tool.
    `max_tokens` is the limit of one assistant turn, None for the endpoint's own. For a request in people's words, whose call
    may be long, the characters of the reference's calls are added.
    """
    conversation = _Conversation(_asked(case))
    options: dict[str, Any] = {
        "tools": [_strict(tool) for tool in case["tools"]] if strict else case["tools"],
        "temperature": 0,
    }
    if max_tokens is not None:
        options["max_tokens"] = max_tokens + (len(calls_in_words(expected_rounds(case))) if is_request(case) else 0)
    try:
        await _converse(client, case, conversation, options)
        return _result(case, conversation)
    except Exception as error:  # a crash of our check must not count against the model, nor end the other cases
        logger.warning("the check of case %s crashed", case["id"], exc_info=error)
        conversation.outcome, conversation.ended, conversation.detail = (
            "check_failed",
            False,
            f"{type(error).__name__}: {error}",
        )
        return _result(case, conversation)


def judge_calls(case: Mapping[str, Any], calls: Sequence[Call], answer: str) -> CaseResult:
    """Score of an assistant that makes these calls and no others; where there are none, it says `answer`."""
    said = tool_call_message("", calls) if calls else answer_message("", answer)
    conversation = _Conversation([*_asked(case), said], rounds=[calls] if calls else [], num_turns=1, ended=True)
    conversation.outcome, conversation.detail = _judge(case, conversation.rounds, answer)
    return _result(case, conversation)


@dataclass
class _Conversation:
    """State of a conversation, and its outcome so far."""

    messages: list[dict[str, Any]]
    rounds: list[Sequence[Call]] = field(default_factory=list)
    num_turns: int = 0
    num_thoughts: int = 0
    num_unreadable: int = 0
    """Number of calls that break the protocol."""
    ended: bool = False
    """Whether an answer for the user arrived."""
    outcome: Outcome = "wrong"
    detail: str = "still calling tools"


def _asked(case: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [*case.get("context", ()), *(message for message in case["messages"] if message["role"] in ("system", "user"))]


async def _converse(client: Client, case: Mapping[str, Any], conversation: _Conversation, options: Mapping[str, Any]) -> None:
    for _ in range(MAX_ROUNDS):
        sent = [_without_thought(message) for message in conversation.messages]
        reply = await client.chat(sent, **options)
        if isinstance(reply, RequestFailure):
            conversation.outcome, conversation.detail = "request_failed", reply.reason
            return
        message = _transcript_message(reply.message)
        conversation.messages.append(message)
        conversation.num_turns += 1
        conversation.num_thoughts += is_thought(message["reasoning"])
        try:
            calls = message_calls(message)
        except ValueError as error:  # the message breaks the protocol
            conversation.num_unreadable += 1
            conversation.outcome, conversation.detail = (
                "malformed",
                f"a call that cannot be read ({type(error).__name__}: {error})",
            )
            return
        content = message["content"] or ""
        leak = _leak(content)
        if leak:
            conversation.outcome, conversation.detail = "malformed", leak
            return
        if not calls:
            conversation.ended = True
            conversation.outcome, conversation.detail = _judge(case, conversation.rounds, content)
            if reply.finish_reason == "length" and conversation.outcome != "correct":
                limit = f"{options['max_tokens']} tokens" if "max_tokens" in options else "the endpoint's limit"
                conversation.detail = f"cut off at {limit}; {conversation.detail}"
            return
        conversation.rounds.append(calls)
        conversation.messages += _tool_messages(case, message, conversation.rounds)


def _leak(content: str) -> str | None:
    """The part of our format that the server's parsers left in the text for the user; None if there is none."""
    marker = next((marker for marker in MARKERS if marker in content), None)
    if marker:
        return f"{marker} in the content"
    first, _, _ = content.strip().partition("\n")
    return "the thought in the content" if is_thought(first) else None


def _judge(case: Mapping[str, Any], rounds: Sequence[Sequence[Call]], answer: str) -> tuple[Outcome, str]:
    if not same_rounds(rounds, expected_rounds(case), case["tools"]):
        return "wrong", f"calls differ from the reference: {calls_in_words(expected_rounds(case))}"
    if is_request(case):
        return ("correct", "") if rounds or answer.strip() else ("wrong", "empty answer")
    missing = [text for text in case["answer_contains"] if text.casefold() not in answer.casefold()]
    if missing or not answer.strip():
        return "wrong", f"answer lacks {missing}" if missing else "empty answer"
    return "correct", ""


def as_json(result: CaseResult) -> str:
    """A result as one line of `cases.jsonl`."""
    return json.dumps(asdict(result))


def _result(case: Mapping[str, Any], conversation: _Conversation) -> CaseResult:
    expected, answered = expected_rounds(case), conversation.outcome not in NO_ANSWER
    calls = [call for calls in conversation.rounds for call in calls]
    compliant = conversation.ended and is_compliant(case, conversation.rounds)
    right_tools = _tool_names(conversation.rounds) == _tool_names(expected) and not conversation.num_unreadable
    right_arguments = same_rounds(conversation.rounds, expected, case["tools"])
    return CaseResult(
        id=case["id"],
        category=case["category"],
        scenario=case["scenario"],
        difficulty=case["difficulty"],
        outcome=conversation.outcome,
        compliant=compliant if answered else None,
        expects_call=bool(expected),
        expects_question=missing_value(case) is not None,
        made_call=bool(calls) or conversation.num_unreadable > 0,
        right_tools=right_tools if expected and answered else None,
        right_arguments=right_arguments if expected and answered and right_tools else None,
        num_calls=len(calls) + conversation.num_unreadable if answered else 0,
        num_valid_calls=sum(is_valid(case, call) for call in calls) if answered else 0,
        num_turns=conversation.num_turns,
        num_thoughts=conversation.num_thoughts,
        detail=conversation.detail,
        transcript=tuple(conversation.messages),
    )


def _tool_names(rounds: Sequence[Sequence[Call]]) -> list[list[str]]:
    return [sorted(call.name for call in calls) for calls in rounds]


def _transcript_message(message: Mapping[str, Any]) -> dict[str, Any]:
    """An assistant message as the transcript keeps it: thought, content and tool calls."""
    thought, content = message.get("reasoning") or message.get("reasoning_content"), message.get("content")
    kept = {"role": "assistant", "reasoning": thought if isinstance(thought, str) else None}
    kept["content"] = content if isinstance(content, str) else None
    if message.get("tool_calls"):
        kept["tool_calls"] = message["tool_calls"]
    return kept


def _strict(tool: ToolDefinition) -> ToolDefinition:
    return {**tool, "function": {**tool["function"], "strict": True}}


def _without_thought(message: Mapping[str, Any]) -> dict[str, Any]:
    """A message as clients of the protocol send it back: without the thought."""
    return {key: value for key, value in message.items() if key != "reasoning"}


def _tool_messages(
    case: Mapping[str, Any], message: Mapping[str, Any], rounds: Sequence[Sequence[Call]]
) -> list[dict[str, Any]]:
    """The results of the last round's calls. A call made again gets the next of its recorded results."""
    made = [call for calls in rounds for call in calls]
    start = len(made) - len(rounds[-1])
    return [
        {
            "role": "tool",
            "tool_call_id": item.get("id") or "",
            "content": execute_listed(case["tools"], case["tool_names"], call, made[:index].count(call)).text,
        }
        for index, (item, call) in enumerate(zip(message["tool_calls"], rounds[-1], strict=True), start)
    ]
