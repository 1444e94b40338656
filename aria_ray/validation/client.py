"""A small client of the OpenAI chat protocol that times what it sees. It works on any compatible endpoint.

A request that fails is a value, never an exception: what it means is for the caller to say.
"""

import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx


@dataclass(frozen=True)
class Reply:
    """One assistant message, as `choices[0].message`."""

    message: dict[str, Any]


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


@dataclass(frozen=True)
class RequestFailure:
    """A request that gave no complete answer, and why."""

    reason: str


class Client:
    """One endpoint and one model."""

    def __init__(self, http: httpx.AsyncClient, model: str) -> None:
        self.http, self.model = http, model

    async def chat(self, messages: list[dict[str, Any]], **options: Any) -> Reply | RequestFailure:
        """One answer, not streamed. `options` go into the request body: tools, max_tokens, ..."""
        body = {"model": self.model, "messages": messages, **options}
        try:
            response = await self.http.post("chat/completions", json=body)
        except (httpx.HTTPError, UnicodeEncodeError) as error:
            return RequestFailure(f"{type(error).__name__}: {error}")
        if response.status_code != httpx.codes.OK:
            return RequestFailure(f"HTTP {response.status_code}: {response.text[:200]}")
        try:
            answer = response.json()
            return Reply(answer["choices"][0]["message"])
        except (ValueError, KeyError, IndexError, TypeError) as error:
            return RequestFailure(f"not a chat completion ({type(error).__name__}): {response.text[:200]}")

    async def stream(self, messages: list[dict[str, Any]], **options: Any) -> StreamTiming | RequestFailure:
        """One answer, streamed and timed. Fails unless the stream ends with [DONE] and says how many tokens it made."""
        usage = {"include_usage": True, "continuous_usage_stats": True}
        body = {"model": self.model, "messages": messages, "stream": True, "stream_options": usage, **options}
        seen = _Seen(started_s=time.perf_counter())
        try:
            async with self.http.stream("POST", "chat/completions", json=body) as response:
                if response.status_code != httpx.codes.OK:
                    return RequestFailure(f"HTTP {response.status_code}: {(await response.aread())[:200]!r}")
                async for line in response.aiter_lines():
                    if line.startswith("data:"):
                        seen.event(line.removeprefix("data:").strip())
        except (httpx.HTTPError, ValueError, KeyError) as error:
            return RequestFailure(f"{type(error).__name__}: {error}")
        return seen.result()


class _Seen:
    """What a stream has shown so far."""

    def __init__(self, started_s: float) -> None:
        self.started_s = started_s
        self.first_token_s: float | None = None
        self.ended_s: float | None = None
        self.arrivals: list[tuple[float, int]] = []

    def event(self, data: str) -> None:
        """Take in one server-sent event. Raises ValueError for one that is not JSON, or that reports an error."""
        now = time.perf_counter()
        if data == "[DONE]":
            self.ended_s = now
            return
        chunk = json.loads(data)
        if "error" in chunk:
            raise ValueError(f"error in stream: {chunk['error']}")
        if self.first_token_s is None and _has_output(chunk):
            self.first_token_s = now
        if chunk.get("usage"):
            self.arrivals.append((now, chunk["usage"]["completion_tokens"]))

    def result(self) -> StreamTiming | RequestFailure:
        """The timing of a stream that ended as it should; else why it did not."""
        tokens = self.arrivals[-1][1] if self.arrivals else 0
        if self.ended_s is None or self.first_token_s is None or tokens == 0:
            return RequestFailure(f"stream ended early (done: {self.ended_s is not None}, tokens: {tokens})")
        return StreamTiming(self.started_s, self.first_token_s, self.ended_s, tokens, tuple(self.arrivals))


@asynccontextmanager
async def connect(base_url: str, model: str, timeout_s: float, max_connections: int) -> AsyncIterator[Client]:
    """A client of the endpoint at `base_url` (ending in /v1). A request fails once nothing has come for `timeout_s`."""
    limits = httpx.Limits(max_connections=max_connections)
    # The endpoint's address is given outright: proxy settings of the environment must not come between.
    async with httpx.AsyncClient(base_url=base_url, timeout=timeout_s, limits=limits, trust_env=False) as http:
        yield Client(http, model)


def _has_output(chunk: dict[str, Any]) -> bool:
    for choice in chunk.get("choices", ()):
        delta = choice.get("delta", {})
        if any(delta.get(key) for key in ("content", "reasoning", "reasoning_content", "tool_calls")):
            return True
    return False
