import random

from aria_ray.dataset.augment import AUGMENTATIONS, request
from aria_ray.dataset.loading import library
from aria_ray.dataset.slots import draw_values, spoken

TEMPLATE = library().templates["replace_text/1/please"]


def say(augmentation, seed):
    rng = random.Random(seed)
    source = library()
    values = draw_values(TEMPLATE.intent.slots, None, source.words, rng)
    return values, request(TEMPLATE, values, augmentation, source.frames, rng)


def test_noise_leaves_slot_values_alone():
    changed = 0
    for seed in range(100):
        values, text = say("noise", seed)
        assert all(value in text for value in values.values())
        changed += text != say("none", seed)[1]
    assert changed > 90


def test_context_adds_a_sentence_around_the_request():
    for seed in range(20):
        plain, text = say("none", seed)[1], say("context", seed)[1]
        assert plain in text
        assert len(text) > len(plain)


def test_masking_and_tool_list_leave_the_text():
    for augmentation in ("masking", "tool_list"):
        assert say(augmentation, 1)[1] == say("none", 1)[1]


def test_plain_comes_first():
    assert AUGMENTATIONS[0] == "none"
    assert len(set(AUGMENTATIONS)) == 5


def test_spoken():
    assert spoken([1]) == "1"
    assert spoken([1, 2.5, "x"]) == "1, 2.5 and x"
