"""From dataset rows to token sequences: one sequence per assistant turn, rendered exactly as the endpoint will see it.

Earlier turns show no thought (clients do not send it back), so a conversation with two assistant turns is two sequences.
They share their beginning, and `batch.py` computes what is shared once.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from transformers import PreTrainedTokenizerBase

from aria_ray.grammar import CALL_END, THINK_END, TURN_END


@dataclass(frozen=True)
class TurnTokens:
    """One assistant turn with everything before it."""

    row_id: str
    difficulty: int
    ids: tuple[int, ...]
    num_prompt: int
    """Tokens before the turn; the rest is what the model has to say, and all that loss is taken on."""
    thought_end: int
    """Index, in `ids`, of the first token after the thought."""
    calls: bool
    """Whether what follows the thought is calls; otherwise it is an answer."""
    decision: tuple[int, int]
    """Start and end, in `ids`, of the tokens that decide: from the thought's function on to its end, or to the end of the
    calls. The wording of the thought's topic, which comes before, decides nothing."""


def encode_row(tokenizer: PreTrainedTokenizerBase, row: Mapping[str, Any]) -> list[TurnTokens]:
    """The assistant turns of one row, in order."""
    messages = row["messages"]
    turns = []
    for index, message in enumerate(messages):
        if message["role"] != "assistant":
            continue
        prompt = _render(tokenizer, messages[:index], row["tools"], generation_prompt=True)
        whole = _render(tokenizer, messages[: index + 1], row["tools"], generation_prompt=False)
        target = whole.removeprefix(prompt).removesuffix("\n")
        assert whole.startswith(prompt), "the chat template must extend its generation prompt"
        assert target.endswith(TURN_END), "the chat template must end a turn"
        marker = CALL_END if message.get("tool_calls") else THINK_END
        # Cut before the blank in front of `function`, where no tokenizer joins what stands on the two sides.
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
    """The assistant turns of many rows, in the order of the rows."""
    return [turn for row in rows for turn in encode_row(tokenizer, row)]


def _render(
    tokenizer: PreTrainedTokenizerBase, messages: list[dict[str, Any]], tools: list[Any], *, generation_prompt: bool
) -> str:
    text: str = tokenizer.apply_chat_template(messages, tools=tools, tokenize=False, add_generation_prompt=generation_prompt)
    return text


def _encode(tokenizer: PreTrainedTokenizerBase, text: str) -> list[int]:
    ids: list[int] = tokenizer.encode(text, add_special_tokens=False)
    return ids
