"""Whose fault a failed request is: the client's is a 400 that names the place, ours is a 500. No engine, no Ray."""

import asyncio
import json
from typing import Any

import httpx
import pytest
from ray.exceptions import RayActorError, RayTaskError
from ray.serve.llm.openai_api_models import ChatCompletionRequest
from vllm.exceptions import VLLMValidationError
from vllm.v1.engine.exceptions import EngineDeadError

from aria_ray.serving import ingress
from aria_ray.serving.guard import Limits

pytestmark = [pytest.mark.ray, pytest.mark.vllm]

SOUND: dict[str, Any] = {"model": "aria", "messages": [{"role": "user", "content": "hi"}]}


class Engines:
    """A stand-in for the handle of the replicas; every answer is these events, then that exception."""

    def __init__(self, error: Exception, *events: str) -> None:
        self.error, self.events = error, events
        self.chat = self.completions = self

    def options(self, **_options: Any) -> "Engines":
        return self

    async def remote(self, _body: Any) -> Any:
        for event in self.events:
            yield event
        raise self.error


def ask(body: dict[str, Any], error: Exception, *events: str, path: str = "chat/completions") -> httpx.Response:
    # The class as it is written, without what `serve.ingress` puts around it.
    plain = ingress.Ingress.__bases__[0]

    async def one() -> httpx.Response:
        app = await plain(Engines(error, *events), "aria", 2048, (), Limits()).__serve_build_asgi_app__()
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost/v1/") as client:
            return await client.post(path, json=body)

    return asyncio.run(one())


def of_a_replica(cause: Exception) -> RayTaskError:
    """An exception in a replica, as Ray hands it over."""
    return RayTaskError("chat", "a traceback", cause)


@pytest.mark.parametrize("bug", [AttributeError, KeyError, TypeError, AssertionError, IndexError, ValueError])
def test_a_bug_in_a_replica_is_a_500(bug: type[Exception]) -> None:
    for path, body in (("chat/completions", SOUND), ("completions", {"model": "aria", "prompt": "hi"})):
        answer = ask(body, of_a_replica(bug("planted")), path=path)
        assert (answer.status_code, answer.json()["error"]["type"]) == (500, "server_error")


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (of_a_replica(KeyError("planted")), "internal_error"),
        (of_a_replica(EngineDeadError()), "engine_lost"),
        (RayActorError(), "engine_lost"),
    ],
)
def test_a_stream_that_breaks_off_says_whether_the_engine_died(error: Exception, code: str) -> None:
    events = ask(SOUND | {"stream": True}, error, "data: {}\n\n").text.split("\n\n")
    assert events[0] == "data: {}"
    assert json.loads(events[1].removeprefix("data: "))["error"]["code"] == code
    assert "[DONE]" not in events


@pytest.mark.parametrize("bug", [AttributeError, KeyError, TypeError])
def test_a_bug_in_the_ingress_is_a_500(monkeypatch: pytest.MonkeyPatch, bug: type[Exception]) -> None:
    def planted(*_given: Any) -> None:
        raise bug("planted")

    with monkeypatch.context() as patch:
        patch.setattr(ingress, "check_asked", planted)
        assert ask(SOUND, RuntimeError()).status_code == 500
    monkeypatch.setattr(ingress.ChatCompletionRequest, "model_validate", planted)
    assert ask(SOUND, RuntimeError()).status_code == 500


def test_what_vllm_calls_the_clients_error_is_a_400(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_body: Any) -> None:
        raise VLLMValidationError("no such grammar", parameter="response_format")

    monkeypatch.setattr(ChatCompletionRequest, "model_validate", refuse)
    answer = ask(SOUND, RuntimeError())
    assert (answer.status_code, answer.json()["error"]["message"]) == (400, "no such grammar (parameter=response_format)")


@pytest.mark.parametrize(
    ("changes", "place"),
    [
        ({"messages": 7}, "messages: "),
        ({"messages": None}, "messages: "),
        ({"messages": [7]}, "messages.0: "),
        ({"messages": [{"role": "user", "content": [[[]]]}]}, "messages.0.content: "),
        ({"messages": [{"role": "user", "content": {"a": 1}}]}, "messages.0.content: "),
        ({"messages": [{"role": "user", "content": [{"type": "text", "text": 5}]}]}, "messages.0.content: "),
        ({"structured_outputs": 7}, "structured_outputs: "),
        ({"messages": [{"role": "assistant", "content": "x", "tool_calls": 7}]}, "messages.0.tool_calls: "),
        ({"temperature": "hot"}, "temperature: "),
        ({"tools": []}, "`tools` must not be an empty array"),
    ],
)
def test_a_wrong_shape_is_a_400_that_names_its_place(changes: dict[str, Any], place: str) -> None:
    answer = ask(SOUND | changes, AssertionError("an engine was asked"))
    assert answer.status_code == 400
    assert answer.json()["error"]["message"].startswith(place)
