"""What the client times and counts, against an endpoint that keeps a schedule; and its retries: only where nothing of an
answer has come, and not for ever."""

import asyncio
import json
import re
import sys
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx
import pytest
from fake_endpoint import PROMPT_TOKENS, Behaviour, fake_endpoint

from aria_ray.records import Endpoint
from aria_ray.validation import client as client_module
from aria_ray.validation.client import Client, Reply, RequestFailure, StreamTiming, connect
from aria_ray.validation.protocol import Chunk

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


@pytest.mark.parametrize(
    ("status", "stream"), [(400, False), (422, False), *((s, stream) for s in (401, 413, 500) for stream in (False, True))]
)
def test_an_answer_that_would_be_the_same_is_not_asked_for_again(status: int, stream: bool) -> None:
    outcome, sent = ask(lambda _: httpx.Response(status, json={"error": {"message": "no"}}), stream)
    assert isinstance(outcome, RequestFailure)
    assert str(status) in outcome.reason
    assert outcome.status == status
    assert sent == 1


@pytest.mark.parametrize("status", [400, 422])
def test_a_stream_refused_with_and_without_vllms_own_fields_is_a_failure(status: int) -> None:
    outcome, sent = ask(lambda _: httpx.Response(status, json={"error": {"message": "no"}}), stream=True)
    assert isinstance(outcome, RequestFailure)
    assert str(status) in outcome.reason
    assert sent == 2


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


def test_halves_of_a_character_in_two_chunks_are_an_answer() -> None:
    event = b'data: {"choices": [{"delta": {"content": "%s"}}], "usage": {"completion_tokens": 2}}\n\n'
    events = [event % rb"\ud83d", event % rb"\ude00", b"data: [DONE]\n\n"]
    outcome, _ = ask(lambda _: httpx.Response(200, content=ended(*events)), stream=True)
    assert isinstance(outcome, StreamTiming)


@pytest.mark.parametrize("chunk", [b"data: 7\n\n", b"data: [1]\n\n", b'data: {"choices": 3}\n\n', b"data: {\n\n"])
def test_a_server_that_talks_nonsense_is_a_failure(chunk: bytes) -> None:
    outcome, sent = ask(lambda _: httpx.Response(200, content=ended(chunk)), stream=True)
    assert isinstance(outcome, RequestFailure)
    assert sent == 1


@pytest.mark.parametrize(
    "answer", [b"{", b"7", b"{}", b'{"choices": []}', b'{"choices": [{}]}', b'{"choices": [{"message": "hi"}]}', b"\xff"]
)
def test_an_answer_that_is_none_is_a_failure_that_says_where(answer: bytes) -> None:
    outcome, sent = ask(lambda _: httpx.Response(200, content=answer), stream=False)
    assert isinstance(outcome, RequestFailure)
    assert re.match(r"not a chat completion \((body|choices)[\w.]*: ", outcome.reason)
    assert sent == 1


def test_fields_that_a_server_leaves_empty_are_no_nonsense() -> None:
    usage = {"prompt_tokens": 3, "completion_tokens": 1}
    events = [event(choices=None, usage=None), event(choices=[{"delta": None}]), said("a"), event(choices=[], usage=usage)]
    outcome, _ = ask(lambda _: httpx.Response(200, content=ended(*events, b"data: [DONE]\n\n")), stream=True)
    assert isinstance(outcome, StreamTiming)
    assert (outcome.completion_tokens, outcome.prompt_tokens) == (1, 3)


@pytest.mark.parametrize("bug", [AttributeError, KeyError, TypeError, ValueError, IndexError])
@pytest.mark.parametrize("stream", [False, True])
def test_a_bug_of_ours_is_no_failed_request(monkeypatch: pytest.MonkeyPatch, stream: bool, bug: type[Exception]) -> None:
    def planted(*_given: Any, **_named: Any) -> Any:
        raise bug("planted")

    monkeypatch.setattr(Chunk, "has_output", property(planted)) if stream else monkeypatch.setattr(
        client_module, "Reply", planted
    )
    answer = ended(said("a"), b"data: [DONE]\n\n") if stream else json.dumps(ANSWER).encode()
    with pytest.raises(bug, match="planted"):
        ask(lambda _: httpx.Response(200, content=answer), stream)


