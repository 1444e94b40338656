"""A small real HTTP server that speaks OpenAI's chat protocol on a schedule, with the faults a test asks for.

    with fake_endpoint(Behaviour(ttft_s=0.2, gap_s=0.03, error_at=(3,))) as endpoint: ...

Chunks leave at moments counted from when the request came, not from each other, so that one late chunk does not make the next
ones late. Requests are counted from 1, plain ones and streams alike.
"""

import asyncio
import contextlib
import json
import socket
import threading
import time
from collections.abc import AsyncIterator, Callable, Container, Iterator
from dataclasses import dataclass
from typing import Any, Literal

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from aria_ray.records import Endpoint

PROMPT_TOKENS = 50
CALL = {"name": "percent_of", "arguments": '{"percent": 15, "value": 80}'}


@dataclass(frozen=True)
class Behaviour:
    """When what is sent, and what goes wrong. The default answers at once, as vLLM would, and calls no tool."""

    ttft_s: float = 0.0
    """From the request to the first token, which then waits for the others of its chunk."""
    gap_s: float = 0.0
    """From one token to the next."""
    tokens: int | None = None
    """Of an answer; None: as many as the request allows."""
    tokens_per_chunk: int = 1
    decay_per_s: float = 0.0
    """By how much of itself `gap_s` grows in each second after request `decay_from`. A load of so many requests then takes ever
    longer, one of so many seconds does not: let the former be over first."""
    decay_from: int = 1
    max_streams: int | None = None
    """Requests answered at a time; the others wait, so more streams do not bring more tokens."""

    reasoning_tokens: int = 0
    """How many of the first tokens are thought."""
    leaks_reasoning: bool = False
    """Thought comes as content, between <think> and </think>."""
    call_after: int | None = None
    """Tokens before a tool call; None: no call, whatever tools there are."""
    held_back_tokens: int = 0
    """The first tokens come in one chunk, when the last of them is made: as from a parser that waits for the whole."""
    message: Callable[[dict[str, Any]], dict[str, Any]] | None = None
    """Makes the message that a plain request gets from the request's body, in place of the one of the fields above."""
    finish_reason: str | None = None
    """Why a plain answer ended, as it says."""

    blank: bool = False
    """Tokens are counted and not shown, as a server does with control tokens."""
    role_chunk_s: float | None = None
    """When a chunk that only says the role is sent; None: just before the first token."""
    usage: Literal["continuous", "final", "with_last_chunk", "none"] = "continuous"
    """What is said of tokens: in every chunk (if asked for), once at the end in a chunk without choices (as llama.cpp's server
    does), once in the chunk that ends the answer, or nothing."""
    sends_done: bool = True

    refuses: tuple[str, ...] = ()
    """Fields, of the request or of its stream options, that are answered with `refusal_status`."""
    refusal_status: int = 400
    error_at: Container[int] = ()
    """Which requests get `error_status`: (3, 4), or range(10, 10**9) for all from the tenth on."""
    error_status: int = 500
    error_code: str | None = None
    """What such an error says besides."""
    cut_at: Container[int] = ()
    """Which requests lose their connection, streams after half of the tokens."""
    hang_at: Container[int] = ()
    """Which requests are never answered."""
    error_event_at: Container[int] = ()
    """Which streams end with an error event after half of the tokens."""


@contextlib.contextmanager
def fake_endpoint(behaviour: Behaviour, received: list[dict[str, Any]] | None = None) -> Iterator[Endpoint]:
    """An endpoint that behaves so; the body of each request is added to `received`. It is gone after the block."""
    fake = _Fake(behaviour, [] if received is None else received)
    routes = [Route("/v1/models", fake.models), Route("/v1/chat/completions", fake.answer, methods=["POST"])]
    config = uvicorn.Config(Starlette(routes=routes), log_level="critical", timeout_graceful_shutdown=1)
    server = uvicorn.Server(config)
    with socket.create_server(("127.0.0.1", 0), backlog=512) as listener:
        thread = threading.Thread(target=server.run, args=([listener],), name="fake endpoint")
        thread.start()
        try:
            yield Endpoint(base_url=f"http://127.0.0.1:{listener.getsockname()[1]}/v1", model="fake")
        finally:
            server.should_exit = True
            thread.join()


