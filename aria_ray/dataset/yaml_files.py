"""YAML files whose errors name file, line and rule."""

from dataclasses import dataclass
from importlib.resources.abc import Traversable
from typing import Any, NoReturn

import yaml
from pydantic import ValidationError

from aria_ray.errors import DataError

YamlPath = tuple[int | str, ...]
"""Keys and indices from the root of a file down to a node."""


@dataclass(frozen=True)
class YamlFile:
    """A YAML file as values, and as nodes that carry line numbers."""

    name: str
    node: yaml.Node
    root: Any

    def parse(self, model: type[Any], value: Any, place: YamlPath) -> Any:
        """A value at a place of the file as a pydantic model.

        Raises:
            DataError: the value does not fit the model.
        """
        try:
            return model.model_validate(value)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            where = ".".join(str(part) for part in first["loc"])
            self.refuse((*place, *first["loc"]), f"{where}: {first['msg']}".removeprefix(": "))

    def refuse(self, place: YamlPath, rule: str) -> NoReturn:
        """Raise DataError with the file, the line of a place, and the rule that it breaks."""
        raise DataError(f"{self.name}:{self.line(place)}: {rule}", "correct that line")

    def line(self, place: YamlPath) -> int:
        """Line number, from 1, of the deepest node on the path to a place."""
        node = self.node
        for part in place:
            below = _child(node, part)
            if below is None:
                break
            node = below
        return int(node.start_mark.line) + 1


def read_yaml(path: Traversable) -> YamlFile:
    """Read a YAML file.

    Raises:
        DataError: the file is missing, empty or not YAML.
    """
    try:
        text = path.read_text(encoding="utf-8")
        # CSafeLoader builds plain values only, as `yaml.safe_load` does, and is several times as fast.
        node = yaml.compose(text, Loader=yaml.CSafeLoader)
        root = yaml.load(text, Loader=yaml.CSafeLoader)
    except FileNotFoundError:
        raise DataError(f"template file {path} is missing", "add it or reinstall the package") from None
    except yaml.YAMLError as error:
        raise DataError(f"template file {path} is not YAML: {error}", "correct it there") from None
    if node is None:
        raise DataError(f"template file {path} is empty and must have content", "add intents or delete it")
    return YamlFile(str(path), node, root)


def _child(node: yaml.Node, part: int | str) -> yaml.Node | None:
    if isinstance(node, yaml.MappingNode):
        return next((value for key, value in node.value if key.value == part), None)
    if isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
        item: yaml.Node = node.value[part]
        return item
    return None
