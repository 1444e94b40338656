"""All conversations of `dataset.sources`: which become rows, and which are left out and why."""

import json
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from referencing.exceptions import Unresolvable

from aria_ray.config.schema import DatasetConfig
from aria_ray.dataset.conversations.files import Record, name_and_share, read_records
from aria_ray.dataset.conversations.formats import conversation_of
from aria_ray.dataset.conversations.rows import content_hash, row_of, said
from aria_ray.dataset.rows import USER_PREFIX, Row
from aria_ray.dataset.sampling import SPLIT_SHARES
from aria_ray.dataset.templates import stable_fraction
from aria_ray.errors import DataError

SAME = "the same as an earlier one"
NAMED_RULES, NAMED_PLACES = 3, 3
"""Most rules, and most places of each, that one message names. The file of the stage has them all."""
MIN_REQUESTS = 3
"""Fewest different requests of a run on conversations alone: one each for training, validation and test."""


@dataclass(frozen=True)
class LeftOut:
    """A conversation that no row is made of."""

    place: str
    reason: str
    source: int = 1
    """Number of its source, from 1."""

    @property
    def rule(self) -> str:
        """The rule it breaks: the start of the reason, by which reasons are counted."""
        return self.reason.split(":", 1)[0]


@dataclass
class Conversations:
    """What was read of sources."""

    rows: list[Row] = field(default_factory=list)
    left_out: list[LeftOut] = field(default_factory=list)
    formats: Counter[str] = field(default_factory=Counter)
    """Conversations that became rows, by their format."""
    num_read: Counter[int] = field(default_factory=Counter)
    """Conversations that were looked at, by the number of their source."""
    places: dict[str, str] = field(default_factory=dict)
    """Where each row is from, by its id."""

    def figures(self) -> dict[str, Any]:
        """The part of `quality.json` about them."""
        return {
            "num_read": self.num_read.total(),
            "num_taken": len(self.rows),
            "formats": dict(sorted(self.formats.items())),
            "left_out": dict(Counter(each.rule for each in self.left_out).most_common()),
        }

    def leave_out(self, row_id: str, reason: str) -> None:
        """Leave out a row that a later check refuses."""
        number = int(row_id.removeprefix(USER_PREFIX).split("-", 1)[0].split(".")[0])
        self.left_out.append(LeftOut(self.places[row_id], reason, number))
        self.rows = [row for row in self.rows if row["id"] != row_id]

    def lines(self) -> list[str]:
        """JSON Lines of what is left out: place and reason."""
        return [json.dumps({"place": each.place, "reason": each.reason}, ensure_ascii=False) for each in self.left_out]


def read_conversations(config: DatasetConfig) -> Conversations:
    """The conversations of every source.

    Raises:
        DataError: a source is not there, more than `max_left_out_share` of one are wrong, or there are too few to learn from.
    """
    found = read_sources(config.sources)
    check_share(found, config.sources, config.max_left_out_share)
    if config.sources and not (config.has_builtin or config.has_requests):
        _check_enough(found)
    return found


def told(config: DatasetConfig) -> list[str]:
    """Lines for the terminal: how many conversations are taken, and how many are left out for which reasons.

    Raises:
        DataError: as `read_conversations`.
    """
    if not config.sources:
        return []
    found = read_conversations(config)
    lines = [f"dataset.sources: {len(found.rows)} conversations are taken, {len(found.left_out)} are left out"]
    return lines + [f"  {line}" for line in summary(found.left_out)]


def read_sources(sources: Sequence[str]) -> Conversations:
    """The conversations of sources, whatever the share of wrong ones.

    Raises:
        DataError: a source is not there.
    """
    found, places_by_hash = Conversations(), dict[str, str]()
    for number, source in enumerate(sources, start=1):
        name, share = name_and_share(source)
        files: list[str] = []
        for record in read_records(name):
            file = record.place.rpartition(":")[0]
            if file not in files:
                files.append(file)
            start = f"{number}.{len(files)}" if len(files) > 1 else str(number)
            row_id = f"{USER_PREFIX}{start}-{record.stem}/{record.number:06}"
            if stable_fraction(f"share:{row_id}") < share:
                _take(found, record, row_id, number, places_by_hash)
    _split(found.rows)
    return found


