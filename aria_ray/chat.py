"""`aria chat`: talk to an endpoint in the terminal. Thought, call, tool result and answer show as they arrive.

Calls are executed here: built-in tools by name, and the typed functions of the user's modules. A tool from any other source has
only a description, so the person at the terminal types what it returns.
"""

import difflib
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx
import openai
from openai.types.chat import ChatCompletionChunk
from pydantic import ValidationError
from rich.console import Console

from aria_ray import grammar
from aria_ray.errors import DataError, ServingError
from aria_ray.records import Endpoint
from aria_ray.tools import TOOLS, ToolResult, execute, schema_problem, tool_definition
from aria_ray.tools.execution import ERROR_PREFIX
from aria_ray.tools.sources import read_tools
from aria_ray.validation.protocol import ModelList

DEFAULT_TOOLS = ("percent_of", "divide", "count_letter", "days_between", "convert_units")
"""One tool of every category; training shows a model about as many at a time."""
MAX_ROUNDS = 6
"""Rounds of calls and results within one request, after which the model is stopped."""
MAX_TOKENS = 256
"""Tokens of one assistant turn, thought included."""
TIMEOUT_S = 120.0
"""Seconds to wait for a connection, and for each piece of an answer."""
NO_KEY = "EMPTY"
"""Sent where the endpoint asks for no key, because the client library refuses to send none (vLLM's convention)."""
HELP = "/tools lists the tools, /reset forgets the conversation, /quit or Ctrl-D ends it; Ctrl-C stops an answer"

Ask = Callable[[str], str]
"""Read one line from the person, after a prompt."""


@dataclass
class Chat:
    """One conversation with an endpoint."""

    client: openai.OpenAI
    model: str
    tools: list[grammar.ToolDefinition]
    names: dict[str, str]
    """Each tool's name for `tools.execute` by its name in `tools`; empty where a tool cannot be executed."""
    console: Console
    ask: Ask
    messages: list[grammar.Message] = field(default_factory=list)

    def loop(self) -> None:
        """Read and answer until the end of the input."""
        self.console.print(f"{self.model} at {self.client.base_url} with {', '.join(self.names)}. {HELP}", style="dim")
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
        """Answer one request, with its calls. A request that fails leaves the conversation as it was."""
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
        except (ServingError, openai.OpenAIError, ValueError) as error:
            del self.messages[before:]
            self._show(f"\n{_reason(error)}; this request is forgotten", "red")

    def _say(self) -> grammar.Message:
        """Stream one assistant turn to the terminal. Returns the message to keep."""
        streamed = grammar.StreamedMessage()
        thinking = False
        with self._request() as chunks:  # left by Ctrl-C it closes the connection, and the endpoint stops generating
            for chunk in chunks:
                delta = streamed.add_chunk(chunk.to_dict())
                if delta.get("reasoning"):
                    self._show(delta["reasoning"], "dim italic", end="")
                    thinking = True
                if delta.get("content"):
                    if thinking:
                        self.console.print()
                        thinking = False
                    self._show(delta["content"], end="")
        self.console.print()
        if streamed.finish_reason is None:
            raise ServingError("the answer was cut off", "ask again")
        if streamed.finish_reason == "length":
            self.console.print(f"cut at {MAX_TOKENS} tokens", style="yellow")
        message = streamed.message()
        # Endpoints read the thought of an earlier turn under this name. Those that do not know the name ignore it.
        message["reasoning_content"] = message.pop("reasoning")
        return message

    def _show(self, text: str, style: str | None = None, end: str = "\n") -> None:
        """Print text from the endpoint without control characters, which could take the terminal over."""
        clean = "".join(character for character in text if character in "\n\t" or character.isprintable())
        self.console.print(clean, style=style, end=end, markup=False, highlight=False)

    def _request(self) -> openai.Stream[ChatCompletionChunk]:
        tools: Any = [{"type": "function", "function": {**tool["function"], "strict": True}} for tool in self.tools]
        messages: Any = self.messages
        return self.client.chat.completions.create(
            model=self.model,
            messages=messages,
            tools=tools or openai.omit,
            stream=True,
            temperature=0,
            max_tokens=MAX_TOKENS,
        )

    def _result(self, call: dict[str, Any]) -> grammar.Message:
        """Execute one call and show it with its result."""
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
    """Talk until the person ends it. `tools` are names of built-in tools, and sources as in `dataset.tools`.

    Raises:
        DataError: a tool is not there.
        ServingError: the endpoint does not answer, or does not serve the model.
    """
    definitions, names = listed(tools)
    with _client(endpoint) as client:
        _check_served(client, endpoint.model)
        Chat(client, endpoint.model, definitions, names, console, ask).loop()


