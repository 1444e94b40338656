"""How people type: lower case, no full stop, a typo, a please. Words that calls depend on stay as they are."""

import random
import re
from collections.abc import Sequence

from aria_ray.dataset.from_requests.wordings import wordings
from aria_ray.requests.template import Filled

MIN_TYPO_LETTERS = 5
_BEFORE = ("please ", "hey, ", "hi, ", "ok, ", "hello, ", "so, ", "um, ")
_AFTER = (" please", ", please", " thanks", ", thanks", " asap", " now", "!")
_END = re.compile(r"[.!?]+$")


def varied(text: str, kept: Sequence[str], rng: random.Random) -> str:
    """A request as somebody else may type it; half of them stay as they are. `kept` are words that stay."""
    if rng.random() < 0.5:
        return text
    if rng.random() < 0.35:
        text = _with_aside(text, rng)
    elif rng.random() < 0.25:
        text = _with_start(text, rng)
    elif rng.random() < 0.25 and not text.endswith("?"):
        text = _END.sub("", text) + rng.choice(_AFTER)
    if rng.random() < 0.4:
        text = _lower(text, kept)
    if rng.random() < 0.5:
        text = _END.sub("", text)
    return _typo(text, kept, rng) if rng.random() < 0.1 else text


def joined(one: Filled, two: Filled, way: str) -> str:
    """Two requests in one message; `way` has `{other}` for the second."""
    second = _lower_first(two.request)
    first = _END.sub("", one.request)
    join = "" if way[:1] in ",.;" else " "
    return f"{first}{join}{way.replace('{other}', second)}"


def _with_start(text: str, rng: random.Random) -> str:
    start = rng.choice(_BEFORE)
    return (start.capitalize() if text[:1].isupper() else start) + _lower_first(text)


def _with_aside(text: str, rng: random.Random) -> str:
    aside = rng.choice(wordings().asides)
    inner = text if aside.startswith("{request}") else _lower_first(text)
    return aside.replace("{request}", inner if aside.endswith("{request}") else _END.sub("", inner))


def _lower_first(text: str) -> str:
    """The text without a capital at its start, where that is the sentence's and no name's."""
    first = text.split(" ", 1)[0]
    is_name = first in ("I", "I'm", "I'd", "I've", "I'll") or first[1:] != first[1:].lower()
    return text if is_name else text[:1].lower() + text[1:]


def _lower(text: str, kept: Sequence[str]) -> str:
    """The text in lower case, but for the words that stay."""
    words = [word for word in kept if word]
    if not words:
        return text.lower()
    pattern = re.compile("|".join(re.escape(word) for word in sorted(words, key=len, reverse=True)))
    parts, last = [], 0
    for match in pattern.finditer(text):
        parts += [text[last : match.start()].lower(), match[0]]
        last = match.end()
    return "".join([*parts, text[last:].lower()])


def _typo(text: str, kept: Sequence[str], rng: random.Random) -> str:
    """The text with two letters of a word exchanged."""
    fixed = {part for word in kept for part in word.split()}
    words = [word for word in text.split() if word.isalpha() and len(word) >= MIN_TYPO_LETTERS and word not in fixed]
    if not words:
        return text
    word = rng.choice(words)
    at = rng.randrange(1, len(word) - 2)
    return text.replace(word, word[:at] + word[at + 1] + word[at] + word[at + 2 :], 1)
