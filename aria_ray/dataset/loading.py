"""Templates read from YAML. Every rule is checked before a row is made; an error names file, line and rule."""

import difflib
import functools
import hashlib
import random
import re
from collections.abc import Collection, Iterable, Mapping
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path

from aria_ray.config.schema import DatasetConfig
from aria_ray.dataset.catalogue import Actions, Domain, catalogue_tools
from aria_ray.dataset.catalogue_intents import catalogue_intents
from aria_ray.dataset.slots import Values, Words, draw_values
from aria_ray.dataset.templates import (
    CATEGORIES,
    Category,
    Frames,
    Intent,
    Library,
    ListedTool,
    bind,
    fields_of,
    result_names,
)
from aria_ray.dataset.yaml_files import YamlFile, YamlPath, read_yaml
from aria_ray.errors import DataError
from aria_ray.tools import TOOLS, argument_problem, schema_problem, tool_definition

TEMPLATES = resources.files("aria_ray.dataset").joinpath("templates")
CATALOGUE = resources.files("aria_ray.dataset").joinpath("catalogue")
MIN_BUILTIN_TOOLS = 12
"""Fewest built-in tools for training: calls of 12 tools have at most 3.6 bits of entropy; the gate is 3.5 (`quality`)."""
ACTIONS = "actions.yaml"
"""File of the catalogue's folder with the actions; the others are domains."""


@functools.cache
def library() -> Library:
    """The library of the package's templates."""
    return load_templates(TEMPLATES, CATALOGUE)


def configured_library(config: DatasetConfig) -> Library:
    """The library for a configuration; see `read_library`."""
    named = () if config.builtin_tools == "none" else config.builtin_tools
    return read_library(named, catalogue=config.catalogue_share > 0)


def read_library(builtin_tools: Collection[str] = (), catalogue: bool = True) -> Library:
    """The library of the package's templates.

    `builtin_tools`, if any are named, limits the templates to those that need only these tools. The catalogue's domains are
    included if `catalogue` is true. Templates of the split `test_unseen_tools` are always included.

    Raises:
        DataError: a built-in tool does not exist, or too few are named.
    """
    return _narrowed(library(), builtin_tools, catalogue) if builtin_tools or not catalogue else library()


def _narrowed(whole: Library, builtin_tools: Collection[str], catalogue: bool) -> Library:
    """The library with fewer tools, without the intents that need a removed one.

    Raises:
        DataError: a tool does not exist, or too few are named to pass the diversity gates.
    """
    unknown = sorted(set(builtin_tools) - set(TOOLS))
    if unknown:
        near = difflib.get_close_matches(unknown[0], TOOLS, n=5) or list(TOOLS)[:5]
        raise DataError(
            f"dataset.builtin_tools: there is no tool {unknown[0]!r}",
            f"among the {len(TOOLS)} are {', '.join(near)}",
        )

    trained = [name for name in builtin_tools if not whole.tools[name].is_unseen]
    if builtin_tools and len(trained) < MIN_BUILTIN_TOOLS:
        raise DataError(
            f"dataset.builtin_tools names {len(trained)} tools to train on, it must be at least {MIN_BUILTIN_TOOLS}, or rows "
            "are too much alike",
            "name more, or leave it out to have all",
        )

    def kept(name: str, tool: ListedTool) -> bool:
        chosen = catalogue if tool.domain else not builtin_tools or name in builtin_tools
        return chosen or tool.is_unseen

    tools = {name: tool for name, tool in whole.tools.items() if kept(name, tool)}
    domains = {tool.domain for tool in tools.values()}
    intents = [
        (category, intent)
        for category, intent in whole.intents
        if intent.domain in domains and set(intent.needed_tools) <= set(tools)
    ]
    return Library(tuple(intents), whole.frames, tools)


def templates_digest() -> str:
    """First 16 hex digits of the sha256 over all template files, which the rows depend on."""
    folders = [CATALOGUE, TEMPLATES, *(TEMPLATES.joinpath(category) for category in CATEGORIES)]
    texts = [(folder.name, item.name, item.read_text(encoding="utf-8")) for folder in folders for item in _yaml_files(folder)]
    return hashlib.sha256(repr(texts).encode()).hexdigest()[:16]


def load_templates(folder: Traversable, catalogue: Traversable | None = None) -> Library:
    """The library of a folder with `frames.yaml` and a subfolder per category, and of a catalogue's folder.

    Raises:
        DataError: a file is missing or breaks a rule; the message names file, line and rule.
    """
    frames_file = read_yaml(folder.joinpath("frames.yaml"))
    frames: Frames = frames_file.parse(Frames, frames_file.root, ())
    for name, frame in frames.frames.items():
        if fields_of(frame) != ["q"]:
            frames_file.refuse(("frames", name), f"frame {frame!r} must have {{q}} once")
    reader = _Reader(frames.words, {name: ListedTool(tool_definition(function)) for name, function in TOOLS.items()})
    for category in CATEGORIES:
        for path in _yaml_files(folder.joinpath(category)):
            reader.read_intents(path, category)
    if catalogue is not None:
        actions = read_yaml(catalogue.joinpath(ACTIONS))
        parsed: Actions = actions.parse(Actions, actions.root, ())
        for path in _yaml_files(catalogue):
            if path.name != ACTIONS:
                reader.read_domain(path, parsed)
    return Library(tuple(reader.intents), frames, reader.tools)


