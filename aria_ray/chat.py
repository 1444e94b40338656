"""`aria chat`: talk to an endpoint in the terminal; thought, call, the tool's result and answer show as they come.

Tools are really run here: built-in ones by name, and the typed functions of a module of the user's own. Those of a JSON file
are only described, so the person at the terminal says what they return.
"""

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import httpx
from rich.console import Console

from aria_ray import grammar
from aria_ray.dataset.user_tools import user_tools
from aria_ray.errors import DataError, ServingError
from aria_ray.records import Endpoint
from aria_ray.tools import TOOLS, ToolResult, execute, schema_problem, tool_definition
from aria_ray.tools.execution import ERROR_PREFIX

DEFAULT_TOOLS = ("percent_of", "divide", "count_letter", "days_between", "convert_units")
"""As many as the model saw at a time in training, and of all kinds."""
MAX_ROUNDS = 6
"""Calls, results and calls again within one request, before the model is stopped."""
MAX_TOKENS = 256
TIMEOUT_S = 120.0
HELP = "/tools lists the tools, /reset forgets the conversation, /quit ends it (so does Ctrl-D); Ctrl-C stops an answer"

Ask = Callable[[str], str]
"""Read one line from the person, after a prompt."""


@dataclass
class Chat:
    """One conversation with an endpoint. `names` are the tools' real names by the model's, empty for one only described."""

    http: httpx.Client
    model: str
    tools: list[grammar.ToolDefinition]
    names: dict[str, str]
    console: Console
    ask: Ask
    messages: list[grammar.Message] = field(default_factory=list)

    def loop(self) -> None:
        """Read and answer until the end of the input."""
        self.console.print(f"{self.model} at {self.http.base_url} with {', '.join(self.names)}. {HELP}", style="dim")
        while True:
            try:
                said = self.ask("> ").strip()
            except (EOFError, KeyboardInterrupt):
                self.console.print()
                return
            if said == "/quit":
                return
            if said.startswith("/"):
                self._command(said)
            elif said:
                self._answer(said)

    def _command(self, said: str) -> None:
        if said == "/reset":
            self.messages.clear()
            self.console.print("the conversation is forgotten", style="dim")
        elif said == "/tools":
            for tool in self.tools:
                function = tool["function"]
                parameters = ", ".join(function["parameters"]["properties"])
                self.console.print(f"{function['name']}({parameters}): {function['description']}", markup=False)
        else:
            self.console.print(HELP, style="dim")

    def _answer(self, said: str) -> None:
        """One request, with its calls; one that fails leaves the conversation as it was."""
        before = len(self.messages)
        self.messages.append({"role": "user", "content": said})
        try:
            for _ in range(MAX_ROUNDS):
                message = self._say()
                self.messages.append(message)
                if not message.get("tool_calls"):
                    return
                self.messages += [self._result(call) for call in message["tool_calls"]]
            self.console.print(f"stopped after {MAX_ROUNDS} rounds of calls", style="yellow")
        except (KeyboardInterrupt, EOFError):
            del self.messages[before:]
            self.console.print("\nstopped; this request is forgotten", style="yellow")
        except (ServingError, httpx.HTTPError, ValueError) as error:
            del self.messages[before:]
            reason = str(error) or type(error).__name__
            self._show(f"\n{reason}; this request is forgotten", "red")

    def _say(self) -> grammar.Message:
        """Stream one assistant turn to the terminal; the message to keep."""
        streamed = grammar.StreamedMessage()
        thinking = False
        for event in self._events():
            delta = streamed.add(event)
            if delta.get("reasoning"):
                self._show(delta["reasoning"], "dim italic", end="")
                thinking = True
            if delta.get("content"):
                if thinking:
                    self.console.print()
                    thinking = False
                self._show(delta["content"], end="")
        self.console.print()
        if not streamed.is_complete:
            raise ServingError("the answer was cut off")
        if streamed.finish_reason == "length":
            self.console.print(f"cut at {MAX_TOKENS} tokens", style="yellow")
        message = streamed.message()
        # Endpoints take the thought of an earlier turn under this name; where they do not know it they leave it out.
        message["reasoning_content"] = message.pop("reasoning")
        return message

    def _show(self, text: str, style: str | None = None, end: str = "\n") -> None:
        """Print what came from elsewhere, without the control characters by which it could take the terminal over."""
        clean = "".join(character for character in text if character in "\n\t" or character.isprintable())
        self.console.print(clean, style=style, end=end, markup=False, highlight=False)

    def _events(self) -> Iterator[str]:
        tools = [{"type": "function", "function": {**tool["function"], "strict": True}} for tool in self.tools]
        body: dict[str, Any] = {
            "model": self.model,
            "messages": self.messages,
            "stream": True,
            "temperature": 0,
            "max_tokens": MAX_TOKENS,
            **({"tools": tools} if tools else {}),
        }
        with self.http.stream("POST", "chat/completions", json=body) as response:
            if not response.is_success:
                raise ServingError(f"HTTP {response.status_code}: {_reason(response.read())}")
            for line in response.iter_lines():
                if line.startswith("data:"):
                    yield line

    def _result(self, call: dict[str, Any]) -> grammar.Message:
        """Run one call and show it with its result."""
        function = call["function"]
        self._show(f"{function['name']} {function['arguments']}", "cyan")
        result = self._run(function["name"], function["arguments"])
        self._show(f"= {result.text}", "green" if result.ok else "red")
        return {"role": "tool", "tool_call_id": call["id"], "content": result.text}

    def _run(self, name: str, arguments: str) -> ToolResult:
        try:
            values = json.loads(arguments)
        except ValueError as error:
            return ToolResult(False, f"{ERROR_PREFIX}the arguments are not JSON ({error})")
        if name not in self.names or not isinstance(values, dict):
            return ToolResult(False, f"{ERROR_PREFIX}no such tool '{name}'")
        if self.names[name]:
            return execute(self.names[name], values)
        definition = next(tool for tool in self.tools if tool["function"]["name"] == name)
        problem = schema_problem(definition, values)
        return (
            ToolResult(False, f"{ERROR_PREFIX}{problem}")
            if problem
            else ToolResult(True, self.ask(f"what does {name} return? "))
        )


