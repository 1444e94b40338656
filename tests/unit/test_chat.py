"""The terminal chat, against a server of the test that streams what it is told to."""

import io
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from pydantic import SecretStr
from rich.console import Console

from aria_ray.chat import MAX_ROUNDS, Chat, chat, listed
from aria_ray.errors import DataError, ServingError
from aria_ray.records import Endpoint

CALL = [
    {"reasoning": "ask: percentage; function: percent_of; args: 15, 80"},
    {"tool_calls": [{"index": 0, "id": "c1", "function": {"name": "percent_of", "arguments": '{"percent": 15, '}}]},
    {"tool_calls": [{"index": 0, "function": {"arguments": '"value": 80}'}}]},
]
ANSWER = [{"reasoning": "ask: percentage; function: none; reason: result is ready"}, {"content": "It is "}, {"content": "12."}]


class Server:
    """Streams the next of `turns` for each request, and keeps what it was asked."""

    def __init__(self, *turns: list[dict[str, Any]] | httpx.Response | BaseException) -> None:
        self.turns, self.asked = list(turns), list[dict[str, Any]]()

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(json.loads(request.content))
        turn = self.turns.pop(0)
        if isinstance(turn, BaseException):
            raise turn
        if isinstance(turn, httpx.Response):
            return turn
        choices = [{"delta": delta, "finish_reason": None} for delta in turn] + [{"delta": {}, "finish_reason": "stop"}]
        events = [f"data: {json.dumps({'choices': [choice]})}\n\n" for choice in choices]
        return httpx.Response(200, text="".join([*events, "data: [DONE]\n\n"]))


def talk(server: Server, *said: str, tools: tuple[str, ...] = ("percent_of",)) -> tuple[str, list[dict[str, Any]]]:
    """What the terminal shows when a person says these lines, and the conversation at the end."""
    lines: Iterator[str] = iter(said)
    shown = io.StringIO()

    def ask(_prompt: str) -> str:
        try:
            return next(lines)
        except StopIteration:
            raise EOFError from None

    transport = httpx.Client(transport=httpx.MockTransport(server))
    with openai.OpenAI(base_url="http://test/v1", api_key="unsent", http_client=transport, max_retries=0) as client:
        made = Chat(client, "aria", *listed(tools), Console(file=shown, width=200), ask)
        made.loop()
    return shown.getvalue(), made.messages


def test_thought_call_result_and_answer_are_shown() -> None:
    server = Server(CALL, ANSWER)
    shown, messages = talk(server, "What is 15% of 80?")
    for part in ("function: percent_of", 'percent_of {"percent": 15, "value": 80}', "= 12\n", "It is 12."):
        assert part in shown
    assert [message["role"] for message in messages] == ["user", "assistant", "tool", "assistant"]
    # The tool was really run, and the model is told under the id of its call.
    assert server.asked[1]["messages"][2] == {"role": "tool", "tool_call_id": "c1", "content": "12"}
    assert server.asked[0]["tools"][0]["function"]["strict"] is True


def test_a_failing_call_is_a_result() -> None:
    bad = [{"tool_calls": [{"index": 0, "id": "c", "function": {"name": "percent_of", "arguments": '{"percent": "x"}'}}]}]
    broken = [{"tool_calls": [{"index": 0, "id": "c", "function": {"name": "percent_of", "arguments": "{"}}]}]
    unknown = [{"tool_calls": [{"index": 0, "id": "c", "function": {"name": "nothing", "arguments": "{}"}}]}]
    shown, messages = talk(Server(bad, broken, unknown, ANSWER), "go")
    assert [message["content"][:7] for message in messages if message["role"] == "tool"] == ["error: "] * 3
    assert "no such tool 'nothing'" in shown


def test_a_model_that_calls_for_ever_is_stopped() -> None:
    shown, _ = talk(Server(*[CALL] * MAX_ROUNDS), "go")
    assert f"stopped after {MAX_ROUNDS} rounds" in shown


@pytest.mark.parametrize(
    ("trouble", "told"),
    [
        (httpx.Response(429, json={"error": {"message": "too many"}}), "HTTP 429: too many"),
        (httpx.Response(200, text='data: {"error": {"message": "lost"}}\n\n'), "error in stream"),
        (httpx.Response(200, text='data: {"choices": []}\n\n'), "cut off"),
        (httpx.ConnectError("refused"), "refused"),
        (KeyboardInterrupt(), "stopped"),
    ],
)
def test_a_request_that_fails_is_forgotten_and_the_chat_goes_on(trouble: Any, told: str) -> None:
    server = Server(ANSWER, trouble, ANSWER)
    shown, messages = talk(server, "one", "two", "three")
    assert told in shown
    assert "this request is forgotten" in shown
    assert [message["content"] for message in messages if message["role"] == "user"] == ["one", "three"]


def test_an_endpoint_cannot_take_the_terminal_over() -> None:
    shown, _ = talk(Server([{"content": "a\x1b]52;c;ZXZpbA==\x07b\x1b[2Jc\nd"}]), "go")
    assert "\x1b" not in shown
    assert "c\nd" in shown


