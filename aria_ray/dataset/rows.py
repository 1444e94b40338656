"""The row that a base template gives under an augmentation. It depends on the seed alone, never on the process."""

import functools
import random
from typing import Any

from aria_ray.config.schema import Augmentation
from aria_ray.dataset.augment import variant, wording
from aria_ray.dataset.scenarios import converse, difficulty
from aria_ray.dataset.slots import draw_values
from aria_ray.dataset.templates import USER_DOMAIN, Library
from aria_ray.dataset.tool_lists import ToolLists

Row = dict[str, Any]

USER_PREFIX = "own/"
"""How the template ids of conversations begin that come from files of the user."""
MAX_DRAWS = 20
"""Times that values are drawn for a tool of the user until it takes them: what it refuses is not known from its schema."""


class RowMaker:
    """A template library with its toolboxes: what a process needs to make rows."""

    def __init__(self, library: Library) -> None:
        self.library = library

    @functools.cached_property
    def tool_lists(self) -> ToolLists:
        """Tool lists."""
        return ToolLists(self.library)

    def row(self, template_id: str, augmentation: Augmentation, turn: int, seed: int) -> Row:
        """The row of a base template under an augmentation; `turn` counts those of the same augmentation, from 0.

        Keys: id, template_id, template_family, augmentation, category, scenario, difficulty, split, tools (list of OpenAI
        function definitions), messages (OpenAI chat), answer_contains (texts a right answer has, whatever the case),
        tool_names (JSON, for `tools.execute_listed`).
        """
        template = self.library.template(template_id)
        intent = template.intent
        row_id = f"{template_id}/{augmentation}" + (f"-{turn}" if turn else "")
        rng = random.Random(f"{seed}:{row_id}")
        listing = self.tool_lists.choose(intent, variant(augmentation), rng)
        for _ in range(MAX_DRAWS if intent.domain == USER_DOMAIN else 1):
            values = draw_values(intent.slots, intent.pairs, self.library.words, rng)
            text = wording(template, values, augmentation, self.library.frames, rng)
            conversation = converse(intent, values, text, listing)
            if not conversation.failed:
                break
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