def test_it_gives_up_in_the_end_and_says_what_it_got() -> None:
    outcome, sent = ask(lambda _: httpx.Response(503, text="away"), stream=False, retry_s=0.2)
    assert isinstance(outcome, RequestFailure)
    assert "503: away" in outcome.reason
    assert sent > 2
    assert outcome.retries == sent - 1
    assert outcome.ended_s > outcome.started_s


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


def streamed(behaviour: Behaviour, requests: int = 1, **options: Any) -> tuple[list[Any], list[dict[str, Any]]]:
    """The outcomes of requests one after the other, by one client of a fake endpoint; and the bodies that it got."""
    received: list[dict[str, Any]] = []

    async def scenario(endpoint: Endpoint) -> list[Any]:
        async with connect(endpoint, 30, 1, retry_s=0) as client:
            return [await client.stream([], **{"max_tokens": 12, "ignore_eos": True} | options) for _ in range(requests)]

    with fake_endpoint(behaviour, received) as endpoint:
        return asyncio.run(scenario(endpoint)), received


def one(behaviour: Behaviour, **options: Any) -> StreamTiming:
    (timing,), _ = streamed(behaviour, **options)
    assert isinstance(timing, StreamTiming), timing
    return timing


def hand_made(arrivals: list[tuple[float, int]], ended_s: float) -> StreamTiming:
    return StreamTiming(10.0, arrivals[0][0], ended_s, arrivals[-1][1], tuple(arrivals))


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere each process may have a clock of its own")
def test_the_clock_is_one_for_all_processes() -> None:
    assert time.get_clock_info("perf_counter").implementation == "clock_gettime(CLOCK_MONOTONIC)"


def test_a_chunk_that_only_says_the_role_is_no_token() -> None:
    timing = one(Behaviour(role_chunk_s=0.0, ttft_s=0.3))
    assert timing.ttft_s >= 0.3
    assert timing.first_chunk_tokens == 1


@pytest.mark.parametrize("kind", ["content", "reasoning", "reasoning_content", "tool_calls"])
def test_the_first_token_is_of_content_reasoning_or_a_call(kind: str) -> None:
    value = [{"index": 0}] if kind == "tool_calls" else "a"
    events = (event(choices=[{"delta": {kind: value}}], usage={"completion_tokens": 1}), said("b"), b"data: [DONE]\n\n")
    outcome, _ = ask(lambda _: httpx.Response(200, content=ended(*events)), stream=True)
    assert outcome.first_token_s == outcome.arrivals[0][0]
    assert (outcome.first_call_s is not None) == (kind == "tool_calls")


def test_a_forced_answer_that_shows_nothing_is_timed_by_the_servers_counts() -> None:
    timing = one(Behaviour(blank=True, ttft_s=0.2, gap_s=0.01))
    assert timing.blank
    assert timing.ttft_s >= 0.2
    assert (timing.completion_tokens, timing.first_chunk_tokens) == (12, 1)
    assert not one(Behaviour()).blank


def test_one_that_is_counted_at_its_end_only_has_its_first_token_there() -> None:
    timing = one(Behaviour(blank=True, ttft_s=0.1, gap_s=0.02, usage="final"))
    assert timing.blank
    assert timing.ttft_s >= 0.1 + 11 * 0.02
    assert timing.tpot_s is None


@pytest.mark.parametrize(("usage", "forced"), [("continuous", False), ("none", True)])
def test_an_answer_that_shows_nothing_is_a_failure_else(usage: Any, forced: bool) -> None:
    (failure,), _ = streamed(Behaviour(blank=True, usage=usage), ignore_eos=forced)
    assert isinstance(failure, RequestFailure)
    assert failure.reason.endswith("tokens without content, reasoning or a call")


def test_the_first_call_is_timed_where_it_comes() -> None:
    timing = one(Behaviour(gap_s=0.02, reasoning_tokens=2, call_after=5))
    tokens_at = {moment: tokens for moment, tokens in reversed(timing.arrivals)}
    assert tokens_at[timing.first_token_s] == 1
    assert tokens_at[timing.first_call_s] == 6
    assert timing.time_to_first_call_s == timing.first_call_s - timing.started_s


