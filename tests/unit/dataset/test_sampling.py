import re
from collections import Counter

import pytest

from aria_ray.dataset.sampling import CATEGORY_SHARES, SCENARIO_SHARES, apportion, choose_templates
from aria_ray.dataset.templates import UNSEEN_DOMAINS, UNSEEN_TOOLS
from aria_ray.errors import DataError

SIZES = (300, 1000, 3000)


@pytest.fixture(scope="module")
def chosen(row_maker):
    return {size: choose_templates(row_maker.library, size, 0.7, 0) for size in SIZES}


def share_of(templates, names):
    counts = Counter(names(template) for template in templates)
    return {name: count / len(templates) for name, count in counts.items()}


def blanked(library, template):
    sentence = library.frames.frames[template.frame].replace("{q}", template.phrasing)
    return re.sub(r"\{\w+\}", "{}", sentence).lower()


@pytest.mark.parametrize("size", SIZES)
def test_shares_of_scenarios_and_categories(chosen, size):
    scenarios = share_of(chosen[size], lambda template: template.intent.scenario)
    assert scenarios == pytest.approx(SCENARIO_SHARES, abs=0.02)
    assert share_of(chosen[size], lambda template: template.category) == pytest.approx(CATEGORY_SHARES, abs=0.02)


@pytest.mark.parametrize("size", SIZES)
def test_shares_of_splits(chosen, size):
    splits = share_of(chosen[size], lambda template: template.split)
    wanted = {"train": 0.76, "validation": 0.076, "test": 0.114, "test_unseen_tools": 0.05}
    assert splits == pytest.approx(wanted, abs=0.02)


def test_the_shares_are_whole():
    assert sum(SCENARIO_SHARES.values()) == pytest.approx(1)
    assert sum(CATEGORY_SHARES.values()) == pytest.approx(1)
    assert CATEGORY_SHARES["tool_errors"] == SCENARIO_SHARES["error"]


@pytest.mark.parametrize("size", SIZES)
def test_templates_are_different_and_in_order(chosen, size):
    ids = [template.id for template in chosen[size]]
    assert ids == sorted(set(ids))
    assert len(ids) == size


def test_small_datasets_hold_the_shares_too(row_maker):
    for size in (20, 60):
        chosen = choose_templates(row_maker.library, size, 0.7, 0)
        assert len(chosen) == size
        assert Counter(template.intent.scenario for template in chosen) == apportion(size, SCENARIO_SHARES)
        assert {template.category for template in chosen} == set(CATEGORY_SHARES)


def test_sentences_are_distinct_even_without_their_values(row_maker, chosen):
    assert len({blanked(row_maker.library, template) for template in chosen[3000]}) == 3000


def test_splits_share_no_family_and_no_sentence(row_maker, chosen):
    splits = {}
    for template in chosen[3000]:
        splits.setdefault(template.family, set()).add(template.split)
    for template in row_maker.library.families():
        splits.setdefault(re.sub(r"\{\w+\}", "{}", template.phrasing).lower(), set()).add(template.split)
    assert {name: of_family for name, of_family in splits.items() if len(of_family) > 1} == {}


def test_every_intent_is_trained_on_or_unseen(row_maker):
    splits = {}
    for template in row_maker.library.families():
        splits.setdefault(template.intent.name, set()).add(template.split)
    assert all(of_intent & {"train", "test_unseen_tools"} for of_intent in splits.values())


def test_what_needs_unseen_tools_is_in_its_own_split(chosen):
    for template in chosen[3000]:
        unseen = template.intent.domain in UNSEEN_DOMAINS or set(template.intent.needed_tools) & set(UNSEEN_TOOLS)
        assert bool(unseen) == (template.split == "test_unseen_tools"), template.id


def test_the_catalogue_has_its_share_of_what_it_can(row_maker, chosen):
    for share, templates in ((0.7, chosen[1000]), (0.2, choose_templates(row_maker.library, 1000, 0.2, 0))):
        mixed = [template for template in templates if (template.category, template.split) == ("reasoning", "train")]
        mixed = [template for template in mixed if template.intent.scenario == "hit"]
        actual = sum(bool(template.intent.domain) for template in mixed) / len(mixed)
        assert actual == pytest.approx(share, abs=0.04)


@pytest.mark.parametrize(("share", "origins"), [(0.0, {False}), (1.0, {True})])
def test_what_only_one_origin_has_comes_from_it(row_maker, share, origins):
    chosen = choose_templates(row_maker.library, 300, share, 0)
    assert share_of(chosen, lambda template: template.category) == pytest.approx(CATEGORY_SHARES, abs=0.02)
    both = [template for template in chosen if (template.category, template.split) == ("reasoning", "train")]
    assert {bool(template.intent.domain) for template in both if template.intent.scenario == "hit"} == origins


def test_fewer_intents_have_the_same_shares_and_the_unseen_ones_stay(row_maker):
    chosen = choose_templates(row_maker.library, 400, 0.7, 0, num_intents=40)
    assert len({template.id for template in chosen}) == 400
    seen = [template for template in chosen if not template.intent.is_unseen]
    intents = {template.intent.name: template for template in seen}
    assert len(intents) == 40
    for scenario, share in SCENARIO_SHARES.items():
        assert sum(template.intent.scenario == scenario for template in intents.values()) == 40 * share
        assert sum(template.intent.scenario == scenario for template in chosen) == 400 * share
    assert {template.split for template in chosen} == {"train", "validation", "test", "test_unseen_tools"}
    # All that there are of the scenario are taken where fewer are there than asked for.
    assert choose_templates(row_maker.library, 400, 0.7, 0, num_intents=10**6) == choose_templates(
        row_maker.library, 400, 0.7, 0
    )
    assert choose_templates(row_maker.library, 400, 0.7, 1, num_intents=40) != chosen


def test_the_choice_depends_on_the_seed_alone(row_maker, chosen):
    ids = [template.id for template in chosen[300]]
    assert [template.id for template in choose_templates(row_maker.library, 300, 0.7, 0)] == ids
    assert [template.id for template in choose_templates(row_maker.library, 300, 0.7, 1)] != ids


def test_too_many_templates_are_refused(row_maker):
    with pytest.raises(
        DataError, match=r"dataset.num_templates \(900000\) asks for 360000 hit templates and there are \d+; lower"
    ):
        choose_templates(row_maker.library, 900_000, 0.7, 0)


def test_apportion_adds_up():
    assert apportion(10, SCENARIO_SHARES) == {"hit": 4, "miss": 4, "error": 1, "multi": 1}
    assert sum(apportion(7, {"a": 1, "b": 1, "c": 1}).values()) == 7
    assert apportion(0, {"a": 1}) == {"a": 0}


def test_apportion_gives_back_what_rounding_took():
    shares, carry, total = {"a": 0.45, "b": 0.55}, {}, Counter()
    for _ in range(100):
        total.update(apportion(1, shares, carry))
    assert total == {"a": 45, "b": 55}
