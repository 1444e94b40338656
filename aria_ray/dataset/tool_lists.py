"""Tool lists. Rows draw theirs from a fixed set of toolboxes, so that many rows share the start of their prompt.

The built-in tools have their toolboxes, and each domain of the catalogue has its own, whose tools look alike. A toolbox is
listed in one of three variants, each a function of the toolbox alone: `plain`; `extended` (another order, a tool that looks
like one of its own, and one from elsewhere); `masked` (neutral names for tools and parameters, the descriptions stay).
"""

import difflib
import json
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from aria_ray.dataset.templates import Intent, Library
from aria_ray.errors import DataError
from aria_ray.grammar import Call, ToolDefinition

Variant = Literal["plain", "extended", "masked"]
Box = tuple[str, ...]
"""Real names of tools, in the order of the list."""

BOXES_PER_GROUP = 3
"""Toolboxes that hold the tools of a request which needs several."""
BOXES_PER_TOOL = 3
"""Toolboxes that a tool is in at least."""
SIZES = (3, 4)
"""Fewest and most tools of a box, if its group needs no more: the tool list is most of the prompt."""
_LETTERS = "abcdefghijkmnpqrstuvwxyz"
"""Without l and o, which look like digits."""


@dataclass(frozen=True)
class Listing:
    """A tool list as one conversation shows it."""

    real_names: Box
    definitions: tuple[ToolDefinition, ...]
    tool_names: str
    """JSON of {listed name: {"tool": real name, "parameters": {listed: real}}}; see `tools.execute_listed`."""

    def listed(self, call: Call) -> Call:
        """A call to a real tool, under the listed names."""
        for name, real in json.loads(self.tool_names).items():
            if real["tool"] == call.name:
                shown = {parameter: listed for listed, parameter in real["parameters"].items()}
                return Call(name, {shown[key]: value for key, value in call.arguments.items()})
        raise DataError(f"tool {call.name} is not in the list {', '.join(self.real_names)}", "call one of those")


