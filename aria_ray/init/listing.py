"""Tools as the chat template lists them, and how much of a prompt their list is."""

import functools
from collections.abc import Iterable
from typing import Any

from jinja2 import Environment

from aria_ray.dataset.from_requests.rows import MAX_LISTED
from aria_ray.grammar import ToolDefinition, chat_template

CHARACTERS_PER_TOKEN = 3
"""Fewest characters of a list's token, about: SmolLM2's tokenizer took 2.6 to 3.4 for the lists of six sets of tools."""


def signature(definition: ToolDefinition) -> str:
    """A tool's name, with the names and types of its parameters; `?` is for those that may be left out."""
    function = definition["function"]
    return f"{function['name']}({_macros().fields_of(function['parameters'])})"


def list_tokens(definitions: Iterable[ToolDefinition]) -> int:
    """Tokens of the longest list in a row, about: at most `MAX_LISTED` tools are in one."""
    lines = (f"{signature(each)}: {_macros().summary_of(each['function']['description'])}\n" for each in definitions)
    return sum(sorted(map(len, lines), reverse=True)[:MAX_LISTED]) // CHARACTERS_PER_TOKEN


@functools.cache
def _macros() -> Any:
    return Environment(trim_blocks=True, lstrip_blocks=True).from_string(chat_template()).module