def _take(found: Conversations, record: Record, row_id: str, number: int, places_by_hash: dict[str, str]) -> None:
    found.num_read[number] += 1
    try:
        if record.problem is not None:
            raise ValueError(record.problem)
        conversation = conversation_of(record.value)
        row = row_of(row_id, conversation)
    except (ValueError, RecursionError, Unresolvable) as error:
        reason = " ".join((str(error) or type(error).__name__).split())
        found.left_out.append(LeftOut(record.place, reason, number))
        return
    earlier = places_by_hash.setdefault(content_hash(row), record.place)
    if earlier != record.place:
        found.left_out.append(LeftOut(record.place, f"{SAME}: {earlier}", number))
        return
    found.rows.append(row)
    found.places[row_id] = record.place
    found.formats[conversation.format] += 1


def _split(rows: Sequence[Row]) -> None:
    """Put rows into splits by the hash of what users say. With three different requests or more, no split is empty."""
    # Where a turn is not to be learnt, a model is not to be judged by it either.
    unlearnt = {said(row) for row in rows if any("weight" in message for message in row["messages"])}
    requests = sorted({said(row) for row in rows} - unlearnt, key=lambda text: stable_fraction(f"split:{text}"))
    sizes = {split: max(1, round(SPLIT_SHARES[split] * len(requests))) for split in ("validation", "test")}
    if len(requests) < MIN_REQUESTS:
        sizes = {}
    splits: dict[str, str] = {}
    for split, size in sizes.items():
        start = len(splits)
        splits |= dict.fromkeys(requests[start : start + size], split)
    for row in rows:
        row["split"] = splits.get(said(row), "train")


def check_share(found: Conversations, sources: Sequence[str], max_share: float) -> None:
    """End the run where more than the share of a source, rounded up, is wrong. Repeated ones do not count as wrong.

    Raises:
        DataError: a source has more.
    """
    for number, source in enumerate(sources, start=1):
        wrong = [each for each in found.left_out if each.source == number and each.rule != SAME]
        total = found.num_read[number]
        if not total:
            raise DataError(f"dataset.sources {source} has no conversation", "give another, or a larger share of it")
        if len(wrong) > math.ceil(max_share * total):
            raise DataError(
                f"{len(wrong)} of {total} conversations of {source} are wrong, more than dataset.max_left_out_share "
                f"({max_share}): {'; '.join(summary(wrong))}",
                f"correct them (`aria import {name_and_share(source)[0]}` lists all), or raise dataset.max_left_out_share",
            )


def _check_enough(found: Conversations) -> None:
    different = len({said(row) for row in found.rows if all("weight" not in message for message in row["messages"])})
    if different < MIN_REQUESTS:
        raise DataError(
            f"dataset.sources has {different} different requests, and it takes at least {MIN_REQUESTS}: one each for training, "
            "validation and test",
            "give more conversations, or train on dataset.tools or what is built in beside them",
        )


def summary(left_out: Sequence[LeftOut]) -> list[str]:
    """The commonest reasons, each with its number and the first places."""
    by_rule: dict[str, list[LeftOut]] = {}
    for each in left_out:
        by_rule.setdefault(each.rule, []).append(each)
    ranked = sorted(by_rule.values(), key=len, reverse=True)
    lines = []
    for group in ranked[:NAMED_RULES]:
        first = group[0]
        more = "".join(f", {each.place}" for each in group[1:NAMED_PLACES]) + (" ..." if len(group) > NAMED_PLACES else "")
        lines.append(f"{len(group)} {first.rule} ({first.place}{first.reason[len(first.rule) :][:120]}{more})")
    if len(ranked) > NAMED_RULES:
        lines.append(f"{sum(map(len, ranked[NAMED_RULES:]))} for other reasons")
    return lines
