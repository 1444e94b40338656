"""Ask an endpoint of aria-ray, with the `openai` package: a streamed answer, and a loop that runs tools.

python client.py "What is 15% of 80?"
"""

import json
import os
import sys
from collections.abc import Callable
from typing import Any

from openai import OpenAI

MAX_ROUNDS = 5
"""Number of times that the model may ask for tools before it is stopped."""


def percent_of(percent: float, value: float) -> float:
    return percent * value / 100


FUNCTIONS: dict[str, Callable[..., Any]] = {"percent_of": percent_of}
TOOLS: list[Any] = [
    {
        "type": "function",
        "function": {
            "name": "percent_of",
            "description": "A given percent of a value.",
            "strict": True,  # the engine decodes no call that does not fit the schema
            "parameters": {
                "type": "object",
                "properties": {"percent": {"type": "number"}, "value": {"type": "number"}},
                "required": ["percent", "value"],
                "additionalProperties": False,
            },
        },
    }
]


def stream(client: OpenAI, model: str, question: str) -> None:
    """Print an answer as it comes, the thought first."""
    messages: list[Any] = [{"role": "user", "content": question}]
    for chunk in client.chat.completions.create(model=model, messages=messages, max_tokens=256, stream=True):
        for choice in chunk.choices:
            # vLLM's name for the thought; the package has no field of its own for it.
            print(getattr(choice.delta, "reasoning", None) or choice.delta.content or "", end="", flush=True)
    print()


def answer(client: OpenAI, model: str, question: str) -> str:
    """The answer to a question, after every tool that the model asked for was run."""
    messages: list[Any] = [{"role": "user", "content": question}]
    for _ in range(MAX_ROUNDS):
        completion = client.chat.completions.create(model=model, messages=messages, tools=TOOLS, max_tokens=256, temperature=0)
        message = completion.choices[0].message
        messages.append(message.model_dump(exclude_none=True))
        if not message.tool_calls:
            return message.content or ""
        for call in message.tool_calls:
            result = run(call.function.name, call.function.arguments)
            print(f"{call.function.name}({call.function.arguments}) -> {result}")
            messages.append({"role": "tool", "tool_call_id": call.id, "content": result})
    raise RuntimeError(f"the model still asks for tools after {MAX_ROUNDS} rounds")


def run(name: str, arguments: str) -> str:
    """The result of a call as text. What goes wrong is a result too: the model reads it and can say so."""
    if name not in FUNCTIONS:
        return f"error: there is no tool {name}"
    try:
        return str(FUNCTIONS[name](**json.loads(arguments)))
    except (TypeError, ValueError) as error:
        return f"error: {error}"


def main() -> None:
    question = " ".join(sys.argv[1:]) or "What is 15% of 80?"
    client = OpenAI(
        base_url=os.environ.get("ARIA_URL", "http://127.0.0.1:8000/v1"),
        api_key=os.environ.get("ARIA_API_KEY", "none"),  # an endpoint on this machine asks for none
    )
    model = client.models.list().data[0].id
    print("Streamed, without tools:")
    stream(client, model, question)
    print("With tools:")
    print(answer(client, model, question))


if __name__ == "__main__":
    main()
