"""Checks of a request before it reaches the API: the key, the form of the body, limits. Plain ASGI, without Ray.

A refusal is answered in OpenAI's error shape, `{"error": {"message", "type", "param", "code"}}`:

    400  the body is not a JSON object                 401  no key, or an unknown one
    403  another machine or a web page asks an endpoint that has no keys
    413  the body is too long                          415  its Content-Type is not JSON
    422  more tokens or answers than allowed           429  too many requests of this key in flight

The limit of the body's length protects this process only. Ray Serve's proxy reads the whole body first, so an endpoint that
strangers can reach needs a reverse proxy with a limit before it.
"""

import json
from collections import Counter
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from aria_ray.serving.keys import is_loopback, known_digest

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

BODY = "aria_body"
"""Name of the parsed body of a POST in the request's `state`."""
RETRY_AFTER_S = 1
_ANYONE = ""


class Limits(BaseModel):
    """Limits of one request and of one API key."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    max_body_bytes: int = Field(default=1_048_576, ge=1024)
    max_output_tokens: int | None = Field(default=None, ge=1)
    """Most tokens of an answer, and the default of a request. With None the engine's `max_model_len` is the limit."""
    max_answers: int = Field(default=8, ge=1)
    """Most answers of one request: `n` times the number of its prompts. Each takes a place in the engine."""
    max_requests_per_key: int = Field(default=256, ge=1)
    """Most requests of one key in flight at this ingress. Without keys, of all clients together.

    While a new version replaces an old one there are two ingresses, and each counts its own requests.
    """
    max_wait_s: float = Field(default=600, gt=0)
    """Most seconds until the first part of an answer, with the wait for an engine; without streaming, of all of it."""


@dataclass
class Refused(Exception):
    """A refusal of a request: the HTTP status, a code for programs, a message, and the parameter that is wrong."""

    status: int
    code: str
    message: str
    param: str | None = None
    headers: tuple[tuple[bytes, bytes], ...] = ()


class Guard:
    """The ASGI application `app` behind keys and limits. `digests` are the hashes of the keys, empty without keys."""

    def __init__(self, app: App, digests: Sequence[str], limits: Limits) -> None:
        self.app, self.digests, self.limits = app, tuple(digests), limits
        self.in_flight: Counter[str] = Counter()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse a request, or pass it to the application with its body parsed."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        counted = None
        try:
            caller = self._caller(scope, headers)
            if scope["method"] == "POST":
                counted = self._count(caller)
                body = await self._body(headers, receive)
                scope.setdefault("state", {})[BODY] = body
            await self.app(scope, receive, send)
        except Refused as refused:
            await answer(send, refused)
        finally:
            if counted is not None:
                self.in_flight[counted] -= 1

    def _caller(self, scope: Scope, headers: dict[str, str]) -> str:
        """Who sent the request: the hash of the key, or "" at an endpoint without keys."""
        if not self.digests:
            _check_local(scope, headers)
            return _ANYONE
        caller = known_digest(headers.get("authorization", ""), self.digests)
        if caller is None:
            reason = "the API key is not known" if "authorization" in headers else "an API key is needed"
            message = f"{reason}; send one as 'Authorization: Bearer KEY'"
            raise Refused(401, "invalid_api_key", message, headers=((b"www-authenticate", b"Bearer"),))
        return caller

    def _count(self, caller: str) -> str:
        if self.in_flight[caller] >= self.limits.max_requests_per_key:
            raise Refused(
                429,
                "rate_limit_exceeded",
                f"{self.limits.max_requests_per_key} requests of this key are in flight, which is the limit; wait for one",
                headers=((b"retry-after", str(RETRY_AFTER_S).encode()),),
            )
        self.in_flight[caller] += 1
        return caller

    async def _body(self, headers: dict[str, str], receive: Receive) -> dict[str, Any]:
        """The JSON object in the body of a request. Reading stops at the limit."""
        limit = self.limits.max_body_bytes
        too_long = Refused(413, "request_too_large", f"the body must be at most {limit} bytes")
        if headers.get("content-length", "0").isdecimal() and int(headers.get("content-length", "0")) > limit:
            raise too_long
        if headers.get("content-type", "").split(";")[0].strip().lower() != "application/json":
            # A browser sends other types to any address for any web page. For this type it asks first, and is refused.
            raise Refused(415, "unsupported_media_type", "the body must have 'Content-Type: application/json'")
        raw = bytearray()
        more = True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise Refused(400, "client_gone", "the client went away before its body was read")
            raw += message.get("body", b"")
            if len(raw) > limit:
                raise too_long
            more = message.get("more_body", False)
        return _parsed(bytes(raw))


