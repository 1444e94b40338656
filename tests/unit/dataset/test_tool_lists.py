import json
import random

import pytest

from aria_ray.dataset.templates import UNSEEN_DOMAINS, UNSEEN_TOOLS
from aria_ray.dataset.tool_lists import LISTS_PER_TOOL
from aria_ray.errors import DataError
from aria_ray.grammar import Call
from aria_ray.tools import execute_listed, reference_exists

KNOWN = next(text for number in range(1000, 2000) if reference_exists(text := f"FL-{number}"))
VARIANTS = ("plain", "extended", "masked")


@pytest.fixture(scope="module")
def tool_lists(row_maker):
    """Every tool list, and whether it contains held-out tools."""
    return [(tool_list, unseen) for (_, unseen), lists in row_maker.tool_lists._lists.items() for tool_list in lists]


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_intent_has_a_list_with_what_it_needs_alone(row_maker, variant):
    rng = random.Random(variant)
    for _, intent in row_maker.library.intents:
        listed = set(row_maker.tool_lists.choose(intent, variant, rng).real_names)
        assert set(intent.needed_tools) <= listed, intent.name
        assert not set(intent.without) & listed, intent.name
        if not intent.is_unseen:
            assert not [name for name in listed if row_maker.library.tools[name].is_unseen], intent.name


def test_held_out_tools_are_in_unseen_lists_alone(row_maker, tool_lists):
    for tool_list, unseen in tool_lists:
        held_out = [name for name in tool_list if row_maker.library.tools[name].is_unseen]
        assert bool(held_out) == unseen, tool_list
    listed = {name for tool_list, unseen in tool_lists if unseen for name in tool_list}
    assert listed >= set(UNSEEN_TOOLS)
    assert {row_maker.library.tools[name].domain for name in listed} == {"", *UNSEEN_DOMAINS}


@pytest.mark.parametrize("variant", VARIANTS)
def test_no_variant_of_a_list_for_training_has_a_held_out_tool(row_maker, tool_lists, variant):
    for tool_list in (tool_list for tool_list, unseen in tool_lists if not unseen):
        names = row_maker.tool_lists.listing(tool_list, variant).real_names
        assert not [name for name in names if row_maker.library.tools[name].is_unseen]


def test_each_tool_is_in_enough_lists(row_maker, tool_lists):
    for name, tool in row_maker.library.tools.items():
        assert sum(name in tool_list for tool_list, unseen in tool_lists if unseen == tool.is_unseen) >= LISTS_PER_TOOL, name


def test_lists_are_of_one_domain_without_repeats(row_maker, tool_lists):
    for tool_list, _ in tool_lists:
        assert 3 <= len(tool_list) <= 5
        assert len(set(tool_list)) == len(tool_list)
        assert len({row_maker.library.tools[name].domain for name in tool_list}) == 1


def test_a_plain_listing_is_the_tool_list(row_maker, tool_lists):
    for tool_list, _ in tool_lists:
        listing = row_maker.tool_lists.listing(tool_list, "plain")
        assert listing.real_names == tool_list
        assert list(listing.definitions) == [row_maker.library.tools[name].definition for name in tool_list]


def test_an_extended_list_has_a_look_alike_and_a_stranger(row_maker, tool_lists):
    tools = row_maker.library.tools
    orders = 0
    for tool_list, _ in tool_lists:
        names = row_maker.tool_lists.listing(tool_list, "extended").real_names
        more = [name for name in names if name not in tool_list]
        assert set(tool_list) <= set(names)
        assert len(names) == len(set(names)) == len(tool_list) + 2
        domain = tools[tool_list[0]].domain
        if domain not in UNSEEN_DOMAINS:
            assert any(tools[name].domain == domain for name in more)
        orders += tuple(name for name in names if name in tool_list) != tool_list
    assert orders > len(tool_lists) / 2


