"""`SAMPLES.md`: a few rows of every scenario in readable form."""

import json
from typing import Any

from aria_ray.dataset.rows import Row
from aria_ray.dataset.sampling import SCENARIO_SHARES
from aria_ray.dataset.templates import stable_fraction
from aria_ray.grammar import Message, message_calls

PER_SCENARIO = 3


class Samples:
    """Keeps the rows of each scenario with the lowest hashes of their ids: a fixed sample over the whole dataset."""

    def __init__(self) -> None:
        self._kept: dict[str, list[tuple[float, Row]]] = {scenario: [] for scenario in SCENARIO_SHARES}

    def add(self, row_id: str, scenario: str, row: Row) -> None:
        """Keep a row if its hash is low enough. Its `tools` and `messages` are JSON text."""
        kept = self._kept[scenario]
        rank = stable_fraction(f"sample:{row_id}")
        if len(kept) < PER_SCENARIO or rank < kept[-1][0]:
            kept.append((rank, row))
            kept.sort(key=lambda item: item[0])
            del kept[PER_SCENARIO:]

    def markdown(self) -> str:
        """The kept rows as Markdown."""
        parts = ["# Sample rows\n"]
        for scenario, kept in self._kept.items():
            parts.append(f"## {scenario}\n")
            parts += [_row_markdown(row) for _, row in kept]
        return "\n".join(parts)


def _row_markdown(row: Row) -> str:
    facts = ", ".join(f"{key} {row[key]}" for key in ("category", "difficulty", "augmentation", "split"))
    tools = "; ".join(_signature(tool["function"]) for tool in json.loads(row["tools"]))
    turns = "\n".join(f"- **{message['role']}**: {_message_text(message)}" for message in json.loads(row["messages"]))
    return f"### `{row['id']}`\n\n{facts}\n\nTools: {tools}\n\n{turns}\n"


def _signature(function: dict[str, Any]) -> str:
    return f"`{function['name']}({', '.join(function['parameters']['properties'])})`"


def _message_text(message: Message) -> str:
    thought = f"*{message['reasoning_content']}* " if message.get("reasoning_content") else ""
    calls = " ".join(f"`{call.name}({json.dumps(call.arguments, ensure_ascii=False)})`" for call in message_calls(message))
    return f"{thought}{message.get('content') or ''}{calls}"
