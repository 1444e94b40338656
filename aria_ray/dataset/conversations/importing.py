"""`aria import`: what a source holds, and the same conversations in OpenAI's chat format."""

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from aria_ray.artifacts import atomic_path
from aria_ray.dataset.conversations.sources import Conversations, LeftOut, read_sources
from aria_ray.dataset.rows import Row
from aria_ray.errors import DataError
from aria_ray.grammar import message_calls


def import_source(source: str, out: Path | None = None) -> list[str]:
    """Lines that say what was found in a source. With `out`, its conversations are written there as JSON Lines.

    Raises:
        DataError: the source cannot be read, it has no conversation that is right, or `out` is there.
    """
    if out is not None and out.exists():
        raise DataError(f"--out {out} is there already", "give another name, or remove it")
    found = read_sources([source])
    if not found.rows:
        told = "; ".join(f"{each.place}: {each.reason}" for each in found.left_out[:3]) or "it is empty"
        raise DataError(f"{source} has no conversation that can be taken ({told})", "correct it, or give another")
    lines = [_counts(found), *_told(found.left_out)]
    if out is not None:
        with atomic_path(out) as path:
            path.write_text("".join(f"{_line(row)}\n" for row in found.rows), encoding="utf-8")
        lines.append(f"Written to {out}. Next: aria generate 'dataset.sources=[{out}]'")
    return lines


def _counts(found: Conversations) -> str:
    turns = [message for row in found.rows for message in row["messages"] if message["role"] == "assistant"]
    calls = sum(len(message_calls(turn)) for turn in turns)
    tools = {json.dumps(tool, sort_keys=True) for row in found.rows for tool in row["tools"]}
    unlearnt = sum(turn.get("weight") == 0 for turn in turns)
    formats = ", ".join(f"{name} ({count})" if len(found.formats) > 1 else name for name, count in found.formats.most_common())
    return (
        f"{formats}: {len(found.rows)} conversations with {len(turns)} turns of the assistant"
        f"{f' ({unlearnt} of weight 0, which are not trained on)' if unlearnt else ''}, {calls} calls and {len(tools)} tools"
    )


def _told(left_out: Sequence[LeftOut]) -> list[str]:
    if not left_out:
        return ["Nothing is left out"]
    by_rule = Counter(each.rule for each in left_out)
    lines = [f"{len(left_out)} left out:"]
    for rule, count in by_rule.most_common():
        lines.append(f"{count:>6}  {rule}")
        lines += [f"        {each.place}{each.reason[len(rule) :]}" for each in left_out if each.rule == rule]
    return lines


def _line(row: Row) -> str:
    """A conversation as `dataset.sources` takes it; the thoughts are written anew when it is read."""
    messages = [{key: value for key, value in message.items() if key != "reasoning_content"} for message in row["messages"]]
    return json.dumps({"messages": messages, "tools": row["tools"]}, ensure_ascii=False)
