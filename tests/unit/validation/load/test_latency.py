"""Arithmetic of the load measurements, on timings made by hand."""

import random
from dataclasses import replace
from typing import Any

import pytest
from fake_endpoint import Behaviour, fake_endpoint

from aria_ray.config.schema import ObjectivesConfig
from aria_ray.validation.client import RequestFailure, StreamTiming
from aria_ray.validation.load.generator import Load, LoadResult, measure_load
from aria_ray.validation.load.latency import (
    coefficient_of_variation,
    goodput_per_s,
    keeps,
    output_tokens_per_s,
    rate_interval,
    summarise,
    window_rates,
)

RATES_AND_TIMES = {
    "output_tokens_per_s",
    "output_tokens_per_s_interval",
    "requests_per_s",
    "ttft_ms",
    "tpot_ms",
    "e2e_ms",
    "first_call_ms",
    "goodput_per_s",
}
COUNTS = {
    "arrivals",
    "concurrency",
    "rate_per_s",
    "requests",
    "failures",
    "reasons",
    "notes",
    "retries",
    "wall_s",
    "output_tokens",
    "prompt_tokens",
    "slo",
    "client_cpu_share",
    "client_limited",
}


def timing(start: float, moments: list[float], **more: Any) -> StreamTiming:
    """A stream of one token at each moment, counted from its start."""
    arrivals = tuple((start + moment, count) for count, moment in enumerate(moments, start=1))
    return StreamTiming(start, start + moments[0], start + moments[-1], len(moments), arrivals, **more)


def result_of(*timings: StreamTiming, failures: tuple[RequestFailure, ...] = (), **more: Any) -> LoadResult:
    given: dict[str, Any] = {"concurrency": 1, "rate_per_s": None, "output_tokens": None, "client_cpu_shares": (0.1,)}
    return LoadResult(timings=timings, failures=failures, **given | more)


def even(start: float, num_tokens: int, gap_s: float) -> StreamTiming:
    return timing(start, [gap_s * token for token in range(1, num_tokens + 1)])


def test_the_facts_of_a_load() -> None:
    slow = timing(100.0, [0.5, 1.0, 1.5], prompt_tokens=10, first_call_s=100.75, retries=1)
    fast = timing(100.0, [0.1, 0.2, 0.3, 0.4], prompt_tokens=20)
    lost = RequestFailure("HTTP 500: x", started_s=100.5, ended_s=102.0, retries=2)
    facts = summarise(result_of(slow, fast, failures=(lost,), concurrency=2), ObjectivesConfig(ttft_ms=200, tpot_ms=300))
    assert (facts.requests, facts.failures, facts.reasons, facts.retries) == (3, 1, ("HTTP 500: x",), 3)
    assert (facts.wall_s, facts.output_tokens, facts.prompt_tokens) == (2.0, 7, 30)
    assert (facts.output_tokens_per_s, facts.requests_per_s, facts.goodput_per_s) == (3.5, 1.0, 0.5)
    assert facts.ttft_ms.mean == facts.ttft_ms.p50 == pytest.approx(300)
    assert facts.tpot_ms.mean == pytest.approx((500 + 100) / 2)
    assert facts.e2e_ms.p90 == pytest.approx(400 + 0.9 * 1100)
    assert facts.first_call_ms.p99 == pytest.approx(750)
    assert facts.objectives == ObjectivesConfig(ttft_ms=200, tpot_ms=300)
    assert (facts.arrivals, facts.concurrency, facts.rate_per_s) == ("closed", 2, None)
    assert (facts.client_cpu_share, facts.client_limited) == (0.1, False)


def test_percentiles_are_of_the_requests() -> None:
    facts = summarise(result_of(*(timing(0.0, [number / 1000, 2.0]) for number in range(1, 102))), ObjectivesConfig())
    assert facts.ttft_ms.model_dump() == pytest.approx({"mean": 51, "p50": 51, "p90": 91, "p95": 96, "p99": 100})


def test_nothing_measured_is_none_and_not_zero() -> None:
    facts = summarise(result_of(failures=(RequestFailure("HTTP 500", started_s=1.0, ended_s=2.0),)), ObjectivesConfig())
    assert {name for name in RATES_AND_TIMES if getattr(facts, name) is not None} == set()
    assert facts.prompt_tokens is None
    assert (facts.failures, facts.wall_s) == (1, 1.0)
    assert coefficient_of_variation(window_rates(result_of(), 10, 4)) is None


def test_goodput_of_requests_that_all_fail_is_zero_and_without_an_objective_unmeasured() -> None:
    failed = result_of(failures=(RequestFailure("HTTP 500", started_s=1.0, ended_s=2.0),))
    assert goodput_per_s(failed, ObjectivesConfig(ttft_ms=100)) == 0
    assert goodput_per_s(failed, ObjectivesConfig()) is None


def test_prompt_tokens_that_not_every_answer_says_are_unknown() -> None:
    some = result_of(timing(0.0, [1.0, 2.0], prompt_tokens=5), timing(0.0, [1.0, 2.0]))
    assert summarise(some, ObjectivesConfig()).prompt_tokens is None


