"""Tool lists. Rows draw theirs from a fixed set of toolboxes, so that many rows share the start of their prompt.

A toolbox is listed in one of three variants, each a function of the toolbox alone: `plain`; `extended` (other order and
one more tool); `masked` (neutral names for tools and parameters, the descriptions stay).
"""

import functools
import json
import random
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from aria_ray.dataset.templates import UNSEEN_TOOLS, Intent, Library
from aria_ray.errors import DataError
from aria_ray.grammar import Call, ToolDefinition
from aria_ray.tools import TOOLS, tool_definition

Variant = Literal["plain", "extended", "masked"]

NUM_TOOLBOXES = 64
NUM_UNSEEN_TOOLBOXES = 12
"""Toolboxes with a held-out tool, for the rows of `test_unseen_tools` alone."""
BOXES_PER_GROUP = 3
"""Toolboxes that hold the tools of a request which needs several."""
_SEEN = tuple(name for name in TOOLS if name not in UNSEEN_TOOLS)
_LETTERS = "abcdefghijkmnpqrstuvwxyz"
"""Without l and o, which look like digits."""


@dataclass(frozen=True)
class Listing:
    """A tool list as one conversation shows it."""

    real_names: tuple[str, ...]
    definitions: tuple[ToolDefinition, ...]
    tool_names: str
    """JSON of {listed name: {"tool": real name, "parameters": {listed: real}}}; see `tools.execute_listed`."""

    def listed(self, call: Call) -> Call:
        """A call to a real tool, under the listed names."""
        for name, real in json.loads(self.tool_names).items():
            if real["tool"] == call.name:
                shown = {parameter: listed for listed, parameter in real["parameters"].items()}
                return Call(name, {shown[key]: value for key, value in call.arguments.items()})
        raise DataError(f"tool {call.name} is not in the list {', '.join(self.real_names)}")


class Toolboxes:
    """The toolboxes of a template library, and their listings, built once per process."""

    def __init__(self, library: Library) -> None:
        groups = {intent.needed_tools for _, intent in library.intents if len(intent.needed_tools) > 1}
        starts = [group for group in sorted(groups) if not set(group) & set(UNSEEN_TOOLS)] * BOXES_PER_GROUP
        if len(starts) > NUM_TOOLBOXES:
            raise DataError(f"{len(groups)} groups of tools do not fit {NUM_TOOLBOXES} toolboxes; raise NUM_TOOLBOXES")
        starts += [()] * (NUM_TOOLBOXES - len(starts))
        unseen = [(UNSEEN_TOOLS[index % len(UNSEEN_TOOLS)],) for index in range(NUM_UNSEEN_TOOLBOXES)]
        self._boxes = _fill(starts, "toolboxes")
        self._unseen_boxes = _fill(unseen, "unseen toolboxes")

    def choose(self, intent: Intent, variant: Variant, unseen: bool, rng: random.Random) -> Listing:
        """A listing that has what the intent needs and nothing it must not have.

        Raises:
            DataError: no toolbox fits.
        """
        boxes = self._unseen_boxes if unseen else self._boxes
        needed, without = set(intent.needed_tools), set(intent.without)
        listings = [listing(box, variant) for box in boxes if needed <= set(box)]
        fitting = [item for item in listings if not without & set(item.real_names)]
        if not fitting:
            raise DataError(
                f"no toolbox lists {', '.join(sorted(needed)) or 'anything'} without {', '.join(sorted(without))} "
                f"for the intent {intent.name}; shorten `listed` or `without`"
            )
        return rng.choice(fitting)


@functools.cache
def listing(box: tuple[str, ...], variant: Variant) -> Listing:
    """How a toolbox is listed in a variant."""
    rng = random.Random(f"{variant}:{','.join(box)}")
    names: Sequence[str] = box
    if variant == "extended":
        names = rng.sample([*box, rng.choice([name for name in _SEEN if name not in box])], len(box) + 1)
    definitions = [tool_definition(TOOLS[name]) for name in names]
    parameters = [list(item["function"]["parameters"]["properties"]) for item in definitions]
    shown_names = list(names)
    shown_parameters = parameters
    if variant == "masked":
        shown_names = [f"tool_{letter}{rng.randrange(10)}" for letter in rng.sample(_LETTERS, len(names))]
        shown_parameters = [[f"arg_{letter}" for letter in rng.sample(_LETTERS, len(own))] for own in parameters]
    mapping = {}
    for index, name in enumerate(names):
        renames = dict(zip(parameters[index], shown_parameters[index], strict=True))
        definitions[index] = _renamed(definitions[index], shown_names[index], renames)
        mapping[shown_names[index]] = {"tool": name, "parameters": {shown: own for own, shown in renames.items()}}
    return Listing(tuple(names), tuple(definitions), json.dumps(mapping))


def _renamed(definition: ToolDefinition, name: str, renames: dict[str, str]) -> ToolDefinition:
    function = definition["function"]
    schema: dict[str, Any] = function["parameters"]
    parameters = {
        **schema,
        "properties": {renames[key]: field for key, field in schema["properties"].items()},
        "required": [renames[key] for key in schema["required"]],
    }
    return {"type": "function", "function": {**function, "name": name, "parameters": parameters}}


def _fill(starts: Iterable[tuple[str, ...]], seed: str) -> tuple[tuple[str, ...], ...]:
    """Toolboxes of three or four tools; each grows by the tools used least so far, so all are used about as often."""
    rng = random.Random(seed)
    used: Counter[str] = Counter()
    boxes = []
    for start in starts:
        box = list(start)
        used.update(box)
        size = max(rng.randint(3, 4), len(box) + 1)
        while len(box) < size:
            rare = min((name for name in _SEEN if name not in box), key=lambda name: (used[name], rng.random()))
            box.append(rare)
            used[rare] += 1
        rng.shuffle(box)
        boxes.append(tuple(box))
    return tuple(boxes)
