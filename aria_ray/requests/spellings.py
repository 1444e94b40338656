"""How people write a value: every spelling of it, each under the name of its form.

`spellings(value)` gives (form, words) pairs, and `write(value, form)` the words of one form, or None where the value has no
such words. Both use one list, so what was found in one form can be written in it.
"""

import functools
import re
from collections.abc import Iterator
from importlib import resources
from typing import Any

import yaml

from aria_ray.requests.dates import DATE_TIME, date_of, date_spellings, date_time_of, time_of, time_spellings, write_date_time
from aria_ray.requests.numbers import Spelling, number_spellings

_SINGULAR_S = re.compile(r"(ss|us|is|[^aeiou]ics|news|series|species)$", re.I)
MAX_CAPITALS = 4
"""Longest word that stands in capitals where another one did: SUV, NYSE."""
VERBS = frozenset(
    {
        "activate", "add", "allow", "answer", "approve", "arm", "ask", "assign", "bake", "begin", "block", "boil", "book",
        "boost", "brew", "bring", "buy", "calculate", "call", "cancel", "change", "charge", "check", "clean", "clear",
        "close", "collect", "complete", "confirm", "connect", "continue", "convert", "cook", "copy", "create", "cut",
        "deactivate", "decline", "decrease", "delay", "delete", "deny", "deposit", "dim", "disable", "disarm", "disconnect",
        "dismiss", "downgrade", "drop", "email", "empty", "enable", "end", "enter", "exit", "extend", "feed", "file", "fill",
        "find", "finish", "fix", "follow", "get", "give", "hang", "help", "hide", "hire", "hold", "increase", "invite",
        "join", "keep", "learn", "leave", "lend", "let", "lift", "lock", "look", "lower", "mail", "make", "mark", "merge",
        "message", "move", "mow", "mute", "open", "order", "pause", "pay", "pick", "plan", "play", "post", "postpone",
        "practise", "prepare", "print", "promote", "publish", "put", "raise", "rate", "read", "rebook", "reboot", "refund",
        "reject", "reload", "remind", "remove", "rename", "renew", "rent", "reopen", "repeat", "replace", "reply",
        "reschedule", "reserve", "reset", "restart", "restore", "resume", "return", "ring", "save", "schedule", "search",
        "see", "sell", "send", "set", "ship", "show", "shuffle", "sign", "skip", "sleep", "snooze", "sort", "start", "stop",
        "submit", "subscribe", "suspend", "sweep", "switch", "sync", "take", "teach", "tell", "terminate", "text", "tidy",
        "track", "transfer", "translate", "trash", "try", "turn", "unblock", "unfollow", "unlock", "unmute", "unpin",
        "unsubscribe", "update", "upgrade", "upload", "use", "vacuum", "view", "visit", "wake", "warm", "wash", "watch",
        "water", "write"
    }
)  # fmt: skip  # a list reads better in rows
"""Base forms of common verbs, to tell an order from a name."""


def spellings(value: Any) -> list[Spelling]:
    """Every spelling of a value, the likeliest first; empty for a value without words of its own (true, null, an object)."""
    if isinstance(value, bool) or value is None:
        return []
    if isinstance(value, (int, float)):
        return list(number_spellings(value))
    if isinstance(value, str) and value.strip():
        return list(_text(value.strip()))
    return []


def write(value: Any, form: str) -> str | None:
    """The words of a value in a form; None where it has no such words."""
    base, _, case = form.partition("|")
    if base.startswith(DATE_TIME):
        words = write_date_time(str(value), base)
    else:
        words = next((words for name, words in spellings(value) if name == base), None)
    if words is None and base in ("spaced", "hyphens") and isinstance(value, str) and " " not in value:
        words = value  # a word alone has no other spelling: `living_room` is written `living room`, `kitchen` stays
    if base == "text" and isinstance(value, str) and re.fullmatch(r"[a-z]+(_[a-z]+)+", value):
        words = value.replace("_", " ")
    if words is None or not case:
        return words
    if case == "upper" and len(words) > MAX_CAPITALS:
        return None
    if case == "capital":
        return words[:1].upper() + words[1:]
    return words.lower() if case == "lower" else words.upper()


