"""Five ways to put one base template. Slots are drawn anew for each, so no two rows are the same question reworded.

`dataset.augmentations: N` takes the first N of `AUGMENTATIONS`, ordered by how hard they are on a small model. Masking makes
it read the tool list instead of knowing names by heart, so it copes with tools it has never seen; that takes training time.
"""

import random
import string
from collections.abc import Callable
from typing import Literal

from aria_ray.dataset.slots import Values, spoken
from aria_ray.dataset.templates import Frames, Template
from aria_ray.dataset.toolboxes import Variant

Augmentation = Literal["none", "masking", "noise", "context", "tool_list"]
AUGMENTATIONS: tuple[Augmentation, ...] = ("none", "context", "noise", "masking", "tool_list")

VARIANTS: dict[Augmentation, Variant] = {"masking": "masked", "tool_list": "extended"}
"""How the tools are listed, where not plainly."""
MIN_TYPO_LETTERS = 5

Segment = tuple[str, bool]
"""A piece of a request, and whether it is the value of a slot, which noise must leave as it is."""


def request(template: Template, values: Values, augmentation: Augmentation, frames: Frames, rng: random.Random) -> str:
    """What the user says."""
    before, after = frames.frames[template.frame].split("{q}")
    segments = [(before, False), *_segments(template.phrasing, values), (after, False)]
    segments = [(text, is_value) for text, is_value in segments if text]
    if augmentation == "noise":
        for change in rng.sample(_CHANGES, 2):
            segments = change(segments, frames, rng)
    text = "".join(text for text, _ in segments)
    if augmentation == "context":
        sentence = rng.choice(frames.contexts)
        text = f"{sentence} {text}" if rng.random() < 0.5 else f"{text} {sentence}"
    return text


def _segments(phrasing: str, values: Values) -> list[Segment]:
    segments: list[Segment] = []
    for literal, field, _, _ in string.Formatter().parse(phrasing):
        segments.append((literal, False))
        if field is not None:
            segments.append((spoken(values[field]), True))
    return segments


def _change_case(segments: list[Segment], _frames: Frames, rng: random.Random) -> list[Segment]:
    # Lower three times as often as upper, as people do.
    change: Callable[[str], str] = rng.choice((str.lower, str.lower, str.lower, str.upper))
    return [(text if is_value else change(text), is_value) for text, is_value in segments]


def _typo(segments: list[Segment], _frames: Frames, rng: random.Random) -> list[Segment]:
    places = [
        (index, word)
        for index, (text, is_value) in enumerate(segments)
        if not is_value
        for word in text.split()
        if word.isalpha() and len(word) >= MIN_TYPO_LETTERS
    ]
    if not places:
        return segments
    index, word = rng.choice(places)
    at = rng.randrange(1, len(word) - 2)
    wrong = word[:at] + word[at + 1] + word[at] + word[at + 2 :]
    return [*segments[:index], (segments[index][0].replace(word, wrong, 1), False), *segments[index + 1 :]]


def _filler(segments: list[Segment], frames: Frames, rng: random.Random) -> list[Segment]:
    return [(f"{rng.choice(frames.fillers)} ", False), *segments]


def _no_full_stop(segments: list[Segment], _frames: Frames, _rng: random.Random) -> list[Segment]:
    text, is_value = segments[-1]
    return segments if is_value else [*segments[:-1], (text.rstrip(".?!"), False)]


_CHANGES: tuple[Callable[[list[Segment], Frames, random.Random], list[Segment]], ...] = (
    _change_case,
    _typo,
    _filler,
    _no_full_stop,
)
