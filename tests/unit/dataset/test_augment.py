import random
import re
from collections import Counter
from datetime import datetime
from typing import get_args

import pytest

from aria_ray.config.schema import Augmentation
from aria_ray.dataset.augment import augmentations, variant, wording
from aria_ray.dataset.checks import verify
from aria_ray.dataset.slots import Slot, draw_values, spoken
from aria_ray.dataset.templates import Frames, Intent, Template
from aria_ray.grammar import message_calls

ALL = get_args(Augmentation)
KINDS = tuple(kind for kind in ALL if kind != "none")
FRAMES = Frames(frames={"plain": "{q}"}, contexts=("It rains.",), fillers=("well,",), words={}, synonyms={})
SENTENCES = ("replace_text/1/please", "percent_change/2/plain", "book_flight_more/4/hi", "check_flight_twice/1/thanks")


def template(phrasing):
    """A template of just this phrasing."""
    slot = Slot(integer=(1, 9))
    names = ("a", "b", "c", "d")
    intent = Intent(
        name="x", scenario="miss", ask="x", answer="-", contains=(), slots=dict.fromkeys(names, slot), phrasings=(phrasing, "-")
    )
    return Template(intent, "math", 1, "plain")


def say(row_maker, template_id, kind, seed):
    """The values of a template and what the user says, drawn anew for each seed."""
    rng = random.Random(seed)
    base_template = row_maker.library.template(template_id)
    values = draw_values(base_template.intent.slots, base_template.intent.pairs, row_maker.library.words, rng)
    return values, wording(base_template, values, kind, row_maker.library.frames, rng)


def reworded(phrasing, synonyms, values=None, seed=0):
    frames = FRAMES.model_copy(update={"synonyms": synonyms})
    return wording(template(phrasing), values or {}, "paraphrase", frames, random.Random(seed))


def formatted(phrasing, **values):
    return wording(template(phrasing), values, "formats", FRAMES, random.Random(0))


def test_there_are_seven_kinds():
    assert ALL == ("none", "context", "paraphrase", "noise", "formats", "tool_list", "masking")


@pytest.mark.vllm
@pytest.mark.parametrize("kind", ALL)
def test_a_row_of_every_kind_is_right(row_maker, kind):
    for template_id in (*SENTENCES, "wrong_date/1/brief", "sign_name/1/plain", "no_book_flight/2/plain"):
        row = row_maker.row(template_id, kind, 0, 0)
        assert row["augmentation"] == kind
        assert verify(row) == []


@pytest.mark.parametrize("kind", ["context", "paraphrase", "noise", "formats"])
def test_these_kinds_change_the_words_and_not_the_values(row_maker, kind):
    changed = 0
    for seed in range(100):
        values, text = say(row_maker, "end_time/1/please", kind, seed)
        plain_values, plain = say(row_maker, "end_time/1/please", "none", seed)
        assert values == plain_values
        changed += text != plain
    assert changed > 95


@pytest.mark.parametrize(("kind", "listed"), [("masking", "masked"), ("tool_list", "extended")])
def test_these_kinds_change_the_tools_alone(row_maker, kind, listed):
    assert variant(kind) == listed
    for template_id in SENTENCES:
        assert say(row_maker, template_id, kind, 1) == say(row_maker, template_id, "none", 1)


def test_the_other_kinds_leave_the_tools():
    assert {variant(kind) for kind in set(ALL) - {"masking", "tool_list"}} == {"plain"}


@pytest.mark.parametrize("kind", ALL)
def test_same_seed_same_text(row_maker, kind):
    for template_id in SENTENCES:
        assert say(row_maker, template_id, kind, 7) == say(row_maker, template_id, kind, 7)
    assert len({say(row_maker, SENTENCES[0], kind, seed)[1] for seed in range(10)}) > 5


def test_the_plain_row_comes_first_and_every_kind_once(row_maker):
    template = row_maker.library.template("end_time/1/please")
    chosen = augmentations(template, 7, KINDS, row_maker.library.frames)
    assert chosen[0] == ("none", 0)
    assert Counter(chosen) == Counter((kind, 0) for kind in ALL)
    order = [kind for kind, _ in chosen[1:]]
    start = KINDS.index(order[0])
    assert order == [*KINDS[start:], *KINDS[:start]]


def test_kinds_come_as_often_as_each_other(row_maker):
    kinds = ("context", "noise", "tool_list", "masking")
    families = list(row_maker.library.families())[:1200]
    counts = Counter(augmentations(family, 2, kinds, row_maker.library.frames)[1][0] for family in families)
    assert set(counts) == set(kinds)
    assert all(240 < count < 360 for count in counts.values())


def test_after_every_kind_they_come_again(row_maker):
    template, frames = row_maker.library.template("end_time/1/please"), row_maker.library.frames
    chosen = augmentations(template, 15, KINDS, frames)
    assert chosen[7:14] == [(kind, 1) for kind, _ in chosen[:7]]
    assert chosen[14] == ("none", 2)
    assert augmentations(template, 3, (), frames) == [("none", 0), ("none", 1), ("none", 2)]


