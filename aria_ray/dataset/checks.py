"""Proof that rows are right, one by one, and that the whole is fit to train on: problems, figures, gates."""

import hashlib
import itertools
import json
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from jsonschema import Draft202012Validator

from aria_ray.dataset.rows import SCENARIO_SHARES, Row
from aria_ray.dataset.templates import UNSEEN_TOOLS
from aria_ray.errors import DataError
from aria_ray.grammar import (
    CALL_END,
    CALL_START,
    THINK_END,
    THINK_START,
    AssistantTurn,
    Message,
    is_thought,
    message_calls,
    parse_assistant,
)
from aria_ray.tools import ERROR_PREFIX, execute_listed

SCENARIO_TOLERANCE = 0.02
MAX_DUPLICATE_SHARE = 0.01
COUNTED_COLUMNS = ("scenario", "category", "difficulty", "split", "augmentation")
NAMED_IDS = 5
"""How many offending rows an error names."""


def verify(row: Row) -> list[str]:
    """What is wrong with a row; empty where nothing is."""
    turns = [message for message in row["messages"] if message["role"] == "assistant"]
    problems = [problem for turn in turns for problem in _turn_problems(turn)]
    problems += _call_problems(row)
    answer = str(turns[-1].get("content") or "")
    problems += [
        f"the answer {answer!r} lacks {text!r}" for text in row["answer_contains"] if text.lower() not in answer.lower()
    ]
    run = [message for message in row["messages"] if message["role"] == "tool"]
    failed = [message for message in run if message["content"].startswith(ERROR_PREFIX)]
    if bool(failed) != (row["scenario"] == "error" and bool(run)):
        problems.append(f"{len(failed)} of {len(run)} calls fail, which does not fit the scenario {row['scenario']}")
    listed = {names["tool"] for names in json.loads(row["tool_names"]).values()}
    if row["split"] != "test_unseen_tools" and listed & set(UNSEEN_TOOLS):
        problems.append(f"held-out tools {', '.join(sorted(listed & set(UNSEEN_TOOLS)))} are listed in {row['split']}")
    return problems


