"""A small client of the OpenAI chat protocol that times what it sees. It works on any compatible endpoint.

A request that fails is a value, never an exception: what it means is for the caller to say. One that could not be sent, or that
the server could not take up (429, 502, 503, 504, a 500 of a proxy), is sent again while nothing of an answer has come, for
`RETRY_S` at most: a replica that dies is replaced in that time. What comes late counts as late: times run from the first
attempt.
"""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import httpx

from aria_ray.records import Endpoint

RETRY_S = 120.0
"""How long a request is tried again: an engine on a CPU needs 30 to 60 s to be replaced."""
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.5, 8.0
_UNAVAILABLE = (429, 502, 503, 504)


@dataclass(frozen=True)
class Reply:
    """One assistant message, as `choices[0].message`."""

    message: dict[str, Any]
    retries: int = 0


@dataclass(frozen=True)
class StreamTiming:
    """One streamed completion. Times are in seconds on this client's monotonic clock."""

    started_s: float
    first_token_s: float
    """When the first chunk came that carried text, thought or a call: time to first token is this less `started_s`."""
    ended_s: float
    completion_tokens: int
    """As counted by the server, so tool and reasoning parsing cannot bend it."""
    arrivals: tuple[tuple[float, int], ...]
    """(time, completion tokens so far) at each chunk that says so."""
    retries: int = 0


@dataclass(frozen=True)
class RequestFailure:
    """A request that gave no complete answer, and why."""

    reason: str
    may_retry: bool = False
    """Whether sending it again may help, and nothing of an answer had come."""


Answer = TypeVar("Answer", Reply, StreamTiming)


class Client:
    """One endpoint and one model; a request is tried again for `retry_s` seconds at most."""

    def __init__(self, http: httpx.AsyncClient, model: str, retry_s: float = RETRY_S) -> None:
        self.http, self.model, self.retry_s = http, model, retry_s

    async def chat(self, messages: list[dict[str, Any]], **options: Any) -> Reply | RequestFailure:
        """One answer, not streamed. `options` go into the request body: tools, max_tokens, ..."""
        body = {"model": self.model, "messages": messages, **options}
        return await self._retried(lambda _started_s: self._chat(body))

    async def stream(self, messages: list[dict[str, Any]], **options: Any) -> StreamTiming | RequestFailure:
        """One answer, streamed and timed. Fails unless the stream ends with [DONE] and says how many tokens it made."""
        usage = {"include_usage": True, "continuous_usage_stats": True}
        body = {"model": self.model, "messages": messages, "stream": True, "stream_options": usage, **options}
        return await self._retried(lambda started_s: self._stream(body, started_s))

    async def _retried(self, attempt: Callable[[float], Awaitable[Answer | RequestFailure]]) -> Answer | RequestFailure:
        started_s, pause_s, retries = time.perf_counter(), _FIRST_PAUSE_S, 0
        while True:
            answer = await attempt(started_s)
            if not isinstance(answer, RequestFailure):
                return replace(answer, retries=retries)
            if not answer.may_retry or time.perf_counter() + pause_s > started_s + self.retry_s:
                return answer
            await asyncio.sleep(pause_s)
            pause_s, retries = min(2 * pause_s, _LONGEST_PAUSE_S), retries + 1

    async def _chat(self, body: dict[str, Any]) -> Reply | RequestFailure:
        try:
            response = await self.http.post("chat/completions", json=body)
        except (httpx.HTTPError, UnicodeEncodeError) as error:
            return _failure(error)
        if response.status_code != httpx.codes.OK:
            return _refusal(response.status_code, response.content)
        try:
            answer = response.json()
            return Reply(answer["choices"][0]["message"])
        except (ValueError, KeyError, IndexError, TypeError) as error:
            return RequestFailure(f"not a chat completion ({type(error).__name__}): {response.text[:200]}")

    async def _stream(self, body: dict[str, Any], started_s: float) -> StreamTiming | RequestFailure:
        seen = _Seen(started_s)
        try:
            async with self.http.stream("POST", "chat/completions", json=body) as response:
                if response.status_code != httpx.codes.OK:
                    return _refusal(response.status_code, await response.aread())
                async for line in response.aiter_lines():
                    if line.startswith("data:"):
                        seen.event(line.removeprefix("data:").strip())
        except _ErrorEvent as error:
            return RequestFailure(f"error in stream: {error}", may_retry=error.may_retry and not seen.has_output)
        except (httpx.HTTPError, ValueError, KeyError, TypeError, AttributeError) as error:
            failure = _failure(error)
            return replace(failure, may_retry=failure.may_retry and not seen.has_output)
        return seen.result()


