"""The client's retries: only where nothing of an answer has come, and not for ever. The server is a small one of the test."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx
import pytest

from aria_ray.records import Endpoint
from aria_ray.validation import client as client_module
from aria_ray.validation.client import Client, Reply, RequestFailure, StreamTiming

ANSWER = {"choices": [{"message": {"role": "assistant", "content": "hi"}}]}
Handler = Callable[[int], httpx.Response]


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_module, "_FIRST_PAUSE_S", 0.01)


def event(**chunk: Any) -> bytes:
    return f"data: {json.dumps(chunk)}\n\n".encode()


def said(text: str) -> bytes:
    return event(choices=[{"delta": {"content": text}}], usage={"completion_tokens": 1})


def ask(handler: Handler, stream: bool, retry_s: float = 5) -> tuple[Any, int]:
    """The outcome of one request, and how often it was sent; `handler` is told which attempt it is."""
    sent = 0

    def answer(_request: httpx.Request) -> httpx.Response:
        nonlocal sent
        sent += 1
        return handler(sent)

    async def once() -> Reply | StreamTiming | RequestFailure:
        async with httpx.AsyncClient(transport=httpx.MockTransport(answer), base_url="http://test") as http:
            client = Client(http, "m", retry_s)
            return await (client.stream([]) if stream else client.chat([]))

    return asyncio.run(once()), sent


async def cut(*events: bytes) -> AsyncIterator[bytes]:
    for each in events:
        yield each
    raise httpx.ReadError("connection lost")


async def ended(*events: bytes) -> AsyncIterator[bytes]:
    for each in events:
        yield each


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
@pytest.mark.parametrize("stream", [False, True])
def test_a_server_that_cannot_take_a_request_up_is_asked_again(status: int, stream: bool) -> None:
    def handler(attempt: int) -> httpx.Response:
        if attempt < 3:
            return httpx.Response(status)
        return (
            httpx.Response(200, content=ended(said("a"), b"data: [DONE]\n\n")) if stream else httpx.Response(200, json=ANSWER)
        )

    outcome, sent = ask(handler, stream)
    assert isinstance(outcome, StreamTiming if stream else Reply)
    assert (outcome.retries, sent) == (2, 3)


@pytest.mark.parametrize("status", [400, 401, 413, 422, 500])
@pytest.mark.parametrize("stream", [False, True])
def test_an_answer_that_would_be_the_same_is_not_asked_for_again(status: int, stream: bool) -> None:
    outcome, sent = ask(lambda _: httpx.Response(status, json={"error": {"message": "no"}}), stream)
    assert isinstance(outcome, RequestFailure)
    assert str(status) in outcome.reason
    assert sent == 1


@pytest.mark.parametrize("stream", [False, True])
def test_a_lost_connection_is_tried_again(stream: bool) -> None:
    def handler(attempt: int) -> httpx.Response:
        if attempt == 1:
            raise httpx.ConnectError("refused")
        return (
            httpx.Response(200, content=ended(said("a"), b"data: [DONE]\n\n")) if stream else httpx.Response(200, json=ANSWER)
        )

    outcome, sent = ask(handler, stream)
    assert not isinstance(outcome, RequestFailure)
    assert sent == 2


@pytest.mark.parametrize("end", [cut, ended])
def test_a_stream_that_had_not_begun_is_asked_for_again(end: Callable[..., AsyncIterator[bytes]]) -> None:
    role = event(choices=[{"delta": {"role": "assistant"}}])

    def handler(attempt: int) -> httpx.Response:
        return httpx.Response(200, content=end(role) if attempt == 1 else ended(said("a"), b"data: [DONE]\n\n"))

    outcome, sent = ask(handler, stream=True)
    assert isinstance(outcome, StreamTiming)
    assert sent == 2


@pytest.mark.parametrize("end", [cut, ended])
def test_a_stream_that_had_begun_is_not(end: Callable[..., AsyncIterator[bytes]]) -> None:
    outcome, sent = ask(lambda _: httpx.Response(200, content=end(said("a"))), stream=True)
    assert isinstance(outcome, RequestFailure)
    assert sent == 1


def test_an_error_in_a_stream_is_a_failure() -> None:
    outcome, sent = ask(lambda _: httpx.Response(200, content=ended(said("a"), event(error={"code": 503}))), stream=True)
    assert isinstance(outcome, RequestFailure)
    assert "error in stream" in outcome.reason
    assert sent == 1


def test_an_engine_lost_before_its_first_word_is_asked_again() -> None:
    def handler(attempt: int) -> httpx.Response:
        lost = event(error={"code": "engine_lost", "message": "gone"})
        return httpx.Response(200, content=ended(lost) if attempt == 1 else ended(said("a"), b"data: [DONE]\n\n"))

    outcome, sent = ask(handler, stream=True)
    assert isinstance(outcome, StreamTiming)
    assert sent == 2


@pytest.mark.parametrize("chunk", [b"data: 7\n\n", b"data: [1]\n\n", b'data: {"choices": 3}\n\n', b"data: {\n\n"])
def test_a_server_that_talks_nonsense_is_a_failure(chunk: bytes) -> None:
    outcome, sent = ask(lambda _: httpx.Response(200, content=ended(chunk)), stream=True)
    assert isinstance(outcome, RequestFailure)
    assert sent == 1


def test_it_gives_up_in_the_end_and_says_what_it_got() -> None:
    outcome, sent = ask(lambda _: httpx.Response(503, text="away"), stream=False, retry_s=0.2)
    assert isinstance(outcome, RequestFailure)
    assert "503: away" in outcome.reason
    assert sent > 2


def test_time_to_first_token_runs_from_the_first_attempt() -> None:
    def handler(attempt: int) -> httpx.Response:
        return httpx.Response(503) if attempt < 4 else httpx.Response(200, content=ended(said("a"), b"data: [DONE]\n\n"))

    outcome, _ = ask(handler, stream=True)
    assert isinstance(outcome, StreamTiming)
    assert outcome.first_token_s - outcome.started_s >= 0.01 + 0.02 + 0.04


def test_a_key_is_sent_and_not_shown() -> None:
    endpoint = Endpoint(base_url="http://127.0.0.1:1/v1", model="m", api_key="secret-key-of-mine")

    async def header() -> str:
        async with client_module.connect(endpoint, 1, 1) as client:
            return client.http.headers["authorization"]

    assert asyncio.run(header()) == "Bearer secret-key-of-mine"
    assert "secret-key-of-mine" not in repr(endpoint)