class _Reader:
    """Collects intents and tools, each checked against those before it."""

    def __init__(self, words: Words, tools: dict[str, ListedTool]) -> None:
        self.intents: list[tuple[Category, Intent]] = []
        self.tools = tools
        self._words = words
        self._places: dict[str, str] = {}
        """Where each name and phrasing occurs first."""

    def read_intents(self, path: Traversable, category: Category) -> None:
        file = read_yaml(path)
        items = file.root.get("intents") if isinstance(file.root, dict) else None
        if not isinstance(items, list):
            file.refuse((), "the file must have a list `intents`")
        for index, item in enumerate(items):
            intent: Intent = file.parse(Intent, item, ("intents", index))
            self._add(file, ("intents", index), category, intent)

    def read_domain(self, path: Traversable, actions: Actions) -> None:
        file = read_yaml(path)
        domain: Domain = file.parse(Domain, file.root, ())
        for index, entity in enumerate(domain.entities):
            place: YamlPath = ("entities", index)
            one_entity = domain.model_copy(update={"entities": (entity,)})
            for name, tool in catalogue_tools(one_entity, actions).items():
                if name in self.tools:
                    file.refuse(place, f"tool {name!r} is there already; entities and verbs must give unique names")
                self.tools[name] = tool
            for category, intent in catalogue_intents(one_entity, actions):
                self._add(file, place, category, intent)

    def _add(self, file: YamlFile, place: YamlPath, category: Category, intent: Intent) -> None:
        _check_intent(file, place, intent, self._words, self.tools)
        _check_unique(file, place, intent, self._places)
        self.intents.append((category, intent))


def _yaml_files(folder: Traversable) -> list[Traversable]:
    if not folder.is_dir():
        raise DataError(f"template folder {folder} is missing", "add it, with a YAML file of intents, or reinstall the package")
    return sorted((item for item in folder.iterdir() if item.name.endswith(".yaml")), key=lambda item: item.name)


def _check_intent(file: YamlFile, place: YamlPath, intent: Intent, words: Words, tools: Mapping[str, ListedTool]) -> None:
    for key in ("listed", "without"):
        for index, name in enumerate(getattr(intent, key)):
            _check_tool(file, (*place, key, index), name, tools)
    for index, phrasing in enumerate(intent.phrasings):
        _check_fields(file, (*place, "phrasings", index), phrasing, intent.slot_names)
    results = result_names(intent.num_calls)
    _check_fields(file, (*place, "answer"), intent.answer, intent.slot_names | results)
    for index, text in enumerate(intent.contains or ()):
        _check_fields(file, (*place, "contains", index), text, intent.slot_names | results)
    try:
        values = draw_values(intent.slots, intent.pairs, words, random.Random(f"check:{intent.name}"))
    except KeyError as error:
        file.refuse((*place, "slots"), f"unknown word list or slot {error}")
    _check_calls(file, (*place, "steps"), intent, values, tools)


def _check_calls(file: YamlFile, place: YamlPath, intent: Intent, values: Values, tools: Mapping[str, ListedTool]) -> None:
    done = 0
    for round_index, calls in enumerate(intent.steps):
        for index, call in enumerate(calls):
            here = (*place, round_index, index)
            _check_tool(file, (*here, "tool"), call.tool, tools)
            for key, value in call.arguments.items():
                if isinstance(value, str):
                    _check_fields(file, (*here, "arguments", key), value, intent.slot_names | result_names(done))
            # Results of earlier calls are unknown before they run: a number or a word must fit.
            bound = [bind(call.arguments, values, [stand_in] * done) for stand_in in ("1", "word")]
            problems = [_call_problem(call.tool, arguments, tools) for arguments in bound]
            if all(problems):
                file.refuse((*here, "arguments"), f"arguments do not fit {call.tool}: {problems[0]}")
        done += len(calls)


def _call_problem(name: str, arguments: Values, tools: Mapping[str, ListedTool]) -> str | None:
    if tools[name].backend is None:
        return argument_problem(name, arguments)
    return schema_problem(tools[name].definition, arguments)


def _check_tool(file: YamlFile, place: YamlPath, name: str, tools: Mapping[str, ListedTool]) -> None:
    if name not in tools:
        near = difflib.get_close_matches(name, tools, n=5) or list(tools)[:5]
        file.refuse(place, f"unknown tool {name!r}; there are {len(tools)}, among them {', '.join(near)}")


def _check_fields(file: YamlFile, place: YamlPath, text: str, allowed: Iterable[str]) -> None:
    try:
        unknown = [field for field in fields_of(text) if field not in allowed]
    except ValueError as error:
        file.refuse(place, f"{text!r}: {error}")
    if unknown:
        known = ", ".join(sorted(allowed)) or "none"
        file.refuse(place, f"unknown slot {{{unknown[0]}}} in {text!r}; known here: {known}")


def _check_unique(file: YamlFile, place: YamlPath, intent: Intent, places: dict[str, str]) -> None:
    # Two families with the same sentence, slots blanked, could be in training and in the test.
    keys: list[tuple[YamlPath, str]] = [(("name",), f"intent {intent.name!r}")]
    blanked = [re.sub(r"\{\w+\}", "{}", text.lower()) for text in intent.phrasings]
    keys += [(("phrasings", index), f"phrasing {text!r}") for index, text in enumerate(blanked)]
    for below, key in keys:
        here = (*place, *below)
        if key in places:
            file.refuse(here, f"{key} is a duplicate of {places[key]}; every name and phrasing must be unique")
        places[key] = f"{'/'.join(Path(file.name).parts[-2:])}:{file.line(here)}"
