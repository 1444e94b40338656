"""The user's tools and example requests: read, understood, and split before anything is made of them."""

import difflib
import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Literal

from aria_ray.config.schema import DatasetConfig
from aria_ray.dataset.teacher.asking import OnAnswer, OpenEndpoint
from aria_ray.dataset.teacher.taught import taught_requests, teacher_cache
from aria_ray.dataset.templates import stable_fraction
from aria_ray.errors import DataError
from aria_ray.requests.composed import composed_requests
from aria_ray.requests.example import ExampleRequest
from aria_ray.requests.read import PlacedExample, check_examples, read_requests
from aria_ray.requests.template import RequestTemplate
from aria_ray.requests.understand import understand, values_by_parameter
from aria_ray.tools import TOOLS, tool_definition
from aria_ray.tools.sources import SourcedTool, read_tools

logger = logging.getLogger(__name__)

Origin = Literal["request", "builtin", "taught", "composed"]
"""Who worded a request: a person of the user's, a writer of this package, the teacher, or nobody (it is composed)."""
BUILTIN_REQUESTS = resources.files("aria_ray.dataset").joinpath("requests", "builtin.jsonl")
ENOUGH, MAX_COMPOSED = 12, 4
"""A tool with fewer examples than the first gets the second number of composed requests beside them; one without, all."""
MIN_TRAINED = 3
"""Fewest examples of a kind that stay in training when others are held out."""


@dataclass(frozen=True)
class Source:
    """One example request, understood, on its side of the split."""

    origin: Origin
    number: int
    template: RequestTemplate
    held_out: bool

    @property
    def id(self) -> str:
        """Origin and number; it starts the ids of the rows."""
        return f"{self.origin}/{self.number:04}"

    @property
    def example(self) -> ExampleRequest:
        """The example as it was given."""
        return self.template.example


@dataclass(frozen=True)
class OwnRequests:
    """The user's tools by listed name, and everything that is asked of them."""

    tools: Mapping[str, SourcedTool]
    sources: tuple[Source, ...]
    yields: Mapping[str, int] = field(default_factory=dict)
    """Requests of the teacher's that were asked for, kept, and refused by reason."""

    @property
    def trained(self) -> tuple[Source, ...]:
        """The sources that training rows are made from."""
        return tuple(source for source in self.sources if not source.held_out)

    @property
    def holds_out(self) -> bool:
        """Whether some examples are held out for the test."""
        return any(source.held_out for source in self.sources)


def own_requests(
    config: DatasetConfig,
    *,
    hold_out: bool = True,
    serve_teacher: OpenEndpoint | None = None,
    on_taught: OnAnswer | None = None,
) -> OwnRequests:
    """The user's tools with their requests: from files, from docstrings, from the teacher, else composed.

    `hold_out` is whether `dataset.held_out_share` of the people's requests are kept for the test. `serve_teacher` opens an
    endpoint of `dataset.teacher.source`; `on_taught(done, total)` counts a teacher's answers.

    Raises:
        DataError: a source of tools or a file of requests is wrong, or the teacher does not answer.
    """
    tools = read_tools(config.tools) if config.tools else builtin_tools(config)
    definitions = {name: tool.definition for name, tool in tools.items()}
    examples = [example for _, example in (own_examples(config, tools) if config.tools else builtin_examples(tools))]
    held = _held_out(examples, config.held_out_share) if hold_out else set()
    trained = [example for index, example in enumerate(examples) if index not in held]
    kept_back = [examples[index] for index in sorted(held)]
    cache = teacher_cache()
    taught = taught_requests(config, definitions, trained, cache, on_taught, held_out=kept_back, serve=serve_teacher)
    trained += taught.requests
    called = Counter(call.name for example in trained for call in example.calls)
    composed = [
        example
        for name, tool in tools.items()
        if called[name] < ENOUGH
        for example in composed_requests(tool.definition)[: MAX_COMPOSED if called[name] else None]
    ]
    silent = [name for name in tools if name not in called and not any(name == each.calls[0].name for each in composed)]
    if silent:
        logger.warning(
            "dataset.tools: nothing is asked of %s, for which no requests can be composed; write some in dataset.requests",
            ", ".join(silent),
        )
    values = values_by_parameter(trained)
    by_origin: dict[Origin, Sequence[ExampleRequest]] = {
        "request" if config.tools else "builtin": examples,
        "taught": taught.requests,
        "composed": composed,
    }
    sources = tuple(
        Source(origin, number, understand(example, definitions, values), worded is examples and number - 1 in held)
        for origin, worded in by_origin.items()
        for number, example in enumerate(worded, start=1)
    )
    return OwnRequests(tools, sources, taught.yields)


def own_examples(config: DatasetConfig, tools: Mapping[str, SourcedTool]) -> list[PlacedExample]:
    """The example requests of `dataset.requests` and of the tools' docstrings, checked against the tools.

    Raises:
        DataError: a file cannot be read, or a request does not fit the tools; the message names every place.
    """
    placed = read_files(config.requests, "dataset.requests")
    placed += [
        (f"docstring of {name}", ExampleRequest.model_validate(dict(line)))
        for name, tool in tools.items()
        for line in tool.examples
    ]
    if placed and not tools:
        raise DataError("dataset.requests has requests and dataset.tools (none) has no tools", "name the tools that they call")
    check_examples(placed, {name: tool.definition for name, tool in tools.items()})
    return placed


def builtin_tools(config: DatasetConfig) -> dict[str, SourcedTool]:
    """The built-in tools of a configuration, as sources give them.

    Raises:
        DataError: there is no such tool.
    """
    names = tuple(TOOLS) if config.builtin_tools == "none" or not config.builtin_tools else config.builtin_tools
    unknown = [name for name in names if name not in TOOLS]
    if unknown:
        near = difflib.get_close_matches(unknown[0], TOOLS, n=5) or list(TOOLS)[:5]
        raise DataError(
            f"dataset.builtin_tools: there is no tool {unknown[0]!r}", f"among the {len(TOOLS)} are {', '.join(near)}"
        )
    return {name: SourcedTool(name, tool_definition(TOOLS[name]), None, ()) for name in names}


def builtin_examples(tools: Mapping[str, SourcedTool]) -> list[PlacedExample]:
    """The package's example requests that need no other tools than these."""
    with resources.as_file(BUILTIN_REQUESTS) as path:
        placed = read_requests(path, "the package's requests")
    return [(place, example) for place, example in placed if {call.name for call in example.calls} <= set(tools)]


def read_files(files: Sequence[str], named_by: str) -> list[PlacedExample]:
    """The requests of several files, in order; a request that comes again word for word with the same calls comes once.

    Raises:
        DataError: a file cannot be read, or a line of it is wrong.
    """
    placed = [item for file in files for item in read_requests(Path(file).expanduser(), named_by)]
    return list({item[1].model_dump_json(exclude={"values"}): item for item in reversed(placed)}.values())[::-1]


def _held_out(examples: Sequence[ExampleRequest], share: float) -> set[int]:
    """Indices of the examples for the test: of each kind the share, by hash of the words, while enough are left to train on."""
    kinds: dict[tuple[str, ...], list[int]] = {}
    for index, example in enumerate(examples):
        kind = ("ask",) if example.ask else tuple(sorted(call.name for call in example.calls))
        kinds.setdefault(kind, []).append(index)
    held: set[int] = set()
    for indices in kinds.values():
        count = max(0, min(round(share * len(indices)), len(indices) - MIN_TRAINED))
        held |= set(sorted(indices, key=lambda index: stable_fraction(f"held out:{examples[index].request}"))[:count])
    return held
