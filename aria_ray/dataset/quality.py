"""Quality of the whole dataset: figures over all rows, and the gates that they must pass.

Near-duplicates, distinct n-grams and similarity need all texts in memory. They are measured on whole template families, a
sample by hash of about `MAX_SAMPLED_ROWS` rows: rows of one family are the likeliest duplicates of each other, and memory stays
the same for a million rows.
"""

import functools
import hashlib
import json
import math
import random
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy
from datasketch import MinHash, MinHashLSH

from aria_ray.dataset.rows import OWN_PREFIXES, USER_PREFIX, Row
from aria_ray.dataset.sampling import CATEGORY_SHARES, SCENARIO_SHARES
from aria_ray.dataset.templates import stable_fraction
from aria_ray.errors import DataError
from aria_ray.grammar import message_calls
from aria_ray.tools import canonical

SHARE_TOLERANCE = 0.02
SHARES: dict[str, Mapping[Any, float]] = {"scenario": SCENARIO_SHARES, "category": CATEGORY_SHARES}
NEAR_DUPLICATE_JACCARD = 0.8
MAX_NEAR_DUPLICATE_SHARE = 0.01
BOUNDS: dict[str, tuple[float, float]] = {
    "distinct_2": (0.05, 1.0),
    "distinct_3": (0.10, 1.0),
    "self_similarity": (0.0, 0.05),
    "opening_entropy_bits": (3.5, math.inf),
    "tool_entropy_bits": (3.5, math.inf),
    "value_entropy_bits": (4.0, math.inf),
}
"""Lowest and highest allowed value of each diversity figure."""
Facts = dict[str, Any]
COUNTED_COLUMNS = ("scenario", "category", "difficulty", "split", "augmentation")
NAMED_IDS = 5
"""Number of offending rows that an error names."""
MAX_SAMPLED_ROWS = 20_000
NUM_PERMUTATIONS = 64
"""Permutations of a MinHash: the error of a Jaccard index is about 1 / sqrt(64) = 0.125, enough to tell duplicates apart."""
NUM_PAIRS = 2000
"""Pairs of rows whose similarity is averaged."""
_WORD = re.compile(r"\w+|[^\w\s]")


def facts_of(row: Row, problems: Sequence[str]) -> Facts:
    """What the figures need of a row. The task that makes the row computes it, so that the driver only counts."""
    real = {listed: names["tool"] for listed, names in json.loads(row["tool_names"]).items()}
    calls = [call for message in row["messages"] for call in message_calls(message)]
    texts = [message["content"] for message in row["messages"] if message["role"] == "user"]
    words = _WORD.findall(texts[0].lower())
    if row["template_id"].startswith(USER_PREFIX):
        # A conversation is what is said and called: many have one list of tools, and a greeting at the start.
        hashed = _WORD.findall("\n".join([*texts, *(f"{call.name} {canonical(call.arguments)}" for call in calls)]).lower())
    else:
        # An example is its whole prompt: the same question with other tools is another example.
        hashed = [*words, *(name for tool in row["tools"] for name in tool["function"]["name"].split("_"))]
    return {
        "id": row["id"],
        "columns": {column: row[column] for column in ("template_id", "template_family", *COUNTED_COLUMNS)},
        "problems": list(problems),
        "tool_list": hashlib.sha256(row["tool_names"].encode()).hexdigest()[:16],
        "called": [real[call.name] for call in calls if call.name in real],
        "values": [json.dumps(value, ensure_ascii=False) for call in calls for value in call.arguments.values()],
        "words": words,
        "min_hash": _min_hash(hashed),
    }


