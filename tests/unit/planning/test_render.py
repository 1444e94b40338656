"""The page: fits the width, tells what is on the plan, and never a figure for what has none."""

import re

import pytest

from aria_ray.planning.render import WIDTH, render_plan

ONE_OF_70B = "model.source=meta-llama/Llama-3.1-70B"


def part(text, title):
    """The lines from one title to the next empty line after its table."""
    lines = text.splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith(title))
    ends = [number for number in range(start + 2, len(lines)) if not lines[number]]
    return "\n".join(lines[start : ends[0]])


@pytest.mark.parametrize(
    ("recipe", "hardware"), [("mi300x", "mi300x"), ("h100", "h100"), ("laptop", "cpu"), ("smoke", "mi300x")]
)
def test_every_recipe_has_a_page(recipe, hardware, make_plan):
    plan = make_plan(recipe, hardware)
    text = render_plan(plan)
    assert all(len(line) <= WIDTH for line in text.splitlines())
    assert len(text.splitlines()) < 90
    for expected in ("Memory per device", "Training:", "Decoding", "Replicas for", "Targets", "Recommended", "Unmeasured"):
        assert expected in text
    for row in plan.targets:
        assert row.verdict in text


def test_no_speed_of_the_tiny_recipe_is_rounded_to_nothing(make_plan):
    plan = make_plan("smoke", "mi300x")
    assert plan.training.bound_ms < 0.5
    text = render_plan(plan)
    for title in ("Training", "Decoding", "Replicas"):
        figures = re.findall(r"(?<![\d.,])[\d.,]+(?![\d.,])", part(text, title).replace(",", ""))
        assert all(float(each) > 0 for each in figures if each.strip("."))
    assert "e+" not in text


def test_what_does_not_fit_has_no_figures(make_plan):
    text = render_plan(make_plan("mi300x", "h100", ONE_OF_70B))
    assert "Training: does not fit" in text
    assert not re.search(r"\d (m|a)\b", part(text, "Decoding"))
    assert part(text, "Replicas").count("does not fit") == 2


def test_streams_that_do_not_all_fit_are_marked(make_plan):
    plan = make_plan("mi300x", "mi300x", ONE_OF_70B, "validation.concurrency=4096")
    fitting = next(row.fitting_streams for row in plan.decoding if row.streams == 4096)
    assert f", {fitting} fit" in part(render_plan(plan), "Decoding")


def test_a_slow_replica_has_more_than_zero_requests_a_second(make_plan):
    plan = make_plan("mi300x", "mi300x", "training.max_tokens=131072", "training.tokens_per_step=16384000")
    assert plan.load[0].replica_bound_per_s < 0.5
    assert "0.21" in part(render_plan(plan), "Replicas")


def test_a_slow_stream_has_more_than_zero_tokens_a_second(make_plan):
    plan = make_plan("laptop", "cpu", "model.source=meta-llama/Llama-3.2-3B")
    assert plan.decoding[0].estimated_tokens_per_s < 0.5
    assert "(0.25) m" in part(render_plan(plan), "Decoding")


def test_what_nobody_published_is_unknown(make_plan):
    text = part(render_plan(make_plan("h100", "h100")), "Decoding")
    assert text.count("unknown") == 4
    assert not re.search(r"\(\d", text)
