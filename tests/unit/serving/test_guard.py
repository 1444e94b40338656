"""What the guard lets through, and how it answers what it does not. The application behind it is a small one of the test."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from aria_ray.serving.guard import BODY, Guard, Limits, Refused, check_asked
from aria_ray.serving.keys import digest

KEY, OTHER = "k" * 20, "o" * 20
LIMITS = Limits(max_body_bytes=2048, max_output_tokens=64, max_requests_per_key=2)
JSON = {"content-type": "application/json"}


def guarded(handler: Callable[[Request], Any], keys: tuple[str, ...] = (KEY, OTHER)) -> Guard:
    app = Starlette(routes=[Route("/x", handler, methods=["GET", "POST"])])
    return Guard(app, [digest(key) for key in keys], LIMITS)


async def echo(request: Request) -> Response:
    return JSONResponse(getattr(request.state, BODY, None))


def ask(
    guard: Guard, method: str = "POST", client: str = "127.0.0.1", host: str = "localhost", **request: Any
) -> httpx.Response:
    async def once() -> httpx.Response:
        transport = httpx.ASGITransport(app=guard, client=(client, 4711))
        async with httpx.AsyncClient(transport=transport, base_url=f"http://{host}:8000") as http:
            return await http.request(method, "/x", **request)

    return asyncio.run(once())


def bearer(key: str = KEY) -> dict[str, str]:
    return {**JSON, "authorization": f"Bearer {key}"}


def test_a_sound_request_reaches_the_application_parsed() -> None:
    answer = ask(guarded(echo), headers=bearer(), json={"max_tokens": 64, "text": "é"})
    assert answer.status_code == 200
    assert answer.json() == {"max_tokens": 64, "text": "é"}


@pytest.mark.parametrize("header", [{}, {"authorization": "Bearer nobody"}, {"authorization": KEY}])
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_without_a_known_key_it_is_401(header: dict[str, str], method: str) -> None:
    answer = ask(guarded(echo), method, headers={**JSON, **header}, content=b"{}")
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == "Bearer"
    error = answer.json()["error"]
    assert (error["type"], error["code"]) == ("authentication_error", "invalid_api_key")


@pytest.mark.parametrize(("client", "host"), [("10.0.0.9", "localhost"), ("127.0.0.1", "rebound.example"), ("::2", "[::1]")])
def test_without_keys_other_machines_and_other_names_are_403(client: str, host: str) -> None:
    assert ask(guarded(echo, ()), "GET", client, host).status_code == 403


@pytest.mark.parametrize(("client", "host"), [("127.0.0.1", "127.0.0.1"), ("::1", "[::1]"), ("127.0.0.1", "localhost")])
def test_without_keys_this_machine_is_answered(client: str, host: str) -> None:
    assert ask(guarded(echo, ()), "GET", client, host).status_code == 200


def test_a_key_opens_the_endpoint_to_other_machines() -> None:
    assert ask(guarded(echo), "GET", "10.0.0.9", "aria.example", headers=bearer(OTHER)).status_code == 200


def test_a_long_body_is_413_by_its_header_and_by_what_comes() -> None:
    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(3):
            yield b" " * 1000

    assert ask(guarded(echo), headers=bearer(), content=b" " * 2049).status_code == 413
    answer = ask(guarded(echo), headers=bearer(), content=pieces())
    assert answer.status_code == 413
    assert "2048 bytes" in answer.json()["error"]["message"]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"\xff\xfe",
        b"[1]",
        b"null",
        b'{"a": NaN}',
        b'{"a": "\\ud800"}',
        b"[" * 1500,
        b'{"a": ' + b"9" * 2000,
        b"1" * 2000,
    ],
)
def test_what_is_no_json_object_is_400(content: bytes) -> None:
    answer = ask(guarded(echo), headers=bearer(), content=content)
    assert answer.status_code == 400
    assert answer.json()["error"]["code"] == "invalid_json"


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", ""])
def test_what_a_web_page_may_send_unasked_is_415(kind: str) -> None:
    assert ask(guarded(echo), headers={**bearer(), "content-type": kind}, content=b"{}").status_code == 415


def asked(**fields: Any) -> SimpleNamespace:
    """A stand-in for vLLM's parsed chat request."""
    return SimpleNamespace(**{"max_tokens": None, "max_completion_tokens": None, "n": 1, **fields})


@pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens"])
def test_too_many_tokens_are_422(name: str) -> None:
    with pytest.raises(Refused) as raised:
        check_asked(asked(**{name: 65}), LIMITS)
    assert (raised.value.status, raised.value.param) == (422, name)
    assert "65" in raised.value.message
    check_asked(asked(**{name: 64}), LIMITS)


def test_a_request_that_does_not_say_gets_as_many_tokens_as_it_may() -> None:
    body = asked()
    check_asked(body, LIMITS)
    assert body.max_tokens == 64
    unlimited = asked()
    check_asked(unlimited, Limits())
    assert unlimited.max_tokens is None


@pytest.mark.parametrize(
    ("fields", "answers"),
    [
        ({"n": 9}, 9),
        ({"n": 3, "prompt": ["a", "b", "c"]}, 9),
        ({"prompt": [[1]] * 9}, 9),
        ({"n": 8, "prompt": "one"}, None),
        ({"prompt": list(range(1, 100))}, None),
        ({"n": None, "prompt": []}, None),
    ],
)
def test_too_many_answers_are_422(fields: dict[str, Any], answers: int | None) -> None:
    if answers is None:
        check_asked(asked(**fields), LIMITS)
        return
    with pytest.raises(Refused) as raised:
        check_asked(asked(**fields), LIMITS)
    assert (raised.value.status, raised.value.code) == (422, "too_many_answers")
    assert str(answers) in raised.value.message


def test_each_key_has_its_own_requests_in_flight() -> None:
    async def scenario() -> None:
        release = asyncio.Event()

        async def wait(_request: Request) -> Response:
            await release.wait()
            return Response()

        guard = guarded(wait)
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app=guard), base_url="http://localhost") as http:

            def post(key: str) -> asyncio.Task[httpx.Response]:
                return asyncio.create_task(http.post("/x", headers=bearer(key), content=b"{}"))

            held = [post(KEY), post(KEY)]
            while guard.in_flight.total() < 2:
                await asyncio.sleep(0.01)
            refused = await post(KEY)
            assert refused.status_code == 429
            assert refused.headers["retry-after"] == "1"
            assert refused.json()["error"]["code"] == "rate_limit_exceeded"
            held.append(post(OTHER))
            while guard.in_flight.total() < 3:
                await asyncio.sleep(0.01)
            release.set()
            assert [(await each).status_code for each in held] == [200] * 3
            assert guard.in_flight.total() == 0
            assert (await post(KEY)).status_code == 200

    asyncio.run(scenario())


def test_a_request_that_fails_gives_its_place_back() -> None:
    async def fail(_request: Request) -> Response:
        raise ZeroDivisionError

    guard = guarded(fail)
    with pytest.raises(ZeroDivisionError):
        ask(guard, headers=bearer(), content=b"{}")
    ask(guard, headers=bearer(), content=b"{")
    assert guard.in_flight.total() == 0


def test_no_answer_shows_a_key() -> None:
    for answer in (
        ask(guarded(echo), headers=bearer("x" * 30), content=b"{}"),
        ask(guarded(echo), headers=bearer(), content=b"{"),
    ):
        assert "x" * 30 not in answer.text
        assert KEY not in json.dumps(dict(answer.headers)) + answer.text
