"""Requests in people's words: shares of right calls, and what a model has to beat on the same requests."""

import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import zip_longest
from typing import Any

from aria_ray.grammar import Call, message_calls
from aria_ray.intervals import clustered_wilson_interval, paired_difference
from aria_ray.records import WrongKind, WrongRequest
from aria_ray.results import Estimate, RequestQuality, YourRequests
from aria_ray.validation.baselines import DECLINES, keyword_call, words
from aria_ray.validation.conversations import NO_ANSWER, CaseResult, judge_calls
from aria_ray.validation.references import calls_in_words, expected_rounds, missing_value

MAX_WRONG = 30
"""Most wrong answers that the report shows."""
Cases = Sequence[Mapping[str, Any]]


def keyword_answers(cases: Cases) -> list[CaseResult]:
    """How the keyword baseline does, which answers nothing but its call, or that it cannot help."""
    return [_keyword_answer(case) for case in cases]


def declining_answers(cases: Cases) -> list[CaseResult]:
    """How an assistant does that never calls a tool."""
    return [judge_calls(case, [], DECLINES) for case in cases]


def put_together(
    cases: Cases, ours: Sequence[CaseResult], base: Sequence[CaseResult] | None, keywords: Sequence[CaseResult]
) -> YourRequests:
    """Shares of this model, of the base model where it was asked, and of both controls, with paired differences."""
    declining = declining_answers(cases)
    wrong = wrong_requests(cases, ours)
    return YourRequests(
        ours=summarise(cases, ours),
        base=summarise(cases, base) if base else None,
        keywords=summarise(cases, keywords),
        declining=summarise(cases, declining),
        over_base=difference(cases, ours, base) if base else None,
        over_keywords=difference(cases, ours, keywords),
        over_declining=difference(cases, ours, declining),
        num_wrong=dict(Counter(each.kind for each in wrong)),
        wrong=tuple(wrong[:MAX_WRONG]),
    )


def summarise(cases: Cases, results: Sequence[CaseResult]) -> RequestQuality:
    """Shares with 95 % intervals in which each example request counts once (`intervals.clustered_wilson_interval`)."""
    values: dict[str, list[bool]] = defaultdict(list)
    families: dict[str, list[str]] = defaultdict(list)
    for case, result in zip(cases, results, strict=True):
        if result.outcome in NO_ANSWER:
            continue
        for name, value in _judgements(case, result).items():
            if value is not None:
                values[name].append(value)
                families[name].append(case["template_family"])
    shares = {
        name: Estimate(
            value=sum(right) / len(right), cases=len(right), interval=clustered_wilson_interval(right, families[name])
        )
        for name, right in values.items()
    }
    return RequestQuality(outcomes=dict(Counter(result.outcome for result in results)), **shares)


def difference(cases: Cases, ours: Sequence[CaseResult], other: Sequence[CaseResult]) -> Estimate | None:
    """Accuracy of ours less that of another, over the requests that both answered; None where there is none."""
    pairs = [
        (one.outcome == "correct", two.outcome == "correct", case["template_family"])
        for case, one, two in zip(cases, ours, other, strict=True)
        if one.outcome not in NO_ANSWER and two.outcome not in NO_ANSWER
    ]
    if not pairs:
        return None
    value, low, high = paired_difference(*([pair[column] for pair in pairs] for column in range(3)))
    return Estimate(value=value, cases=len(pairs), interval=(low, high))


def wrong_requests(cases: Cases, results: Sequence[CaseResult]) -> list[WrongRequest]:
    """The answers that were not right, one of each kind in turn, so that the first few show every kind."""
    kinds: dict[WrongKind, list[WrongRequest]] = defaultdict(list)
    for case, result in zip(cases, results, strict=True):
        if result.outcome in NO_ANSWER or result.outcome == "correct":
            continue
        wanted, rounds = expected_rounds(case), _calls_made(result)
        kind = _kind([call for calls in wanted for call in calls], rounds, result)
        got = calls_in_words(rounds) if rounds else _last_words(result) or _without_words(result)
        kinds[kind].append(
            WrongRequest(request=request_text(case), kind=kind, wanted=_wanted(case), got=_cut_off(result) + got)
        )
    return [wrong for turn in zip_longest(*kinds.values()) for wrong in turn if wrong is not None]


def request_text(case: Mapping[str, Any]) -> str:
    """What the person says."""
    return "\n".join(str(message["content"]) for message in case["messages"] if message["role"] == "user")


def _keyword_answer(case: Mapping[str, Any]) -> CaseResult:
    try:
        call = keyword_call(case["tools"], request_text(case))
        return judge_calls(case, [call] if call else [], DECLINES)
    except re.error as error:  # `pattern` in a schema is a regular expression of JavaScript, which Python may not take
        detail = f"a pattern of a tool cannot be checked ({error})"
        return replace(judge_calls(case, [], DECLINES), outcome="check_failed", compliant=None, detail=detail)


def _judgements(case: Mapping[str, Any], result: CaseResult) -> dict[str, bool | None]:
    """What one answered request says, by the field of `RequestQuality` that it counts for; None where it does not."""
    right = result.outcome == "correct"
    return {
        "accuracy": right,
        "calls": right if result.expects_call else None,
        "refusals": None if result.expects_call else right,
        "tool_selection": result.right_tools,
        "tool_compliance": result.compliant,
        "questions": _asks(case, result) if result.expects_question else None,
    }


def _asks(case: Mapping[str, Any], result: CaseResult) -> bool:
    """Whether the answer is a question, or has a word of what is missing; without a call."""
    answer = _last_words(result)
    named = set(words(missing_value(case) or "")) & set(words(answer))
    # U+FF1F is the question mark of Chinese and Japanese.
    return not result.made_call and (bool(named) or "?" in answer or "\uff1f" in answer)


def _kind(wanted: Sequence[Call], rounds: Sequence[Sequence[Call]], result: CaseResult) -> WrongKind:
    made = [call for calls in rounds for call in calls]
    if not made:
        return "no call" if wanted and result.outcome != "malformed" else "bad answer"
    if not wanted:
        return "needless call"
    if result.outcome == "malformed" and result.right_arguments:
        return "bad answer"
    ours, theirs = (Counter(call.name for call in calls) for calls in (made, wanted))
    if ours == theirs and len(rounds) == 1:
        return "other values"
    return "other number of calls" if ours.keys() == theirs.keys() or ours < theirs or theirs < ours else "other tool"


def _calls_made(result: CaseResult) -> list[tuple[Call, ...]]:
    """Calls of the transcript that can be read, one tuple per assistant turn that makes any."""
    rounds = []
    for message in result.transcript:
        try:
            calls = message_calls(message)
        except ValueError:  # counted as malformed where the conversation was judged
            continue
        rounds += [calls] if calls else []
    return rounds


def _last_words(result: CaseResult) -> str:
    contents = [message.get("content") for message in result.transcript if message["role"] == "assistant"]
    return str(contents[-1] or "").strip() if contents else ""


def _without_words(result: CaseResult) -> str:
    return result.detail if result.outcome == "malformed" else "an empty answer"


def _cut_off(result: CaseResult) -> str:
    """A note that the answer was cut off, empty if it was not."""
    note, _, _ = result.detail.partition("; ")
    return f"({note}) " if note.startswith("cut off") else ""


def _wanted(case: Mapping[str, Any]) -> str:
    missing = missing_value(case)
    return f"a question ({missing} is missing)" if missing else calls_in_words(expected_rounds(case))
