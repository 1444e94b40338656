"""The rows of one example request: filled with other values, and what people say around it.

Each row depends on the seed and its id alone, never on the process that makes it. Kinds of rows, besides `none` (as written)
and `values` (other values):

    absent       the tool is not listed, and the assistant says so
    missing      a required value is not said, the assistant asks, and mostly gets it
    two          a second request in the same sentence, called in the same turn
    follow_up    a later request that only says what is different ("and the bedroom?")
    correction   a later request that puts a value right ("no, 18")
    no_tool      small talk and questions that tools are not for
"""

import functools
import random
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from aria_ray.dataset.from_requests.own import OwnRequests, Source
from aria_ray.dataset.from_requests.style import joined, varied
from aria_ray.dataset.from_requests.talk import Talk, topic
from aria_ray.dataset.from_requests.wordings import NoTool, wordings
from aria_ray.dataset.rows import Row
from aria_ray.dataset.scenarios import NOT_NEEDED, UNAVAILABLE
from aria_ray.dataset.templates import stable_fraction
from aria_ray.requests.example import ExampleRequest
from aria_ray.requests.pools import split_words
from aria_ray.requests.template import Filled, RequestTemplate
from aria_ray.tools.sources import SourcedTool

MAX_DRAWS = 10
"""Attempts to draw values that are new and that the tool accepts."""
MAX_LISTED = 12
"""Most tools of a list in training: more would be most of the prompt."""
SHORT_LISTS = 0.6
"""Share of the rows with a short list. The list is most of a prompt, so a short one leaves room for more requests."""
SHORT_LIST = (2, 3)
"""Fewest and most tools of a short list besides those that are called."""
LISTS_PER_TOOL = 3
"""Number of short lists for the same called tools."""
TRAINED_ANSWERS = 0.3
"""Share of the answers after a call that are trained on: what came back is easily said, the right call is not."""
SHUFFLES = 3
"""Orders of the whole list, besides the given one: few, so that many rows share the start of their prompt."""
MIN_LETTERS = 4
"""Fewest letters of a word that says what a text is about."""
COMMON_WORDS = {"what", "with", "that", "this", "when", "your", "from", "time", "have", "should", "where", "which", "give"}
"""Long words that say nothing of the kind."""
SHARES = {"absent": 0.12, "missing": 0.15, "two": 0.15, "follow_up": 0.08, "correction": 0.04}
"""Rows of each kind for each row of kind `values`, on average."""
UNCALLED_SHARE = 1.5
"""Rows of a request without calls for each row of one with calls."""
FILLINGS = (2, 40)
"""Fewest and most rows of kind `none` and `values` of a request: more values teach little after some dozens."""
NO_TOOL_SHARE = 0.2
"""Rows of kind `no_tool` for each other row."""
REFILLED_EVERY = 12
"""Of so many rows of kind `values` one is for validation."""
NO_TOOL_SPLITS = {"test": 0.1, "validation": 0.08}
"""Shares of the messages that need no tool which are not for training."""


