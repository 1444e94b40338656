"""Example requests from the teacher: ordered, written, checked, asked back. The same bytes from the same answers."""

import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

import httpx
import platformdirs
from pydantic import SecretStr

from aria_ray.config.schema import DatasetConfig, TeacherConfig
from aria_ray.dataset.teacher import prompts
from aria_ray.dataset.teacher.answers import written
from aria_ray.dataset.teacher.asking import Answer, OnAnswer, OpenEndpoint, Question, Teacher
from aria_ray.dataset.teacher.checks import Frames, Reason, Subject, asked_problem, seen_problem, sent_names
from aria_ray.dataset.teacher.orders import Desk, Order, Wanted
from aria_ray.errors import DataError
from aria_ray.grammar import ToolDefinition
from aria_ray.records import Endpoint
from aria_ray.requests.example import ExampleCall, ExampleRequest
from aria_ray.requests.understand import values_by_parameter
from aria_ray.tools import schema_problem

WRITING_TEMPERATURE, CHOOSING_TEMPERATURE = 1.0, 0.7
"""High where requests are to differ. Above 0 where the teacher is asked back, so that a doubtful request shows."""


@dataclass(frozen=True)
class Taught:
    """What came of the teacher's requests."""

    requests: tuple[ExampleRequest, ...]
    yields: Mapping[str, int]
    """Number of requests `asked_for`, `kept`, and refused by reason (`checks.Reason`). The refused ones and the kept ones are
    those asked for."""


@dataclass(frozen=True)
class _Candidate:
    wanted: Wanted
    request: str
    calls: tuple[ExampleCall, ...]


def teacher_cache() -> Path:
    """Where answers of teachers are kept for all runs of this user."""
    return platformdirs.user_cache_path("aria_ray") / "teacher"


def taught_requests(
    config: DatasetConfig,
    tools: Mapping[str, ToolDefinition],
    examples: Sequence[ExampleRequest],
    cache: Path,
    on_progress: OnAnswer | None = None,
    *,
    held_out: Sequence[ExampleRequest] = (),
    serve: OpenEndpoint | None = None,
) -> Taught:
    """Have `config.teacher` write requests for the tools, and keep those that prove right.

    `examples` are those to train on: the teacher sees some of them, and calls are drawn from their values. It never sees those
    `held_out`, and a request that is like one of them is refused. `cache` is a folder, which need not exist.
    `on_progress(done, total)` counts answers, first of the writing, then of the asking back. `serve` opens an endpoint of
    `config.teacher.source`.

    Raises:
        DataError: the endpoint does not answer or refuses; what it has answered stays in the cache.
    """
    if config.teacher is None:
        return Taught((), {})
    orders = Desk(tools, examples, values_by_parameter(examples), config.seed).orders(config.teacher.requests_per_tool)
    refused: Counter[str] = Counter()
    with Teacher(config.teacher, cache, _opener(config.teacher, serve)) as teacher:
        answers = teacher.answers(
            [_written_by(config.teacher, order, index) for index, order in enumerate(orders)], on_progress
        )
        found = [item for order, answer in zip(orders, answers, strict=True) for item in _found(order, answer, tools)]
        seen = list(_seen(found, tools, examples, held_out))
        refused.update(item for item in seen if isinstance(item, str))
        candidates = [item for item in seen if isinstance(item, _Candidate)]
        times = config.teacher.asked_back
        asked = [_chosen_by(config.teacher, one, index, tools) for one in candidates for index in range(times)]
        chosen = teacher.answers(asked, on_progress)
    reasons = _proved(candidates, [chosen[start : start + times] for start in range(0, len(chosen), times)], tools)
    refused.update(reason for reason in reasons if reason is not None)
    kept = [
        ExampleRequest(request=one.request, calls=one.calls)
        for one, reason in zip(candidates, reasons, strict=True)
        if reason is None
    ]
    yields = {"asked_for": sum(len(order.wanted) for order in orders), "kept": len(kept)}
    return Taught(tuple(kept), yields | {reason: refused[reason] for reason in sorted(refused)})


def _written_by(config: TeacherConfig, order: Order, index: int) -> Question:
    """The question that has an order written."""
    parameters = {
        "temperature": WRITING_TEMPERATURE,
        "max_tokens": config.max_tokens,
        "response_format": {"type": "json_schema", "json_schema": {"name": "requests", "schema": order.answer_schema}},
    }
    return Question(order.messages, parameters, index)


