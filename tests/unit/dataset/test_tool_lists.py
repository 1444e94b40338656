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
def boxes(row_maker):
    """Every tool list, and whether it contains held-out tools."""
    return [(box, unseen) for (_, unseen), found in row_maker.tool_lists._lists.items() for box in found]


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_intent_finds_a_box_with_what_it_needs_alone(row_maker, variant):
    rng = random.Random(variant)
    for _, intent in row_maker.library.intents:
        listed = set(row_maker.tool_lists.choose(intent, variant, rng).real_names)
        assert set(intent.needed_tools) <= listed, intent.name
        assert not set(intent.without) & listed, intent.name
        if not intent.is_unseen:
            assert not [name for name in listed if row_maker.library.tools[name].is_unseen], intent.name


def test_held_out_tools_are_in_unseen_boxes_alone(row_maker, boxes):
    for box, unseen in boxes:
        held_out = [name for name in box if row_maker.library.tools[name].is_unseen]
        assert bool(held_out) == unseen, box
    listed = {name for box, unseen in boxes if unseen for name in box}
    assert listed >= set(UNSEEN_TOOLS)
    assert {row_maker.library.tools[name].domain for name in listed} == {"", *UNSEEN_DOMAINS}


@pytest.mark.parametrize("variant", VARIANTS)
def test_no_variant_of_a_seen_box_lists_a_held_out_tool(row_maker, boxes, variant):
    for box in (box for box, unseen in boxes if not unseen):
        names = row_maker.tool_lists.listing(box, variant).real_names
        assert not [name for name in names if row_maker.library.tools[name].is_unseen]


def test_each_tool_is_in_enough_boxes(row_maker, boxes):
    for name, tool in row_maker.library.tools.items():
        assert sum(name in box for box, unseen in boxes if unseen == tool.is_unseen) >= LISTS_PER_TOOL, name


def test_boxes_are_of_one_domain_without_repeats(row_maker, boxes):
    for box, _ in boxes:
        assert 3 <= len(box) <= 5
        assert len(set(box)) == len(box)
        assert len({row_maker.library.tools[name].domain for name in box}) == 1


def test_a_plain_list_is_the_box(row_maker, boxes):
    for box, _ in boxes:
        listing = row_maker.tool_lists.listing(box, "plain")
        assert listing.real_names == box
        assert list(listing.definitions) == [row_maker.library.tools[name].definition for name in box]


def test_an_extended_list_has_a_look_alike_and_a_stranger(row_maker, boxes):
    tools = row_maker.library.tools
    orders = 0
    for box, _ in boxes:
        names = row_maker.tool_lists.listing(box, "extended").real_names
        more = [name for name in names if name not in box]
        assert set(box) <= set(names)
        assert len(names) == len(set(names)) == len(box) + 2
        domain = tools[box[0]].domain
        if domain not in UNSEEN_DOMAINS:
            assert any(tools[name].domain == domain for name in more)
        orders += tuple(name for name in names if name in box) != box
    assert orders > len(boxes) / 2


def test_a_look_alike_has_a_name_like_one_of_the_box(row_maker):
    box = ("book_flight", "cancel_flight", "check_flight")
    (like,) = [
        name
        for name in row_maker.tool_lists.listing(box, "extended").real_names
        if name not in box and row_maker.library.tools[name].domain == "travel"
    ]
    assert "flight" in like


def test_a_masked_list_hides_names_and_keeps_descriptions(row_maker, boxes):
    for box, _ in boxes:
        listing = row_maker.tool_lists.listing(box, "masked")
        names = [tool["function"]["name"] for tool in listing.definitions]
        assert len(set(names)) == len(box)
        for name, real, tool in zip(names, box, listing.definitions, strict=True):
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
    for box, call, text in calls:
        listing = row_maker.tool_lists.listing(box, variant)
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


def test_an_intent_that_no_box_fits_is_an_error(row_maker):
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
    box = other._lists["travel", False][3]
    assert other.listing(box, "extended") == row_maker.tool_lists.listing(box, "extended")
