"""Templates: intents with their phrasings, and the splits they fall into.

A *family* is an intent in one phrasing. A *base template* is a family in one frame. Splits are by family, so training never
sees the phrasing of a held-out family. `loading` reads templates from YAML.
"""

import functools
import hashlib
import string
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from aria_ray.dataset.slots import Pairs, Slot, Values, Words
from aria_ray.grammar import ToolDefinition
from aria_ray.tools import Backend

Category = Literal["math", "text_processing", "reasoning", "conversions", "tool_errors"]
Scenario = Literal["hit", "miss", "error", "multi"]
Split = Literal["train", "validation", "test", "test_unseen_tools"]

CATEGORIES: tuple[Category, ...] = ("math", "text_processing", "reasoning", "conversions", "tool_errors")
UNSEEN_TOOLS = ("median", "slugify", "number_to_base")
UNSEEN_DOMAINS = ("library", "pets", "energy")
"""Held-out tools and domains of the catalogue: no training row calls or lists one of them."""


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class CallTemplate(_Part):
    """A tool call whose arguments may hold `{slot}`, `{result}` or `{result2}`; a placeholder alone keeps its value's type."""

    tool: str
    arguments: dict[str, Any] = Field(default_factory=dict)


class Intent(_Part):
    """One thing that a user may want, in several phrasings, with the right calls and answer."""

    name: str = Field(pattern=r"^[\w.-]+$")
    scenario: Scenario
    error: Literal["refused", "failed", "missing", "unavailable"] | None = None
    """What goes wrong in an error intent: refused without a call, the call fails, a value is missing, or no tool can do it."""
    ask: str = Field(min_length=1)
    """The topic in two or three words, for the thought."""
    reason: str | None = None
    """Why no tool is called, where `error` is refused or missing."""
    lookalike: bool = False
    """Whether a miss looks as if it needed a tool."""
    listed: tuple[str, ...] = ()
    """Tools that the tool list must contain although they are not called."""
    without: tuple[str, ...] = ()
    """Tools that the tool list must not contain, because they could serve the request."""
    slots: dict[str, Slot] = Field(default_factory=dict)
    pairs: Pairs | None = None
    steps: tuple[tuple[CallTemplate, ...], ...] = ()
    """Rounds of parallel calls."""
    answer: str
    contains: tuple[str, ...] | None = None
    """Texts that a right answer contains; None for the results of the last round."""
    phrasings: tuple[str, ...] = Field(min_length=2)
    domain: str = ""
    """Domain of the tools; empty for the built-in tools."""

    @property
    def is_unseen(self) -> bool:
        """Whether it belongs to the split `test_unseen_tools`."""
        return self.domain in UNSEEN_DOMAINS or bool(set(self.needed_tools) & set(UNSEEN_TOOLS))

    @property
    def tools(self) -> tuple[str, ...]:
        """The tools that it calls, each once."""
        return tuple(dict.fromkeys(call.tool for calls in self.steps for call in calls))

    @property
    def needed_tools(self) -> tuple[str, ...]:
        """The tools that its tool list must contain."""
        return tuple(dict.fromkeys((*self.tools, *self.listed)))

    @property
    def num_calls(self) -> int:
        """Number of calls over all rounds."""
        return sum(len(calls) for calls in self.steps)

    @property
    def slot_names(self) -> set[str]:
        """The slots that phrasings, arguments and answers may use."""
        return set(self.slots) | set(self.pairs.columns if self.pairs else ())

    @model_validator(mode="after")
    def _check(self) -> Self:
        if (self.error is not None) != (self.scenario == "error"):
            raise ValueError("`error` must be given exactly where the scenario is error")
        calls = {"hit": self.num_calls == 1, "multi": self.num_calls > 1, "miss": self.num_calls == 0}
        if not calls.get(self.scenario, self.num_calls == (1 if self.error == "failed" else 0)):
            raise ValueError(f"{self.num_calls} calls do not fit the scenario {self.scenario} {self.error or ''}".strip())
        if (self.reason is not None) != (self.error in ("refused", "missing")):
            raise ValueError("`reason` must be given exactly where a value is missing or the call is refused")
        if self.contains is None and not self.steps:
            raise ValueError("`contains` must be given (it may be empty) where no tool is called")
        return self


