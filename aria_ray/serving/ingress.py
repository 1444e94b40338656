"""The front of the endpoint: OpenAI's routes, handed to an engine's replica. One process, in front of all engines.

A replica may die with requests in it. One of which nothing was sent on yet is given to another replica, or to the one that
comes in its place; a stream that has begun ends with an error event and no `[DONE]`, so that nobody takes a part for the whole.
"""

import asyncio
import json
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from typing import Any

from pydantic import ValidationError
from ray import serve
from ray.exceptions import RayActorError, RayTaskError
from ray.serve.exceptions import BackPressureError, DeploymentUnavailableError, ReplicaUnavailableError
from ray.serve.handle import DeploymentHandle
from ray.serve.llm.openai_api_models import ChatCompletionRequest, CompletionRequest
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route
from vllm.exceptions import VLLMClientError
from vllm.v1.engine.exceptions import EngineDeadError

from aria_ray.serving.guard import BODY, App, Guard, Limits, Refused, check_asked, error_body

RETRIES = 2
"""How often a request is given to a replica again. Not more: a request that kills its engine must not kill them all."""
RETRY_PAUSE_S = 2.0
"""So that a replica whose engine died is gone before the next try: it ends itself within a second."""
_LOST = (RayActorError, ReplicaUnavailableError)
_ERROR_EVENT = 'data: {"error"'
_ENGINE_FAILS = (500, 503)
_UNREADABLE = (ValueError, TypeError, KeyError, IndexError, AttributeError, AssertionError)
"""What vLLM raises over parts of a request that its types let through, such as a content that is a list of lists."""

logger = logging.getLogger("ray.serve")


class EngineLost(Exception):
    """The replica or its engine went away before it had answered."""


class NoAnswer(Exception):
    """Nothing came in the time that a request may wait."""


@serve.ingress()
class Ingress:
    """The routes of one model; `engines` is the deployment of its replicas, `digests` are those of the API keys."""

    def __init__(
        self, engines: DeploymentHandle, model: str, max_model_len: int | None, digests: tuple[str, ...], limits: Limits
    ) -> None:
        self.engines = engines.options(stream=True)
        self.model, self.digests, self.limits = model, digests, limits
        self.card = {"id": model, "object": "model", "owned_by": "aria-ray", "max_model_len": max_model_len}

    async def __serve_build_asgi_app__(self) -> App:
        """Called by Ray Serve once the replica is made."""
        routes = [
            Route("/v1/models", self.models),
            Route("/v1/models/{name:path}", self.one_model),
            Route("/v1/chat/completions", self.chat, methods=["POST"]),
            Route("/v1/completions", self.completions, methods=["POST"]),
        ]
        handlers: dict[Any, Any] = {HTTPException: _http_error, Refused: _refused, Exception: _our_error}
        return Guard(Starlette(routes=routes, exception_handlers=handlers), self.digests, self.limits)

    async def models(self, _request: Request) -> Response:
        """GET /v1/models"""
        return JSONResponse({"object": "list", "data": [self.card]})

    async def one_model(self, request: Request) -> Response:
        """GET /v1/models/NAME"""
        self._check_model(request.path_params["name"])
        return JSONResponse(self.card)

    async def chat(self, request: Request) -> Response:
        """POST /v1/chat/completions"""
        body = _read_body(request, ChatCompletionRequest)
        # Pydantic makes one-way iterators of what OpenAI's types call iterable, and those cannot be sent to a replica.
        body.messages = getattr(request.state, BODY)["messages"]
        return await self._answer("chat", body)

    async def completions(self, request: Request) -> Response:
        """POST /v1/completions"""
        return await self._answer("completions", _read_body(request, CompletionRequest))

    async def _answer(self, method: str, body: Any) -> Response:
        self._check_model(body.model)
        check_asked(body, self.limits)
        try:
            first, rest = await self._begin(method, body)
        except (BackPressureError, DeploymentUnavailableError) as error:
            logger.warning("no engine for %s: %s", method, error)
            return _error(503, "engine_unavailable", "no engine could answer; try again shortly", {"Retry-After": "5"})
        except NoAnswer:
            logger.warning("nothing came for %s in %g s", method, self.limits.max_wait_s)
            message = f"no engine answered within {self.limits.max_wait_s:g} s; ask for less, or try again"
            return _error(503, "engine_unavailable", message, {"Retry-After": "5"})
        except EngineLost:
            # Not 503, which clients take as a word to send it again: this request may be what the engines die of.
            return _error(500, "engine_lost", f"{RETRIES + 1} engines were lost before they answered this request", {})
        if (failure := _error_of(first)) is not None:
            return JSONResponse({"error": failure.model_dump()}, status_code=failure.code)
        if isinstance(first, str):
            return StreamingResponse(_events(first, rest), media_type="text/event-stream")
        return JSONResponse(first.model_dump())

    async def _begin(self, method: str, body: Any) -> tuple[Any, AsyncIterator[Any]]:
        """The first thing that a replica says, and what follows; tried again where the engine went away before it."""
        for attempt in range(RETRIES + 1):
            if attempt:
                await asyncio.sleep(RETRY_PAUSE_S)
            lost, first, answer = await first_within(getattr(self.engines, method).remote(body), self.limits.max_wait_s)
            if lost is None:
                return first, answer
            logger.warning("engine lost before it answered, attempt %d of %d: %s", attempt + 1, RETRIES + 1, lost)
        raise EngineLost(lost)

    def _check_model(self, name: str | None) -> None:
        if name is not None and name != self.model:
            raise HTTPException(404, f"model '{name}' is not served here; this endpoint has '{self.model}'")


