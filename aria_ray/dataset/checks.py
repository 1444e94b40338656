"""Checks of a row: its shape, its thoughts, its calls run again, its answer, and its text read back by vLLM's parsers."""

import json
from collections import Counter
from collections.abc import Sequence

from aria_ray.dataset.parsers import round_trip_problems
from aria_ray.dataset.rows import Row
from aria_ray.dataset.templates import UNSEEN_DOMAINS, UNSEEN_TOOLS
from aria_ray.grammar import (
    MAX_THOUGHT_PIECES,
    MIN_THOUGHT_PIECES,
    Message,
    is_thought,
    message_calls,
    names_functions,
    thought_functions,
    thought_pieces,
)
from aria_ray.tools import ERROR_PREFIX, canonical, execute_listed, schema_problem


def verify(row: Row) -> list[str]:
    """Problems of a row; empty if there are none."""
    return shape_problems(row) + round_trip_problems(row["tools"], row["messages"], row["id"])


def shape_problems(row: Row) -> list[str]:
    """Problems of a row, without the check by vLLM's parsers, which are slow to import."""
    turns = [message for message in row["messages"] if message["role"] == "assistant"]
    problems = [problem for turn in turns for problem in thought_problems(turn)]
    problems += _call_problems(row)
    answer = str(turns[-1].get("content") or "")
    problems += [
        f"the answer {answer!r} lacks {text!r}" for text in row["answer_contains"] if text.lower() not in answer.lower()
    ]
    problems += _scenario_problems(row)
    problems += _unseen_problems(row)
    return problems


def thought_problems(turn: Message) -> list[str]:
    """Problems of a turn's thought: its shape, its length, and the functions that it names."""
    thought = turn.get("reasoning_content")
    if not is_thought(thought):
        return [f"thought {thought!r} has not the fixed shape"]
    pieces = thought_pieces(str(thought))
    named, called = thought_functions(str(thought)), [call.name for call in message_calls(turn)]
    if not names_functions(str(thought), called):
        return [f"thought {thought!r} names {', '.join(named) or 'no function'}, called is {', '.join(called) or 'none'}"]
    if not MIN_THOUGHT_PIECES <= pieces <= MAX_THOUGHT_PIECES:
        return [f"thought {thought!r} has {pieces} pieces, must have {MIN_THOUGHT_PIECES} to {MAX_THOUGHT_PIECES}"]
    return []


def _call_problems(row: Row) -> list[str]:
    definitions = {tool["function"]["name"]: tool for tool in row["tools"]}
    shown = {message["tool_call_id"]: message["content"] for message in row["messages"] if message["role"] == "tool"}
    problems, done = [], Counter[str]()
    for message in row["messages"]:
        for item, call in zip(message.get("tool_calls") or (), message_calls(message), strict=True):
            if call.name not in definitions:
                problems.append(f"{call.name} is called but not listed")
                continue
            problem = schema_problem(definitions[call.name], call.arguments)
            if problem is not None:
                problems.append(f"{call.name}: {problem}")
            key = f"{call.name} {canonical(call.arguments)}"
            result = execute_listed(row["tools"], row["tool_names"], call, done[key]).text
            done[key] += 1
            if message is row["messages"][-1]:
                continue  # a conversation of the user's may end with calls: nothing is shown
            if shown.get(item["id"]) != result:
                problems.append(f"{call.name} gives {result!r} but {shown.get(item['id'])!r} is shown")
    return problems


def _scenario_problems(row: Row) -> list[str]:
    run = [message for message in row["messages"] if message["role"] == "tool"]
    failed = [message for message in run if message["content"].startswith(ERROR_PREFIX)]
    if bool(failed) != (row["scenario"] == "error" and bool(run)):
        return [f"{len(failed)} of {len(run)} calls fail, which does not fit the scenario {row['scenario']}"]
    return []


def _unseen_problems(row: Row) -> list[str]:
    if row["split"] == "test_unseen_tools":
        return []
    held_out = [listed for listed, names in json.loads(row["tool_names"]).items() if is_held_out(names)]
    return [f"held-out tools {', '.join(sorted(held_out))} are listed in {row['split']}"] if held_out else []


def is_held_out(names: dict[str, str | Sequence[str]]) -> bool:
    """Whether a value of `tool_names` is a held-out tool, which only rows of the split `test_unseen_tools` may list."""
    return names.get("domain") in UNSEEN_DOMAINS or ("backend" not in names and names["tool"] in UNSEEN_TOOLS)
