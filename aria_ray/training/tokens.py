"""Token sequences from dataset rows: one per assistant turn, rendered exactly as the endpoint will see it.

Earlier turns show no thought, because clients do not send it back. So a conversation with two assistant turns gives two
sequences. `batch.py` computes their common prefix once.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transformers import PreTrainedTokenizerBase

from aria_ray.errors import TrainingError
from aria_ray.grammar import CALL_END, THINK_END, TURN_END


@dataclass(frozen=True)
class TurnTokens:
    """One assistant turn with the conversation before it, as token ids."""

    row_id: str
    difficulty: int
    ids: tuple[int, ...]
    num_prompt: int
    """Number of tokens before the turn. The rest is the turn itself; only it counts in the loss."""
    thought_end: int
    """Index in `ids` of the first token after the thought."""
    calls: bool
    """Whether tool calls follow the thought; otherwise an answer does."""
    decision: tuple[int, int]
    """Start and end in `ids` of the decision: from `function` in the thought to the end of the calls, or else of the thought.
    The thought's topic, which comes before, is free wording and not part of it."""


def encode_row(tokenizer: PreTrainedTokenizerBase, row: Mapping[str, Any]) -> list[TurnTokens]:
    """Sequences of the assistant turns of one row, in order."""
    messages = row["messages"]
    turns = []
    for index, message in enumerate(messages):
        if message["role"] != "assistant" or message.get("weight") == 0:
            continue  # a turn of weight 0 is only read, as in OpenAI's fine-tuning format
        prompt = _render(tokenizer, messages[:index], row["tools"], generation_prompt=True)
        whole = _render(tokenizer, messages[: index + 1], row["tools"], generation_prompt=False)
        target = whole.removeprefix(prompt).removesuffix("\n")
        assert whole.startswith(prompt), "the chat template must extend its generation prompt"
        assert target.endswith(TURN_END), "the chat template must end a turn"
        marker = CALL_END if message.get("tool_calls") else THINK_END
        # Cut before the blank in front of `function`: no tokenizer has a token that spans this place.
        first, last = target.index("; function") + 1, target.rindex(marker) + len(marker)
        thought = target[: target.index(THINK_END) + len(THINK_END)]
        prompt_ids = _encode(tokenizer, prompt)
        turns.append(
            TurnTokens(
                row_id=row["id"],
                difficulty=row["difficulty"],
                ids=(*prompt_ids, *_encode(tokenizer, target)),
                num_prompt=len(prompt_ids),
                thought_end=len(prompt_ids) + len(_encode(tokenizer, thought)),
                calls=bool(message.get("tool_calls")),
                decision=(
                    len(prompt_ids) + len(_encode(tokenizer, target[:first])),
                    len(prompt_ids) + len(_encode(tokenizer, target[:last])),
                ),
            )
        )
    return turns


def encode_rows(tokenizer: PreTrainedTokenizerBase, rows: Iterable[Mapping[str, Any]]) -> list[TurnTokens]:
    """Sequences of the assistant turns of many rows, in the order of the rows."""
    return [turn for row in rows for turn in encode_row(tokenizer, row)]


def load_turns(tokenizer: PreTrainedTokenizerBase, dataset: Path, split: str, max_tokens: int) -> tuple[list[TurnTokens], int]:
    """Sequences of a split with at most `max_tokens`, and the number of longer ones, which are dropped.

    Raises:
        TrainingError: no sequence is left.
    """
    with dataset.open(encoding="utf-8") as lines:
        rows = (row for row in map(json.loads, lines) if row["split"] == split)
        turns = encode_rows(tokenizer, rows)
    fitting = [turn for turn in turns if len(turn.ids) <= max_tokens]
    if not turns:
        raise TrainingError(f"the dataset has no {split} turns", "give more requests, conversations or templates")
    if not fitting:
        shortest = min(len(turn.ids) for turn in turns)
        raise TrainingError(
            f"none of {len(turns)} {split} turns fits into training.max_tokens ({max_tokens}); the shortest takes {shortest} "
            "tokens",
            "raise it",
        )
    return fitting, len(turns) - len(fitting)


def _render(
    tokenizer: PreTrainedTokenizerBase, messages: list[dict[str, Any]], tools: list[Any], *, generation_prompt: bool
) -> str:
    text: str = tokenizer.apply_chat_template(messages, tools=tools, tokenize=False, add_generation_prompt=generation_prompt)
    return text


def _encode(tokenizer: PreTrainedTokenizerBase, text: str) -> list[int]:
    ids: list[int] = tokenizer.encode(text, add_special_tokens=False)
    return ids