def plural(word: str) -> str:
    """The plural of a noun by the rules of spelling."""
    if re.search(r"(s|x|z|ch|sh)$", word):
        return f"{word}es"
    return f"{word[:-1]}ies" if re.search(r"[^aeiou]y$", word) else f"{word}s"


def is_plural(words: str) -> bool:
    """Whether a noun, or the last noun of several words, is in the plural, by its ending."""
    last = re.split(r"\s+(?:of|for|with|from|in|on|at|about|to)\s+", words.strip())[0].split(" ")[-1]
    return last.lower() in ("people", "children", "men", "women") or (
        last.endswith("s") and len(last) > 2 and not _SINGULAR_S.search(last)
    )


@functools.cache
def _spoken() -> dict[str, list[tuple[str, tuple[str | None, ...]]]]:
    """What people say for what programs write (EUR, de, km): the kinds of which a text is, with its spoken forms."""
    kinds = yaml.safe_load(resources.files("aria_ray.requests").joinpath("spoken.yaml").read_text(encoding="utf-8"))
    spoken: dict[str, list[tuple[str, tuple[str | None, ...]]]] = {}
    for kind, rows in kinds.items():
        for written, *said in rows:
            spoken.setdefault(str(written), []).append((kind, tuple(said)))
    return spoken


def _text(value: str) -> Iterator[Spelling]:
    date, time = date_of(value), time_of(value)
    if date is not None:
        yield from date_spellings(date)
    if time is not None:
        yield from time_spellings(*time)
    yield "text", value
    for kind, said in _spoken().get(value, _spoken().get(value.lower(), ())):
        for index, words in enumerate(said):
            if words is None:
                continue
            yield f"spoken {kind} {index}", words
            if words[-1:].isalpha() and kind == "unit":
                yield f"spoken {kind} {index} plural", plural(words)
    if date is None and time is None and date_time_of(value) is None:
        yield from _variants(value)


def _variants(value: str) -> Iterator[Spelling]:
    """A text with blanks for underscores, in the other number, without signs, as a verb."""
    spaced = re.sub(r"[_\-/.]+", " ", re.sub(r"(?<=[a-z])(?=[A-Z])", " ", value)).strip()
    if spaced != value and len(value) <= 60:
        yield "spaced", spaced
        yield "hyphens", spaced.replace(" ", "-")
    if value[-1:].isalpha() and 2 < len(value) <= 40:
        if is_plural(value):
            yield "singular", _singular(spaced)
        else:
            yield "plural", plural(spaced)
    yield from (("verb", verb) for verb in [verb_of(value)] if verb is not None)
    if ", " in value and len(value) <= 120:
        head, _, last = value.rpartition(", ")
        yield "list with and", f"{head} and {last}"
    yield from _code_variants(value)


def _code_variants(value: str) -> Iterator[Spelling]:
    if re.fullmatch(r"[#+]?\w+([- ]\w+)*", value) and any(sign.isdigit() for sign in value):
        for form, sign in {"without signs": "", "signs as blanks": " ", "signs as hyphens": "-"}.items():
            changed = re.sub(r"[#\- ]+", sign, value.removeprefix("#"))
            if changed != value:
                yield form, changed
        yield "number sign", f"#{value}"
        parts = re.sub(r"(?<=[A-Za-z])(?=\d)", " ", value)
        if parts != value:
            yield "letters apart", parts
            yield "letters and hyphen", parts.replace(" ", "-")


def verb_of(value: str) -> str | None:
    """The verb of a state: `close` of `closed`, `lock` of `locked`, `open` of `open`."""
    word = value.lower()
    stems = (word, word.removesuffix("d"), word.removesuffix("ed"), word[:-3] if word.endswith("ed") else word)
    return next((stem for stem in stems if stem in VERBS), None)


def _singular(words: str) -> str:
    if words.endswith("ies") and len(words) > 4:
        return f"{words[:-3]}y"
    return words[:-2] if re.search(r"(ss|x|z|ch|sh)es$", words) else words[:-1]