class _Cut(Exception):
    """Ends a response without HTTP's own end."""


class _Fake:
    def __init__(self, behaviour: Behaviour, received: list[dict[str, Any]]) -> None:
        self.behaviour, self.received = behaviour, received
        self.decays_since_s: float | None = None
        self.num_requests = 0
        self.free = asyncio.Semaphore(behaviour.max_streams or 1_000_000)

    async def models(self, _request: Request) -> Response:
        return JSONResponse({"data": [{"id": "fake", "root": "fake"}]})

    async def answer(self, request: Request) -> Response:
        came_s = time.perf_counter()
        body = await request.json()
        self.received.append(body)
        self.num_requests += 1
        if self.decays_since_s is None and self.num_requests >= self.behaviour.decay_from:
            self.decays_since_s = came_s
        number, behaviour = self.num_requests, self.behaviour
        for field in behaviour.refuses:
            if field in body or field in body.get("stream_options", {}):
                return JSONResponse({"error": {"message": f"unknown field {field}"}}, behaviour.refusal_status)
        if number in behaviour.error_at:
            return JSONResponse({"error": {"message": "planted", "code": behaviour.error_code}}, behaviour.error_status)
        if number in behaviour.hang_at:
            await asyncio.Event().wait()
        if body.get("stream"):
            return StreamingResponse(
                self._events(_Answer(behaviour, body, came_s, self.decays_since_s), number), media_type="text/event-stream"
            )
        if number in behaviour.cut_at:
            return StreamingResponse(self._cut(), media_type="application/json")
        async with self.free:
            plan = _Answer(behaviour, body, time.perf_counter(), self.decays_since_s)
            await _until(plan.moment_s(plan.tokens))
        choice = {"index": 0, "message": plan.message(), "finish_reason": behaviour.finish_reason}
        return JSONResponse({"choices": [choice], "usage": plan.usage(plan.tokens)})

    async def _cut(self) -> AsyncIterator[str]:
        yield '{"choices": ['
        raise _Cut

    async def _events(self, plan: "_Answer", number: int) -> AsyncIterator[str]:
        behaviour = self.behaviour
        if behaviour.role_chunk_s is not None:
            await _until(plan.came_s + behaviour.role_chunk_s)
            yield plan.chunk({"role": "assistant", "content": ""}, 0)
        async with self.free:
            if behaviour.max_streams is not None:
                plan.came_s = time.perf_counter()
            done = 0
            for last in plan.chunk_ends():
                for event in await plan.events(done, last):
                    yield event
                done = last
                if 2 * done >= plan.tokens and number in behaviour.cut_at:
                    raise _Cut
                if 2 * done >= plan.tokens and number in behaviour.error_event_at:
                    yield _event({"error": {"message": "planted", "code": 400}})
                    return
        for event in plan.closing():
            yield event