def check_asked(body: Any, limits: Limits) -> None:
    """Check a request against the limits. `body` is vLLM's request; without a number of tokens it gets the most allowed.

    Raises:
        Refused: the request asks for too many tokens or answers.
    """
    fields = [name for name in ("max_tokens", "max_completion_tokens") if hasattr(body, name)]
    if limits.max_output_tokens is not None:
        for name in fields:
            asked = getattr(body, name)
            if asked is not None and asked > limits.max_output_tokens:
                raise Refused(422, "too_many_tokens", f"{name} ({asked}) must be at most {limits.max_output_tokens}", name)
        if all(getattr(body, name) is None for name in fields):
            body.max_tokens = limits.max_output_tokens
    prompt = getattr(body, "prompt", None)
    prompts = len(prompt) if isinstance(prompt, list) and prompt and not isinstance(prompt[0], int) else 1
    answers = (body.n or 1) * prompts
    if answers > limits.max_answers:
        raise Refused(422, "too_many_answers", f"n times prompts ({answers}) must be at most {limits.max_answers}", "n")


def error_body(status: int, code: str, message: str, param: str | None = None) -> dict[str, Any]:
    """The body of an error response in OpenAI's shape."""
    kind = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}.get(status)
    kind = kind or ("invalid_request_error" if status < 500 else "server_error")
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}


async def answer(send: Send, refused: Refused) -> None:
    """Send a refusal as the response."""
    content = json.dumps(error_body(refused.status, refused.code, refused.message, refused.param)).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(content)).encode()), *refused.headers]
    await send({"type": "http.response.start", "status": refused.status, "headers": headers})
    await send({"type": "http.response.body", "body": content})


def _check_local(scope: Scope, headers: dict[str, str]) -> None:
    """Raise Refused for another machine, and for another host name: a web page's own name may be made to point here."""
    client = scope.get("client")
    host = headers.get("host", "localhost")
    name = host.rsplit(":", 1)[0] if host.rpartition(":")[2].isdecimal() else host
    if (client and not is_loopback(client[0])) or not is_loopback(name):
        raise Refused(403, "local_only", "this endpoint has no API keys, so it answers 127.0.0.1 and localhost only")


def _parsed(raw: bytes) -> dict[str, Any]:
    try:
        body = json.loads(raw.decode("utf-8"), parse_constant=_no_constant)
        # A lone surrogate is valid JSON but cannot be encoded, so it can be neither tokenized nor sent.
        json.dumps(body, ensure_ascii=False).encode("utf-8")
    except UnicodeDecodeError:
        raise Refused(400, "invalid_json", "the body must be UTF-8 text") from None
    except UnicodeEncodeError:
        raise Refused(400, "invalid_json", "the body has a lone surrogate, which is no character") from None
    except RecursionError:
        raise Refused(400, "invalid_json", "the body is nested too deeply") from None
    except ValueError as error:
        raise Refused(400, "invalid_json", f"the body must be JSON ({error})") from None
    if not isinstance(body, dict):
        raise Refused(400, "invalid_json", "the body must be a JSON object")
    return body


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON number")