def chat(endpoint: Endpoint, tools: Iterable[str], console: Console, ask: Ask) -> None:
    """Talk until the person ends it. `tools` are names of built-in ones, modules, or JSON files of OpenAI definitions.

    Raises:
        DataError: a tool is not there.
        ServingError: the endpoint is not there, or does not serve the model.
    """
    definitions, names = listed(tools)
    try:
        client = httpx.Client(base_url=endpoint.base_url, headers=endpoint.headers, timeout=TIMEOUT_S, trust_env=False)
    except httpx.InvalidURL as error:
        raise ServingError(
            f"--url {endpoint.base_url} is no address ({error})", "give one as http://127.0.0.1:8000/v1"
        ) from None
    with client as http:
        _check_served(http, endpoint.model)
        Chat(http, endpoint.model, definitions, names, console, ask).loop()


def listed(tools: Iterable[str]) -> tuple[list[grammar.ToolDefinition], dict[str, str]]:
    """The definitions of tools as `chat` takes them, and `Chat.names`.

    Raises:
        DataError: a tool is not there, or two have the same name.
    """
    definitions: list[grammar.ToolDefinition] = []
    names: dict[str, str] = {}
    for source in tools:
        if source in TOOLS:
            found = {source: tool_definition(TOOLS[source])}
        else:
            try:
                found = {real: tool.definition for real, tool in user_tools(source, "as a source of tools").items()}
            except DataError as error:
                raise DataError(f"--tool {source} is no built-in tool, and {error.problem}", error.fix) from None
        for real, definition in found.items():
            name = definition["function"]["name"]
            if name in names:
                raise DataError(f"--tool {source}: there is already a tool called {name}", "give one of them only")
            names[name] = real if source in TOOLS or ":" in real else ""
            definitions.append(definition)
    return definitions, names


def _check_served(http: httpx.Client, model: str) -> None:
    try:
        answer = http.get("models")
        served = [item["id"] for item in answer.raise_for_status().json()["data"]]
    except httpx.HTTPStatusError as error:
        raise ServingError(
            f"{http.base_url} answered HTTP {error.response.status_code}: {_reason(error.response.content)}"
        ) from None
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise ServingError(
            f"nothing answers at {http.base_url} ({type(error).__name__})", "start it with `aria serve`, or give --url"
        ) from None
    except (ValueError, KeyError, TypeError):
        raise ServingError(
            f"{http.base_url}models is not OpenAI's API", "give its address, ending in /v1, with --url"
        ) from None
    if model not in served:
        raise ServingError(f"{http.base_url} serves {', '.join(served)}, not '{model}'", "give one of them with --model")


def _reason(content: bytes) -> str:
    """The message of an error in OpenAI's shape, else the text as it is."""
    try:
        return str(json.loads(content)["error"]["message"])
    except (ValueError, KeyError, TypeError):
        return content.decode("utf-8", errors="replace")[:300]
