"""A small client of the OpenAI chat protocol that measures times. It works with any compatible endpoint.

A request that fails is a value, never an exception; the caller decides what it means. A bug of ours is an exception, never a
failed request. A request is sent again if it could not be sent, or if the server could not take it (429, 502, 503, 504, a 500
of a proxy), for `RETRY_S` at most and only before any part of an answer: a replica that dies is replaced in that time. Times
run from the first attempt, so a late answer counts as late.

Two fields of a streamed request are vLLM's own: `ignore_eos`, and `continuous_usage_stats` in the stream options. An endpoint
that refuses a request with them gets it and all later ones without, and the timing names the fields that were left out.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import httpx
from pydantic import ValidationError

from aria_ray.records import Endpoint
from aria_ray.validation.protocol import ChatCompletion, Chunk, NotJson, first_problem, parse_json

RETRY_S = 120.0
"""Seconds for which a request is tried again. A CPU engine needs 30 to 60 s to be replaced."""
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.5, 8.0
_UNAVAILABLE = (429, 502, 503, 504)
_NOT_UNDERSTOOD = (400, 422)
"""HTTP statuses with which servers refuse a field that they do not know."""
_UNSENT = (httpx.HTTPError, UnicodeEncodeError)
"""Errors of a request on its way. UnicodeEncodeError: a lone surrogate in a message, which a model may have written."""
_NO_USAGE = (
    "the endpoint does not say how many tokens it made: it must report `usage` at the end of a stream, as OpenAI's "
    "stream_options.include_usage asks for"
)


@dataclass(frozen=True)
class Reply:
    """One assistant message, as `choices[0].message`."""

    message: dict[str, Any]
    retries: int = 0
    finish_reason: str | None = None
    """Why the answer ended, as the server names it: "length" for one that was cut off."""


@dataclass(frozen=True)
class StreamTiming:
    """One streamed completion.

    Times are in seconds of `time.perf_counter`, which is CLOCK_MONOTONIC on Linux: one clock for all processes of a machine, so
    timings of several client processes can be compared.
    """

    started_s: float
    """Time when the request was first sent, or was due if a busy client sent it late."""
    first_token_s: float
    """Time of the first chunk with text, thought or a call."""
    ended_s: float
    """Time of the event [DONE]."""
    completion_tokens: int
    """Tokens as the server counts them, so tool and reasoning parsers do not change the number."""
    arrivals: tuple[tuple[float, int], ...]
    """(time, completion tokens so far) for each chunk with a count. For a server that counts only at the end, an estimate:
    its total, spread evenly over the chunks with output."""
    prompt_tokens: int | None = None
    """Tokens as the server counts them; None if it does not."""
    first_call_s: float | None = None
    """Time of the first chunk with a tool call; None for an answer without one."""
    retries: int = 0
    left_out: tuple[str, ...] = ()
    """Fields that the request was sent without, because the endpoint refused them."""
    blank: bool = False
    """Whether no chunk had output. An answer forced to its length may consist of control tokens, which servers do not show. Its
    times are then those of the server's counts; of a server that counts only at the end, the first token is at the end."""

    @property
    def ttft_s(self) -> float:
        """Time to first token: from the start to the first chunk with content, reasoning or a call.

        A chunk with only the role does not count, as in aiperf. `vllm bench serve` counts it. vLLM sends that chunk with the
        first token, so the two agree there; a server that sends it at once would be timed before it has done any work.
        """
        return self.first_token_s - self.started_s

    @property
    def time_to_first_call_s(self) -> float | None:
        """Time from the start to the first chunk with a tool call; None for an answer without one."""
        return None if self.first_call_s is None else self.first_call_s - self.started_s

    @property
    def tpot_s(self) -> float | None:
        """Time per output token after the first: (end - first token) / (tokens - tokens of the first chunk).

        The first chunk usually has one token; then this equals the figure of `vllm bench serve`. It may have more, if several
        were accepted at once or a parser held the first ones back. Those were there when this clock started, so they are not
        divided by. None if nothing came after the first chunk, so a parser that emits a whole call at once does not look fast.
        """
        later_tokens = self.completion_tokens - self.first_chunk_tokens
        return (self.ended_s - self.first_token_s) / later_tokens if later_tokens > 0 else None

    @property
    def first_chunk_tokens(self) -> int:
        """Number of tokens up to the first chunk with output, hidden ones included; at least 1."""
        return max(1, next((tokens for moment, tokens in self.arrivals if moment >= self.first_token_s), 1))

    @property
    def e2e_s(self) -> float:
        """Time from the start to the end of the stream."""
        return self.ended_s - self.started_s


