"""Reading templates from YAML. Every rule is checked before a row is made; an error names file, line and rule."""

import functools
import hashlib
import random
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any, NoReturn

import yaml
from pydantic import ValidationError

from aria_ray.dataset.slots import Values, Words, draw_values
from aria_ray.dataset.templates import CATEGORIES, Category, Frames, Intent, Library, bind, fields_of, result_names
from aria_ray.errors import DataError
from aria_ray.tools import TOOLS, argument_problem

Place = tuple[int | str, ...]
"""Keys and indices from the root of a file down to a node."""


TEMPLATES = resources.files("aria_ray.dataset").joinpath("templates")


@functools.cache
def library() -> Library:
    """The templates that come with the package."""
    return load_templates(TEMPLATES)


def templates_digest() -> str:
    """First 16 hex digits of the sha256 over the template files: rows change when they do."""
    folders = [TEMPLATES, *(TEMPLATES.joinpath(category) for category in CATEGORIES)]
    texts = [(folder.name, item.name, item.read_text(encoding="utf-8")) for folder in folders for item in _yaml_files(folder)]
    return hashlib.sha256(repr(texts).encode()).hexdigest()[:16]


def load_templates(folder: Traversable) -> Library:
    """Read and check a folder with `frames.yaml` and a folder of YAML files per category.

    Raises:
        DataError: a file is missing or breaks a rule; names file, line and rule.
    """
    frames_file = _read(folder.joinpath("frames.yaml"))
    frames: Frames = frames_file.parse(Frames, frames_file.root, ())
    for name, frame in frames.frames.items():
        if fields_of(frame) != ["q"]:
            frames_file.refuse(("frames", name), f"frame {frame!r} must have {{q}} once")
    intents: list[tuple[Category, Intent]] = []
    seen: dict[str, str] = {}
    for category in CATEGORIES:
        for path in _yaml_files(folder.joinpath(category)):
            intents += [(category, intent) for intent in _read_intents(path, frames.words, seen)]
    return Library(tuple(intents), frames)


def _read_intents(path: Traversable, words: Words, seen: dict[str, str]) -> Iterator[Intent]:
    file = _read(path)
    items = file.root.get("intents") if isinstance(file.root, dict) else None
    if not isinstance(items, list):
        file.refuse((), "the file must have a list `intents`")
    for index, item in enumerate(items):
        intent: Intent = file.parse(Intent, item, ("intents", index))
        _check_intent(file, ("intents", index), intent, words)
        _check_unique(file, ("intents", index), intent, seen)
        yield intent


def _yaml_files(folder: Traversable) -> list[Traversable]:
    if not folder.is_dir():
        raise DataError(f"template folder {folder} is missing; add it, with a YAML file of intents, or reinstall the package")
    return sorted((item for item in folder.iterdir() if item.name.endswith(".yaml")), key=lambda item: item.name)


@dataclass(frozen=True)
class _File:
    """A YAML file as values, and as nodes that know their lines."""

    name: str
    node: yaml.Node
    root: Any

    def parse(self, model: type[Any], value: Any, place: Place) -> Any:
        try:
            return model.model_validate(value)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            where = ".".join(str(part) for part in first["loc"])
            self.refuse((*place, *first["loc"]), f"{where}: {first['msg']}".removeprefix(": "))

    def refuse(self, place: Place, rule: str) -> NoReturn:
        raise DataError(f"{self.name}:{self.line(place)}: {rule}")

    def line(self, place: Place) -> int:
        """The line, from 1, of the deepest node on the way to a place."""
        node = self.node
        for part in place:
            below = _child(node, part)
            if below is None:
                break
            node = below
        return int(node.start_mark.line) + 1


def _read(path: Traversable) -> _File:
    try:
        text = path.read_text(encoding="utf-8")
        # CSafeLoader builds plain values only, as `yaml.safe_load` does, several times as fast.
        node = yaml.compose(text, Loader=yaml.CSafeLoader)
        root = yaml.load(text, Loader=yaml.CSafeLoader)
    except FileNotFoundError:
        raise DataError(f"template file {path} is missing; add it or reinstall the package") from None
    except yaml.YAMLError as error:
        raise DataError(f"template file {path} is not YAML: {' '.join(str(error).split())}") from None
    if node is None:
        raise DataError(f"template file {path} is empty; it must have content")
    return _File(str(path), node, root)


def _child(node: yaml.Node, part: int | str) -> yaml.Node | None:
    if isinstance(node, yaml.MappingNode):
        return next((value for key, value in node.value if key.value == part), None)
    if isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
        item: yaml.Node = node.value[part]
        return item
    return None


def _check_intent(file: _File, place: Place, intent: Intent, words: Words) -> None:
    for key in ("listed", "without"):
        for index, name in enumerate(getattr(intent, key)):
            _check_tool(file, (*place, key, index), name)
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
    _check_calls(file, (*place, "steps"), intent, values)


def _check_calls(file: _File, place: Place, intent: Intent, values: Values) -> None:
    done = 0
    for round_index, calls in enumerate(intent.steps):
        for index, call in enumerate(calls):
            here = (*place, round_index, index)
            _check_tool(file, (*here, "tool"), call.tool)
            for key, value in call.arguments.items():
                if isinstance(value, str):
                    _check_fields(file, (*here, "arguments", key), value, intent.slot_names | result_names(done))
            # What an earlier call gives is known only when it has run: a number or a word, either may fit here.
            bound = [bind(call.arguments, values, [stand_in] * done) for stand_in in ("1", "word")]
            problems = [argument_problem(call.tool, arguments) for arguments in bound]
            if all(problems):
                file.refuse((*here, "arguments"), f"arguments do not fit {call.tool}: {problems[0]}")
        done += len(calls)


def _check_tool(file: _File, place: Place, name: str) -> None:
    if name not in TOOLS:
        file.refuse(place, f"unknown tool {name!r}; tools are {', '.join(TOOLS)}")


def _check_fields(file: _File, place: Place, text: str, allowed: Iterable[str]) -> None:
    try:
        unknown = [field for field in fields_of(text) if field not in allowed]
    except ValueError as error:
        file.refuse(place, f"{text!r}: {error}")
    if unknown:
        known = ", ".join(sorted(allowed)) or "none"
        file.refuse(place, f"unknown slot {{{unknown[0]}}} in {text!r}; known here: {known}")


def _check_unique(file: _File, place: Place, intent: Intent, seen: dict[str, str]) -> None:
    # The same sentence in two families could be trained on in one and tested in the other.
    keys: list[tuple[Place, str]] = [(("name",), f"intent {intent.name!r}")]
    keys += [(("phrasings", index), f"phrasing {text.lower()!r}") for index, text in enumerate(intent.phrasings)]
    for below, key in keys:
        here = (*place, *below)
        if key in seen:
            file.refuse(here, f"{key} is a duplicate of {seen[key]}; every name and phrasing must be unique")
        seen[key] = f"{'/'.join(Path(file.name).parts[-2:])}:{file.line(here)}"
