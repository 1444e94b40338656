"""150 requests as people type them, for 30 tools of many domains: found, filled again and shortened without nonsense."""

import datetime
import random
from collections import Counter

import pytest
from natural import KNOWN, PLACED, TEMPLATES, TOOLS

from aria_ray.requests.read import check_examples
from aria_ray.requests.values import find, leaves
from aria_ray.tools import schema_problem

DRAWS = 5
NOT_SAID = {"just me, quarter to nine, 1st of July 2026": 1}
"""Requests with values that no words say."""


def said_values(calls):
    return [value for call in calls for _, value in leaves(dict(call.arguments)) if not isinstance(value, bool)]


def test_there_are_five_requests_for_each_of_thirty_tools():
    check_examples(PLACED, TOOLS)
    assert Counter(call.name for _, example in PLACED for call in example.calls) == dict.fromkeys(TOOLS, 5)


@pytest.mark.parametrize("request_text", TEMPLATES)
def test_every_value_is_found_in_the_words(request_text):
    template = TEMPLATES[request_text]
    found = {place for slot in template.slots for place in slot.places}
    values = [
        (index, path)
        for index, call in enumerate(template.example.calls)
        for path, value in leaves(dict(call.arguments))
        if not isinstance(value, bool)
    ]
    assert len(set(values) - found) == NOT_SAID.get(request_text, 0)


@pytest.mark.parametrize("request_text", TEMPLATES)
def test_filled_requests_say_their_values_and_fit_the_tools(request_text):
    template = TEMPLATES[request_text]
    for draw in range(DRAWS):
        filled = template.filled(random.Random(draw))
        missing = [value for value in said_values(filled.calls) if not find(value, filled.request)]
        assert len(missing) <= NOT_SAID.get(request_text, 0), filled.request
        assert [schema_problem(TOOLS[call.name], call.arguments) for call in filled.calls] == [None] * len(filled.calls)
        assert "_" not in filled.request
        assert "  " not in filled.request


@pytest.mark.parametrize("request_text", TEMPLATES)
def test_a_request_without_a_value_does_not_say_it(request_text):
    template = TEMPLATES[request_text]
    for index, slot in enumerate(template.slots):
        shorter = template.without(index, random.Random(index))
        if shorter is not None:
            assert len(shorter.request.split()) >= 2
            others = [words for other, words in enumerate(shorter.written) if other != index]
            assert all(words.lower() in shorter.request.lower() for words in others if words)
            if not any(shorter.written[index].lower() in words.lower() for words in others):
                assert not find(shorter.values[index], shorter.request) or isinstance(slot.values[0], (int, float))


def test_the_same_seed_fills_alike():
    for template in TEMPLATES.values():
        assert template.filled(random.Random(7)) == template.filled(random.Random(7))


def filled(request_text, draws=40):
    return [TEMPLATES[request_text].filled(random.Random(draw)) for draw in range(draws)]


def test_dates_keep_their_distance_and_their_weekday():
    for one in filled("rent a small car in Rome from 3 May 2026 to 10 May 2026"):
        first, last = one.calls[0].arguments["pickup"], one.calls[0].arguments["dropoff"]
        assert first < last
    friday = "What does business class from Seoul to Tokyo on Friday, 8 May 2026 look like"
    assert {datetime.date.fromisoformat(one.calls[0].arguments["date"]).weekday() for one in filled(friday)} == {4}


def test_a_verb_is_replaced_by_a_verb_and_a_state_says_what_is_true():
    assert {one.request.split()[0] for one in filled("pause my subscription for two months")} == {"pause", "resume"}
    arms = {(one.request, one.calls[0].arguments["armed"]) for one in filled("arm the alarm")}
    assert arms == {("arm the alarm", True), ("disarm the alarm", False)}


def test_articles_and_numbers_agree():
    for one in filled("put an umbrella in the basket"):
        product = one.calls[0].arguments["product"]
        assert f"put {'an' if product[0] in 'aeiou' else 'a'} {product}" in one.request
    for one in filled("I'm in Leeds on the 14th of November 2026 for 1 night, nothing over 80"):
        assert "for 1 night," in one.request


def test_a_doctor_is_replaced_by_a_doctor_and_a_city_by_a_city():
    assert all(
        one.calls[0].arguments["doctor"].startswith(("Dr ", "Professor "))
        for one in filled("book Dr Novak for 18.5.2026 14:15")
    )
    assert all(
        one.calls[0].arguments["to"] not in KNOWN["plan_route", "to"] for one in filled("text Sam that I'm running late")
    )