def quality(rows: Iterable[Row], problems: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    """Figures over all rows, read once. Shares are 0 to 1, entropy is in bits.

    Raises:
        DataError: a row has problems, too many rows are duplicates, or a scenario has not its share.
    """
    tally = _Tally()
    for row in rows:
        tally.add(row)
    figures = {
        "num_rows": tally.num_rows,
        "num_templates": len(tally.templates),
        "num_families": {split: len(names) for split, names in sorted(tally.families.items())},
        "num_tool_lists": len(tally.tool_lists),
        "rows_with_problems": len(problems),
        "duplicate_share": len(tally.duplicates) / max(1, tally.num_rows),
        "distinct_2": len(tally.bigrams) / max(1, tally.bigrams.total()),
        "tool_entropy_bits": _entropy_bits(tally.tools_called),
        "tools_called": dict(sorted(tally.tools_called.items())),
        "shares": {column: _shares(counter) for column, counter in tally.counts.items()},
    }
    _gate(figures, problems, tally.duplicates)
    return figures


@dataclass
class _Tally:
    """What has been counted so far; texts are kept as hashes only."""

    num_rows: int = 0
    counts: dict[str, Counter[str]] = field(default_factory=lambda: {column: Counter() for column in COUNTED_COLUMNS})
    families: dict[str, set[str]] = field(default_factory=dict)
    templates: set[str] = field(default_factory=set)
    tool_lists: set[str] = field(default_factory=set)
    tools_called: Counter[str] = field(default_factory=Counter)
    bigrams: Counter[tuple[str, str]] = field(default_factory=Counter)
    questions: set[bytes] = field(default_factory=set)
    duplicates: list[str] = field(default_factory=list)

    def add(self, row: Row) -> None:
        self.num_rows += 1
        for column, counter in self.counts.items():
            counter[str(row[column])] += 1
        self.families.setdefault(row["split"], set()).add(row["template_family"])
        self.templates.add(row["template_id"])
        self.tool_lists.add(row["tool_names"])
        self.tools_called.update(_tools_called(row))
        text = row["messages"][0]["content"]
        self.bigrams.update(itertools.pairwise(text.lower().split()))
        question = hashlib.sha256(f"{row['tool_names']}\n{text}".encode()).digest()
        if question in self.questions:
            self.duplicates.append(row["id"])
        self.questions.add(question)


def _gate(figures: Mapping[str, Any], problems: Mapping[str, Sequence[str]], duplicates: Sequence[str]) -> None:
    if problems:
        named = "; ".join(f"{row_id}: {found[0]}" for row_id, found in list(problems.items())[:NAMED_IDS])
        raise DataError(f"{len(problems)} rows are wrong and none may be; correct their templates: {named}")
    if figures["duplicate_share"] > MAX_DUPLICATE_SHARE:
        raise DataError(
            f"{figures['duplicate_share']:.1%} of the rows repeat a question with the same tools and at most "
            f"{MAX_DUPLICATE_SHARE:.0%} may; give their templates more slots: {', '.join(duplicates[:NAMED_IDS])}"
        )
    # A small dataset cannot hit the shares closer than one template.
    tolerance = max(SCENARIO_TOLERANCE, 1 / max(1, figures["num_templates"]))
    for scenario, share in SCENARIO_SHARES.items():
        found = figures["shares"]["scenario"].get(scenario, 0.0)
        if abs(found - share) > tolerance:
            raise DataError(
                f"{found:.1%} of the rows are of scenario {scenario} and it must be {share:.0%} give or take {tolerance:.1%}; "
                "change dataset.num_templates"
            )


def _turn_problems(turn: Message) -> list[str]:
    problems = []
    if not is_thought(turn.get("reasoning_content")):
        problems.append(f"thought {turn.get('reasoning_content')!r} has not the fixed shape")
    said = AssistantTurn(turn.get("reasoning_content"), turn.get("content") or "", message_calls(turn))
    if parse_assistant(_as_text(said)) != said:
        problems.append(f"turn {_as_text(said)!r} does not read back as it was")
    return problems


def _as_text(turn: AssistantTurn) -> str:
    calls = "".join(
        f"{CALL_START}{json.dumps({'name': call.name, 'arguments': call.arguments}, ensure_ascii=False)}{CALL_END}"
        for call in turn.calls
    )
    return f"{THINK_START}{turn.reasoning}{THINK_END}{turn.content}{calls}"


def _call_problems(row: Row) -> list[str]:
    schemas = {tool["function"]["name"]: tool["function"]["parameters"] for tool in row["tools"]}
    shown = {message["tool_call_id"]: message["content"] for message in row["messages"] if message["role"] == "tool"}
    problems = []
    for message in row["messages"]:
        for item, call in zip(message.get("tool_calls") or (), message_calls(message), strict=True):
            if call.name not in schemas:
                problems.append(f"{call.name} is called but not listed")
                continue
            errors = Draft202012Validator(schemas[call.name]).iter_errors(dict(call.arguments))
            problems += [f"{call.name}: {error.message}" for error in errors]
            result = execute_listed(row["tool_names"], call).text
            if shown.get(item["id"]) != result:
                problems.append(f"{call.name} gives {result!r} but {shown.get(item['id'])!r} is shown")
    return problems


def _tools_called(row: Row) -> list[str]:
    real = json.loads(row["tool_names"])
    return [real[call.name]["tool"] for message in row["messages"] for call in message_calls(message)]


def _shares(counter: Counter[str]) -> dict[str, float]:
    return {key: count / counter.total() for key, count in sorted(counter.items())}


def _entropy_bits(counter: Counter[str]) -> float:
    return -sum(count / counter.total() * math.log2(count / counter.total()) for count in counter.values())
