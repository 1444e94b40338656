"""Why a request of the teacher's is refused: what can be seen of it without asking back, and what asking back shows."""

import functools
import itertools
import json
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from aria_ray.dataset.quality import NEAR_DUPLICATE_JACCARD
from aria_ray.dataset.teacher import prompts
from aria_ray.dataset.teacher.asking import Answer
from aria_ray.dataset.teacher.orders import Wanted
from aria_ray.grammar import ToolDefinition
from aria_ray.requests.example import ExampleCall, ExampleRequest
from aria_ray.requests.spellings import spellings
from aria_ray.requests.values import find, leaves

Reason = Literal[
    "cut_off",  # the answer reached its limit of tokens before the request
    "filtered",  # the endpoint's filter of contents refused the question
    "no_json",  # the answer holds no request at all
    "not_written",  # the answer holds others
    "wrong_arguments",  # those that the teacher chose do not fit the tool
    "too_long",
    "value_missing",  # a value of the call is not in the words
    "placeholder",  # {room}, <name>, [date]
    "schema_echo",  # names of parameters, words of programs, a description
    "prompt_echo",  # words of ours
    "near_duplicate",
    "no_call",  # asked back, the teacher calls nothing
    "other_call",  # asked back, it calls something else
    "needless_call",  # asked back, it calls a tool where none is to be called
    "value_asked_for",  # asked back, it misses a value where no tool was to serve
    "unproven",  # asked back, it calls nothing, and it never chose a right call either
]
MAX_WORDS, MAX_CHARACTERS = 60, 400
RUN_OF_DESCRIPTION, RUN_OF_PROMPT = 6, 4
"""Words in a row that show that a description, or the style that the teacher was told, was copied."""
LARGEST_EXACT = 2**53
"""Whole numbers up to here are the same as floating-point numbers."""
MAX_BRACKETS = 300
"""Most objects and lists in the arguments of a call."""
_WORD = re.compile(r"\w+")
_PROGRAM = re.compile(
    r"\b(?:parameters?|arguments?|functions?|json|tool calls?|api|schema|null|boolean|integer|string)\b|\w\s*=\s*\S", re.I
)
"""Words of programs, which people say only where it is their subject."""
_BLANK = re.compile(r"\{[^{}]*\}|<[^<>]+>|\[[^\[\]]*\]|_{3,}|\.{3}\s*\(|\bX{3,}\b")


def seen_problem(wanted: Wanted, request: str, calls: Sequence[ExampleCall], subject: "Subject") -> Reason | None:
    """Why a request is refused at sight; None if it is not."""
    return next(_seen_problems(wanted, request, calls, subject), None)


def _seen_problems(wanted: Wanted, request: str, calls: Sequence[ExampleCall], subject: "Subject") -> Iterator[Reason]:
    if not request.isprintable() or not any(sign.isalpha() for sign in request):
        yield "not_written"
    if len(request.split()) > MAX_WORDS or len(request) > MAX_CHARACTERS:
        yield "too_long"
    values = [value for call in calls for _, value in leaves(call.arguments)]
    # True, false and null have no words of their own: for them asking back has to do.
    if any(spellings(value) and not find(value, request) for value in values):
        yield "value_missing"
    rest = _without(request, [str(value) for value in values if value is not None])
    if _BLANK.search(rest):
        yield "placeholder"
    if subject.is_echoed(rest):
        yield "schema_echo"
    if _share_run(rest, wanted.told, min(RUN_OF_PROMPT, len(_words(wanted.told)))):
        yield "prompt_echo"
    if _share_run(rest, prompts.WRITER, RUN_OF_DESCRIPTION):
        yield "prompt_echo"


@dataclass(frozen=True)
class Subject:
    """What the tools are about, so that an echo of the schema can be told from what people say."""

    names: Collection[str]
    """Names of tools and parameters that no person would say, such as `room_name`."""
    descriptions: Sequence[str]
    usual: str
    """What people and descriptions say, in lower case: words of programs that stand there are the tools' subject."""

    @classmethod
    def of(cls, tools: Mapping[str, ToolDefinition], examples: Sequence[ExampleRequest]) -> "Subject":
        """The subject of these tools and of people's examples."""
        names, descriptions = set(), []
        for name, definition in tools.items():
            names.add(name)
            for key, text in _described(definition["function"]):
                names.add(key)
                descriptions.append(text)
        said = [example.request for example in examples]
        return cls(
            {name for name in names if re.search(r"[_.]|[a-z][A-Z]", name)},
            [text for text in descriptions if text],
            " ".join([*descriptions, *said]).lower(),
        )

    def is_echoed(self, request: str) -> bool:
        """Whether a request speaks of the schema."""
        if any(re.search(rf"(?<!\w){re.escape(name)}(?!\w)", request) for name in self.names):
            return True
        if any(match[0].lower() not in self.usual for match in _PROGRAM.finditer(request)):
            return True
        words = _words(request)
        return any(
            _share_run(request, text, RUN_OF_DESCRIPTION) or (len(words) > 1 and words == _words(text))
            for text in self.descriptions
        )


