"""True and false as people say them: with one of two opposite words, of which an example shows the right one."""

import re
from dataclasses import dataclass

from aria_ray.requests.pools import split_words

OPPOSITES = (
    ("on", "off"), ("lock", "unlock"), ("locked", "unlocked"), ("open", "close"), ("enable", "disable"), ("start", "stop"),
    ("arm", "disarm"), ("mute", "unmute"), ("show", "hide"), ("allow", "block"), ("activate", "deactivate"),
    ("with", "without"), ("subscribe", "unsubscribe"), ("pause", "resume"), ("pin", "unpin"), ("archive", "unarchive"),
    ("follow", "unfollow"), ("include", "exclude"), ("public", "private"),
)  # fmt: skip  # pairs read better in rows
"""Pairs of words of which one says true and the other one false."""
MAX_WORDS = 9
"""A request with more words mostly tells why (`the dog wants out`), and the reason speaks against the opposite."""
_SWITCHED = re.compile(r"\b(enabled?|active|activated|state|status|power(ed)?|running|switch(ed)?)\b")
_PARTICLE_BEFORE = re.compile(r"\b(turn|turned|switch|switched|put|power|flip|keep|leave)\s+$", re.I)
_OBJECT_AFTER = re.compile(
    r"\s+(the|a|an|my|our|your|his|her|its|this|that|these|those|\d|mon|tue|wed|thu|fri|sat|sun|january|february|march|april|"
    r"may|june|july|august|september|october|november|december|[a-z]+s?\s*[?.!]?$)",
    re.I,
)


@dataclass(frozen=True)
class Opposite:
    """A word of a request that says true or false."""

    start: int
    end: int
    said: str
    """The word, in lower case."""
    other: str
    """Its opposite."""


def find_opposite(text: str, parameter: str, description: str, tool: str) -> Opposite | None:
    """The only word of a text that says a boolean parameter's value; None if there is none, or several, or a reason with it.

    The pair must belong to the parameter: one of its words is in the parameter's name, or both are in the parameter's or the
    tool's description or name.
    """
    if len(text.split()) > MAX_WORDS:
        return None
    found = [
        Opposite(match.start(), match.end(), word, other)
        for pair in OPPOSITES
        if _belongs(pair, parameter, description, tool)
        for word, other in (pair, pair[::-1])
        for match in re.finditer(rf"\b{word}\b", text, re.I)
        if word not in ("on", "off") or _is_particle(text, match.start(), match.end())
    ]
    return found[0] if len(found) == 1 else None


def _belongs(pair: tuple[str, str], parameter: str, description: str, tool: str) -> bool:
    name = split_words(parameter)
    if any(re.search(rf"\b{_stem(word)}", name) for word in pair if len(word) > 2) or any(
        word in name.split() for word in pair
    ):
        return True
    if pair == ("on", "off") and _SWITCHED.search(name):
        return True
    return any(
        all(re.search(rf"\b{_stem(word)}", words.lower()) for word in pair) for words in (description, f"{split_words(tool)}")
    )


def _stem(word: str) -> str:
    return rf"{word}\b" if len(word) <= 3 else word.removesuffix("e")


def _is_particle(text: str, start: int, end: int) -> bool:
    """Whether `on` or `off` belongs to a verb or says a state; before what somebody is talking about, it is a preposition."""
    return _PARTICLE_BEFORE.search(text[:start]) is not None or _OBJECT_AFTER.match(text[end:]) is None
