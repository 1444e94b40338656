"""What people and the assistant say around requests: the package's texts, read once."""

import functools
from collections.abc import Sequence
from importlib import resources
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict

FOLDER = resources.files("aria_ray.dataset").joinpath("requests")


class NoTool(BaseModel):
    """A message that needs no tool, and a short harmless answer."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    request: str
    answer: str


class Wordings(BaseModel):
    """The texts. `{value}` is the words of a value or of a parameter, `{other}` a second request, `{result}` a result."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    no_tool: tuple[NoTool, ...]
    asking: tuple[str, ...]
    """Questions for a missing value."""
    declining: tuple[str, ...]
    """Answers where no tool can do it."""
    confirming: tuple[str, ...]
    """Answers with a result."""
    second_requests: tuple[str, ...]
    """Ways to add a second request."""
    follow_ups: tuple[str, ...]
    """Ways to ask the same with another value."""
    corrections: tuple[str, ...]
    """Ways to correct a value."""
    asides: tuple[str, ...]
    """What people say beside a request, which is `{request}`: nothing in it matters for the call."""


@functools.cache
def wordings() -> Wordings:
    """The texts of the package."""
    no_tool = [item for group in _read("no_tool").values() for item in group]
    joining = _read("joining")
    return Wordings(
        no_tool=tuple(NoTool.model_validate(item) for item in no_tool),
        asking=_texts("asking"),
        declining=_texts("declining"),
        confirming=_texts("confirming"),
        second_requests=tuple(joining["second_requests"]),
        follow_ups=tuple(joining["follow_ups"]),
        corrections=tuple(joining["corrections"]),
        asides=tuple(joining["asides"]),
    )


def _texts(name: str) -> tuple[str, ...]:
    texts: Sequence[str] = _read(name)
    return tuple(texts)


def _read(name: str) -> Any:
    return yaml.safe_load(FOLDER.joinpath(f"{name}.yaml").read_text(encoding="utf-8"))