def test_a_look_alike_has_a_name_like_one_of_the_list(row_maker):
    tool_list = ("book_flight", "cancel_flight", "check_flight")
    (like,) = [
        name
        for name in row_maker.tool_lists.listing(tool_list, "extended").real_names
        if name not in tool_list and row_maker.library.tools[name].domain == "travel"
    ]
    assert "flight" in like


def test_a_masked_list_hides_names_and_keeps_descriptions(row_maker, tool_lists):
    for tool_list, _ in tool_lists:
        listing = row_maker.tool_lists.listing(tool_list, "masked")
        names = [tool["function"]["name"] for tool in listing.definitions]
        assert len(set(names)) == len(tool_list)
        for name, real, tool in zip(names, tool_list, listing.definitions, strict=True):
            function, plain = tool["function"], row_maker.library.tools[real].definition["function"]
            assert name.startswith("tool_")
            assert function["description"] == plain["description"]
            shown = function["parameters"]["properties"]
            assert all(parameter.startswith("arg_") for parameter in shown)
            assert list(shown.values()) == list(plain["parameters"]["properties"].values())
            assert len(function["parameters"].get("required", ())) == len(plain["parameters"].get("required", ()))
            assert set(function["parameters"].get("required", ())) <= set(shown)


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_call_under_listed_names_runs_the_real_tool(row_maker, variant):
    calls = (
        (("divide", "multiply", "power"), Call("divide", {"b": 4, "a": 10}), "2.5"),
        (("cancel_flight", "check_flight", "book_flight"), Call("cancel_flight", {"flight_id": KNOWN}), "cancelled"),
    )
    for tool_list, call, text in calls:
        listing = row_maker.tool_lists.listing(tool_list, variant)
        listed = listing.listed(call)
        assert (listed.name == call.name) == (variant != "masked")
        assert execute_listed(listing.definitions, listing.tool_names, listed).text == text


def test_a_call_to_a_tool_that_is_not_listed_is_refused(row_maker):
    listing = row_maker.tool_lists.listing(("divide", "multiply", "power"), "plain")
    with pytest.raises(DataError, match="tool average is not in the list divide, multiply, power"):
        listing.listed(Call("average", {}))


def test_a_list_says_domain_and_backend_of_catalogue_tools(row_maker):
    names = json.loads(row_maker.tool_lists.listing(("check_flight", "book_flight"), "masked").tool_names)
    by_tool = {item["tool"]: item for item in names.values()}
    assert {item["domain"] for item in by_tool.values()} == {"travel"}
    assert by_tool["check_flight"]["backend"]["kind"] == "state"
    assert by_tool["check_flight"]["backend"]["reference_parameter"] == "flight_id"
    assert "backend" not in json.loads(row_maker.tool_lists.listing(("divide",), "plain").tool_names)["divide"]


def test_an_intent_that_no_list_fits_is_an_error(row_maker):
    _, intent = row_maker.library._by_name["divide"]
    asked = intent.model_copy(update={"without": ("divide",)})
    with pytest.raises(DataError, match="no tool list has divide without divide for the intent divide; shorten"):
        row_maker.tool_lists.choose(asked, "plain", random.Random(0))


def test_a_request_that_needs_no_tool_comes_with_those_of_any_domain(row_maker):
    _, intent = row_maker.library._by_name["sign_name"]
    rng = random.Random(0)
    chosen = [row_maker.tool_lists.choose(intent, "plain", rng).real_names[0] for _ in range(300)]
    domains = {row_maker.library.tools[name].domain for name in chosen}
    assert len(domains) > 15
    assert not domains & set(UNSEEN_DOMAINS)


def test_lists_do_not_depend_on_the_order_of_asking(row_maker):
    from aria_ray.dataset.tool_lists import ToolLists

    other = ToolLists(row_maker.library)
    assert other._lists == row_maker.tool_lists._lists
    tool_list = other._lists["travel", False][3]
    assert other.listing(tool_list, "extended") == row_maker.tool_lists.listing(tool_list, "extended")