@dataclass(frozen=True)
class RequestFailure:
    """A request without a complete answer, and the reason. Times are on the clock of `StreamTiming`."""

    reason: str
    may_retry: bool = False
    """Whether another try may help. False once any part of an answer has come."""
    status: int | None = None
    """The HTTP status, if that was the reason."""
    started_s: float | None = None
    ended_s: float | None = None
    retries: int = 0


Answer = TypeVar("Answer", Reply, StreamTiming)


class Client:
    """A client of one model of one endpoint. A request is tried again for `retry_s` seconds at most."""

    def __init__(self, http: httpx.AsyncClient, model: str, retry_s: float = RETRY_S) -> None:
        self.http, self.model, self.retry_s = http, model, retry_s
        self.takes_extensions = True
        """Whether vLLM's fields are sent. False once the endpoint has refused them and accepted a request without."""

    async def chat(self, messages: list[dict[str, Any]], **options: Any) -> Reply | RequestFailure:
        """One answer, not streamed. `options` go into the request body: tools, max_tokens, ..."""
        body = {"model": self.model, "messages": messages, **options}
        return await self._retried(lambda _started_s: self._chat(body))

    async def stream(
        self, messages: list[dict[str, Any]], *, started_s: float | None = None, **options: Any
    ) -> StreamTiming | RequestFailure:
        """One answer, streamed and timed. Fails unless the stream ends with [DONE] and has a count of tokens.

        `started_s` is the time when the request was due, if that is not now; `options` are as for `chat`.
        """
        usage = {"include_usage": True, "continuous_usage_stats": True}
        body = {"model": self.model, "messages": messages, "stream": True, "stream_options": usage, **options}
        if self.takes_extensions:
            answer = await self._retried(lambda start_s: self._stream(body, start_s), started_s)
            if not isinstance(answer, RequestFailure) or answer.status not in _NOT_UNDERSTOOD:
                return answer
        plain = {name: value for name, value in body.items() if name != "ignore_eos"}
        plain["stream_options"] = {"include_usage": True}
        answer = await self._retried(lambda start_s: self._stream(plain, start_s), started_s)
        if isinstance(answer, RequestFailure):
            return answer
        self.takes_extensions = False
        return replace(answer, left_out=(*(body.keys() - plain.keys()), "continuous_usage_stats"))

    async def _retried(
        self, attempt: Callable[[float], Awaitable[Answer | RequestFailure]], started_s: float | None = None
    ) -> Answer | RequestFailure:
        started_s = time.perf_counter() if started_s is None else started_s
        give_up_s = time.perf_counter() + self.retry_s
        pause_s, retries = _FIRST_PAUSE_S, 0
        while True:
            answer = await attempt(started_s)
            if not isinstance(answer, RequestFailure):
                return replace(answer, retries=retries)
            if not answer.may_retry or time.perf_counter() + pause_s > give_up_s:
                return replace(answer, started_s=started_s, ended_s=time.perf_counter(), retries=retries)
            await asyncio.sleep(pause_s)
            pause_s, retries = min(2 * pause_s, _LONGEST_PAUSE_S), retries + 1

    async def _chat(self, body: dict[str, Any]) -> Reply | RequestFailure:
        try:
            response = await self.http.post("chat/completions", json=body)
        except _UNSENT as error:
            return _failure(error)
        if response.status_code != httpx.codes.OK:
            return _refusal(response.status_code, response.content)
        try:
            answer = ChatCompletion.model_validate(parse_json(response.content))
        except NotJson as error:
            return RequestFailure(f"not a chat completion ({error}): {response.text[:200]}")
        except ValidationError as error:
            return RequestFailure(f"not a chat completion ({first_problem(error)}): {response.text[:200]}")
        return Reply(answer.choices[0].message, finish_reason=answer.choices[0].finish_reason)

    async def _stream(self, body: dict[str, Any], started_s: float) -> StreamTiming | RequestFailure:
        received = _Received(started_s, is_forced=bool(body.get("ignore_eos")))
        try:
            async with self.http.stream("POST", "chat/completions", json=body) as response:
                if response.status_code != httpx.codes.OK:
                    return _refusal(response.status_code, await response.aread())
                async for line in response.aiter_lines():
                    if line.startswith("data:"):
                        received.event(line.removeprefix("data:").strip())
        except _ErrorEvent as error:
            return RequestFailure(f"error in stream: {error}", may_retry=error.may_retry and not received.has_output)
        except NotJson as error:
            return RequestFailure(f"not a chunk of a chat completion ({error})")
        except ValidationError as error:
            return RequestFailure(f"not a chunk of a chat completion ({first_problem(error)})")
        except _UNSENT as error:
            failure = _failure(error)
            return replace(failure, may_retry=failure.may_retry and not received.has_output)
        return received.result()


