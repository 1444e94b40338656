"""How good the answers of an endpoint are: held-out conversations and the Berkeley leaderboard's questions, as shares."""

import asyncio
import json
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from aria_ray.artifacts import write_text
from aria_ray.config.schema import ValidationConfig
from aria_ray.errors import ServingError
from aria_ray.intervals import paired_difference, wilson_interval
from aria_ray.progress import OnProgress
from aria_ray.records import Endpoint
from aria_ray.results import Estimate, Gains, Quality
from aria_ray.validation.bfcl import questions as bfcl
from aria_ray.validation.client import RETRY_S, connect
from aria_ray.validation.conversations import MAX_TOKENS, NO_ANSWER, CaseResult, as_json, choose_cases, run_cases
from aria_ray.validation.references import is_request


def read_cases(dataset: Path, split: str, num_cases: int) -> list[Mapping[str, Any]]:
    """The cases of a split of the dataset's JSON lines, the same ones for every model; those of `read_requests` are others.

    A conversation with several requests is no case where there are others: what the second one is about depends on how the
    first was served. Where every conversation has several, the last request of each is one, after what came before it.
    """
    rows = [row for row in _rows(dataset, split) if not is_request(row)]
    single = [row for row in rows if sum(turn["role"] == "user" for turn in row["messages"]) == 1]
    return choose_cases(single or [last_request(row) for row in rows], num_cases)


def last_request(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row from its last request on. The key `context` has the messages before it, as a client sends them back."""
    start = max(index for index, message in enumerate(row["messages"]) if message["role"] == "user")
    before = [{key: value for key, value in each.items() if key != "reasoning_content"} for each in row["messages"][:start]]
    return {**row, "context": before, "messages": row["messages"][start:]}


def read_requests(dataset: Path) -> list[Mapping[str, Any]]:
    """The test rows of the dataset's JSON lines that are requests in people's words, all of them."""
    return [row for row in _rows(dataset, "test") if is_request(row)]


def _rows(dataset: Path, split: str) -> list[Mapping[str, Any]]:
    with dataset.open(encoding="utf-8") as lines:
        return [row for row in map(json.loads, lines) if row["split"] == split]


def answer_cases(
    config: ValidationConfig,
    endpoint: Endpoint,
    cases: Sequence[Mapping[str, Any]],
    out: Path,
    on_progress: OnProgress,
    max_tokens: int | None = MAX_TOKENS,
) -> list[CaseResult]:
    """Run held-out conversations against an endpoint; every transcript goes to `out` (JSON lines).

    `max_tokens` limits one assistant turn (`conversations.run_case`).

    Raises:
        ServingError: no request was answered.
    """
    done: list[CaseResult] = []

    def on_case(result: CaseResult) -> None:
        done.append(result)
        on_progress(len(done), len(cases), f"{sum(item.outcome == 'correct' for item in done)} right")

    async def ask() -> list[CaseResult]:
        async with connect(endpoint, config.request_timeout_s, config.concurrency, RETRY_S) as client:
            return await run_cases(
                client, cases, config.concurrency, on_case, strict=config.strict_tools, max_tokens=max_tokens
            )

    results = asyncio.run(ask())
    write_answers(results, out)
    if all(result.outcome == "request_failed" for result in results):
        raise ServingError(f"every request to {endpoint.base_url} failed: {results[0].detail}", f"see the transcripts in {out}")
    return results


def write_answers(results: Sequence[CaseResult], out: Path) -> None:
    """Write results with their transcripts as JSON lines."""
    write_text(out, "".join(as_json(result) + "\n" for result in results))


def answer_bfcl(config: ValidationConfig, endpoint: Endpoint, out: Path, on_progress: OnProgress) -> dict[str, Estimate]:
    """The Berkeley leaderboard's questions against an endpoint; every answer goes to `out` (JSON lines). Returns the shares."""
    questions = [each for category in bfcl.CATEGORIES for each in bfcl.read_questions(category, config.bfcl_cases)]
    done: list[bfcl.BfclResult] = []

    def on_case(result: bfcl.BfclResult) -> None:
        done.append(result)
        on_progress(len(done), len(questions), f"{sum(item.outcome == 'correct' for item in done)} right")

    async def ask() -> list[bfcl.BfclResult]:
        async with connect(endpoint, config.request_timeout_s, config.concurrency, RETRY_S) as client:
            return await bfcl.run_bfcl(client, questions, config.concurrency, on_case)

    results = asyncio.run(ask())
    write_text(out, "".join(bfcl.as_json(result) + "\n" for result in results))
    return bfcl.summarise(results)


def summarise(results: Sequence[CaseResult]) -> Quality:
    """Shares with 95 % intervals. Requests and checks that failed are no answers: they are counted, and judge no model."""
    shares: dict[str, list[bool]] = defaultdict(list)
    groups: dict[str, dict[str, list[bool]]] = {name: defaultdict(list) for name in ("category", "scenario", "difficulty")}
    for result in results:
        if result.outcome in NO_ANSWER:
            continue
        for name, values in _judgements(result).items():
            shares[name] += values
        for name, group in groups.items():
            group[str(getattr(result, name))].append(result.outcome == "correct")
    by_group = {name: {value: _share(right) for value, right in group.items()} for name, group in groups.items()}
    return Quality(
        outcomes=dict(Counter(result.outcome for result in results)),
        by_category=by_group["category"],
        by_scenario=by_group["scenario"],
        by_difficulty=by_group["difficulty"],
        **{name: _share(values) for name, values in shares.items() if values},
    )


def compare_models(ours: Sequence[CaseResult], base: Sequence[CaseResult]) -> Gains:
    """Differences of shares, ours less the base model's, with paired 95 % intervals over the cases that both answered."""
    theirs = {result.id: result for result in base if result.outcome not in NO_ANSWER}
    pairs = [(result, theirs[result.id]) for result in ours if result.outcome not in NO_ANSWER and result.id in theirs]
    gains = {}
    for name in Gains.model_fields:
        judged = [(_judgements(one)[name], _judgements(other)[name]) for one, other in pairs]
        both = [(one[0], other[0]) for one, other in judged if one and other]
        if both:
            value, low, high = paired_difference([one for one, _ in both], [other for _, other in both])
            gains[name] = Estimate(value=value, cases=len(both), interval=(low, high))
    return Gains(**gains)


def _judgements(result: CaseResult) -> dict[str, list[bool]]:
    """What one answered case says, by the field of `Quality` that it counts for."""
    right = result.outcome == "correct"
    return {
        "accuracy": [right],
        "tool_compliance": [bool(result.compliant)],
        "tool_selection": [] if result.right_tools is None else [result.right_tools],
        "argument_match": [] if result.right_arguments is None else [result.right_arguments],
        "schema_validity": [True] * result.num_valid_calls + [False] * (result.num_calls - result.num_valid_calls),
        "thinking_prefix": [True] * result.num_thoughts + [False] * (result.num_turns - result.num_thoughts),
        # An answer in the wrong format is no restraint.
        "irrelevance": [] if result.expects_call else [not result.made_call and result.outcome != "malformed"],
        "missing_value": [right] if result.expects_question else [],
    }


def _share(values: Sequence[bool]) -> Estimate:
    return Estimate(value=sum(values) / len(values), cases=len(values), interval=wilson_interval(sum(values), len(values)))