class _ErrorEvent(Exception):
    """An event of a stream that says that it goes no further; `may_retry` where that was not because of the request."""

    def __init__(self, error: Any) -> None:
        super().__init__(str(error))
        code = error.get("code") if isinstance(error, dict) else None
        self.may_retry = code in ("engine_lost", *_UNAVAILABLE, httpx.codes.INTERNAL_SERVER_ERROR)


class _Seen:
    """What a stream has shown so far."""

    def __init__(self, started_s: float) -> None:
        self.started_s = started_s
        self.first_token_s: float | None = None
        self.ended_s: float | None = None
        self.arrivals: list[tuple[float, int]] = []

    def event(self, data: str) -> None:
        """Take in one server-sent event. Raises ValueError for one that is not JSON, _ErrorEvent for an error in it."""
        now = time.perf_counter()
        if data == "[DONE]":
            self.ended_s = now
            return
        chunk = json.loads(data)
        if "error" in chunk:
            raise _ErrorEvent(chunk["error"])
        if self.first_token_s is None and _has_output(chunk):
            self.first_token_s = now
        if chunk.get("usage"):
            self.arrivals.append((now, chunk["usage"]["completion_tokens"]))

    @property
    def has_output(self) -> bool:
        """Whether anything of an answer came."""
        return self.first_token_s is not None

    def result(self) -> StreamTiming | RequestFailure:
        """The timing of a stream that ended as it should; else why it did not."""
        tokens = self.arrivals[-1][1] if self.arrivals else 0
        if self.ended_s is None or self.first_token_s is None or tokens == 0:
            reason = f"stream ended early (done: {self.ended_s is not None}, tokens: {tokens})"
            return RequestFailure(reason, may_retry=not self.has_output and self.ended_s is None)
        return StreamTiming(self.started_s, self.first_token_s, self.ended_s, tokens, tuple(self.arrivals))


@asynccontextmanager
async def connect(
    endpoint: Endpoint, timeout_s: float, max_connections: int, retry_s: float = RETRY_S
) -> AsyncIterator[Client]:
    """A client of an endpoint. An attempt of a request fails once nothing has come for `timeout_s`."""
    limits = httpx.Limits(max_connections=max_connections)
    # The endpoint's address is given outright: proxy settings of the environment must not come between.
    async with httpx.AsyncClient(
        base_url=endpoint.base_url, timeout=timeout_s, limits=limits, trust_env=False, headers=endpoint.headers
    ) as http:
        yield Client(http, endpoint.model, retry_s)


def _refusal(status: int, content: bytes) -> RequestFailure:
    """An answer that is none. A 500 without OpenAI's error object is a proxy's, whose server went away with the request."""
    text = content.decode("utf-8", errors="replace")
    from_proxy = status == httpx.codes.INTERNAL_SERVER_ERROR and '"error"' not in text
    return RequestFailure(f"HTTP {status}: {text[:200]}", may_retry=from_proxy or status in _UNAVAILABLE)


def _failure(error: Exception) -> RequestFailure:
    """What went wrong on the way; an answer that was waited for in vain is not asked for again."""
    lost = isinstance(error, httpx.TransportError) and not isinstance(error, httpx.TimeoutException)
    return RequestFailure(f"{type(error).__name__}: {error}", may_retry=lost or isinstance(error, httpx.ConnectTimeout))


def _has_output(chunk: dict[str, Any]) -> bool:
    for choice in chunk.get("choices", ()):
        delta = choice.get("delta") or {}
        if any(delta.get(key) for key in ("content", "reasoning", "reasoning_content", "tool_calls")):
            return True
    return False
