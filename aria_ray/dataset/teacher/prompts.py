"""What the teacher is told."""

import json
from collections.abc import Sequence

from aria_ray.grammar import ToolDefinition
from aria_ray.requests.example import ExampleRequest

STYLES = (
    "in a hurry, with as few words as possible",
    "in a polite way",
    "chatty, with the reason why",
    "a fragment without a verb",
    "a question",
    "with one typing mistake, which is not in a value",
    "in lower case without punctuation",
    "a short plain order",
    "in the middle of a longer thought",
    "in whole careful sentences",
    "casually, as to a friend",
    "indirectly: what is wrong or wanted, not what is to be done",
    "with a value as the first words",
    "in the simple words of somebody who learns the language",
    "as spoken aloud to a phone",
    "a little annoyed",
)
"""Ways to say something. Each request is asked for in one of them, so that they differ."""
TOPICS = (
    "a greeting",
    "thanks for what was done",
    "a question to the assistant about itself",
    "small talk about the day",
    "a question of general knowledge",
    "a request for advice",
    "a request for a joke, a poem or a few lines of text",
    "an opinion or a feeling",
    "a remark that asks for nothing",
    "a question about a word or a language",
    "a request from another field of life than these tools",
    "goodbye",
)
"""What people say to an assistant that needs no tool."""
WRITER = """\
You write messages that people send to an assistant that has tools. The assistant is trained on them, so they must be as real
people type or say them, each different from the others in words and in order. People do not know the names of tools and
parameters, so never write such a name, never describe a tool, and leave no blanks to fill in.
Answer with JSON and nothing else: {"requests": [{"number": 1, "request": "the message"}, {"number": 2, "request": "..."}]}"""
CHOOSER = """\
Call a tool exactly if one of these does what the user asks for, with the values that the user says. If no tool does it, answer
NONE and call nothing. If a value that the tool needs is not said, answer MISSING and call nothing."""
MISSING = "MISSING"
"""The answer to a request that lacks a value."""
MAX_TONE = 6
"""Most example requests that show the tone."""
MAX_DESCRIBED = 40
"""Most tools that are described where no single one is meant."""


def for_calls(definition: ToolDefinition, tone: Sequence[ExampleRequest], items: Sequence[tuple[str, str]]) -> str:
    """Ask for one request for each call; `items` are (calls as JSON, style)."""
    lines = [f"{number}. {calls}   style: {style}" for number, (calls, style) in enumerate(items, start=1)]
    return "\n".join(
        [
            f"A tool of the assistant:\n{json.dumps(definition['function'], ensure_ascii=False)}",
            *_tone(tone),
            "Write one message for each of these calls. Whoever reads the message alone must come to exactly this call: say "
            "every value of it, and none besides. Numbers, dates and times may be said as people say them.",
            *lines,
        ]
    )


def for_own_values(definition: ToolDefinition, tone: Sequence[ExampleRequest], styles: Sequence[str]) -> str:
    """Ask for requests for a tool, with values that the teacher chooses and gives in `arguments`."""
    return "\n".join(
        [
            f"A tool of the assistant:\n{json.dumps(definition['function'], ensure_ascii=False)}",
            *_tone(tone),
            'Write messages that need this tool, with values of your choice, and add to each the arguments: {"number": 1, '
            '"request": "...", "arguments": {...}}. Say every value of the arguments in the message.',
            *(f"{number}. style: {style}" for number, style in enumerate(styles, start=1)),
        ]
    )


def for_no_tool(tools: Sequence[ToolDefinition], tone: Sequence[ExampleRequest], items: Sequence[tuple[str, str]]) -> str:
    """Ask for messages that need no tool; `items` are (topic, style)."""
    return "\n".join(
        [
            *_listing(tools),
            *_tone(tone),
            "Write messages that need none of these tools.",
            *(f"{number}. {topic}   style: {style}" for number, (topic, style) in enumerate(items, start=1)),
        ]
    )


def for_near_misses(
    definition: ToolDefinition, tools: Sequence[ToolDefinition], tone: Sequence[ExampleRequest], styles: Sequence[str]
) -> str:
    """Ask for requests that sound like a tool's and that no tool serves."""
    function = definition["function"]
    return "\n".join(
        [
            *_listing(tools),
            *_tone(tone),
            f"Write messages that sound like a job for {function['name']} ({_first_line(definition)}), and that neither it "
            "nor any other of these tools can do: another thing, another action, or more than it offers.",
            *(f"{number}. style: {style}" for number, style in enumerate(styles, start=1)),
        ]
    )


def _tone(examples: Sequence[ExampleRequest]) -> list[str]:
    if not examples:
        return []
    return ["People of this assistant write like this:", *(f"- {example.request}" for example in examples[:MAX_TONE])]


def _listing(tools: Sequence[ToolDefinition]) -> list[str]:
    return ["The tools of the assistant:", *(f"- {tool['function']['name']}: {_first_line(tool)}" for tool in tools)]


def _first_line(definition: ToolDefinition) -> str:
    return str(definition["function"].get("description") or "").strip().partition("\n")[0]