class _Answer:
    """One answer: which tokens it has, and when."""

    def __init__(self, behaviour: Behaviour, body: dict[str, Any], came_s: float, decays_since_s: float | None) -> None:
        self.behaviour, self.body, self.came_s = behaviour, body, came_s
        self.tokens = behaviour.tokens or body.get("max_tokens") or body.get("max_completion_tokens") or 16
        decays_for_s = 0.0 if decays_since_s is None else came_s - decays_since_s
        self.gap_s = behaviour.gap_s * (1 + behaviour.decay_per_s * decays_for_s)

    def moment_s(self, token: int) -> float:
        """When a token, counted from 1, is there."""
        return self.came_s + self.behaviour.ttft_s + (token - 1) * self.gap_s

    def chunk_ends(self) -> list[int]:
        """How many tokens there are after each chunk."""
        each, held_back = self.behaviour.tokens_per_chunk, self.behaviour.held_back_tokens
        ends = list(range(held_back or each, self.tokens, each))
        return [*ends, self.tokens]

    async def events(self, done: int, last: int) -> list[str]:
        """The events of the tokens after `done` up to `last`, once the last one is there."""
        await _until(self.moment_s(last))
        role = [{"role": "assistant", "content": ""}] if done == 0 and self.behaviour.role_chunk_s is None else []
        return [*(self.chunk(delta, 0) for delta in role), *(self.chunk(delta, last) for delta in self.deltas(done, last))]

    def closing(self) -> Iterator[str]:
        """The events after the last token."""
        yield self.chunk({}, self.tokens, finish_reason="stop")
        if self.behaviour.usage in ("continuous", "final"):
            yield _event({"choices": [], "usage": self.usage(self.tokens)})
        if self.behaviour.sends_done:
            yield "data: [DONE]\n\n"

    def deltas(self, done: int, last: int) -> Iterator[dict[str, Any]]:
        """What a chunk of the tokens after `done` up to `last` says, a delta for each kind of them."""
        kinds = [self._kind(token) for token in range(done, last)]
        for kind in ("reasoning", "content", "call"):
            number = kinds.count(kind)
            if number and kind == "call":
                yield {"tool_calls": [{"index": 0, "function": {"arguments": " " * number}} | self._opening(done, last)]}
            elif number and kind == "reasoning" and self.behaviour.leaks_reasoning:
                yield {"content": ("<think>" if done == 0 else "") + "hm " * number}
            elif number and self.behaviour.blank:
                yield {kind: ""}
            elif number:
                yield {kind: "word " * number}

    def chunk(self, delta: dict[str, Any], tokens: int, finish_reason: str | None = None) -> str:
        """An event of the stream, with the usage that goes with it."""
        said: dict[str, Any] = {"choices": [{"index": 0, "delta": delta, "finish_reason": finish_reason}]}
        asked = self.body.get("stream_options", {}).get("continuous_usage_stats")
        if (self.behaviour.usage == "continuous" and asked) or (self.behaviour.usage == "with_last_chunk" and finish_reason):
            said["usage"] = self.usage(tokens)
        return _event(said)

    def message(self) -> dict[str, Any]:
        """What a plain request gets."""
        if self.behaviour.message is not None:
            return self.behaviour.message(self.body)
        thought = "hm " * min(self.tokens, self.behaviour.reasoning_tokens)
        leaks = self.behaviour.leaks_reasoning
        message: dict[str, Any] = {"role": "assistant", "reasoning": None if leaks else thought or None}
        if self.behaviour.call_after is not None:
            message["tool_calls"] = [{"id": "call_1", "type": "function", "function": CALL}]
        text = None if "tool_calls" in message else "word"
        return message | {"content": f"<think>{thought}</think>{text or ''}" if leaks and thought else text}

    @staticmethod
    def usage(tokens: int) -> dict[str, int]:
        return {"prompt_tokens": PROMPT_TOKENS, "completion_tokens": tokens, "total_tokens": PROMPT_TOKENS + tokens}

    def _kind(self, token: int) -> str:
        if token < self.behaviour.reasoning_tokens:
            return "reasoning"
        after = self.behaviour.call_after
        return "call" if after is not None and token >= after else "content"

    def _opening(self, done: int, last: int) -> dict[str, Any]:
        first = self.behaviour.call_after
        if first is None or not done <= first < last:
            return {}
        return {"id": "call_1", "type": "function", "function": CALL}


def _event(content: dict[str, Any]) -> str:
    return f"data: {json.dumps(content)}\n\n"


async def _until(moment_s: float) -> None:
    await asyncio.sleep(max(0.0, moment_s - time.perf_counter()))