class _ErrorEvent(Exception):
    """An event that reports the failure of a stream. `may_retry` is false if the request was the reason."""

    def __init__(self, error: Any) -> None:
        super().__init__(str(error))
        code = error.get("code") if isinstance(error, dict) else None
        self.may_retry = code in ("engine_lost", *_UNAVAILABLE, httpx.codes.INTERNAL_SERVER_ERROR)


class _Received:
    """What has come of a stream so far."""

    def __init__(self, started_s: float, is_forced: bool) -> None:
        self.started_s, self.is_forced = started_s, is_forced
        self.outputs: list[float] = []
        """Time of each chunk with output."""
        self.counts: list[tuple[float, int]] = []
        """(time, completion tokens so far), as the server counts."""
        self.first_call_s: float | None = None
        self.ended_s: float | None = None
        self.prompt_tokens: int | None = None

    def event(self, data: str) -> None:
        """Take in the data of one server-sent event.

        Raises:
            NotJson, ValidationError: it is no chunk of a chat completion.
            _ErrorEvent: the server says that the stream failed.
        """
        now = time.perf_counter()
        if data == "[DONE]":
            self.ended_s = now
            return
        chunk = Chunk.model_validate(parse_json(data))
        if chunk.error:
            raise _ErrorEvent(chunk.error)
        if chunk.has_output:
            self.outputs.append(now)
        if chunk.has_call and self.first_call_s is None:
            self.first_call_s = now
        if chunk.usage.completion_tokens is not None:
            self.counts.append((now, chunk.usage.completion_tokens))
            self.prompt_tokens = chunk.usage.prompt_tokens

    @property
    def has_output(self) -> bool:
        """Whether any part of an answer has come."""
        return bool(self.outputs)

    def result(self) -> StreamTiming | RequestFailure:
        """The timing of a complete stream, else the reason why it is not complete."""
        tokens = self.counts[-1][1] if self.counts else 0
        if self.ended_s is None:
            return RequestFailure(f"stream ended early, after {tokens} tokens: no [DONE]", may_retry=not self.has_output)
        counted = [moment for moment, so_far in self.counts if so_far > 0]
        blank = self.is_forced and not self.has_output and bool(counted)
        if not (self.has_output or blank):
            return RequestFailure(f"an answer of {tokens} tokens without content, reasoning or a call")
        if tokens == 0:
            return RequestFailure(_NO_USAGE)
        return StreamTiming(
            started_s=self.started_s,
            first_token_s=counted[0] if blank else self.outputs[0],
            ended_s=self.ended_s,
            completion_tokens=tokens,
            arrivals=tuple(self.counts if blank else self._arrivals(tokens)),
            prompt_tokens=self.prompt_tokens,
            first_call_s=self.first_call_s,
            blank=blank,
        )

    def _arrivals(self, tokens: int) -> list[tuple[float, int]]:
        """The server's counts if it counts in every chunk, so also in the first one with output; else the estimate."""
        if any(moment == self.outputs[0] for moment, _ in self.counts):
            return self.counts
        each = tokens / len(self.outputs)
        return [(moment, round(number * each)) for number, moment in enumerate(self.outputs, start=1)]


@asynccontextmanager
async def connect(
    endpoint: Endpoint, timeout_s: float, max_connections: int | None, retry_s: float = RETRY_S
) -> AsyncIterator[Client]:
    """A client of an endpoint. A try of a request fails after `timeout_s` seconds in which nothing came.

    `max_connections` limits the requests in flight (None: no limit); further ones wait.
    """
    limits = httpx.Limits(max_connections=max_connections)
    # The address is the endpoint's own, so proxy settings in the environment must not apply.
    async with httpx.AsyncClient(
        base_url=endpoint.base_url, timeout=timeout_s, limits=limits, trust_env=False, headers=endpoint.headers
    ) as http:
        yield Client(http, endpoint.model, retry_s)


def _refusal(status: int, content: bytes) -> RequestFailure:
    """The failure for an HTTP status. A 500 without OpenAI's error object comes from a proxy that lost its server."""
    text = content.decode("utf-8", errors="replace")
    from_proxy = status == httpx.codes.INTERNAL_SERVER_ERROR and '"error"' not in text
    may_retry = from_proxy or status in _UNAVAILABLE
    return RequestFailure(f"HTTP {status}: {text[:200]}", may_retry=may_retry, status=status)


def _failure(error: Exception) -> RequestFailure:
    """The failure for an error on the way. After a timeout while waiting for an answer there is no second try."""
    lost = isinstance(error, httpx.TransportError) and not isinstance(error, httpx.TimeoutException)
    return RequestFailure(f"{type(error).__name__}: {error}", may_retry=lost or isinstance(error, httpx.ConnectTimeout))
