"""The row that a base template gives under an augmentation. It depends on the seed alone, never on the process."""

import functools
import random
from typing import Any

from aria_ray.config.schema import Augmentation
from aria_ray.dataset.augment import variant, wording
from aria_ray.dataset.scenarios import converse, difficulty
from aria_ray.dataset.slots import draw_values
from aria_ray.dataset.templates import Library
from aria_ray.dataset.tool_lists import ToolLists
from aria_ray.requests.example import REQUEST_PREFIX

Row = dict[str, Any]

USER_PREFIX = "own/"
"""Start of the template ids of the user's conversations. It is part of row ids, so the dataset's bytes depend on it."""
OWN_PREFIXES = (USER_PREFIX, REQUEST_PREFIX, "builtin/", "taught/", "composed/", "no_tool/")
"""Starts of the template ids of rows that no template made: conversations, and example requests by who worded them."""


class RowMaker:
    """Makes rows from a template library; one per process, which builds the tool lists once."""

    def __init__(self, library: Library) -> None:
        self.library = library

    @functools.cached_property
    def tool_lists(self) -> ToolLists:
        """The tool lists of the library, built on first use."""
        return ToolLists(self.library)

    def row(self, template_id: str, augmentation: Augmentation, repetition: int, seed: int) -> Row:
        """The row of a base template under an augmentation; `repetition` counts rows with the same augmentation, from 0.

        Keys: id, template_id, template_family, augmentation, category, scenario, difficulty, split, tools (list of OpenAI
        function definitions), messages (OpenAI chat), answer_contains (texts that a right answer contains in upper or lower
        case), tool_names (JSON, for `tools.execute_listed`).
        """
        template = self.library.template(template_id)
        intent = template.intent
        row_id = f"{template_id}/{augmentation}" + (f"-{repetition}" if repetition else "")
        rng = random.Random(f"{seed}:{row_id}")
        listing = self.tool_lists.choose(intent, variant(augmentation), rng)
        values = draw_values(intent.slots, intent.pairs, self.library.words, rng)
        text = wording(template, values, augmentation, self.library.frames, rng)
        conversation = converse(intent, values, text, listing)
        return {
            "id": row_id,
            "template_id": template_id,
            "template_family": template.family,
            "augmentation": augmentation,
            "category": template.category,
            "scenario": intent.scenario,
            "difficulty": difficulty(intent, values),
            "split": template.split,
            "tools": list(listing.definitions),
            "messages": list(conversation.messages),
            "answer_contains": list(conversation.answer_contains),
            "tool_names": listing.tool_names,
        }
