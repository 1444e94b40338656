"""A few rows of every scenario as people read them: `SAMPLES.md`."""

import json
from typing import Any

from aria_ray.dataset.rows import Row
from aria_ray.dataset.sampling import SCENARIO_SHARES
from aria_ray.dataset.templates import stable_fraction
from aria_ray.grammar import Message, message_calls

PER_SCENARIO = 3


class Samples:
    """Keeps the rows of each scenario whose ids come first by hash: the same ones every time, from all over the dataset."""

    def __init__(self) -> None:
        self._kept: dict[str, list[tuple[float, Row]]] = {scenario: [] for scenario in SCENARIO_SHARES}

    def add(self, row_id: str, scenario: str, row: Row) -> None:
        """Look at a row, whose `tools` and `messages` are JSON text."""
        kept = self._kept[scenario]
        rank = stable_fraction(f"sample:{row_id}")
        if len(kept) < PER_SCENARIO or rank < kept[-1][0]:
            kept.append((rank, row))
            kept.sort(key=lambda item: item[0])
            del kept[PER_SCENARIO:]

    def markdown(self) -> str:
        """The rows that were kept."""
        parts = ["# Sample rows\n"]
        for scenario, kept in self._kept.items():
            parts.append(f"## {scenario}\n")
            parts += [_row(row) for _, row in kept]
        return "\n".join(parts)


def _row(row: Row) -> str:
    facts = ", ".join(f"{key} {row[key]}" for key in ("category", "difficulty", "augmentation", "split"))
    tools = "; ".join(_signature(tool["function"]) for tool in json.loads(row["tools"]))
    turns = "\n".join(f"- **{message['role']}**: {_said(message)}" for message in json.loads(row["messages"]))
    return f"### `{row['id']}`\n\n{facts}\n\nTools: {tools}\n\n{turns}\n"


def _signature(function: dict[str, Any]) -> str:
    return f"`{function['name']}({', '.join(function['parameters']['properties'])})`"


def _said(message: Message) -> str:
    thought = f"*{message['reasoning_content']}* " if message.get("reasoning_content") else ""
    calls = " ".join(f"`{call.name}({json.dumps(call.arguments, ensure_ascii=False)})`" for call in message_calls(message))
    return f"{thought}{message.get('content') or ''}{calls}"
