"""Augmentations: different wordings and tool lists for one base template, each with newly drawn slot values.

The first row of a template is plain. The others cycle through the kinds of augmentation that can change the template. Each
template starts at another kind, so all kinds occur for any number of rows per template. No augmentation changes values or
quoted text: the right calls and the right answer depend on them.
"""

import functools
import random
import re
import string
from collections.abc import Callable, Sequence
from typing import Any

from aria_ray.config.schema import Augmentation
from aria_ray.dataset.formats import has_other_notation, other_notation
from aria_ray.dataset.slots import Values, spoken
from aria_ray.dataset.templates import Frames, Template, stable_fraction
from aria_ray.dataset.tool_lists import Variant

_VARIANTS: dict[Augmentation, Variant] = {"masking": "masked", "tool_list": "extended"}
MIN_TYPO_LETTERS = 5
MAX_SYNONYMS = 2

Segment = tuple[str, str | None]
"""A piece of a request, and what it is: the value of the named slot, `QUOTED` text, or free to change (None)."""
QUOTED = "'"
_QUOTED = re.compile(r"(?<!\w)'[^']*'(?!\w)")
"""Quoted text, slots included. An apostrophe has a letter on its left, an opening quote has none."""
_ALONE = re.compile(r"(?:^|(?<= ))\{(\w+)\}(?=[ ,?!]|\.(?: |$)|$)")
"""A slot between spaces or punctuation, not within a word."""
Change = Callable[[list[Segment], Frames, random.Random], list[Segment]]