@dataclass
class Quality:
    """Figures over rows that are added one by one, and the gates. Shares are 0 to 1, entropies are in bits."""

    sampled_share: float = 1.0
    """Share of the template families whose texts are kept; see `sampled_share`."""
    problems: dict[str, list[str]] = field(default_factory=dict)
    """Problems of rows by row id; rows without problems are left out."""
    num_rows: int = 0
    sources: Counter[str] = field(default_factory=Counter)
    """Rows by what they are made from."""
    counts: dict[str, Counter[str]] = field(default_factory=lambda: {column: Counter() for column in COUNTED_COLUMNS})
    families: dict[str, set[str]] = field(default_factory=dict)
    templates: set[str] = field(default_factory=set)
    tool_lists: set[str] = field(default_factory=set)
    tools_called: Counter[str] = field(default_factory=Counter)
    values: Counter[str] = field(default_factory=Counter)
    openings: Counter[str] = field(default_factory=Counter)
    ngrams: dict[int, Counter[tuple[str, ...]]] = field(default_factory=lambda: {1: Counter(), 2: Counter(), 3: Counter()})
    hashes: dict[str, MinHash] = field(default_factory=dict)
    near_duplicates: dict[str, str] = field(default_factory=dict)
    """Near-duplicates by row id, each with the earlier row that it resembles."""
    index: MinHashLSH = field(default_factory=lambda: MinHashLSH(NEAR_DUPLICATE_JACCARD, NUM_PERMUTATIONS))
    conversations: dict[str, MinHash] = field(default_factory=dict)
    """The user's conversations by row id. They are reported on and not judged."""
    conversation_index: MinHashLSH = field(default_factory=lambda: MinHashLSH(NEAR_DUPLICATE_JACCARD, NUM_PERMUTATIONS))
    like_conversations: dict[str, str] = field(default_factory=dict)
    """Near-duplicates among them, each with the earlier one that it resembles."""

    def add(self, facts: Facts) -> None:
        """Count a row by its facts."""
        self.num_rows += 1
        row_id, family = facts["id"], facts["columns"]["template_family"]
        if facts["problems"]:
            self.problems[row_id] = facts["problems"]
        self.sources[_source(facts["columns"]["template_id"])] += 1
        # Only templates have target shares, and are judged by their texts: what a user brings is as it is, and rows of one
        # request differ in their values alone.
        is_ours = not facts["columns"]["template_id"].startswith(OWN_PREFIXES)
        if is_ours:
            for column, counter in self.counts.items():
                counter[str(facts["columns"][column])] += 1
        self.families.setdefault(facts["columns"]["split"], set()).add(family)
        self.templates.add(facts["columns"]["template_id"])
        self.tool_lists.add(facts["tool_list"])
        self.tools_called.update(facts["called"])
        if stable_fraction(f"sample:{family}") < self.sampled_share:
            if is_ours:
                self._add_text(row_id, facts)
            elif row_id.startswith(USER_PREFIX):
                _add_hash(row_id, facts, self.conversation_index, self.conversations, self.like_conversations)

    def _add_text(self, row_id: str, facts: Facts) -> None:
        words = facts["words"]
        self.openings[" ".join(words[:2])] += 1
        for size, counter in self.ngrams.items():
            counter.update(zip(*(words[start:] for start in range(size)), strict=False))
        self.values.update(facts["values"])
        _add_hash(row_id, facts, self.index, self.hashes, self.near_duplicates)

    def checked(self) -> dict[str, Any]:
        """The figures, after every gate has passed.

        Raises:
            DataError: the rows fail a gate; the message names the rule, the figure and offending rows.
        """
        figures = self.figures()
        _gate_rows(self.problems)
        if self.hashes:  # there are rows of templates
            _gate_duplicates(figures, self.near_duplicates)
            _gate_shares(figures)
            _gate_diversity(figures)
        return figures

    def of_conversations(self) -> dict[str, Any]:
        """What is told of the user's conversations, which no gate judges."""
        sampled, like = len(self.conversations), self.like_conversations
        return {
            "near_duplicate_share": len(like) / sampled if sampled else None,
            "near_duplicates": dict(list(like.items())[:NAMED_IDS]),
            "self_similarity": _mean_similarity(list(self.conversations.values())),
        }

    def figures(self) -> dict[str, Any]:
        """The content of `quality.json`."""
        sampled = len(self.hashes)
        return {
            "rows_with_problems": len(self.problems),
            "num_rows": self.num_rows,
            "rows_by_source": dict(sorted(self.sources.items())),
            "num_templates": len(self.templates),
            "num_families": {split: len(names) for split, names in sorted(self.families.items())},
            "num_intents_trained": len(
                {family.rsplit("/", 1)[0] for family in self.families.get("train", ()) if not family.startswith(OWN_PREFIXES)}
            ),
            "num_tool_lists": len(self.tool_lists),
            "num_tools_called": len(self.tools_called),
            "num_sampled_rows": sampled,
            "near_duplicate_share": len(self.near_duplicates) / sampled if sampled else None,
            **{f"distinct_{size}": len(counter) / max(1, counter.total()) for size, counter in self.ngrams.items()},
            "self_similarity": _mean_similarity(list(self.hashes.values())),
            "tool_entropy_bits": _entropy_bits(self.tools_called),
            "value_entropy_bits": _entropy_bits(self.values),
            "opening_entropy_bits": _entropy_bits(self.openings),
            "shares": {column: _shares(counter) for column, counter in self.counts.items()},
            "tools_called": dict(sorted(self.tools_called.items())),
        }


