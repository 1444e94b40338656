"""Stability from given timings: what drifts, what spreads, what fails."""

import pytest

from aria_ray.validation.client import RequestFailure, StreamTiming
from aria_ray.validation.load.generator import LoadResult
from aria_ray.validation.load.stability import NUM_WINDOWS, summarise_stability, sustained_load

CASES = [{"messages": [{"role": "user", "content": f"Question {number}?"}], "tools": []} for number in range(50)]
DURATION_S = 60.0


def result(rates, failures=0, client_cpu_share=0.1):
    """One stream that makes `rates` tokens in each second in turn."""
    arrivals, total = [], 0
    for second, rate in enumerate(rates):
        total += rate
        arrivals.append((second + 0.5, total))
    timing = StreamTiming(0.0, 0.1, float(len(rates)), total, tuple(arrivals))
    failed = tuple(RequestFailure("HTTP 500", started_s=1.0, ended_s=2.0) for _ in range(failures))
    return LoadResult(
        concurrency=1,
        rate_per_s=None,
        output_tokens=None,
        timings=(timing,),
        failures=failed,
        client_cpu_shares=(client_cpu_share,),
    )


def test_a_steady_endpoint():
    facts = summarise_stability(result([100, 102, 98] * 20), DURATION_S, [5.0, 5.01, 5.0, 5.01, 5.0])
    assert len(facts.rates) == NUM_WINDOWS
    assert facts.cv < 0.03
    assert facts.cv_interval[0] < facts.cv < facts.cv_interval[1] < 0.06
    low, high = facts.drift_interval
    assert low < facts.drift_share < high
    assert -0.05 < low < 0.05
    assert facts.memory_growth_interval[1] < 0.01
    assert facts.failures == 0


def test_throughput_that_decays_is_seen_and_by_how_much():
    # From 200 to 100 tokens a second; from the second window's middle to the last one's, 50 s, by 85 of a mean of 146.
    facts = summarise_stability(result([200 - round(100 * second / 59) for second in range(60)]), DURATION_S, [])
    assert facts.drift_share == pytest.approx(-0.58, abs=0.01)
    assert facts.drift_interval[1] < -0.5
    assert facts.memory_growth_share is None


def test_memory_that_grows_is_seen():
    facts = summarise_stability(result([100] * 60), DURATION_S, [4.0, 4.1, 4.2, 4.3, 4.4])
    assert facts.memory_growth_share == pytest.approx(0.4 / 4.2)
    assert facts.memory_growth_interval[0] > 0.05


def test_failures_are_counted_and_no_rate():
    facts = summarise_stability(result([100] * 60, failures=3), DURATION_S, [])
    assert (facts.requests, facts.failures, facts.reasons) == (4, 3, ("HTTP 500",))


def test_where_the_client_was_the_limit_no_rate_is_told():
    facts = summarise_stability(result([100] * 60, client_cpu_share=0.95), DURATION_S, [])
    assert (facts.rates, facts.cv, facts.drift_share) == ((), None, None)


def test_the_sustained_load_asks_for_answers_of_many_lengths():
    load = sustained_load(CASES, 64, 16, DURATION_S)
    lengths = [body["max_tokens"] for body in load.requests]
    assert min(lengths) < 40
    assert max(lengths) > 88
    assert sum(lengths) / len(lengths) == pytest.approx(64, rel=0.05)
    first = lengths[:16]  # what the streams begin with, all at once: no two end together
    assert len(set(first)) == len(first)
