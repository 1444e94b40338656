"""Which base templates a dataset takes, and the row each one gives. Nothing here depends on the worker that runs it."""

import functools
import random
from collections.abc import Mapping
from typing import Any, TypeVar

from aria_ray.dataset.augment import AUGMENTATIONS, VARIANTS, request
from aria_ray.dataset.loading import library
from aria_ray.dataset.scenarios import converse, difficulty
from aria_ray.dataset.slots import draw_values
from aria_ray.dataset.templates import Library, Scenario, Split, Template, stable_fraction
from aria_ray.dataset.toolboxes import Toolboxes
from aria_ray.errors import DataError

Row = dict[str, Any]
Key = TypeVar("Key")

SCENARIO_SHARES: dict[Scenario, float] = {"hit": 0.40, "miss": 0.35, "error": 0.15, "multi": 0.10}
SPLIT_SHARES: dict[Split, float] = {"train": 0.80, "validation": 0.08, "test": 0.12, "test_unseen_tools": 0.08}
"""Relative to each other, among the splits a scenario has; only hits have unseen tools."""


def choose_templates(source: Library, num_templates: int, seed: int) -> list[Template]:
    """Base templates in order of their ids, with the scenario and split shares of the dataset at any size.

    Raises:
        DataError: there are not that many.
    """
    chosen: list[Template] = []
    for scenario, count in apportion(num_templates, SCENARIO_SHARES).items():
        pools = _pools(source, scenario, seed)
        available = sum(map(len, pools.values()))
        if count > available:
            raise DataError(
                f"dataset.num_templates ({num_templates}) asks for {count} {scenario} templates and there are {available}; "
                f"lower it to {int(available / SCENARIO_SHARES[scenario])} or add phrasings"
            )
        wanted = apportion(count, {split: SPLIT_SHARES[split] for split in pools})
        chosen += [template for split, pool in pools.items() for template in pool[: wanted[split]]]
        # A split with too few templates leaves its places to the others, training first.
        rest = [template for split, pool in pools.items() for template in pool[wanted[split] :]]
        short = sum(max(0, wanted[split] - len(pool)) for split, pool in pools.items())
        chosen += rest[:short]
    return sorted(chosen, key=lambda template: template.id)


def make_row(template_id: str, index: int, seed: int) -> Row:
    """The row of a base template under augmentation number `index`.

    Keys: id, template_id, template_family, augmentation, category, scenario, difficulty, split, tools (list of OpenAI
    function definitions), messages (OpenAI chat), answer_contains (texts a right answer has, whatever the case),
    tool_names (JSON, for `tools.execute_listed`).
    """
    source = library()
    template = source.templates[template_id]
    intent, augmentation = template.intent, AUGMENTATIONS[index]
    rng = random.Random(f"{seed}:{template_id}:{index}")
    values = draw_values(intent.slots, intent.pairs, source.words, rng)
    unseen = template.split == "test_unseen_tools"
    listing = _toolboxes().choose(intent, VARIANTS.get(augmentation, "plain"), unseen, rng)
    text = request(template, values, augmentation, source.frames, rng)
    conversation = converse(intent, values, text, listing)
    return {
        "id": f"{template_id}/{augmentation}",
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


def apportion(total: int, shares: Mapping[Key, float]) -> dict[Key, int]:
    """Split a whole number by shares so that the parts add up (largest remainders)."""
    weight = sum(shares.values())
    exact = {key: total * share / weight for key, share in shares.items()}
    parts = {key: int(value) for key, value in exact.items()}
    by_remainder = sorted(exact, key=lambda key: parts[key] - exact[key])
    for key in by_remainder[: total - sum(parts.values())]:
        parts[key] += 1
    return parts


@functools.cache
def _toolboxes() -> Toolboxes:
    return Toolboxes(library())


def _pools(source: Library, scenario: Scenario, seed: int) -> dict[Split, list[Template]]:
    """Templates by split; within one, all families come once before any comes in a second frame."""
    turns: dict[str, list[Template]] = {}
    for template in source.templates.values():
        if template.intent.scenario == scenario:
            turns.setdefault(template.family, []).append(template)
    ranked: list[tuple[int, int, float, Template]] = []
    for family, templates in turns.items():
        order = sorted(templates, key=lambda template: stable_fraction(f"{seed}:{template.id}"))
        spread = stable_fraction(f"{seed}:{family}")
        ranked += [(turn, template.number, spread, template) for turn, template in enumerate(order)]
    pools: dict[Split, list[Template]] = {split: [] for split in SPLIT_SHARES}
    for *_, template in sorted(ranked, key=lambda item: item[:3]):
        pools[template.split].append(template)
    return {split: pool for split, pool in pools.items() if pool}