def _add_hash(row_id: str, facts: Facts, index: MinHashLSH, hashes: dict[str, MinHash], near: dict[str, str]) -> None:
    """Add a row's text to an index, and to the near-duplicates if an earlier one is like it."""
    hashed = _hashed(numpy.array(facts["min_hash"], dtype=numpy.uint32))
    like = [other for other in index.query(hashed) if hashed.jaccard(hashes[other]) >= NEAR_DUPLICATE_JACCARD]
    if like:
        near[row_id] = like[0]
    index.insert(row_id, hashed)
    hashes[row_id] = hashed


def _source(template_id: str) -> str:
    """What a row is made from: `conversation`, `template`, or who worded its request."""
    if template_id.startswith(USER_PREFIX):
        return "conversation"
    return template_id.split("/", 1)[0] if template_id.startswith(OWN_PREFIXES) else "template"


def sampled_share(num_rows: int) -> float:
    """Share of the families whose texts are kept, so that they have about `MAX_SAMPLED_ROWS` of `num_rows` rows."""
    return min(1.0, MAX_SAMPLED_ROWS / max(1, num_rows))


def _gate_rows(problems: Mapping[str, Sequence[str]]) -> None:
    if problems:
        named = "; ".join(f"{row_id}: {row_problems[0]}" for row_id, row_problems in list(problems.items())[:NAMED_IDS])
        theirs = any(row_id.startswith(OWN_PREFIXES) for row_id in problems)
        what = "correct the example requests or the tools that they are made of" if theirs else "correct their templates"
        raise DataError(f"{len(problems)} rows have problems and none may", f"{what}: {named}")


def _gate_duplicates(figures: Mapping[str, Any], near_duplicates: Mapping[str, str]) -> None:
    if figures["near_duplicate_share"] > MAX_NEAR_DUPLICATE_SHARE:
        named = ", ".join(f"{row} is like {other}" for row, other in list(near_duplicates.items())[:NAMED_IDS])
        raise DataError(
            f"{figures['near_duplicate_share']:.1%} of the rows are near-duplicates (Jaccard index of word trigrams at least "
            f"{NEAR_DUPLICATE_JACCARD}) and at most {MAX_NEAR_DUPLICATE_SHARE:.0%} may be",
            f"give templates more slots: {named}",
        )


def _gate_shares(figures: Mapping[str, Any]) -> None:
    # A small dataset meets the shares to within two templates, and one of few intents to within one intent.
    tolerance = max(SHARE_TOLERANCE, 2 / max(1, figures["num_templates"]), 1 / max(1, figures["num_intents_trained"]))
    for column, shares in SHARES.items():
        for key, share in shares.items():
            actual = figures["shares"][column].get(key, 0.0)
            if abs(actual - share) > tolerance:
                raise DataError(
                    f"{actual:.1%} of the rows have the {column} {key} and it must be {share:.0%} ± {tolerance:.1%}",
                    "change dataset.num_templates, builtin_tools, num_intents or seed, or add templates",
                )


def _gate_diversity(figures: Mapping[str, Any]) -> None:
    for name, (least, most) in BOUNDS.items():
        if not least <= figures[name] <= most:
            raise DataError(
                f"{name} is {figures[name]:.3f} and must be {least} to {most}: rows are too much alike",
                "raise dataset.num_templates or num_intents, name more builtin_tools, or add phrasings",
            )


def _min_hash(words: Sequence[str]) -> list[int]:
    hashed = _hashed()
    trigrams = {" ".join(words[start : start + 3]).encode() for start in range(max(1, len(words) - 2))}
    hashed.update_batch(sorted(trigrams))
    return [int(value) for value in hashed.hashvalues]


def _hashed(values: Any = None) -> MinHash:
    return MinHash(NUM_PERMUTATIONS, permutations=_permutations(), scheme="affine32", hashvalues=values)


@functools.cache
def _permutations() -> Any:
    return MinHash(NUM_PERMUTATIONS, seed=1, scheme="affine32").permutations


def _mean_similarity(hashes: Sequence[MinHash]) -> float:
    """Mean Jaccard index of `NUM_PAIRS` random pairs of rows, with a fixed seed."""
    if len(hashes) < 2:
        return 0.0
    rng = random.Random("pairs")
    pairs = [rng.sample(range(len(hashes)), 2) for _ in range(NUM_PAIRS)]
    return float(sum(hashes[one].jaccard(hashes[other]) for one, other in pairs) / len(pairs))


def _shares(counter: Counter[str]) -> dict[str, float]:
    return {key: count / counter.total() for key, count in sorted(counter.items())}


def _entropy_bits(counter: Counter[str]) -> float:
    return -sum(count / counter.total() * math.log2(count / counter.total()) for count in counter.values())