@dataclass(frozen=True)
class RequestRows:
    """Makes the rows of the user's requests."""

    own: OwnRequests
    num_rows: int
    """Number of rows to make, about."""
    seed: int

    @functools.cached_property
    def rows_per_request(self) -> int:
        """Number of rows of kind `none` and `values` for each request that calls tools."""
        called = sum(bool(source.example.calls) for source in self.own.trained)
        others = len(self.own.trained) - called
        each = called * (1 + sum(SHARES.values())) * (1 + NO_TOOL_SHARE) + others * UNCALLED_SHARE
        return max(FILLINGS[0], min(FILLINGS[1], round(self.num_rows / max(1.0, each))))

    def item_ids(self) -> list[str]:
        """What rows are made of, in order: sources, then messages that need no tool."""
        ids = [source.id for source in self.own.sources]
        about = _words_of_tools(self.own)
        # A message about what a tool is about is not one that needs no tool.
        fitting = [number for number, each in enumerate(wordings().no_tool) if not about & _words(each.request)]
        return ids + [f"no_tool/{number:04}" for number in fitting]

    def rows(self, item_id: str) -> list[Row]:
        """The rows of a source or of a message that needs no tool."""
        origin, number = item_id.split("/")
        if origin == "no_tool":
            return self._no_tool_rows(item_id, int(number))
        source = next(source for source in self.own.sources if source.id == item_id)
        if source.held_out:
            return [self.as_written(source, "test")]
        if not source.example.calls:
            return self._uncalled_rows(source)
        return [*self._value_rows(source), *self._other_rows(source)]

    def as_written(self, source: Source, split: str) -> Row:
        """The row of an example word for word. In the test every tool is listed, as a client would."""
        rng = self._rng(source.id)
        listed = self._listed(source, rng)
        if split == "test" and source.example.tools is None:
            listed = list(self.own.tools)
        return self._row(source, source.template.original(), source.example.request, ("none", 0, split), listed, rng)

    # --- rows with calls ---------------------------------------------------------------------------------------------------

    def _value_rows(self, source: Source) -> list[Row]:
        rows, seen = [self.as_written(source, "train")], {source.example.request}
        for index in range(1, self.rows_per_request):
            rng = self._rng(f"{source.id}/values-{index}")
            split = self._split(source, index)
            for _ in range(MAX_DRAWS):
                filled = source.template.filled(rng)
                text = varied(filled.request, filled.written, rng)
                if text in seen:
                    continue
                row = self._row(source, filled, text, ("values", index, split), self._listed(source, rng), rng)
                if row["scenario"] != "error":
                    seen.add(text)
                    # A refilled request is nobody's words, so its row in the test must not pass for a person's.
                    rows.append(row if split != "test" else {**row, "id": f"values/{row['id']}"})
                    break
        return rows

    def _row(
        self,
        source: Source,
        filled: Filled,
        text: str,
        kind: tuple[str, int, str],
        listed: Sequence[str],
        rng: random.Random,
    ) -> Row:
        """A row of one request; `kind` is its kind, its number among those, and its split."""
        talk = Talk(self.own.tools, listed)
        talk.ask(text)
        if filled.calls:
            talk.call(filled.calls)
            trained = kind[2] != "train" or rng.random() < TRAINED_ANSWERS
            talk.answer_from_results(rng.choice(wordings().confirming), trained=trained)
        else:
            self._answer_uncalled(talk, source, rng)
        name, number, split = kind
        return talk.row(f"{source.id}/{name}-{number}", source.id, name, split)

    def _other_rows(self, source: Source) -> list[Row]:
        makers = {
            "absent": self._absent,
            "missing": self._missing,
            "two": self._two,
            "follow_up": self._follow_up,
            "correction": self._follow_up,
        }
        rows = []
        for kind, share in SHARES.items():
            exact = share * self.rows_per_request
            count = int(exact) + (stable_fraction(f"{self.seed}:{source.id}:{kind}") < exact % 1)
            for index in range(count):
                row_id = f"{source.id}/{kind}-{index}"
                talk = makers[kind](source, kind, self._rng(row_id))
                if talk is not None and not talk.failed:
                    rows.append(talk.row(row_id, source.id, kind, "train"))
        return rows

    def _absent(self, source: Source, _kind: str, rng: random.Random) -> Talk | None:
        filled = source.template.filled(rng)
        called = {call.name for call in filled.calls}
        listed = self._some((), rng, without=called)
        talk = Talk(self.own.tools, listed)
        talk.ask(varied(filled.request, filled.written, rng))
        talk.answer(rng.choice(wordings().declining), topic(filled.calls[0].name), UNAVAILABLE)
        return talk

    def _missing(self, source: Source, _kind: str, rng: random.Random) -> Talk | None:
        slots = [index for index in range(len(source.template.slots)) if self._is_required(source, index)]
        if not slots:
            return None
        slot = rng.choice(slots)
        filled = source.template.without(slot, rng)
        if filled is None:
            return None
        place, path = source.template.slots[slot].places[0]
        words = topic(str(path[0]))
        talk = Talk(self.own.tools, self._listed(source, rng))
        talk.ask(varied(filled.request, filled.written, rng))
        question = rng.choice(wordings().asking).replace("{value}", words)
        talk.answer(question, topic(filled.calls[place].name), f"{words} is missing")
        if rng.random() < 0.7:  # mostly the person answers
            talk.ask(varied(source.template.phrase(filled, slot), filled.written, rng))
            talk.call(filled.calls)
            talk.answer_from_results(rng.choice(wordings().confirming))
        return talk

    def _can_change(self, source: Source, slot: int) -> bool:
        """Whether a slot can be said again alone: it has other values, and is not an entry of a list or an opposite word."""
        each = source.template.slots[slot]
        in_list = any(isinstance(key, int) for _, path in each.places for key in path)
        return len(each.values) > 1 and not in_list and each.opposites is None

    def _is_required(self, source: Source, slot: int) -> bool:
        """Whether a slot is one required argument of one call, and not a part of one."""
        places = source.template.slots[slot].places
        if len(places) != 1 or len(places[0][1]) != 1:
            return False
        call, (parameter,) = places[0]
        tool = self.own.tools[source.example.calls[call].name]
        return parameter in tool.definition["function"]["parameters"].get("required", ())

    def _two(self, source: Source, _kind: str, rng: random.Random) -> Talk | None:
        others = [other for other in self.own.trained if len(other.example.calls) == 1 and other.id != source.id]
        if not others or len(source.example.calls) != 1:
            return None
        other = rng.choice(others)
        one, two = source.template.filled(rng), other.template.filled(rng)
        if one.calls == two.calls:
            return None
        needed = tuple(dict.fromkeys((*_names(source.template), *_names(other.template))))
        talk = Talk(self.own.tools, self._some(needed, rng))
        text = joined(one, two, rng.choice(wordings().second_requests))
        talk.ask(varied(text, (*one.written, *two.written), rng))
        talk.call((*one.calls, *two.calls))
        talk.answer_from_results(rng.choice(wordings().confirming))
        return talk

    def _follow_up(self, source: Source, kind: str, rng: random.Random) -> Talk | None:
        """A second request with another value in one slot: asked in addition, or in place of the first."""
        first = source.template.filled(rng)
        slots = [index for index in range(len(source.template.slots)) if self._can_change(source, index)]
        if not slots:
            return None
        slot = rng.choice(slots)
        second = source.template.changed(first, slot, rng)
        if second is None or second.calls == first.calls:
            return None
        talk = Talk(self.own.tools, self._listed(source, rng))
        talk.ask(varied(first.request, first.written, rng))
        talk.call(first.calls)
        talk.answer_from_results(rng.choice(wordings().confirming))
        ways = wordings().corrections if kind == "correction" else wordings().follow_ups
        talk.ask(varied(rng.choice(ways).replace("{value}", source.template.phrase(second, slot)), second.written, rng))
        talk.call(second.calls)
        talk.answer_from_results(rng.choice(wordings().confirming))
        return talk

    # --- rows without calls ------------------------------------------------------------------------------------------------

    def _uncalled_rows(self, source: Source) -> list[Row]:
        rows = [self.as_written(source, "train")]
        for index in range(1, max(2, round(UNCALLED_SHARE * self.rows_per_request))):
            rng = self._rng(f"{source.id}/values-{index}")
            filled = source.template.filled(rng)
            text = varied(filled.request, filled.written, rng)
            rows.append(self._row(source, filled, text, ("values", index, "train"), self._listed(source, rng), rng))
        return rows

    def _answer_uncalled(self, talk: Talk, source: Source, rng: random.Random) -> None:
        example = source.example
        if example.ask is not None:
            words = topic(example.ask)
            question = rng.choice(wordings().asking).replace("{value}", words)
            talk.answer(question, self._asked_tool(example), f"{words} is missing")
        elif example.answer is not None:
            talk.answer(example.answer, "question", NOT_NEEDED)
        else:
            talk.answer(rng.choice(wordings().declining), "request", UNAVAILABLE)

    def _asked_tool(self, example: ExampleRequest) -> str:
        """Topic of a request that lacks a value: the tool with that parameter whose words are said, as where it is called."""
        said = _words(example.request)
        fitting = [
            (len(said & _words_of(tool)), name)
            for name, tool in self.own.tools.items()
            if example.ask in (tool.definition["function"]["parameters"].get("properties") or {})
        ]
        return topic(max(fitting, key=lambda item: item[0])[1]) if fitting else "request"

    def _no_tool_rows(self, item_id: str, number: int) -> list[Row]:
        message = wordings().no_tool[number]
        called = sum(bool(source.example.calls) for source in self.own.trained)
        exact = NO_TOOL_SHARE * called * self.rows_per_request * (1 + sum(SHARES.values())) / len(wordings().no_tool)
        split = _no_tool_split(message)
        count = 1 if split != "train" else int(exact) + (stable_fraction(f"{self.seed}:{item_id}") < exact % 1)
        return [self._no_tool_row(f"{item_id}/no_tool-{index}", item_id, message, split) for index in range(count)]

    def _no_tool_row(self, row_id: str, family: str, message: NoTool, split: str) -> Row:
        rng = self._rng(row_id)
        talk = Talk(self.own.tools, self._whole_list((), rng) if split == "test" else self._some((), rng))
        talk.ask(message.request if split == "test" else varied(message.request, (), rng))
        talk.answer(message.answer, "question", NOT_NEEDED)
        return talk.row(row_id, family, "no_tool", split)

    # --- lists and splits --------------------------------------------------------------------------------------------------

    def _listed(self, source: Source, rng: random.Random) -> list[str]:
        """Tools of a row: those that the example names, else some with those that it calls."""
        return list(source.example.tools) if source.example.tools is not None else self._some(_names(source.template), rng)

    def _some(self, needed: Sequence[str], rng: random.Random, without: Collection[str] = ()) -> list[str]:
        """A short list, or a whole one: with the tools needed, without some others."""
        if rng.random() >= SHORT_LISTS:
            return [name for name in self._whole_list(needed, rng) if name not in without]
        # One of few lists for the same tools, so that rows share the start of their prompt in training.
        key = f"{','.join(needed)}-{','.join(sorted(without))}:{rng.randrange(LISTS_PER_TOOL)}"
        rng = random.Random(f"{self.seed}:list:{key}")
        others = [name for name in self.own.tools if name not in needed and name not in without]
        few = [*needed, *rng.sample(others, min(len(others), rng.randint(*SHORT_LIST)))]
        return rng.sample(few, len(few))

    def _whole_list(self, needed: Sequence[str], rng: random.Random) -> list[str]:
        names = list(self.own.tools)
        if len(names) > MAX_LISTED:
            others = [name for name in names if name not in needed]
            chosen = {*needed, *rng.sample(others, max(0, MAX_LISTED - len(set(needed))))}
            names = [name for name in names if name in chosen]
        if rng.random() < 0.2:
            random.Random(f"{self.seed}:shuffle:{rng.randrange(SHUFFLES)}").shuffle(names)
        return names

    def _split(self, source: Source, index: int) -> str:
        """Each twelfth row is for validation, and where no example is held out, as many are for the test.

        Their words are trained on, their values are not.
        """
        turn = (source.number + index) % REFILLED_EVERY
        if turn == 0:
            return "validation"
        return "test" if turn == REFILLED_EVERY // 2 and not self.own.holds_out else "train"

    def _rng(self, row_id: str) -> random.Random:
        return random.Random(f"{self.seed}:{row_id}")


def _names(template: RequestTemplate) -> tuple[str, ...]:
    """The tools that an example calls, each once."""
    return tuple(dict.fromkeys(call.name for call in template.example.calls))


def _words(text: str) -> set[str]:
    """The words of a text that say what it is about: long ones, without an s at the end."""
    return {word.removesuffix("s") for word in re.findall(r"[a-z]+", text.lower()) if len(word) >= MIN_LETTERS}


def _words_of(tool: SourcedTool) -> set[str]:
    """The words that say what a tool is about."""
    function = tool.definition["function"]
    return _words(f"{split_words(function['name'])} {function['description'].splitlines()[0]}") - COMMON_WORDS


def _words_of_tools(own: OwnRequests) -> set[str]:
    return {word for tool in own.tools.values() for word in _words_of(tool)}


def _no_tool_split(message: NoTool) -> str:
    draw = stable_fraction(f"split:{message.request}")
    for split, share in NO_TOOL_SPLITS.items():
        draw -= share
        if draw < 0:
            return split
    return "train"