async def first_within(response: Any, seconds: float) -> tuple[str | None, Any, AsyncIterator[Any]]:
    """What `_first_of` says of the items of a handle's response, and the rest of them.

    Raises:
        NoAnswer: nothing came in time, and the response is cancelled. The handle itself waits without end for a replica.
        Refused: the engine cannot read the request.
    """
    answer = _items(response)
    try:
        async with asyncio.timeout(seconds):
            return (*await _first_of(answer), answer)
    except TimeoutError:
        response.cancel()
        raise NoAnswer from None


async def _first_of(answer: AsyncIterator[Any]) -> tuple[str | None, Any]:
    """Why an engine was lost before it said anything, or None and what it said first.

    Raises:
        Refused: the engine cannot read the request.
    """
    try:
        first = await anext(answer)
    except _LOST as error:
        return type(error).__name__, None
    except RayTaskError as error:
        if isinstance(error.cause, _UNREADABLE):
            logger.warning("the engine could not read a request", exc_info=error)
            raise Refused(400, "invalid_request", f"the engine cannot read this request: {error.cause}") from None
        if isinstance(error.cause, EngineDeadError):
            return "EngineDeadError", None
        raise
    return (str(first)[:300] if _is_server_error(first) else None), first


async def _items(stream: AsyncIterator[Any]) -> AsyncGenerator[Any, None]:
    """What a replica says, one item at a time: it sends the events of a stream in lists."""
    async for item in stream:
        if isinstance(item, list):
            for each in item:
                yield each
        else:
            yield item


async def _events(first: str, rest: AsyncIterator[str]) -> AsyncGenerator[str, None]:
    """The server-sent events of one answer."""
    yield first
    if first.startswith(_ERROR_EVENT):  # vLLM says [DONE] after it
        return
    try:
        async for event in rest:
            yield event
            if event.startswith(_ERROR_EVENT):
                return
    except (*_LOST, RayTaskError) as error:
        logger.warning("engine lost in the middle of a stream: %s", type(error).__name__)
        message = "the engine went away in the middle of this answer; it is not complete"
        yield f"data: {json.dumps(error_body(503, 'engine_lost', message))}\n\n"


def _error_of(item: Any) -> Any:
    """The error of an answer that is one, else None. Told by its shape: Ray's public class is a child of the one it sends."""
    return getattr(item, "error", None)


def _is_server_error(item: Any) -> bool:
    """Whether the engine says that it, not the request, is what fails; 501 is of the request."""
    if (error := _error_of(item)) is not None:
        return int(error.code) in _ENGINE_FAILS
    if isinstance(item, str) and item.startswith(_ERROR_EVENT):
        return int(json.loads(item.removeprefix("data:"))["error"].get("code") or 500) in _ENGINE_FAILS
    return False


def _read_body(request: Request, kind: Any) -> Any:
    """The request as vLLM reads it. Raises HTTPException 400 for a body that is none."""
    try:
        return kind.model_validate(getattr(request.state, BODY))
    except ValidationError as error:
        (first, *_) = error.errors(include_url=False, include_input=False, include_context=False)
        where = ".".join(map(str, first["loc"]))
        raise HTTPException(400, f"{where or 'body'}: {first['msg']}") from None
    except (VLLMClientError, ValueError, TypeError, AttributeError, KeyError) as error:  # vLLM's own checks of nested values
        raise HTTPException(400, str(error)) from None


async def _http_error(_request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    codes = {400: "invalid_request", 404: "not_found", 405: "method_not_allowed"}
    return _error(error.status_code, codes.get(error.status_code, "error"), error.detail, error.headers or {})


async def _refused(_request: Request, error: Exception) -> Response:
    assert isinstance(error, Refused)
    return JSONResponse(error_body(error.status, error.code, error.message, error.param), status_code=error.status)


async def _our_error(_request: Request, error: Exception) -> Response:
    logger.error("request failed", exc_info=error)
    return _error(500, "internal_error", "the request failed in the server, whose log says why", {})


def _error(status: int, code: str, message: str, headers: Mapping[str, str]) -> Response:
    return JSONResponse(error_body(status, code, message), status_code=status, headers=dict(headers))