class Frames(_Part):
    """Frames by name, each a short neutral wrapper with one `{q}`; and texts that augmentation adds or exchanges."""

    frames: dict[str, str] = Field(min_length=1)
    contexts: tuple[str, ...] = Field(min_length=1)
    fillers: tuple[str, ...] = Field(min_length=1)
    words: dict[str, tuple[str, ...]]
    synonyms: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    """Phrases that may replace a phrase wherever it occurs as whole words."""


@dataclass(frozen=True)
class Template:
    """A base template: one phrasing of an intent in one frame."""

    intent: Intent
    category: Category
    number: int
    frame: str

    @property
    def family(self) -> str:
        """Intent and phrasing, counted from 1."""
        return f"{self.intent.name}/{self.number}"

    @property
    def id(self) -> str:
        """Family and frame."""
        return f"{self.family}/{self.frame}"

    @property
    def phrasing(self) -> str:
        """The user's sentence with its slots as placeholders."""
        return self.intent.phrasings[self.number - 1]

    @property
    def split(self) -> Split:
        """The split of its family, by hash, about 80 : 8 : 12.

        The first phrasing of an intent is always for training, so every held-out family asks for something that was taught.
        The limits below make up for it. Families that need an unseen tool are a split by themselves.
        """
        if self.intent.is_unseen:
            return "test_unseen_tools"
        draw = stable_fraction(f"split:{self.family}")
        if self.number == 1 or draw < 0.73:
            return "train"
        return "validation" if draw < 0.838 else "test"


@dataclass(frozen=True)
class ListedTool:
    """A tool that tool lists may contain: its definition, domain and backend."""

    definition: ToolDefinition
    domain: str = ""
    """Empty for the built-in tools."""
    backend: Backend | None = None
    """Backend of a simulated tool; None for one that is run."""

    @property
    def is_unseen(self) -> bool:
        """Whether the tool is held out, so that no training row lists it."""
        return self.domain in UNSEEN_DOMAINS or (not self.domain and self.definition["function"]["name"] in UNSEEN_TOOLS)


@dataclass(frozen=True)
class Library:
    """The intents, the frames, and the tools by real name."""

    intents: tuple[tuple[Category, Intent], ...]
    frames: Frames
    tools: Mapping[str, ListedTool]

    @property
    def words(self) -> Words:
        """Named word lists."""
        return self.frames.words

    @functools.cached_property
    def _by_name(self) -> dict[str, tuple[Category, Intent]]:
        return {intent.name: (category, intent) for category, intent in self.intents}

    def template(self, template_id: str) -> Template:
        """The base template `INTENT/NUMBER/FRAME`."""
        name, number, frame = template_id.split("/")
        category, intent = self._by_name[name]
        return Template(intent, category, int(number), frame)

    def families(self) -> Iterator[Template]:
        """Every family, as its template in the first frame."""
        frame = next(iter(self.frames.frames))
        for category, intent in self.intents:
            for number in range(1, len(intent.phrasings) + 1):
                yield Template(intent, category, number, frame)


def stable_fraction(text: str) -> float:
    """A number from 0 to 1 by hash of the text, the same in every process and version of Python."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") / 2**64


def fields_of(text: str) -> list[str]:
    """The names in braces of a text; ValueError if a brace is not closed."""
    return [field for _, field, _, _ in string.Formatter().parse(text) if field is not None]


def result_names(count: int) -> set[str]:
    """Names of the placeholders for the results of `count` calls."""
    return {f"result{number}" for number in range(1, count + 1)} | ({"result"} if count else set())


def bind(arguments: dict[str, Any], values: Values, results: Sequence[str]) -> dict[str, Any]:
    """Arguments with slot values and earlier results filled in; a placeholder alone keeps the type of its value."""
    known = {**values, **{f"result{number}": _typed(text) for number, text in enumerate(results, 1)}}
    if results:
        known["result"] = _typed(results[-1])
    return {key: _bound(value, known) for key, value in arguments.items()}


def _bound(value: Any, known: Values) -> Any:
    if isinstance(value, dict):
        return {key: _bound(item, known) for key, item in value.items()}
    if not isinstance(value, str):
        return value
    fields = fields_of(value)
    if len(fields) == 1 and value == f"{{{fields[0]}}}":
        return known[fields[0]]
    return value.format(**known)


def _typed(text: str) -> int | float | str:
    # float() would also read `nan` and `infinity`, which are words here.
    if not text[:1].isdigit() and not text[1:2].isdigit():
        return text
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text
