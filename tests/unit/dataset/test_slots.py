import random
import re

import pytest

from aria_ray.dataset.slots import MAIL_HOSTS, Pairs, Slot, draw_values, spoken
from aria_ray.tools import reference_exists

WORDS = {"few": ("ant", "bee", "cow")}


def drawn(*, seeds=60, **options):
    """Values that a slot gives over many seeds."""
    slots = {"x": Slot(**options)}
    return [draw_values(slots, None, WORDS, random.Random(seed))["x"] for seed in range(seeds)]


@pytest.mark.parametrize(
    ("options", "wanted"),
    [
        ({"integer": (2, 4)}, {2, 3, 4}),
        ({"integer": (10, 30), "step": 10}, {10, 20, 30}),
        ({"decimal": (1.0, 1.2), "digits": 1}, {1.0, 1.1, 1.2}),
        ({"choice": (True, None, "a")}, {True, None, "a"}),
        ({"words": "few"}, {"ant", "bee", "cow"}),
        ({"date": ("2026-02-28", "2026-03-01")}, {"2026-02-28", "2026-03-01"}),
        ({"time": (9, 9)}, {"09:00"}),
        ({"text": ("a b", "c")}, {"a b", "c"}),
        ({"email": "few"}, {f"{word}@{host}" for word in WORDS["few"] for host in MAIL_HOSTS}),
    ],
)
def test_values_of_a_kind(options, wanted):
    assert set(drawn(**options)) == wanted


@pytest.mark.parametrize(
    "options",
    [
        {"integers": (1, 9), "count": (2, 4)},
        {"sample": "few", "count": (2, 3)},
        {"list_of": ("a", "b", "c", "d"), "count": (2, 4)},
    ],
)
def test_lists_have_different_entries(options):
    values = drawn(**options)
    assert {len(value) for value in values} == set(range(options["count"][0], options["count"][1] + 1))
    assert all(len(set(value)) == len(value) for value in values)


def test_times_are_on_five_minutes():
    values = drawn(time=(8, 10), seeds=200)
    assert all(re.fullmatch(r"(08|09):[0-5][05]|10:00", value) for value in values)
    assert {value[:2] for value in values} == {"08", "09", "10"}


def test_a_pattern_does_not_begin_with_zero():
    values = drawn(pattern="FL-##0#", seeds=200)
    assert all(re.fullmatch(r"FL-[1-9][0-9]0[0-9]", value) for value in values)
    assert {value[4] for value in values} == {value[6] for value in values} == set("0123456789")


def test_references_are_known_or_not():
    assert all(reference_exists(value) for value in drawn(reference="FL-####"))
    assert not any(reference_exists(value) for value in drawn(unknown_reference="FL-####"))


def test_a_pattern_must_have_a_digit():
    with pytest.raises(ValueError, match="a pattern must have a # for each digit"):
        Slot(reference="FL")


def test_slots_may_depend_on_earlier_ones():
    slots = {
        "names": Slot(sample="few", count=(3, 3)),
        "numbers": Slot(integers=(1, 9), count=(3, 3)),
        "table": Slot(zip=("names", "numbers")),
        "text": Slot(words="few", count=(2, 2)),
        "word": Slot(word_of="text"),
    }
    values = draw_values(slots, None, WORDS, random.Random(1))
    first, second, third = (f"{name} {number}" for name, number in zip(values["names"], values["numbers"], strict=True))
    assert values["table"] == f"{first}, {second} and {third}"
    assert values["word"] in values["text"].split()


def test_pairs_vary_together():
    pairs = Pairs(columns=("country", "capital"), rows=(("Italy", "Rome"), ("Norway", "Oslo")))
    values = {tuple(draw_values({}, pairs, {}, random.Random(seed)).items()) for seed in range(20)}
    assert values == {
        (("country", "Italy"), ("capital", "Rome")),
        (("country", "Norway"), ("capital", "Oslo")),
    }


def test_a_slot_is_of_one_kind():
    with pytest.raises(ValueError, match=r"exactly one of .*, not none"):
        Slot()
    with pytest.raises(ValueError, match=r"exactly one of .*, not integer, words"):
        Slot(integer=(1, 2), words="few")
    assert Slot(email="few").kind == "email"


def test_rows_of_pairs_have_an_entry_per_column():
    with pytest.raises(ValueError, match="must have 2 entries"):
        Pairs(columns=("a", "b"), rows=((1,),))
    with pytest.raises(ValueError, match="at least one row"):
        Pairs(columns=("a",), rows=())


def test_spoken():
    assert spoken([1]) == "1"
    assert spoken([1, 2.5, "x"]) == "1, 2.5 and x"
    assert spoken(2) == "2"
