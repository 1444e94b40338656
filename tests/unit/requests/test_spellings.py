"""Values and the words for them: what is written in a form is found again, and the forms that people use are known."""

import pytest

from aria_ray.requests.spellings import spellings, write
from aria_ray.requests.values import find

VALUES = (
    0, 1, 2, 5, 12, 15, 21, 30, 45, 60, 80, 90, 100, 101, 120, 300, 365, 1000, 1500, 2450, 12_000, 500_000, 3_000_000, -4,
    0.2, 0.25, 0.5, 0.75, 1.5, 2.5, 12.5, 19.99, 2450.5, 1.0,
    "kitchen", "living_room", "rain jacket", "Anna", "Anna Koch", "box", "lorry", "EUR", "de", "celsius", "north", "closed",
    "KD204518", "555-0134", "A-1042", "#778", "web-01", "a.b@example.org", "https://example.com/a", "milk, eggs, tea",
    "2026-03-04", "2026-09-21", "07:00", "12:00", "19:30", "00:15", "06:45", "20:40", "09:00:00",
)  # fmt: skip  # kinds of values in rows


@pytest.mark.parametrize("value", VALUES, ids=repr)
def test_what_is_written_in_a_form_is_found_and_can_be_written_so_again(value):
    forms = spellings(value)
    assert forms
    for form, words in forms:
        text = f"set it to {words} please"
        spans = [span for span in find(value, text) if text[span.start : span.end] == words]
        assert spans, f"{form}: {words!r}"
        # A name of a program is written with blanks, also where the example has it with underscores.
        assert write(value, spans[0].form) == words.replace("_", " ")


@pytest.mark.parametrize(
    ("value", "text", "words"),
    [
        (80, "dim it to 80%", "80"),
        (80, "eighty percent please", "eighty"),
        (12, "a dozen eggs", "a dozen"),
        (2450, "I had 2,450 in my account", "2,450"),
        (2450.5, "es sind 2.450,50", "2.450,50"),
        (12.5, "send $12.50 to Ben", "12.50"),
        (1500, "about 1.5k", "1.5k"),
        (0.4, "volume to 40%", "40%"),
        (3, "the 3rd quarter", "3rd"),
        (3, "the third quarter", "third"),
        (10, "in ten minutes", "ten"),
        (90, "an hour and a half of tennis", "an hour and a half"),
        (300, "in five minutes", "five minutes"),
        (7, "for a week", "a week"),
        (500_000, "half a million", "half a million"),
        ("living_room", "lights in the living room", "living room"),
        ("towel", "two towels", "towels"),
        ("de", "translate it into German", "German"),
        ("USD", "send $5", "$"),
        ("Paris", "weather in paris", "paris"),
        ("2026-03-04", "on March 4th", "March 4th"),
        ("2026-03-04", "on 4 March 2026", "4 March 2026"),
        ("2026-03-04", "4/3/2026 please", "4/3/2026"),
        ("19:30", "at 7:30 pm", "7:30 pm"),
        ("19:30", "at half past seven", "half past seven"),
        ("20:45", "quarter to nine", "quarter to nine"),
        ("19:00", "at 7pm", "7pm"),
        ("12:00", "at noon", "noon"),
        ("08:00", "at 8 in the morning", "8 in the morning"),
        ("GB553920", "status of GB-553920", "GB-553920"),
        ("2026-03-04T10:30:00", "on 4 March 2026 at 10:30", "4 March 2026 at 10:30"),
        ("2026-03-04T15:00:00Z", "at 3 pm on March 4th 2026", "at 3 pm on March 4th 2026"),
    ],
)
def test_forms_that_people_use_are_found_whole(value, text, words):
    span = find(value, text)[0]
    assert text[span.start : span.end] == words


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (5, "at 5pm"),
        (2, "chapter 12"),
        (8, "at 8:30"),
        (3, "the 30 best"),
        (20, "1,200 pounds"),
        ("art", "start it"),
        ("20:00", "8 apples"),
        (True, "True"),
        ("2026-03-04", "tomorrow"),
    ],
)
def test_words_for_something_else_are_not_taken(value, text):
    assert find(value, text) == []


@pytest.mark.parametrize(
    ("value", "form", "words"),
    [
        ("2027-05-01", "day month of 2026", None),
        ("07:30", "half past pm", None),
        (7, "named", None),
        (25, "words", "twenty-five"),
        (1_600_000, "digits and million", "1.6 million"),
        ("kitchen", "spaced", "kitchen"),
        ("back_lawn", "text", "back lawn"),
        ("medium", "text|upper", None),
    ],
)
def test_a_value_is_written_in_a_form_only_where_it_has_one(value, form, words):
    assert write(value, form) == words
