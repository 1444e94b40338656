"""The round trip of a row: rendered by our chat template, read back by vLLM's parsers, as a client of the endpoint gets it.

Importing vLLM takes seconds, so only the processes that make rows do it. A tokenizer of bytes and our markers replaces the
model's: the parsers need a tokenizer, and depend only on the markers being single tokens.
"""

import codecs
import functools
import json
import random
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from aria_ray.dataset.patches import compile_chat_template
from aria_ray.errors import DataError
from aria_ray.grammar import (
    CALL_START,
    MARKERS,
    REASONING_PARSER,
    RESPONSE_START,
    THINK_START,
    TOOL_PARSER,
    TURN_END,
    TURN_START,
    Message,
    ToolDefinition,
    chat_template,
    message_calls,
)

CHUNKS = (5, 23, 61, 101)
"""Lengths of a streamed piece in tokens, drawn for each piece: odd, so that pieces end within names, numbers and characters."""
_SPECIAL = (*MARKERS, TURN_START, TURN_END)
_BYTES = [*(bytes([byte]) for byte in range(256)), *(marker.encode() for marker in _SPECIAL)]
"""Bytes of each token id."""
_SPLIT = re.compile(f"({'|'.join(map(re.escape, _SPECIAL))})")

Parsed = tuple[str, str, list[tuple[str, Any]]]
"""Reasoning, content, and calls by name with their arguments."""


@dataclass(frozen=True)
class _Engine:
    """vLLM's parser class for our format, a request, and the tokenizer of bytes."""

    parser: Any
    whole: Any
    """A parser for whole turns; it keeps no state between turns."""
    request: Any
    tokenizer: Any


def round_trip_problems(tools: Sequence[ToolDefinition], messages: Sequence[Message], seed: str) -> list[str]:
    """Differences after the round trip, for each assistant turn as a whole and streamed in odd pieces; empty if there are none.

    Also checks that no text of users or tools became a control token.

    Raises:
        DataError: vLLM is not installed.
    """
    rng = random.Random(f"chunks:{seed}")
    text = _render(messages, tools)
    problems = _control_problems(text, messages)
    for index, message in enumerate(messages):
        if message["role"] != "assistant":
            continue
        # Parsing does not depend on earlier turns, so only the last turn is rendered with them.
        whole = text if index == len(messages) - 1 else _render([message], ())
        prompt, turn = whole.rsplit(f"{TURN_START}assistant\n", 1)
        turn = turn.removesuffix("\n").removesuffix(TURN_END)
        wanted: Parsed = (
            message["reasoning_content"],
            message.get("content") or "",
            [(call.name, dict(call.arguments)) for call in message_calls(message)],
        )
        for way, parsed in (("whole", _parse_whole(turn)), ("streamed", _parse_streamed(prompt, turn, rng))):
            if parsed != wanted:
                problems.append(f"{way}, the parsers read {turn!r} as {parsed!r}")
    return problems


def _control_problems(text: str, messages: Sequence[Message]) -> list[str]:
    """Each marker must occur as often as the structure has it; one more means that data became a marker."""
    wanted = {
        TURN_START: len(messages) + (messages[0]["role"] != "system"),  # there is always a system turn
        THINK_START: 1,  # of the last turn
        CALL_START: sum(len(message.get("tool_calls") or ()) for message in messages),
        RESPONSE_START: sum(message["role"] == "tool" for message in messages),
    }
    counts = {marker: text.count(marker) for marker in wanted}
    return [
        f"{marker} occurs {counts[marker]} times, must {count}" for marker, count in wanted.items() if counts[marker] != count
    ]


def _render(messages: Sequence[Message], tools: Sequence[ToolDefinition]) -> str:
    text: str = _template().render(messages=messages, tools=tools, add_generation_prompt=False)
    return text


@functools.cache
def _template() -> Any:
    return compile_chat_template(chat_template())