class ToolLists:
    """The toolboxes of a template library, and their listings, built once per process."""

    def __init__(self, library: Library) -> None:
        self._tools = library.tools
        self._listings: dict[tuple[Box, Variant], Listing] = {}
        self._boxes: dict[tuple[str, bool], tuple[Box, ...]] = {}
        """By domain and whether unseen tools are in."""
        groups: dict[str, set[Box]] = {}
        for _, intent in library.intents:
            if len(intent.needed_tools) > 1:
                groups.setdefault(intent.domain, set()).add(intent.needed_tools)
        for domain in dict.fromkeys(tool.domain for tool in library.tools.values()):
            self._fill_domain(domain, sorted(groups.get(domain, ())))
        seen = [name for name, tool in library.tools.items() if not tool.is_unseen]
        self._seen = {domain: [name for name in seen if library.tools[name].domain == domain] for domain, _ in self._boxes}
        self._elsewhere = tuple(seen)

    def choose(self, intent: Intent, variant: Variant, rng: random.Random) -> Listing:
        """A listing that has what the intent needs and nothing it must not have.

        A request that needs no tool at all may come with the tools of any domain.

        Raises:
            DataError: no toolbox fits.
        """
        domain = intent.domain
        if intent.scenario == "miss" and not intent.needed_tools and not intent.without:
            domain = rng.choice([domain for domain, unseen in self._boxes if not unseen and self._boxes[domain, unseen]])
        needed, without = set(intent.needed_tools), set(intent.without)
        boxes = self._boxes[domain, intent.is_unseen]
        fitting = [box for box in boxes if needed <= set(box) and not without & set(box)]
        if not fitting:  # as when there are so few tools that all of them are in every box
            fitting = [
                rest for box in boxes if needed <= set(rest := tuple(name for name in box if name not in without)) and rest
            ]
        if variant == "extended":
            extended = [box for box in fitting if not without & set(self.listing(box, variant).real_names)]
            # Where only what must not be there looks alike, the list stays as it is.
            fitting, variant = (extended, variant) if extended else (fitting, "plain")
        if not fitting:
            raise DataError(
                f"no toolbox lists {', '.join(sorted(needed)) or 'anything'} without {', '.join(sorted(without))} "
                f"for the intent {intent.name}",
                "shorten `listed` or `without`",
            )
        return self.listing(rng.choice(fitting), variant)

    def listing(self, box: Box, variant: Variant) -> Listing:
        """How a toolbox is listed in a variant."""
        if (box, variant) not in self._listings:
            self._listings[box, variant] = self._list(box, variant)
        return self._listings[box, variant]

    def _list(self, box: Box, variant: Variant) -> Listing:
        rng = random.Random(f"{variant}:{','.join(box)}")
        names = self._extended(box, rng) if variant == "extended" else box
        definitions = [self._tools[name].definition for name in names]
        parameters = [list(item["function"]["parameters"]["properties"]) for item in definitions]
        shown_names = [item["function"]["name"] for item in definitions]
        shown_parameters = parameters
        if variant == "masked":
            shown_names = [f"tool_{name}{rng.randrange(10)}" for name in _neutral(len(names), rng)]
            shown_parameters = [[f"arg_{name}" for name in _neutral(len(own), rng)] for own in parameters]
        mapping: dict[str, dict[str, Any]] = {}
        for index, name in enumerate(names):
            renames = dict(zip(parameters[index], shown_parameters[index], strict=True))
            definitions[index] = _renamed(definitions[index], shown_names[index], renames)
            mapping[shown_names[index]] = {"tool": name, "parameters": {shown: own for own, shown in renames.items()}}
            tool = self._tools[name]
            if tool.domain:
                mapping[shown_names[index]]["domain"] = tool.domain
            if tool.backend is not None:
                mapping[shown_names[index]]["backend"] = tool.backend.model_dump(exclude_defaults=True)
        return Listing(tuple(names), tuple(definitions), json.dumps(mapping, ensure_ascii=False))

    def _extended(self, box: Box, rng: random.Random) -> Sequence[str]:
        own = self._seen[self._tools[box[0]].domain] or list(self._elsewhere)
        like = difflib.get_close_matches(rng.choice(box), [name for name in own if name not in box], n=1, cutoff=0.0)
        taken = {self._tools[name].definition["function"]["name"] for name in (*box, *like)}
        other = rng.choice([n for n in self._elsewhere if self._tools[n].definition["function"]["name"] not in taken])
        names = [*box, *like, other]
        return rng.sample(names, len(names))

    def _fill_domain(self, domain: str, groups: list[Box]) -> None:
        own = [name for name, tool in self._tools.items() if tool.domain == domain]
        unseen = [name for name in own if self._tools[name].is_unseen]
        seen = [name for name in own if name not in unseen]
        together = [group for group in groups if not set(group) & set(unseen)] * BOXES_PER_GROUP
        self._boxes[domain, False] = _fill(together, seen, f"toolboxes:{domain}") if seen else ()
        if not seen:  # the whole domain is held out
            self._boxes[domain, True] = _fill(groups * BOXES_PER_GROUP, own, f"unseen toolboxes:{domain}")
        elif unseen:
            alone: list[Box] = [(name,) for name in unseen for _ in range(BOXES_PER_TOOL)]
            self._boxes[domain, True] = _fill(alone, seen, f"unseen toolboxes:{domain}", at_least=0)


def _neutral(count: int, rng: random.Random) -> list[str]:
    """Different letters in any order; pairs of them where there are not enough."""
    if count <= len(_LETTERS):
        return rng.sample(_LETTERS, count)
    return rng.sample([first + second for first in _LETTERS for second in _LETTERS], count)


def _renamed(definition: ToolDefinition, name: str, renames: dict[str, str]) -> ToolDefinition:
    function = definition["function"]
    schema: dict[str, Any] = function["parameters"]
    parameters = {**schema, "properties": {renames[key]: field for key, field in schema["properties"].items()}}
    if "required" in schema:
        parameters["required"] = [renames[key] for key in schema["required"]]
    return {"type": "function", "function": {**function, "name": name, "parameters": parameters}}


def _fill(starts: Sequence[Box], names: Sequence[str], seed: str, at_least: int = BOXES_PER_TOOL) -> tuple[Box, ...]:
    """Toolboxes that grow from `starts` by the tools used least so far, until each of `names` is in `at_least` of them."""
    rng = random.Random(seed)
    used: Counter[str] = Counter()
    boxes = []
    waiting = list(starts)
    while waiting or any(used[name] < at_least for name in names):
        box = list(waiting.pop(0)) if waiting else []
        used.update(box)
        size = min(max(rng.randint(*SIZES), len(box) + 1), len(set(names) | set(box)))
        while len(box) < size:
            rare = min((name for name in names if name not in box), key=lambda name: (used[name], rng.random()))
            box.append(rare)
            used[rare] += 1
        rng.shuffle(box)
        boxes.append(tuple(box))
    return tuple(boxes)
