"""The lines of a file of requests: JSON Lines, a JSON list, or YAML, each with its number."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import yaml

_TEXT_IN_YAML = ("tag:yaml.org,2002:timestamp", "tag:yaml.org,2002:bool", "tag:yaml.org,2002:int")


@dataclass(frozen=True)
class Unreadable:
    """A line that is no JSON."""

    problem: str


class _Loader(yaml.SafeLoader):
    """YAML as people mean it in calls: `on` and `off`, dates, and times such as 19:30 are text; true and false are booleans."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag not in _TEXT_IN_YAML]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile(r"^(?:true|True|TRUE|false|False|FALSE)$"), list("tTfF"))
_Loader.add_implicit_resolver("tag:yaml.org,2002:int", re.compile(r"^[-+]?(?:0|[1-9][0-9]*)$"), list("-+0123456789"))


def json_lines(text: str) -> Iterator[tuple[int, Any]]:
    """Number and content of each line that is not blank; of a JSON list, number and content of each item.

    A line that is no JSON is `Unreadable`, so that all of them can be named at once.
    """
    if text.lstrip().startswith("["):
        yield from enumerate(json.loads(text), start=1)
        return
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            try:
                yield number, json.loads(line)
            except ValueError as error:
                yield number, Unreadable(f"no JSON ({error})")


def yaml_lines(text: str) -> Iterator[tuple[int, Any]]:
    """Line and content of each request of a YAML list, or of the list `requests` of a mapping.

    Raises:
        yaml.YAMLError: it is no YAML.
        ValueError: there is no such list.
    """
    loader = _Loader(text)
    try:
        root = loader.get_single_node()
        if isinstance(root, yaml.MappingNode):
            root = next((value for key, value in root.value if key.value == "requests"), None)
        if not isinstance(root, yaml.SequenceNode):
            raise ValueError("it must be a list, or have a list `requests`")
        for node in root.value:
            yield node.start_mark.line + 1, loader.construct_document(node)
    finally:
        loader.dispose()
