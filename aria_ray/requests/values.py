"""Values found in the words of a request."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from aria_ray.requests.spellings import spellings

OPPOSITES = (
    ("lock", "unlock"), ("on", "off"), ("open", "close"), ("enable", "disable"), ("start", "stop"), ("arm", "disarm"),
    ("mute", "unmute"), ("show", "hide"), ("allow", "block"), ("activate", "deactivate"), ("up", "down"),
    ("locked", "unlocked"), ("with", "without"),
)  # fmt: skip  # pairs read better in rows
"""Words that say true and false, or the other way round; which is which, an example shows."""
_BARE = re.compile(r"bare hour")


@dataclass(frozen=True)
class Span:
    """Words of a text that say a value."""

    start: int
    end: int
    form: str
    """Form of the words (`spellings`), with `|lower` or `|capital` where their case is not the value's."""


def find(value: Any, text: str) -> list[Span]:
    """Every place of a text that says the value, the likeliest form first, then from left to right."""
    spans: list[Span] = []
    for form, words in spellings(value):
        for match in _pattern(words, isinstance(value, (int, float)) or words[-1:].isdigit()).finditer(text):
            if any(span.start < match.end() and match.start() < span.end for span in spans):
                continue
            if _BARE.search(form) and not re.search(r"\b(at|by|to|till|until|from|for)\s+$", text[: match.start()], re.I):
                continue  # a number alone is a time of day only after such a word
            spans.append(Span(match.start(), match.end(), f"{form}{_case(match[0], words)}"))
    return spans


def find_opposite(text: str) -> tuple[Span, str, str] | None:
    """The only word of a text that has an opposite, with the word and its opposite; None if there is none, or are several."""
    found = []
    for pair in OPPOSITES:
        for word, other in (pair, pair[::-1]):
            found += [(match.start(), match.end(), word, other) for match in re.finditer(rf"\b{word}\b", text, re.I)]
    if len(found) != 1:
        return None
    start, end, word, other = found[0]
    return Span(start, end, "opposite"), word, other


def leaves(value: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[tuple[str | int, ...], Any]]:
    """The single values of an argument with their paths: those within objects and lists too."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield from leaves(item, (*path, key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from leaves(item, (*path, index))
    else:
        yield path, value


def _pattern(words: str, number: bool) -> re.Pattern[str]:
    body = re.escape(words).replace(r"\ ", r"\s+")
    before = r"(?<![\w.,:/-])" if words[:1].isdigit() else r"(?<![\w])"
    # A unit may follow a number directly (20min, 21c, 50%); a further digit may not.
    after = r"(?!\d|[.,:/-]\d)" if number else r"(?!\w)"
    return re.compile(before + body + after, re.I)


def _case(found: str, words: str) -> str:
    if found == words:
        return ""
    if found == found.lower():
        return "|lower"
    return "|capital" if found == words[:1].upper() + words[1:] else ""
