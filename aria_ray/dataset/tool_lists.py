"""Tool lists. Rows draw from a fixed set of lists, so that many rows share the start of their prompt.

The built-in tools have lists, and so has each domain of the catalogue, whose tools resemble each other. A list appears in one
of three variants, each a function of the list alone: `plain`; `extended` (another order, with one more tool that resembles one
of the list and one of any domain); `masked` (neutral names for tools and parameters, the same descriptions).
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
ToolNames = tuple[str, ...]
"""A tool list: real names of tools in their order."""

LISTS_PER_GROUP = 3
"""Lists for each group of tools that one request needs together."""
LISTS_PER_TOOL = 3
"""Fewest lists that contain a tool."""
SIZES = (3, 4)
"""Fewest and most tools of a list, unless its group needs more. Lists are short because they are most of the prompt."""
_LETTERS = "abcdefghijkmnpqrstuvwxyz"
"""Letters of neutral names, without l and o, which look like digits."""


@dataclass(frozen=True)
class Listing:
    """A tool list in one variant, as a conversation shows it."""

    real_names: ToolNames
    definitions: tuple[ToolDefinition, ...]
    tool_names: str
    """JSON of {listed name: {"tool": real name, "parameters": {listed: real}}}; see `tools.execute_listed`."""

    def listed(self, call: Call) -> Call:
        """A call to a real tool, under the listed names."""
        for name, real in json.loads(self.tool_names).items():
            if real["tool"] == call.name:
                listed_names = {parameter: listed for listed, parameter in real["parameters"].items()}
                return Call(name, {listed_names[key]: value for key, value in call.arguments.items()})
        raise DataError(f"tool {call.name} is not in the list {', '.join(self.real_names)}", "call one of those")


class ToolLists:
    """The tool lists of a template library with their variants, built once per process."""

    def __init__(self, library: Library) -> None:
        self._tools = library.tools
        self._listings: dict[tuple[ToolNames, Variant], Listing] = {}
        self._lists: dict[tuple[str, bool], tuple[ToolNames, ...]] = {}
        """Lists by domain, and whether they contain held-out tools."""
        groups: dict[str, set[ToolNames]] = {}
        for _, intent in library.intents:
            if len(intent.needed_tools) > 1:
                groups.setdefault(intent.domain, set()).add(intent.needed_tools)
        for domain in dict.fromkeys(tool.domain for tool in library.tools.values()):
            self._fill_domain(domain, sorted(groups.get(domain, ())))
        trained = [name for name, tool in library.tools.items() if not tool.is_unseen]
        self._trained = {
            domain: [name for name in trained if library.tools[name].domain == domain] for domain, _ in self._lists
        }
        self._all_trained = tuple(trained)

    def choose(self, intent: Intent, variant: Variant, rng: random.Random) -> Listing:
        """A listing with the tools that the intent needs and without those that it excludes.

        A request that needs no tool gets a list of a random domain.

        Raises:
            DataError: no list fits.
        """
        domain = intent.domain
        if intent.scenario == "miss" and not intent.needed_tools and not intent.without:
            domain = rng.choice([domain for domain, unseen in self._lists if not unseen and self._lists[domain, unseen]])
        needed, without = set(intent.needed_tools), set(intent.without)
        lists = self._lists[domain, intent.is_unseen]
        fitting = [tool_list for tool_list in lists if needed <= set(tool_list) and not without & set(tool_list)]
        if not fitting:  # with few tools, every list may have all of them
            fitting = [
                rest
                for tool_list in lists
                if needed <= set(rest := tuple(name for name in tool_list if name not in without)) and rest
            ]
        if variant == "extended":
            extended = [tool_list for tool_list in fitting if not without & set(self.listing(tool_list, variant).real_names)]
            # Where every similar tool is one that the intent excludes, the list is not extended.
            fitting, variant = (extended, variant) if extended else (fitting, "plain")
        if not fitting:
            raise DataError(
                f"no tool list has {', '.join(sorted(needed)) or 'anything'} without {', '.join(sorted(without))} "
                f"for the intent {intent.name}",
                "shorten `listed` or `without`",
            )
        return self.listing(rng.choice(fitting), variant)

    def listing(self, tool_list: ToolNames, variant: Variant) -> Listing:
        """A list in a variant."""
        if (tool_list, variant) not in self._listings:
            self._listings[tool_list, variant] = self._list(tool_list, variant)
        return self._listings[tool_list, variant]

    def _list(self, tool_list: ToolNames, variant: Variant) -> Listing:
        rng = random.Random(f"{variant}:{','.join(tool_list)}")
        names = self._extended(tool_list, rng) if variant == "extended" else tool_list
        definitions = [self._tools[name].definition for name in names]
        parameters = [list(item["function"]["parameters"]["properties"]) for item in definitions]
        listed_names = [item["function"]["name"] for item in definitions]
        listed_parameters = parameters
        if variant == "masked":
            listed_names = [f"tool_{name}{rng.randrange(10)}" for name in _neutral(len(names), rng)]
            listed_parameters = [[f"arg_{name}" for name in _neutral(len(names_of_tool), rng)] for names_of_tool in parameters]
        mapping: dict[str, dict[str, Any]] = {}
        for index, name in enumerate(names):
            renames = dict(zip(parameters[index], listed_parameters[index], strict=True))
            definitions[index] = _renamed(definitions[index], listed_names[index], renames)
            mapping[listed_names[index]] = {"tool": name, "parameters": {listed: real for real, listed in renames.items()}}
            tool = self._tools[name]
            if tool.domain:
                mapping[listed_names[index]]["domain"] = tool.domain
            if tool.backend is not None:
                mapping[listed_names[index]]["backend"] = tool.backend.model_dump(exclude_defaults=True)
        return Listing(tuple(names), tuple(definitions), json.dumps(mapping, ensure_ascii=False))

    def _extended(self, tool_list: ToolNames, rng: random.Random) -> Sequence[str]:
        candidates = self._trained[self._tools[tool_list[0]].domain] or list(self._all_trained)
        similar = difflib.get_close_matches(
            rng.choice(tool_list), [name for name in candidates if name not in tool_list], n=1, cutoff=0.0
        )
        taken = {self._tools[name].definition["function"]["name"] for name in (*tool_list, *similar)}
        other = rng.choice([n for n in self._all_trained if self._tools[n].definition["function"]["name"] not in taken])
        names = [*tool_list, *similar, other]
        return rng.sample(names, len(names))

    def _fill_domain(self, domain: str, groups: list[ToolNames]) -> None:
        in_domain = [name for name, tool in self._tools.items() if tool.domain == domain]
        unseen = [name for name in in_domain if self._tools[name].is_unseen]
        trained = [name for name in in_domain if name not in unseen]
        together = [group for group in groups if not set(group) & set(unseen)] * LISTS_PER_GROUP
        # The texts are seeds: another word than "toolboxes" would change every dataset.
        self._lists[domain, False] = _fill(together, trained, f"toolboxes:{domain}") if trained else ()
        if not trained:  # the whole domain is held out
            self._lists[domain, True] = _fill(groups * LISTS_PER_GROUP, in_domain, f"unseen toolboxes:{domain}")
        elif unseen:
            alone: list[ToolNames] = [(name,) for name in unseen for _ in range(LISTS_PER_TOOL)]
            self._lists[domain, True] = _fill(alone, trained, f"unseen toolboxes:{domain}", at_least=0)


def _neutral(count: int, rng: random.Random) -> list[str]:
    """Different random letters, or pairs of letters where there are not enough."""
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


def _fill(
    starts: Sequence[ToolNames], names: Sequence[str], seed: str, at_least: int = LISTS_PER_TOOL
) -> tuple[ToolNames, ...]:
    """Lists that grow from `starts` by the tools used least so far, until each of `names` is in `at_least` lists."""
    rng = random.Random(seed)
    used: Counter[str] = Counter()
    lists = []
    waiting = list(starts)
    while waiting or any(used[name] < at_least for name in names):
        tool_list = list(waiting.pop(0)) if waiting else []
        used.update(tool_list)
        size = min(max(rng.randint(*SIZES), len(tool_list) + 1), len(set(names) | set(tool_list)))
        while len(tool_list) < size:
            rare = min((name for name in names if name not in tool_list), key=lambda name: (used[name], rng.random()))
            tool_list.append(rare)
            used[rare] += 1
        rng.shuffle(tool_list)
        lists.append(tuple(tool_list))
    return tuple(lists)
