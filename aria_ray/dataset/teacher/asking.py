"""The teacher is asked: answers come from the cache, else from the endpoint, which is not needed where all are cached.

The cache holds one file for each answer, named by the hash of what was asked: address, model, messages, parameters and index.
It is written as soon as the answer is there. So a run that is repeated makes the same bytes, and one that was cut off pays
only for what it does not have yet.
"""

import asyncio
import hashlib
import ipaddress
import json
import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx
import openai
from pydantic import BaseModel, Field, ValidationError

from aria_ray.artifacts import write_json
from aria_ray.config.schema import TeacherConfig
from aria_ray.dataset.teacher import failures
from aria_ray.errors import DataError
from aria_ray.grammar import Message
from aria_ray.records import Endpoint

TIMEOUT_S = 300.0
"""Seconds to wait for one answer."""
MAX_RETRIES = 6
"""Further attempts at a request that the endpoint could not take (429, 5xx, no connection). The client library waits 0.5 s
before the first and up to 8 s before the last, or as long as the endpoint says."""
NO_KEY = "EMPTY"
"""Sent where the endpoint asks for no key, because the client library refuses to send none (vLLM's convention)."""
MAY_BE_LEFT_OUT = ("response_format", "seed", "temperature", "max_tokens")
"""Parameters that some endpoints do not take. A refusal that names one of them has it left out of all later requests."""

OpenEndpoint = Callable[[], AbstractContextManager[Endpoint]]
OnAnswer = Callable[[int, int], None]


@dataclass(frozen=True)
class Question:
    """What the teacher is asked."""

    messages: Sequence[Message]
    parameters: Mapping[str, Any]
    """Further fields of the request's body."""
    index: int
    """Number among questions that are alike otherwise; their seed."""


class _Function(BaseModel):
    name: str
    arguments: Any = None


class _ToolCall(BaseModel):
    function: _Function


class _Message(BaseModel):
    content: Any = None
    tool_calls: tuple[_ToolCall, ...] | None = None


class _Choice(BaseModel):
    message: _Message
    finish_reason: str | None = None


class _Completion(BaseModel):
    choices: list[_Choice] = Field(min_length=1)


class Answer(BaseModel):
    """What the teacher said."""

    content: str = ""
    calls: tuple[tuple[str, str], ...] = ()
    """Name and arguments, as JSON text, of each tool call. Nothing says that the text is JSON."""
    cut_off: bool = False
    """Whether the answer reached its limit of tokens."""
    filtered: bool = False
    """Whether the endpoint's filter of contents refused the question."""


