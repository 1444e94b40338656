"""The terminal chat, against a server of the test that streams what it is told to."""

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
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
        events = [f"data: {json.dumps({'choices': [{'delta': delta}]})}\n\n" for delta in turn]
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

    with httpx.Client(transport=httpx.MockTransport(server), base_url="http://test/v1") as http:
        made = Chat(http, "aria", *listed(tools), Console(file=shown, width=200), ask)
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