def _client(endpoint: Endpoint) -> openai.OpenAI:
    """A client that takes neither key, account, address nor proxy from the environment, and tries each request once."""
    try:
        httpx.URL(endpoint.base_url)
    except httpx.InvalidURL as error:
        raise ServingError(
            f"--url {endpoint.base_url} is no address ({error})", "give one as http://127.0.0.1:8000/v1"
        ) from None
    unsent: Any = dict.fromkeys(("OpenAI-Organization", "OpenAI-Project"), openai.Omit())
    return openai.OpenAI(
        base_url=endpoint.base_url,
        api_key=endpoint.api_key.get_secret_value() if endpoint.api_key else NO_KEY,
        default_headers=unsent,
        timeout=TIMEOUT_S,
        max_retries=0,
        http_client=openai.DefaultHttpxClient(trust_env=False, follow_redirects=False, timeout=TIMEOUT_S),
    )


def listed(tools: Iterable[str]) -> tuple[list[grammar.ToolDefinition], dict[str, str]]:
    """The definitions of the tools that `chat` is given, and their `Chat.names`.

    Raises:
        DataError: a tool is not there, or two have the same name.
    """
    definitions: list[grammar.ToolDefinition] = []
    names: dict[str, str] = {}
    for source in tools:
        if source in TOOLS:
            found = [(source, tool_definition(TOOLS[source]))]
        else:
            try:
                read = read_tools([source], "as a source of tools").values()
            except DataError as error:
                close = difflib.get_close_matches(source, TOOLS, n=1)
                fix = f"did you mean {close[0]}?" if close else error.fix
                raise DataError(f"--tool {source} is no built-in tool, and {error.problem}", fix) from None
            found = [("" if tool.backend else tool.name, tool.definition) for tool in read]
        for real, definition in found:
            name = definition["function"]["name"]
            if name in names:
                raise DataError(f"--tool {source}: there is already a tool called {name}", "give one of them only")
            names[name] = real
            definitions.append(definition)
    return definitions, names


def _check_served(client: openai.OpenAI, model: str) -> None:
    try:
        answer = client.models.with_raw_response.list()  # raw, because the library checks no shape
        served = [each.id for each in ModelList.model_validate_json(answer.http_response.content).data]
    except openai.APIStatusError as error:
        raise ServingError(
            f"{client.base_url} answered {_reason(error)}", "check --url, and --key-env if it needs a key"
        ) from None
    except openai.APIConnectionError as error:
        raise ServingError(
            f"nothing answers at {client.base_url} ({type(error.__cause__).__name__})",
            "start it with `aria serve`, or give --url",
        ) from None
    except ValidationError:
        raise ServingError(
            f"{client.base_url}models is not OpenAI's API", "give its address, ending in /v1, with --url"
        ) from None
    if model not in served:
        raise ServingError(f"{client.base_url} serves {', '.join(served)}, not '{model}'", "give one of them with --model")


def _reason(error: Exception) -> str:
    """One line on a request that failed: the endpoint's own message where it gave one."""
    if isinstance(error, openai.APIStatusError):
        message = error.body.get("message") if isinstance(error.body, Mapping) else None
        return f"HTTP {error.status_code}: {message or error.response.text[:300]}"
    if isinstance(error, openai.APIConnectionError):
        return str(error.__cause__) or type(error.__cause__).__name__
    return f"error in stream: {error}" if isinstance(error, openai.APIError) else str(error)