class Teacher:
    """A teacher and the cache of its answers. As a context manager it keeps the endpoint open between questions.

    `open_endpoint` gives the endpoint's address and key; it is entered when an answer is not in the cache.
    """

    def __init__(self, config: TeacherConfig, cache: Path, open_endpoint: OpenEndpoint) -> None:
        self._config, self._cache, self._open = config, cache, open_endpoint
        self._endpoint: Endpoint | None = None
        self._left_out: set[str] = set()
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool | None:
        return self._stack.__exit__(kind, error, traceback)

    def answers(self, questions: Sequence[Question], on_answer: OnAnswer | None = None) -> list[Answer]:
        """The answers in the order of the questions. `on_answer(done, total)` counts them.

        Raises:
            DataError: the endpoint does not answer, or refuses the key, the model or a question; or the cache is not writable.
        """
        found = {index: answer for index, question in enumerate(questions) if (answer := self._cached(question)) is not None}
        missing = [index for index in range(len(questions)) if index not in found]
        report = on_answer or (lambda _done, _total: None)
        report(len(found), len(questions))
        if missing:
            if self._endpoint is None:
                self._endpoint = self._stack.enter_context(self._open())

            def keep(index: int, answer: Answer) -> None:
                self._write(questions[index], answer)
                found[index] = answer
                report(len(found), len(questions))

            asyncio.run(self._ask_all({index: questions[index] for index in missing}, keep, self._endpoint))
        return [found[index] for index in range(len(questions))]

    async def _ask_all(
        self, questions: Mapping[int, Question], keep: Callable[[int, Answer], None], endpoint: Endpoint
    ) -> None:
        places = asyncio.Semaphore(self._config.concurrency)

        async def one(client: openai.AsyncOpenAI, index: int, question: Question) -> None:
            async with places:
                keep(index, await self._ask(client, question, endpoint))

        try:
            async with _client(endpoint) as client, asyncio.TaskGroup() as group:
                for index, question in questions.items():
                    group.create_task(one(client, index, question))
        except ExceptionGroup as group_of_errors:
            ours, others = group_of_errors.split(DataError)
            if ours is None or others is not None:
                raise
            raise _first(ours) from None

    async def _ask(self, client: openai.AsyncOpenAI, question: Question, endpoint: Endpoint) -> Answer:
        body = {"model": endpoint.model, "messages": list(question.messages), "seed": question.index, **question.parameters}
        while True:
            sent = {name: value for name, value in body.items() if name not in self._left_out}
            try:
                answer = await client.chat.completions.with_raw_response.create(**sent)
                return _answer(_Completion.model_validate_json(answer.http_response.content))
            except (openai.BadRequestError, openai.UnprocessableEntityError) as error:
                if error.code == "content_filter":
                    return Answer(filtered=True)
                told = error.response.text.replace("json_schema", "response_format")
                named = [name for name in MAY_BE_LEFT_OUT if name in sent and name in told]
                if not named:
                    raise failures.refused(self._config, error) from None
                self._left_out |= set(named)
            except openai.APIError as error:
                raise failures.failed(self._config, error) from None
            except ValidationError:
                raise failures.not_openai(self._config) from None

    def _cached(self, question: Question) -> Answer | None:
        """The answer in the cache; None where there is none, or its file is not whole."""
        try:
            return _Kept.model_validate_json(self._path(question).read_bytes()).answer
        except (FileNotFoundError, ValidationError):
            return None
        except OSError as error:
            raise failures.cache(self._cache, error) from None

    def _write(self, question: Question, answer: Answer) -> None:
        path = self._path(question)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_json(path, {"asked": list(question.messages), "answer": answer.model_dump(mode="json")})
        except OSError as error:
            raise failures.cache(self._cache, error) from None

    def _path(self, question: Question) -> Path:
        text = json.dumps(self._asked(question), sort_keys=True, ensure_ascii=False)
        name = hashlib.sha256(text.encode()).hexdigest()
        return self._cache / name[:2] / f"{name}.json"

    def _asked(self, question: Question) -> dict[str, Any]:
        return {
            "teacher": [self._config.base_url, self._config.model, self._config.source],
            "messages": list(question.messages),
            "parameters": dict(question.parameters),
            "index": question.index,
        }


class _Kept(BaseModel):
    answer: Answer


def _answer(completion: _Completion) -> Answer:
    choice = completion.choices[0]
    calls = tuple((call.function.name, _text(call.function.arguments)) for call in choice.message.tool_calls or ())
    content = choice.message.content if isinstance(choice.message.content, str) else ""
    filtered = choice.finish_reason == "content_filter"
    return Answer(content=content, calls=calls, cut_off=choice.finish_reason == "length", filtered=filtered)


def _text(arguments: Any) -> str:
    """Arguments as JSON text. Some endpoints send an object, or nothing for a tool without parameters."""
    return arguments or "{}" if isinstance(arguments, str) else json.dumps(arguments or {})


def _client(endpoint: Endpoint) -> openai.AsyncOpenAI:
    """A client that takes neither key, account nor address from the environment, and proxies only for other machines."""
    for name in ("httpx", "httpx2"):  # openai 3.54 uses the second; once Ray logs, each answer would be a line on the terminal
        logging.getLogger(name).setLevel(logging.WARNING)
    unsent: Any = dict.fromkeys(("OpenAI-Organization", "OpenAI-Project"), openai.Omit())
    return openai.AsyncOpenAI(
        base_url=endpoint.base_url,
        api_key=endpoint.api_key.get_secret_value() if endpoint.api_key else NO_KEY,
        default_headers=unsent,
        timeout=TIMEOUT_S,
        max_retries=MAX_RETRIES,
        http_client=openai.DefaultAsyncHttpxClient(trust_env=not _is_here(endpoint.base_url), timeout=TIMEOUT_S),
    )


def _is_here(base_url: str) -> bool:
    host = httpx.URL(base_url).host
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _first(group: ExceptionGroup[DataError]) -> DataError:
    first = group.exceptions[0]
    return _first(first) if isinstance(first, ExceptionGroup) else first