def test_what_a_busy_client_measured_is_refused() -> None:
    result = result_of(*(even(10.0 * turn, 100, 0.1) for turn in range(8)), client_cpu_shares=(0.2, 0.81))
    facts = summarise(result, ObjectivesConfig(ttft_ms=1000))
    assert facts.client_limited
    assert facts.client_cpu_share == 0.81
    assert {name for name in RATES_AND_TIMES if getattr(facts, name) is not None} == set()
    assert facts.output_tokens == 800
    calm = summarise(replace(result, client_cpu_shares=(0.2, 0.8)), ObjectivesConfig(ttft_ms=1000))
    assert {name for name in RATES_AND_TIMES if getattr(calm, name) is None} == {"first_call_ms"}


def test_goodput_is_of_requests_that_meet_all_objectives() -> None:
    early, late = timing(0.0, [0.1, 2.0]), timing(0.0, [1.0, 2.0])
    result = result_of(early, late)
    assert goodput_per_s(result, ObjectivesConfig(ttft_ms=100)) == 0.5
    assert goodput_per_s(result, ObjectivesConfig(ttft_ms=100, tpot_ms=1000)) == 0
    assert goodput_per_s(result, ObjectivesConfig(e2e_ms=2000)) == 1
    assert goodput_per_s(result, ObjectivesConfig(e2e_ms=1999)) == 0


def test_a_time_per_token_that_is_not_measured_meets_no_limit() -> None:
    at_once = StreamTiming(0.0, 1.0, 1.0, 8, ((1.0, 8),))
    assert not keeps(ObjectivesConfig(tpot_ms=10**6), at_once)
    assert keeps(ObjectivesConfig(ttft_ms=1000), at_once)
    assert keeps(ObjectivesConfig(tpot_ms=1), timing(0.0, [1.0]))  # of one token: there is no further one


def test_an_even_rate_has_a_narrow_interval_around_it() -> None:
    result = result_of(*(even(10.0 * turn, 100, 0.1) for turn in range(10)))
    low, high = rate_interval(result)
    assert low <= output_tokens_per_s(result) <= high
    assert high - low < 0.05 * output_tokens_per_s(result)


def test_the_ramps_are_not_in_the_interval() -> None:
    """Two streams, the second of which joins late and leaves early: between, the rate is even."""
    first, second = even(0.0, 1200, 0.1), even(20.0, 800, 0.1)
    low, high = rate_interval(result_of(first, second, concurrency=2))
    rate = output_tokens_per_s(result_of(first, second))
    assert high - low < 0.05 * rate
    assert (low + high) / 2 == pytest.approx(rate)


@pytest.mark.parametrize(
    ("result", "why"),
    [
        (result_of(even(0.0, 79, 0.1)), "windows of fewer than ten arrivals"),
        (result_of(even(0.0, 500, 0.1), even(60.0, 500, 0.1), concurrency=2), "the streams are never all busy"),
        (result_of(even(0.0, 500, 0.1), concurrency=None, rate_per_s=1.0), "the rate is what arrives"),
    ],
)
def test_a_rate_without_enough_windows_has_no_interval(result: LoadResult, why: str) -> None:
    assert rate_interval(result) is None, why


def test_the_interval_holds_the_true_rate_as_often_as_it_says() -> None:
    """Tokens at random moments, ten a second: of 300 intervals 95 % should hold 10, which is 285 with a deviation of 4."""
    draw = random.Random(0)
    held = 0
    for _ in range(300):
        moments, now = [], 0.0
        while (now := now + draw.expovariate(10)) < 40:
            moments.append(now)
        low, high = rate_interval(result_of(timing(0.0, [*moments, 40.0])))
        held += low <= 10 <= high
    assert 273 <= held <= 297


def test_windows_count_each_token_where_it_came() -> None:
    result = result_of(timing(100.0, [0.5, 1.5, 1.6, 9.5, 11.0]))
    assert window_rates(result, 10.0, num_windows=10) == [1, 2, 0, 0, 0, 0, 0, 0, 0, 1]
    assert window_rates(result, 10.0, num_windows=2) == [0.6, 0.2]


def test_variation_leaves_the_ramp_up_out() -> None:
    assert coefficient_of_variation([0.0, 10.0, 10.0, 10.0]) == 0.0
    assert coefficient_of_variation([10.0, 8.0, 12.0]) == pytest.approx(0.2828, abs=1e-4)


@pytest.mark.subprocess
def test_an_endpoint_that_slows_down_shows_in_what_is_measured() -> None:
    body = {"messages": [{"role": "user", "content": "q"}], "max_tokens": 10, "ignore_eos": True}
    with fake_endpoint(Behaviour(gap_s=0.01, decay_per_s=1.0, decay_from=3)) as endpoint:
        result = measure_load(endpoint, Load((body,), concurrency=1, duration_s=3), num_processes=1, timeout_s=30)
    assert result.timings[-1].tpot_s > 1.5 * result.timings[1].tpot_s
    rates = window_rates(result, 3, num_windows=4)
    assert rates[0] > rates[-1]