@dataclass
class Frames:
    """Requests without their values, by what they call, so that near-duplicates are found."""

    _by_calls: dict[str, list[frozenset[str]]] = field(default_factory=dict)
    _said: set[tuple[str, ...]] = field(default_factory=set)

    def add(self, request: str, calls: Sequence[ExampleCall]) -> bool:
        """Add a request; False, and nothing is added, where one that calls the same tools is like it, or any has its words.

        Alike: the Jaccard index of their words and pairs of words, values left out, is at least `NEAR_DUPLICATE_JACCARD`.
        """
        said = tuple(_words(request))
        if said in self._said:
            return False
        values = [value for call in calls for _, value in leaves(call.arguments)]
        words = [word for word in _words(_blanked(request, values)) if word != "_"]
        frame = frozenset([*words, *(" ".join(pair) for pair in itertools.pairwise(words))])
        others = self._by_calls.setdefault(" ".join(sorted(call.name for call in calls)), [])
        if any(_jaccard(frame, other) >= NEAR_DUPLICATE_JACCARD for other in others):
            return False
        others.append(frame)
        self._said.add(said)
        return True


def sent_names(tools: Mapping[str, ToolDefinition]) -> dict[str, str]:
    """The name under which each tool is sent: endpoints take letters, digits, `_` and `-`, 64 at most."""
    sent: dict[str, str] = {}
    for number, name in enumerate(tools, start=1):
        plain = re.sub(r"[^A-Za-z0-9_-]", "_", name)[:64]
        sent[name] = plain if plain not in sent.values() else f"{plain[:58]}_{number}"
    return sent


def asked_problem(
    calls: Sequence[ExampleCall], answers: Sequence[Answer], tools: Mapping[str, ToolDefinition]
) -> Reason | None:
    """Why a request is refused by what the teacher, shown it alone, chose to call; None if it chose the same each time."""
    real = {sent: name for name, sent in sent_names(tools).items()}
    right = _comparable([(call.name, call.arguments) for call in calls], tools)
    for answer in answers:
        if answer.filtered or (answer.cut_off and not answer.calls):
            return "filtered" if answer.filtered else "cut_off"
        if not calls:
            if answer.calls:
                return "needless_call"
            if answer.content.lstrip().upper().startswith(prompts.MISSING):
                return "value_asked_for"
        elif not answer.calls:
            return "no_call"
        elif _comparable([(real.get(name, name), _parsed(text)) for name, text in answer.calls], tools) != right:
            return "other_call"
    return None


def _described(function: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Name and description of a tool and of each of its parameters, those within objects too."""
    yield str(function["name"]), str(function.get("description") or "")
    waiting: list[Any] = [function["parameters"]]
    while waiting:
        schema = waiting.pop()
        if isinstance(schema, list):
            waiting += schema
        if not isinstance(schema, Mapping):
            continue
        for key, inner in (schema.get("properties") or {}).items():
            yield str(key), str(inner.get("description") or "") if isinstance(inner, Mapping) else ""
            waiting.append(inner)
        waiting += [schema.get("items"), *(schema.get(key) for key in ("anyOf", "oneOf"))]


def _comparable(calls: Sequence[tuple[str, Any]], tools: Mapping[str, ToolDefinition]) -> list[str]:
    """Calls as texts that are equal where the calls are: letter case, 80 and 80.0, null and defaults make no difference."""
    texts = []
    for name, arguments in calls:
        properties = tools[name]["function"]["parameters"].get("properties") or {} if name in tools else {}
        given = _normal(arguments)
        if isinstance(given, dict):
            given = {
                key: value
                for key, value in given.items()
                if "default" not in properties.get(key, {}) or value != _normal(properties[key]["default"])
            }
        texts.append(json.dumps([name, given], sort_keys=True))
    return sorted(texts)


def _normal(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _normal(item) for key, item in value.items() if item is not None}
    if isinstance(value, (list, tuple)):
        return [_normal(item) for item in value]
    if isinstance(value, str):
        return " ".join(value.casefold().split())
    is_number = isinstance(value, int) and not isinstance(value, bool) and abs(value) < LARGEST_EXACT
    return float(value) if is_number else value


def _parsed(text: str) -> Any:
    """Arguments from their JSON text; the text itself, which equals no arguments, where it is none or is nested too deep."""
    try:
        return json.loads(text) if len(re.findall(r"[\[{]", text)) <= MAX_BRACKETS else text
    except (ValueError, RecursionError):
        return text


def _blanked(request: str, values: Sequence[Any]) -> str:
    """A request with `_` for each value."""
    spans = sorted((span.start, span.end) for value in values for span in find(value, request)[:1])
    text, last = "", 0
    for start, end in spans:
        if start >= last:
            text, last = f"{text}{request[last:start]} _ ", end
    return text + request[last:]


def _without(request: str, said: Sequence[str]) -> str:
    """A request without values that stand in it letter by letter: their words are not the teacher's."""
    for value in sorted(said, key=len, reverse=True):
        request = re.sub(rf"(?<!\w){re.escape(value)}(?!\w)", "_", request, flags=re.I) if value.strip() else request
    return request


def _words(text: str) -> list[str]:
    return _WORD.findall(text.lower())


def _share_run(one: str, other: str, size: int) -> bool:
    """Whether two texts have `size` words in a row in common."""
    return not _runs(one, size).isdisjoint(_runs(other, size))


@functools.lru_cache(maxsize=10_000)
def _runs(text: str, size: int) -> frozenset[tuple[str, ...]]:
    words = _words(text)
    return frozenset(tuple(words[start : start + size]) for start in range(len(words) - size + 1))


def _jaccard(one: frozenset[str], other: frozenset[str]) -> float:
    return len(one & other) / len(one | other) if one or other else 1.0
