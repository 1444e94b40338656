"""The sampling plan: which base templates a dataset takes. It depends on the seed alone, never on the process."""

import itertools
import random
from collections.abc import Iterator, Mapping
from typing import Literal, TypeVar

from aria_ray.dataset.templates import Category, Intent, Library, Scenario, Split, Template, stable_fraction
from aria_ray.errors import DataError

Key = TypeVar("Key")
Origin = Literal["built-in", "catalogue"]
TemplateKind = tuple[Category, Origin]

SCENARIO_SHARES: dict[Scenario, float] = {"hit": 0.40, "miss": 0.35, "error": 0.15, "multi": 0.10}
CATEGORY_SHARES: dict[Category, float] = {
    "math": 0.18,
    "text_processing": 0.14,
    "reasoning": 0.40,
    "conversions": 0.13,
    "tool_errors": 0.15,
}
"""Tool errors are exactly the rows of the scenario `error`. Reasoning includes the catalogue's tools."""
SPLIT_SHARES: dict[Split, float] = {"train": 0.80, "validation": 0.08, "test": 0.12, "test_unseen_tools": 0.08}
"""Weights, relative to each other among the splits that a scenario has."""


def choose_templates(
    library: Library, num_templates: int, catalogue_share: float, seed: int, num_intents: int | None = None
) -> list[Template]:
    """Base templates sorted by id, with the dataset's shares of scenarios, categories and splits at any size.

    `catalogue_share` is the catalogue's share of the categories that it has templates for: reasoning and tool errors.
    `num_intents` limits the intents, drawn in the same shares; None takes all.

    Raises:
        DataError: the library has fewer than `num_templates` templates.
    """
    pools = _pools(library if num_intents is None else _with_fewer_intents(library, num_intents, seed), seed)
    chosen: list[Template] = []
    carry: dict[TemplateKind, float] = {}
    for scenario, count in apportion(num_templates, SCENARIO_SHARES).items():
        kinds = {split: pools[scenario, split] for split in SPLIT_SHARES if pools.get((scenario, split))}
        wanted = apportion(count, {split: SPLIT_SHARES[split] for split in kinds})
        short = 0
        # A split with too few templates leaves its places to the next; training is last and takes what is left.
        for split in sorted(kinds, key=lambda split: split == "train"):
            taken = _take(kinds[split], wanted[split] + short, catalogue_share, carry, library, seed)
            short = wanted[split] + short - len(taken)
            chosen += taken
        if short:
            raise DataError(
                f"dataset.num_templates ({num_templates}) asks for {count} {scenario} templates and there are {count - short}",
                f"lower it to {int((count - short) / SCENARIO_SHARES[scenario])}, add phrasings"
                + (" or raise dataset.num_intents" if num_intents is not None else ""),
            )
    return sorted(chosen, key=lambda template: template.id)


def apportion(total: int, shares: Mapping[Key, float], carry: dict[Key, float] | None = None) -> dict[Key, int]:
    """Split a whole number by shares into whole parts that add up to it (method of largest remainders).

    `carry` keeps what rounding took from each key and gives it back in the next call.
    """
    weight = sum(shares.values())
    owed = carry if carry is not None else {}
    exact = {key: max(0.0, total * share / weight + owed.get(key, 0.0)) for key, share in shares.items()}
    scale = total / sum(exact.values()) if total else 0.0
    parts = {key: int(value * scale) for key, value in exact.items()}
    by_remainder = sorted(exact, key=lambda key: parts[key] - exact[key] * scale)
    for key in by_remainder[: total - sum(parts.values())]:
        parts[key] += 1
    for key, share in shares.items():
        owed[key] = owed.get(key, 0.0) + total * share / weight - parts[key]
    return parts


def _with_fewer_intents(library: Library, num_intents: int, seed: int) -> Library:
    """A library with `num_intents` of the intents for training, or all of a scenario that has fewer.

    The intents of the split `test_unseen_tools` all stay.
    """
    waiting: dict[Scenario, dict[Category, list[Intent]]] = {}
    ordered = sorted(library.intents, key=lambda item: stable_fraction(f"{seed}:intent:{item[1].name}"))
    for category, intent in ordered:
        if not intent.is_unseen:
            waiting.setdefault(intent.scenario, {}).setdefault(category, []).append(intent)
    names = {intent.name for _, intent in library.intents if intent.is_unseen}
    carry: dict[Category, float] = {}
    for scenario, count in apportion(num_intents, SCENARIO_SHARES).items():
        there = waiting.get(scenario, {})
        parts = apportion(count, {category: CATEGORY_SHARES[category] for category in there}, carry) if there else {}
        taken = [intent for category, part in parts.items() for intent in there[category][:part]]
        left = [intent for category, part in parts.items() for intent in there[category][part:]]
        names |= {intent.name for intent in (taken + left)[:count]}
    intents = tuple((category, intent) for category, intent in library.intents if intent.name in names)
    return Library(intents, library.frames, library.tools)


def _pools(library: Library, seed: int) -> dict[tuple[Scenario, Split], dict[TemplateKind, list[Template]]]:
    """Families by scenario and split, then by kind, in order of number: each intent occurs once before any occurs twice."""
    ranked: list[tuple[int, float, Template]] = [
        (family.number, stable_fraction(f"{seed}:{family.family}"), family) for family in library.families()
    ]
    pools: dict[tuple[Scenario, Split], dict[TemplateKind, list[Template]]] = {}
    for _, _, family in sorted(ranked, key=lambda item: item[:2]):
        kinds = pools.setdefault((family.intent.scenario, family.split), {})
        kinds.setdefault((family.category, _origin(family.intent.domain)), []).append(family)
    return pools


def _origin(domain: str) -> Origin:
    return "catalogue" if domain else "built-in"


def _take(
    kinds: Mapping[TemplateKind, list[Template]],
    wanted: int,
    catalogue_share: float,
    carry: dict[TemplateKind, float],
    library: Library,
    seed: int,
) -> list[Template]:
    """`wanted` templates of one scenario and split, or all if there are fewer; each family once before any occurs again."""
    shares = {}
    for category, origin in kinds:
        parts: dict[Origin, float] = {"built-in": 1 - catalogue_share, "catalogue": catalogue_share}
        present = [other for other in parts if (category, other) in kinds]
        # The only origin of a category has all of it.
        part = parts[origin] / sum(parts[other] for other in present) if len(present) > 1 else 1.0
        if part:
            shares[category, origin] = CATEGORY_SHARES[category] * part
    waiting = {kind: _in_frames(kinds[kind], library, seed) for kind in shares}
    taken: list[Template] = []
    for kind, count in (apportion(wanted, shares, carry) if shares else {}).items():
        taken += itertools.islice(waiting[kind], count)
    for templates in waiting.values():
        taken += itertools.islice(templates, wanted - len(taken))
    return taken


def _in_frames(families: list[Template], library: Library, seed: int) -> Iterator[Template]:
    """Every family in one frame, then every family in another; each family has its own order of frames."""
    names = list(library.frames.frames)
    orders = [random.Random(f"{seed}:frames:{family.family}").sample(names, len(names)) for family in families]
    for position in range(len(names)):
        for family, order in zip(families, orders, strict=True):
            yield Template(family.intent, family.category, family.number, order[position])