def test_the_end_of_input_at_a_tools_question_ends_the_request_only(tmp_path: Path) -> None:
    weather = {"name": "weather", "description": "The weather.", "parameters": {"type": "object", "properties": {}}}
    (tmp_path / "tools.json").write_text(json.dumps([{"type": "function", "function": weather}]))
    call = [{"tool_calls": [{"index": 0, "id": "b", "function": {"name": "weather", "arguments": "{}"}}]}]
    shown, messages = talk(Server(call), "go", tools=(str(tmp_path / "tools.json"),))
    assert "this request is forgotten" in shown
    assert messages == []


def test_commands() -> None:
    server = Server(ANSWER, ANSWER)
    shown, messages = talk(server, "one", "/reset", "two", "/tools", "/what", "", "/quit", "three")
    assert "percent_of(percent, value): A given percent of a value." in shown
    assert shown.count("/tools lists the tools") == 2
    assert len(server.asked[1]["messages"]) == 1
    assert [message["content"] for message in messages if message["role"] == "user"] == ["two"]


def test_own_functions_are_run_and_described_tools_are_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "chat_tools.py").write_text('def shout(text: str) -> str:\n    """Shouts."""\n    return text.upper()\n')
    weather = {"name": "weather", "description": "The weather.", "parameters": {"type": "object", "properties": {}}}
    (tmp_path / "tools.json").write_text(json.dumps([{"type": "function", "function": weather}]))
    monkeypatch.syspath_prepend(tmp_path)
    calls = [
        {"tool_calls": [{"index": 0, "id": "a", "function": {"name": "shout", "arguments": '{"text": "hey"}'}}]},
        {"tool_calls": [{"index": 1, "id": "b", "function": {"name": "weather", "arguments": "{}"}}]},
    ]
    _, messages = talk(Server(calls, ANSWER), "go", "it rains", tools=("chat_tools", str(tmp_path / "tools.json")))
    assert [message["content"] for message in messages if message["role"] == "tool"] == ["HEY", "it rains"]


@pytest.mark.parametrize(
    ("tools", "message"),
    [
        (
            ["nothing_there"],
            "--tool nothing_there is no built-in tool, and as a source of tools nothing_there cannot be imported",
        ),
        (["no.json"], "--tool no.json is no built-in tool, and as a source of tools no.json cannot be read as JSON"),
        (["divide", "divide"], "--tool divide: there is already a tool called divide"),
    ],
)
def test_wrong_tools_are_named_with_a_way_out(tools: list[str], message: str) -> None:
    with pytest.raises(DataError) as caught:
        listed(tools)
    assert caught.value.problem.startswith(message)
    assert caught.value.fix.startswith("give ")
    assert "dataset.tools" not in str(caught.value)  # a setting of recipes, which a chat does not have


def test_an_endpoint_that_is_not_there_is_told() -> None:
    with pytest.raises(ServingError, match=r"nothing answers at http://127.0.0.1:9/v1/.*aria serve"):
        chat(Endpoint(base_url="http://127.0.0.1:9/v1", model="aria"), [], Console(file=io.StringIO()), input)


@contextmanager
def http_server(status: int, body: str, content_type: str = "application/json") -> Iterator[tuple[str, list[dict[str, str]]]]:
    """The address of a real server that gives every request this answer, and the headers of the requests it had."""
    asked: list[dict[str, str]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append({name.lower(): value for name, value in self.headers.items()})
            self.send_response(status)
            self.send_header("Content-Type", content_type)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/v1", asked
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize(("key", "sent"), [(None, "Bearer EMPTY"), (SecretStr("mine"), "Bearer mine")])
def test_keys_accounts_and_proxies_of_the_environment_stay_there(
    monkeypatch: pytest.MonkeyPatch, key: SecretStr | None, sent: str
) -> None:
    """The library reads the first four of these, and the HTTP client below it the last."""
    for name in ("OPENAI_API_KEY", "OPENAI_ORG_ID", "OPENAI_PROJECT_ID"):
        monkeypatch.setenv(name, "secret")
    for name in ("OPENAI_BASE_URL", "http_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    with (
        http_server(200, '{"data": [{"id": "other"}]}') as (url, asked),
        pytest.raises(ServingError, match="serves other, not 'aria'; give one of them with --model"),
    ):
        chat(Endpoint(base_url=url, model="aria", api_key=key), [], Console(file=io.StringIO()), input)
    (headers,) = asked
    assert headers["authorization"] == sent
    assert "secret" not in headers.values()


@pytest.mark.parametrize(
    ("status", "body", "content_type", "message"),
    [
        (200, "<html>hello</html>", "text/html", "/v1/models is not OpenAI's API"),
        (200, '{"data": ["x"]}', "application/json", "/v1/models is not OpenAI's API"),
        (401, '{"error": {"message": "an API key is needed"}}', "application/json", "HTTP 401: an API key is needed; check"),
        (503, "busy", "text/plain", "HTTP 503: busy; check"),
    ],
)
def test_an_answer_that_is_no_list_of_models_is_told(status: int, body: str, content_type: str, message: str) -> None:
    with http_server(status, body, content_type) as (url, asked), pytest.raises(ServingError, match=message):
        chat(Endpoint(base_url=url, model="aria"), [], Console(file=io.StringIO()), input)
    assert len(asked) == 1  # no retry
