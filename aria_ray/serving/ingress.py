"""The front of the endpoint: OpenAI's routes, in one process before all engines. Each request goes to an engine's replica.

A replica may die while it has requests. A request that nothing was answered to yet is sent to another replica, or to the
successor. A stream that has begun ends with an error event and no `[DONE]`, so that no client takes a part for the whole.

A 4xx means that the client's request is wrong. Only pydantic's errors and those that vLLM calls the client's lead there. Any
other exception is a bug, ours or a library's: it is logged and answered by a 500.
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
from aria_ray.serving.listed_tools import with_plain_tools
from aria_ray.serving.shapes import Body, ChatBody

RETRIES = 2
"""Further replicas that a request is sent to. No more than two: a request that kills its engine must not kill them all."""
RETRY_PAUSE_S = 2.0
"""Pause before the next try. A replica ends itself within a second of its engine's death, so it is gone by then."""
_LOST = (RayActorError, ReplicaUnavailableError)
_ERROR_EVENT = 'data: {"error"'
_ENGINE_FAILS = (500, 503)

logger = logging.getLogger("ray.serve")


class EngineLost(Exception):
    """The replica or its engine died before it answered."""


class NoAnswer(Exception):
    """No engine answered within `Limits.max_wait_s`."""


@serve.ingress()
class Ingress:
    """The routes of one model. `engines` is the deployment of its replicas; `digests` are the hashes of the API keys."""

    def __init__(
        self, engines: DeploymentHandle, model: str, max_model_len: int | None, digests: tuple[str, ...], limits: Limits
    ) -> None:
        self.engines = engines.options(stream=True)
        self.model, self.digests, self.limits = model, digests, limits
        self.card = {"id": model, "object": "model", "owned_by": "aria-ray", "max_model_len": max_model_len}

    async def __serve_build_asgi_app__(self) -> App:
        """The ASGI application. Ray Serve calls this once, when the replica starts."""
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
        given = getattr(request.state, BODY)
        _validated(ChatBody, given)
        given = with_plain_tools(given)
        body = _validated(ChatCompletionRequest, given)
        # Pydantic makes one-way iterators of what OpenAI's types call iterable, and those cannot be sent to a replica.
        body.messages = given["messages"]
        return await self._answer("chat", body)

    async def completions(self, request: Request) -> Response:
        """POST /v1/completions"""
        given = getattr(request.state, BODY)
        _validated(Body, given)
        return await self._answer("completions", _validated(CompletionRequest, given))

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
            # Not 503, after which clients send the request again: it may be this request that the engines die of.
            return _error(500, "engine_lost", f"{RETRIES + 1} engines were lost before they answered this request", {})
        if (failure := _error_of(first)) is not None:
            return JSONResponse({"error": failure.model_dump()}, status_code=failure.code)
        if isinstance(first, str):
            return StreamingResponse(_events(first, rest), media_type="text/event-stream")
        return JSONResponse(first.model_dump())

    async def _begin(self, method: str, body: Any) -> tuple[Any, AsyncIterator[Any]]:
        """The first item of a replica's answer, and the rest. Tries other replicas where the engine dies before the first item.

        Raises:
            EngineLost: the last try failed too.
            NoAnswer: no first item came in time.
        """
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
    """The result of `_first_of` for a handle's response, and the items that follow.

    Raises:
        NoAnswer: nothing came in time, and the response is cancelled. The handle itself waits for a replica without limit.
    """
    answer = _items(response)
    try:
        async with asyncio.timeout(seconds):
            return (*await _first_of(answer), answer)
    except TimeoutError:
        response.cancel()
        raise NoAnswer from None


async def _first_of(answer: AsyncIterator[Any]) -> tuple[str | None, Any]:
    """(reason, None) where the engine died before its first item, else (None, first item)."""
    try:
        first = await anext(answer)
    except (*_LOST, RayTaskError) as error:
        if (loss := _loss(error)) is None:
            raise
        return loss, None
    return (str(first)[:300] if _is_server_error(first) else None), first


async def _items(stream: AsyncIterator[Any]) -> AsyncGenerator[Any, None]:
    """The items of a replica's answer one by one. A replica sends the events of a stream in lists."""
    async for item in stream:
        if isinstance(item, list):
            for each in item:
                yield each
        else:
            yield item


async def _events(first: str, rest: AsyncIterator[str]) -> AsyncGenerator[str, None]:
    """The server-sent events of one answer."""
    yield first
    if first.startswith(_ERROR_EVENT):  # vLLM sends [DONE] after it
        return
    try:
        async for event in rest:
            yield event
            if event.startswith(_ERROR_EVENT):
                return
    except (*_LOST, RayTaskError) as error:
        if (loss := _loss(error)) is not None:
            logger.warning("engine lost in the middle of a stream: %s", loss)
            body = error_body(503, "engine_lost", "the engine went away in the middle of this answer; it is not complete")
        else:
            logger.error("stream failed", exc_info=error)
            body = error_body(500, "internal_error", "the answer failed in the server, whose log says why; it is not complete")
        yield f"data: {json.dumps(body)}\n\n"


def _loss(error: Exception) -> str | None:
    """The name of an error that means that the replica or its engine died, else None."""
    cause = error.cause if isinstance(error, RayTaskError) else error
    return type(cause).__name__ if isinstance(cause, (*_LOST, EngineDeadError)) else None


def _error_of(item: Any) -> Any:
    """The error in an error response, else None. By its field, since the class that Ray sends is not its public one."""
    return getattr(item, "error", None)


def _is_server_error(item: Any) -> bool:
    """Whether an item reports a failure of the engine. A 501 is about the request: it asks for what is not implemented."""
    if (error := _error_of(item)) is not None:
        return int(error.code) in _ENGINE_FAILS
    if isinstance(item, str) and item.startswith(_ERROR_EVENT):
        return int(json.loads(item.removeprefix("data:"))["error"].get("code") or 500) in _ENGINE_FAILS
    return False


def _validated(model: Any, body: dict[str, Any]) -> Any:
    """The body as an instance of a pydantic model. Raises HTTPException 400, with the place, where it does not fit."""
    try:
        return model.model_validate(body)
    except ValidationError as error:
        (first, *_) = error.errors(include_url=False, include_input=False, include_context=False)
        where = ".".join(map(str, first["loc"]))
        raise HTTPException(400, f"{where or 'body'}: {first['msg']}") from None
    except VLLMClientError as error:  # raised by validators of vLLM; pydantic passes it on, as it is no ValueError
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
