import pytest

from aria_ray.dataset.templates import Intent, Template, bind, fields_of, result_names, stable_fraction

CALL = {"tool": "divide", "arguments": {"a": "{x}", "b": 2}}


def intent(**changes):
    fields = {
        "name": "halve",
        "scenario": "hit",
        "ask": "half",
        "steps": [[CALL]],
        "answer": "{result}",
        "phrasings": ["a", "b"],
    }
    return Intent(**{**fields, **changes})


def template(number, **changes):
    return Template(intent(**changes), "math", number, "plain")


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({"scenario": "multi"}, "1 calls do not fit the scenario multi"),
        ({"steps": []}, "0 calls do not fit the scenario hit"),
        ({"scenario": "error"}, "`error` must be given exactly where the scenario is error"),
        ({"error": "failed"}, "`error` must be given exactly where the scenario is error"),
        ({"scenario": "error", "error": "missing", "contains": []}, "1 calls do not fit the scenario error missing"),
        ({"scenario": "error", "error": "missing", "steps": [], "contains": []}, "`reason` must be given exactly where"),
        ({"reason": "x"}, "`reason` must be given exactly where"),
        ({"scenario": "miss", "steps": []}, "`contains` must be given"),
        ({"phrasings": ["a"]}, "at least 2 items"),
        ({"name": "a/b"}, "String should match pattern"),
        ({"answr": "x"}, "Extra inputs are not permitted"),
    ],
)
def test_rules_of_an_intent(changes, rule):
    with pytest.raises(ValueError, match=rule):
        intent(**changes)


def test_needed_tools_are_those_called_and_listed_once():
    multi = intent(scenario="multi", steps=[[CALL, CALL], [{"tool": "average"}]], listed=("median", "divide"))
    assert multi.tools == ("divide", "average")
    assert multi.needed_tools == ("divide", "average", "median")
    assert multi.num_calls == 3


def test_what_is_held_out():
    assert intent(listed=("median",)).is_unseen
    assert intent(domain="pets").is_unseen
    assert not intent(domain="travel").is_unseen
    assert template(1, domain="pets").split == template(2, domain="pets").split == "test_unseen_tools"


def test_ids_are_of_intent_number_and_frame():
    assert template(2).family == "halve/2"
    assert template(2).id == "halve/2/plain"
    assert template(2).phrasing == "b"


def test_the_first_phrasing_is_trained_on():
    assert {template(1, name=f"x{number}").split for number in range(100)} == {"train"}


def test_later_phrasings_fall_into_every_seen_split():
    splits = [template(2, name=f"x{number}").split for number in range(2000)]
    assert splits.count("train") / 2000 == pytest.approx(0.73, abs=0.04)
    assert splits.count("validation") / 2000 == pytest.approx(0.108, abs=0.03)
    assert splits.count("test") / 2000 == pytest.approx(0.162, abs=0.03)


def test_a_fraction_depends_on_the_text_alone():
    assert stable_fraction("split:divide/1") == 0.5060403687651783
    fractions = [stable_fraction(str(number)) for number in range(1000)]
    assert all(0 <= fraction < 1 for fraction in fractions)
    assert sum(fractions) / 1000 == pytest.approx(0.5, abs=0.05)


def test_names_in_braces():
    assert fields_of("{a} and {b}") == ["a", "b"]
    assert result_names(2) == {"result", "result1", "result2"}
    assert result_names(0) == set()
    with pytest.raises(ValueError, match="expected '}'"):
        fields_of("{a")


def test_a_lone_placeholder_keeps_its_type():
    values = {"x": [1, 2], "n": 5, "name": "Ana"}
    arguments = {
        "list": "{x}",
        "deep": {"n": "{n}", "text": "{name} has {n}"},
        "fixed": 3,
        "last": "{result}",
        "first": "{result1}",
    }
    assert bind(arguments, values, ["2.5", "nan"]) == {
        "list": [1, 2],
        "deep": {"n": 5, "text": "Ana has 5"},
        "fixed": 3,
        "last": "nan",
        "first": 2.5,
    }


@pytest.mark.parametrize(
    ("text", "value"), [("12", 12), ("-3", -3), ("0.5", 0.5), ("FL-1234", "FL-1234"), ("inf", "inf"), ("5 apples", "5 apples")]
)
def test_results_that_are_numbers_become_numbers(text, value):
    bound = bind({"a": "{result}"}, {}, [text])["a"]
    assert (bound, type(bound)) == (value, type(value))
