"""Values found in the words of a request."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from aria_ray.requests.dates import JOINS, date_spellings, date_time_form, date_time_of, time_spellings
from aria_ray.requests.numbers import Spelling
from aria_ray.requests.spellings import spellings

_AFTER_TIME_WORD = re.compile(r"\b(at|by|to|till|until|from|for|around|before|after|and|about|-)\s*$", re.I)


@dataclass(frozen=True)
class Span:
    """Words of a text that say a value."""

    start: int
    end: int
    form: str
    """Form of the words (`spellings`), with `|lower`, `|upper` or `|capital` where their case is not the value's."""
    rank: int = 0
    """Place of the form among the value's forms: 0 is the likeliest."""


def find(value: Any, text: str) -> list[Span]:
    """Every place of a text that says the value, the likeliest form first, then from left to right.

    Words within longer words for the same value do not count: `8` is not taken from `8 pm` for 20:00.
    """
    both = date_time_of(value) if isinstance(value, str) else None
    spans = _matches(spellings(value), text, isinstance(value, (int, float)) and not isinstance(value, bool))
    if both is not None:
        spans += _dates_with_times(str(value), text)
    kept: list[Span] = []
    for span in sorted(spans, key=lambda span: (span.start - span.end, span.rank)):
        if not any(other.start < span.end and span.start < other.end for other in kept):
            kept.append(span)
    return sorted(kept, key=lambda span: (span.rank, span.start))


def leaves(value: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[tuple[str | int, ...], Any]]:
    """The single values of an argument with their paths: those within objects and lists too."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield from leaves(item, (*path, key))
    elif isinstance(value, (list, tuple)):
        for index, item in enumerate(value):
            yield from leaves(item, (*path, index))
    else:
        yield path, value


def _matches(forms: Sequence[Spelling], text: str, number: bool) -> list[Span]:
    flat = " ".join(text.split()).lower()
    spans = []
    for rank, (form, words) in enumerate(forms):
        if " ".join(words.split()).lower() not in flat:
            continue
        for match in _pattern(words, number or words[-1:].isdigit()).finditer(text):
            if form.startswith("bare hour") and not _AFTER_TIME_WORD.search(text[: match.start()]):
                continue  # a number alone is a time of day only after such a word
            spans.append(Span(match.start(), match.end(), f"{form}{_case(match[0], words)}", rank))
    return spans


def _dates_with_times(value: str, text: str) -> list[Span]:
    """Places that say an ISO date and time: the date beside the time, else the time alone."""
    both = date_time_of(value)
    assert both is not None
    dates = _matches(list(date_spellings(both[0])), text, number=False)
    times = _matches(list(time_spellings(*both[1])), text, number=False)
    spans = []
    for time in times:
        for date in dates:
            start, end = min(date.start, time.start), max(date.end, time.end)
            for join, joined in JOINS.items():
                words = joined.format(date=text[date.start : date.end], time=text[time.start : time.end])
                start = start - 3 if words.lower().startswith("at ") and start >= 3 else start
                if " ".join(text[start:end].split()).lower() == words.lower():
                    date_form, time_form = date.form.partition("|")[0], time.form.partition("|")[0]
                    form = date_time_form(value, date_form, join, time_form)
                    spans.append(Span(start, end, f"{form}{_lower(text[start:end])}"))
        time_form, _, case = time.form.partition("|")
        form = date_time_form(value, f"={both[0].isoformat()}", "blank", time_form)
        spans.append(Span(time.start, time.end, f"{form}|{case}" if case else form, 1000 + time.rank))
    return spans


def _lower(words: str) -> str:
    return "|lower" if words == words.lower() and any(letter.isalpha() for letter in words) else ""


def _pattern(words: str, number: bool) -> re.Pattern[str]:
    body = re.escape(words).replace(r"\ ", r"\s+")
    if not any(sign.isalnum() for sign in words):
        return re.compile(re.escape(words))  # a currency's sign stands close to its number
    before = r"(?<![\w.,:/-])" if words[:1].isdigit() else r"(?<![\w])"
    if number and words.isdigit():  # 800x600, 3d6, 135/85
        return re.compile(
            rf"{before}{words}(?!\d|[.,:-]\d|/\d+/|(?:st|nd|rd|th|am|pm)\b)|(?<=\d[xd/]){words}(?![\w/]|[.,]\d)", re.I
        )
    # A unit may follow a number directly (20min, 21c, 50%); a further digit, an ordinal's ending or am and pm may not.
    after = r"(?!\d|[.,:/-]\d|(?:st|nd|rd|th|am|pm)\b)" if number and words[-1:].isdigit() else r"(?!\w)"
    return re.compile(before + body + after, re.I)


def _case(found: str, words: str) -> str:
    if found == words:
        return ""
    if found == words[:1].upper() + words[1:]:
        return "|capital"
    if found == found.lower():
        return "|lower"
    return "|upper" if found == found.upper() and len(found) > 1 else ""