@pytest.mark.parametrize(
    ("phrasing", "kinds"),
    [
        ("Halve {a}.", ["none", "formats"]),
        ("Tell me half of {a}%.", ["none", "paraphrase"]),
        ("Halve '{a} tell me'.", ["none"]),
        ("Tell me {a}.", ["none", "formats", "paraphrase"]),
    ],
)
def test_kinds_that_change_nothing_are_left_out(phrasing, kinds):
    frames = FRAMES.model_copy(update={"synonyms": {"tell me": ("say",)}})
    chosen = augmentations(template(phrasing), len(kinds), ("paraphrase", "formats"), frames)
    assert sorted(kind for kind, _ in chosen) == sorted(kinds)


@pytest.mark.parametrize("template_id", SENTENCES)
def test_noise_leaves_values_alone(row_maker, template_id):
    for seed in range(50):
        values, text = say(row_maker, template_id, "noise", seed)
        named = [name for name in values if f"{{{name}}}" in row_maker.library.template(template_id).phrasing]
        assert named
        assert all(spoken(values[name]) in text for name in named)


def test_noise_changes_case_swaps_letters_adds_a_filler_and_drops_the_stop():
    plain = "Please divide it evenly."
    said = {wording(template(plain), {}, "noise", FRAMES, random.Random(seed)) for seed in range(200)}
    assert any(text.endswith(plain.upper()) for text in said)
    assert any(text.endswith(plain.lower()) for text in said)
    assert any(text.startswith("well, ") for text in said)
    assert any(not text.endswith(".") for text in said)
    swapped = [text for text in said if sorted(text) == sorted(plain) and text != plain] + [
        text for text in said if sorted(text) == sorted(plain[:-1]) and text != plain[:-1]
    ]
    assert swapped
    assert all({"it"} <= set(text.lower().replace(".", "").split()) for text in said), "short words keep their letters"


def test_context_puts_a_sentence_beside_the_request(row_maker):
    sides = Counter()
    for seed in range(20):
        plain, text = say(row_maker, SENTENCES[0], "none", seed)[1], say(row_maker, SENTENCES[0], "context", seed)[1]
        before, after = text.split(plain)
        assert (before or after).strip() in row_maker.library.frames.contexts
        assert bool(before) != bool(after)
        sides["before" if before else "after"] += 1
    assert len(sides) == 2


def test_paraphrase_replaces_whole_words_only():
    assert reworded("Assume the sum.", {"sum": ("total",)}) == "Assume the total."
    assert reworded("Summing up sums.", {"sum": ("total",)}) == "Summing up sums."


def test_paraphrase_keeps_a_capital_and_takes_the_longest_phrase():
    assert reworded("Give me it.", {"give": ("hand",), "give me": ("show me",)}) == "Show me it."


def test_paraphrase_leaves_values_alone():
    assert reworded("What sum is {a}?", {"sum": ("total",)}, {"a": "the sum"}) == "What total is the sum?"


def test_what_stands_in_quotes_is_left_alone():
    assert reworded("Write 'sum of {a}' or sum.", {"sum": ("total",)}, {"a": 7}) == "Write 'sum of 7' or total."
    assert formatted("Sort '{a} and {b}' by {c}.", a=7, b=1200, c=1300) == "Sort '7 and 1200' by 1,300."
    quoted = template("Replace it in 'Some Words here' please.")
    said = {wording(quoted, {}, "noise", FRAMES, random.Random(seed)) for seed in range(50)}
    assert len(said) > 5
    assert all("'Some Words here'" in text for text in said)


def test_an_apostrophe_is_no_quote():
    assert reworded("What's the sum of Ana's and Tom's?", {"sum": ("total",)}) == "What's the total of Ana's and Tom's?"


def test_paraphrase_replaces_at_most_two_phrases():
    for seed in range(20):
        text = reworded("red red red red", {"red": ("blue",)}, seed=seed)
        assert Counter(text.split()) == {"red": 2, "blue": 2}


def test_formats_change_a_value_that_stands_by_itself():
    assert formatted("{a} is {b}, or {c}. Is it {d}?", a=1200, b=7, c="14:30", d="kilometers") == (
        "1,200 is seven, or 2:30 pm. Is it km?"
    )
    assert formatted("Sort {a}.", a=[3, 1500, 12]) == "Sort three, 1,500 and twelve."


@pytest.mark.parametrize(
    "phrasing", ["{a}%", "${a}", "x{a}", "'{a}'", "({a})", "{a}/{a}", "{a}-{a}", "{a}: yes", "{a};", "n{a} is"]
)
def test_formats_leave_a_value_that_touches_another_sign(phrasing):
    assert formatted(phrasing, a=1200) == phrasing.replace("{a}", "1200")


@pytest.mark.vllm
def test_formats_leave_the_arguments_as_they_are(row_maker):
    for turn in range(20):
        row = row_maker.row("end_time/1/plain", "formats", turn, 0)
        assert verify(row) == []
        (call,) = message_calls(row["messages"][1])
        text = row["messages"][0]["content"]
        (said,) = re.findall(r" (\d?\d:\d\d [ap]m) ", text)
        assert datetime.strptime(said, "%I:%M %p").strftime("%H:%M") == call.arguments["start"]