def test_an_answer_without_a_call_has_no_time_to_one() -> None:
    timing = one(Behaviour())
    assert timing.first_call_s is None
    assert timing.time_to_first_call_s is None


@pytest.mark.parametrize("usage", ["continuous", "final", "with_last_chunk"])
@pytest.mark.parametrize("tokens_per_chunk", [1, 3])
def test_tokens_are_what_the_server_says_whenever_it_says_it(usage: Any, tokens_per_chunk: int) -> None:
    timing = one(Behaviour(gap_s=0.005, usage=usage, tokens_per_chunk=tokens_per_chunk))
    assert (timing.completion_tokens, timing.prompt_tokens) == (12, PROMPT_TOKENS)
    counts = [tokens for _, tokens in timing.arrivals]
    assert sorted(set(counts) - {0}) == list(range(tokens_per_chunk, 13, tokens_per_chunk))
    assert timing.first_chunk_tokens == tokens_per_chunk
    assert timing.tpot_s == (timing.ended_s - timing.first_token_s) / (12 - tokens_per_chunk)


def test_an_endpoint_that_counts_no_tokens_is_told_so() -> None:
    (failure,), received = streamed(Behaviour(usage="none"))
    assert isinstance(failure, RequestFailure)
    assert "must report `usage`" in failure.reason
    assert len(received) == 1


def test_time_per_token_is_of_those_after_the_first_chunk() -> None:
    timing = hand_made([(11.0, 1), (12.0, 11), (13.0, 21)], ended_s=13.0)
    assert (timing.ttft_s, timing.e2e_s) == (1.0, 3.0)
    assert timing.tpot_s == pytest.approx(2 / 20)
    assert hand_made([(11.0, 5), (13.0, 21)], ended_s=13.0).tpot_s == pytest.approx(2 / 16)


def test_tokens_that_a_parser_held_back_are_not_taken_for_fast_ones() -> None:
    assert one(Behaviour(gap_s=0.01, held_back_tokens=8)).first_chunk_tokens == 8
    assert one(Behaviour(gap_s=0.01, held_back_tokens=12)).tpot_s is None


@pytest.mark.parametrize("usage", ["continuous", "final"])
def test_an_answer_in_one_chunk_has_no_time_per_token(usage: Any) -> None:
    assert one(Behaviour(usage=usage, tokens_per_chunk=100)).tpot_s is None


def test_what_is_sent_late_counts_from_when_it_was_due() -> None:
    due_s = time.perf_counter() - 5
    timing = one(Behaviour(), started_s=due_s)
    assert timing.started_s == due_s
    assert timing.ttft_s >= 5


@pytest.mark.parametrize("field", ["ignore_eos", "continuous_usage_stats"])
@pytest.mark.parametrize("status", [400, 422])
def test_an_endpoint_that_refuses_vllms_fields_is_asked_without(field: str, status: int) -> None:
    outcomes, received = streamed(Behaviour(refuses=(field,), refusal_status=status), requests=3)
    assert all(isinstance(outcome, StreamTiming) for outcome in outcomes)
    assert {outcome.left_out for outcome in outcomes} == {("ignore_eos", "continuous_usage_stats")}
    assert ["ignore_eos" in body for body in received] == [True, False, False, False]
    assert received[-1]["stream_options"] == {"include_usage": True}
    assert received[-1]["max_tokens"] == 12


@pytest.mark.parametrize(
    ("behaviour", "reason"),
    [
        (Behaviour(cut_at=(1,)), "RemoteProtocolError"),
        (Behaviour(error_event_at=(1,)), "error in stream"),
        (Behaviour(sends_done=False), r"stream ended early, after 12 tokens: no [DONE]"),
        (Behaviour(error_at=(1,), error_status=503), "HTTP 503"),
    ],
)
def test_a_stream_that_ends_wrong_is_a_failure_with_its_times(behaviour: Behaviour, reason: str) -> None:
    (failure,), _ = streamed(behaviour)
    assert isinstance(failure, RequestFailure)
    assert failure.reason.startswith(reason)
    assert failure.ended_s > failure.started_s