def _parse_whole(turn: str) -> Parsed:
    engine = _engine()
    reasoning, content, calls = engine.whole.parse(
        turn, engine.request, enable_auto_tools=True, model_output_token_ids=_token_ids(turn)
    )
    return reasoning or "", content or "", [(call.name, json.loads(call.arguments)) for call in calls or ()]


def _parse_streamed(prompt: str, turn: str, rng: random.Random) -> Parsed:
    engine = _engine()
    parser = engine.parser(engine.tokenizer, None)
    prompt_ids = _token_ids(f"{prompt}{TURN_START}assistant\n")
    reasoning, content = "", ""
    calls: dict[int, list[str]] = {}
    for text, token_ids, finished in _pieces(turn, rng):
        delta = parser.parse_delta(text, token_ids, engine.request, prompt_ids, finished=finished)
        if delta is None:
            continue
        reasoning += delta.reasoning or ""
        content += delta.content or ""
        for call in delta.tool_calls or ():
            entry = calls.setdefault(call.index, ["", ""])
            entry[0] += call.function.name or ""
            entry[1] += call.function.arguments or ""
    return reasoning, content, [(name, _loaded(arguments)) for name, arguments in calls.values()]


def _loaded(arguments: str) -> Any:
    try:
        return json.loads(arguments)
    except ValueError:
        return arguments


def _pieces(turn: str, rng: random.Random) -> Iterator[tuple[str, list[int], bool]]:
    """Text and token ids of each streamed piece, and whether it is the last. Two pieces may share a character's bytes."""
    token_ids = _token_ids(turn)
    decoder = codecs.getincrementaldecoder("utf-8")()
    start = 0
    while start < len(token_ids):
        piece = token_ids[start : start + rng.choice(CHUNKS)]
        start += len(piece)
        data = _bytes(piece)
        yield decoder.decode(data), piece, start >= len(token_ids)


def _token_ids(text: str) -> list[int]:
    """Token ids of a text: its bytes, and the markers from 256 up."""
    token_ids: list[int] = []
    for part in _SPLIT.split(text):
        token_ids += [256 + _SPECIAL.index(part)] if part in _SPECIAL else part.encode()
    return token_ids


@functools.cache
def _engine() -> _Engine:
    try:
        from vllm.entrypoints.openai.chat_completion.protocol import ChatCompletionRequest
        from vllm.parser.parser_manager import ParserManager
    except ImportError as error:
        raise DataError(
            f"vLLM is needed to prove that its parsers read every row ({error})", "install the extra cpu, cuda or rocm"
        ) from None
    parser = ParserManager.get_parser(TOOL_PARSER, REASONING_PARSER, True)
    request = ChatCompletionRequest(
        messages=[{"role": "user", "content": "-"}],
        model="-",
        tools=[{"type": "function", "function": {"name": "any", "parameters": {"type": "object", "properties": {}}}}],
        tool_choice="auto",
    )
    tokenizer = _byte_tokenizer()
    return _Engine(parser, parser(tokenizer, None), request, tokenizer)


def _byte_tokenizer() -> Any:
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast
    from transformers.convert_slow_tokenizer import bytes_to_unicode

    tokenizer = Tokenizer(models.BPE(vocab={letter: byte for byte, letter in bytes_to_unicode().items()}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_tokens([AddedToken(marker, normalized=False) for marker in _SPECIAL])
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer)
    # The parsers call these for every turn and token, which took half of their time; the results never change.
    vocabulary = fast.get_vocab()
    fast.get_vocab = lambda: vocabulary
    fast.decode = _decode
    return fast


def _decode(token_ids: int | Sequence[int], **_options: Any) -> str:
    parts = [token_ids] if isinstance(token_ids, int) else token_ids
    return _bytes(parts).decode(errors="replace")


def _bytes(token_ids: Sequence[int]) -> bytes:
    return b"".join(_BYTES[token] for token in token_ids)