def augmentations(
    template: Template, count: int, kinds: Sequence[Augmentation], frames: Frames
) -> list[tuple[Augmentation, int]]:
    """The augmentation of each of a template's `count` rows, with its repetition: how many rows before it have the same."""
    useful = [kind for kind in kinds if _changes_anything(kind, template, frames)]
    start = int(stable_fraction(f"augmentations:{template.id}") * len(useful)) if useful else 0
    order: list[Augmentation] = ["none", *useful[start:], *useful[:start]]
    return [(order[index % len(order)], index // len(order)) for index in range(count)]


def _changes_anything(kind: Augmentation, template: Template, frames: Frames) -> bool:
    sentence = frames.frames[template.frame].replace("{q}", template.phrasing)
    if kind == "paraphrase":
        return _any_of(tuple(frames.synonyms)).search(re.sub(_QUOTED, "", sentence)) is not None
    if kind == "formats":
        slots = template.intent.slots
        alone = [name for name in _ALONE.findall(re.sub(_QUOTED, "", sentence)) if name in slots]
        return any(has_other_notation(slots[name]) for name in alone)
    return True


def variant(augmentation: Augmentation) -> Variant:
    """The variant of the tool list under an augmentation."""
    return _VARIANTS.get(augmentation, "plain")


def wording(template: Template, values: Values, augmentation: Augmentation, frames: Frames, rng: random.Random) -> str:
    """The user's request: phrasing and frame with the values filled in, changed by the augmentation."""
    before, after = frames.frames[template.frame].split("{q}")
    parts = [(before, None), *_segments(template.phrasing, values), (after, None)]
    segments = [(text, slot) for text, slot in parts if text]
    if augmentation == "noise":
        for change in rng.sample(_NOISE, 2):
            segments = change(segments, frames, rng)
    if augmentation == "paraphrase":
        segments = _paraphrase(segments, frames, rng)
    if augmentation == "formats":
        segments = _formats(segments, values, rng)
    text = "".join(text for text, _ in segments)
    if augmentation == "context":
        sentence = rng.choice(frames.contexts)
        text = f"{sentence} {text}" if rng.random() < 0.5 else f"{text} {sentence}"
    return text


def _segments(phrasing: str, values: Values) -> list[Segment]:
    segments: list[Segment] = []
    for part in re.split(f"({_QUOTED.pattern})", phrasing):
        quoted = QUOTED if _QUOTED.fullmatch(part) else None
        for literal, field, _, _ in string.Formatter().parse(part):
            segments.append((literal, quoted))
            if field is not None:
                segments.append((spoken(values[field]), quoted or field))
    return segments


def _change_case(segments: list[Segment], _frames: Frames, rng: random.Random) -> list[Segment]:
    # Lower three times as often as upper, as people do.
    change: Callable[[str], str] = rng.choice((str.lower, str.lower, str.lower, str.upper))
    return [(change(text) if slot is None else text, slot) for text, slot in segments]


def _typo(segments: list[Segment], _frames: Frames, rng: random.Random) -> list[Segment]:
    places = [
        (index, word)
        for index, (text, slot) in enumerate(segments)
        if slot is None
        for word in text.split()
        if word.isalpha() and len(word) >= MIN_TYPO_LETTERS
    ]
    if not places:
        return segments
    index, word = rng.choice(places)
    at = rng.randrange(1, len(word) - 2)
    wrong = word[:at] + word[at + 1] + word[at] + word[at + 2 :]
    return [*segments[:index], (segments[index][0].replace(word, wrong, 1), None), *segments[index + 1 :]]


def _filler(segments: list[Segment], frames: Frames, rng: random.Random) -> list[Segment]:
    filler = f"{rng.choice(frames.fillers)} "
    text, slot = segments[0]
    if slot is None and text[:1].isupper() and text[1:2].islower():  # `I` stays a capital letter
        return [(filler, None), (text[0].lower() + text[1:], None), *segments[1:]]
    return [(filler, None), *segments]


def _no_full_stop(segments: list[Segment], _frames: Frames, _rng: random.Random) -> list[Segment]:
    text, slot = segments[-1]
    return segments if slot is not None else [*segments[:-1], (text.rstrip(".?!"), None)]


_NOISE: tuple[Change, ...] = (_change_case, _typo, _filler, _no_full_stop)


def _paraphrase(segments: list[Segment], frames: Frames, rng: random.Random) -> list[Segment]:
    """Up to two phrases replaced by synonyms."""
    pattern = _any_of(tuple(frames.synonyms))
    places = [(index, match) for index, (text, slot) in enumerate(segments) if slot is None for match in pattern.finditer(text)]
    changed = list(segments)
    # From the end, so that a replacement does not shift the matches before it.
    for index, match in sorted(rng.sample(places, min(len(places), MAX_SYNONYMS)), key=lambda item: -item[1].start()):
        other = rng.choice(frames.synonyms[match[0].lower()])
        if match[0][0].isupper():
            other = other[0].upper() + other[1:]
        text = changed[index][0]
        changed[index] = (text[: match.start()] + other + text[match.end() :], None)
    return changed


@functools.cache
def _any_of(phrases: tuple[str, ...]) -> re.Pattern[str]:
    longest_first = sorted(phrases, key=len, reverse=True)
    return re.compile(rf"\b({'|'.join(map(re.escape, longest_first))})\b" if phrases else r"(?!)", re.I)


def _formats(segments: list[Segment], values: Values, rng: random.Random) -> list[Segment]:
    """Numbers, dates, times and units in another common notation, where the value is not part of a word."""
    changed: list[Segment] = []
    for index, (text, slot) in enumerate(segments):
        before = segments[index - 1][0] if index else " "
        after = segments[index + 1][0] if index + 1 < len(segments) else " "
        if slot not in (None, QUOTED) and before[-1:] in (" ", "") and re.match(r"[ ,?!]|\.( |$)", after or " "):
            changed.append((_in_other_notation(values[str(slot)], rng), slot))
        else:
            changed.append((text, slot))
    return changed


def _in_other_notation(value: Any, rng: random.Random) -> str:
    if isinstance(value, list):
        return spoken([other_notation(item, rng) for item in value])
    return other_notation(value, rng)