def _chosen_by(config: TeacherConfig, one: "_Candidate", index: int, tools: Mapping[str, ToolDefinition]) -> Question:
    """The question what is to be called for a request. It shows the request alone, and all tools."""
    messages = [{"role": "system", "content": prompts.CHOOSER}, {"role": "user", "content": one.request}]
    definitions = [
        definition | {"function": definition["function"] | {"name": name}}
        for definition, name in zip(tools.values(), sent_names(tools).values(), strict=True)
    ]
    parameters = {"temperature": CHOOSING_TEMPERATURE, "max_tokens": config.max_tokens, "tools": definitions}
    return Question(messages, parameters, index)


def _found(order: Order, answer: Answer, tools: Mapping[str, ToolDefinition]) -> Iterator["_Candidate | Reason"]:
    """What an answer has for each request of an order."""
    texts = written(answer.content, len(order.wanted))
    for number, wanted in enumerate(order.wanted):
        if number not in texts:
            yield "filtered" if answer.filtered else "cut_off" if answer.cut_off else "not_written" if texts else "no_json"
        elif wanted.calls is not None:
            yield _Candidate(wanted, texts[number].request, wanted.calls)
        else:
            arguments = texts[number].arguments
            if arguments is None or schema_problem(tools[wanted.tool], arguments) is not None:
                yield "wrong_arguments"
            else:
                yield _Candidate(wanted, texts[number].request, (ExampleCall(name=wanted.tool, arguments=dict(arguments)),))


def _seen(
    found: Sequence["_Candidate | Reason"],
    tools: Mapping[str, ToolDefinition],
    examples: Sequence[ExampleRequest],
    held_out: Sequence[ExampleRequest],
) -> Iterator["_Candidate | Reason"]:
    """Each request, or why it is refused at sight."""
    subject, frames = Subject.of(tools, examples), Frames()
    for example in (*examples, *held_out):
        frames.add(example.request, example.calls)
    for item in found:
        if isinstance(item, str):
            yield item
            continue
        reason = seen_problem(item.wanted, item.request, item.calls, subject)
        if reason is None and not frames.add(item.request, item.calls):
            reason = "near_duplicate"
        yield item if reason is None else reason


def _proved(
    candidates: Sequence["_Candidate"], chosen: Sequence[Sequence[Answer]], tools: Mapping[str, ToolDefinition]
) -> list[Reason | None]:
    """Why each request is refused by what the teacher chose for it; None where it chose right."""
    reasons = [asked_problem(one.calls, answers, tools) for one, answers in zip(candidates, chosen, strict=True)]
    if any(one.calls and reason is None for one, reason in zip(candidates, reasons, strict=True)):
        return reasons
    # Who never chooses a right call says nothing by choosing none.
    return [reason or "unproven" for reason in reasons]


def _opener(config: TeacherConfig, serve: OpenEndpoint | None) -> OpenEndpoint:
    """What opens the teacher's endpoint."""
    if config.base_url is None:
        if serve is None:
            raise DataError(
                f"dataset.teacher.source {config.source} has to be served, and nothing does so here",
                "give dataset.teacher a base_url and a model",
            )
        return serve
    return lambda: nullcontext(_endpoint(config, config.base_url or ""))


def _endpoint(config: TeacherConfig, base_url: str) -> Endpoint:
    """Address and key of a teacher that runs elsewhere."""
    try:
        httpx.URL(base_url)
    except httpx.InvalidURL as error:
        raise DataError(
            f"dataset.teacher.base_url {base_url!r} is no address ({error})", "give one as https://host/v1"
        ) from None
    key = os.environ.get(config.key_env, "") if config.key_env else ""
    if config.key_env and not key:
        raise DataError(f"dataset.teacher.key_env names {config.key_env}, which is not set", f"export {config.key_env}=KEY")
    if not (key.isascii() and key.isprintable()):
        raise DataError(f"the key in {config.key_env} cannot be sent", "it must be ASCII without line breaks")
    return Endpoint(base_url=base_url, model=config.model or "", api_key=SecretStr(key) if key else None)
