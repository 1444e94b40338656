"""Loads put on an endpoint that keeps a schedule: what is sent, how many at a time, and when."""

import statistics
from collections.abc import Iterable
from itertools import accumulate, pairwise
from typing import Any

import pytest
from fake_endpoint import Behaviour, fake_endpoint

from aria_ray.records import Endpoint
from aria_ray.validation.client import RequestFailure, StreamTiming
from aria_ray.validation.load.generator import Load, LoadResult, arrival_times, measure_load, prompts

TOOL = {"type": "function", "function": {"name": "percent_of", "parameters": {"type": "object", "properties": {}}}}
CASES = [
    {"messages": [{"role": "user", "content": f"question {number}"}, {"role": "assistant", "content": "x"}], "tools": [TOOL]}
    for number in range(3)
]
BODIES = prompts(CASES, 8)


def measured(
    behaviour: Behaviour, load: Load, num_processes: int = 1, **options: Any
) -> tuple[LoadResult, list[dict[str, Any]]]:
    """The result, and the bodies that the endpoint got."""
    received: list[dict[str, Any]] = []
    with fake_endpoint(behaviour, received) as endpoint:
        result = measure_load(endpoint, load, num_processes=num_processes, timeout_s=30, **{"retry_s": 0.0} | options)
    return result, received


def most_in_flight(results: Iterable[StreamTiming | RequestFailure]) -> int:
    changes = sorted((moment, step) for part in results for moment, step in ((part.started_s, 1), (part.ended_s, -1)))
    return max(accumulate(step for _, step in changes))


def questions(bodies: list[dict[str, Any]]) -> list[str]:
    return [body["messages"][-1]["content"] for body in bodies]


@pytest.mark.subprocess
@pytest.mark.parametrize(("concurrency", "num_processes"), [(1, 1), (3, 2), (4, 2), (2, 4)])
def test_a_closed_loop_keeps_its_streams_busy_and_no_more(concurrency: int, num_processes: int) -> None:
    load = Load(BODIES, concurrency=concurrency, num_requests=7)
    result, received = measured(Behaviour(ttft_s=0.1, gap_s=0.01), load, num_processes)
    assert (len(result.timings), result.failures) == (7, ())
    assert most_in_flight(result.timings) == concurrency
    assert len(result.client_cpu_shares) == min(num_processes, concurrency)
    assert all(0 < share < 1.5 for share in result.client_cpu_shares)
    assert sorted(text.split(". ")[1] for text in questions(received)) == sorted(f"question {i % 3}" for i in range(7))
    starts = [timing.started_s for timing in result.timings]
    assert starts == sorted(starts)


@pytest.mark.subprocess
def test_fewer_requests_than_streams() -> None:
    result, _ = measured(Behaviour(), Load(BODIES, concurrency=8, num_requests=3), num_processes=4)
    assert len(result.timings) == 3
    assert len(result.client_cpu_shares) == 3


@pytest.mark.subprocess
def test_a_load_that_lasts_goes_round_and_asks_nothing_twice() -> None:
    result, received = measured(Behaviour(gap_s=0.005), Load(BODIES, concurrency=2, duration_s=1.0), num_processes=2)
    assert len(result.timings) > len(BODIES)
    assert len(set(questions(received))) == len(received) == len(result.timings)
    over_s = min(timing.started_s for timing in result.timings) + 1.0
    assert 1 <= sum(timing.ended_s >= over_s for timing in result.timings) <= 2  # those in flight at the end


@pytest.mark.subprocess
def test_no_two_loads_ask_the_same() -> None:
    received: list[dict[str, Any]] = []
    with fake_endpoint(Behaviour(), received) as endpoint:
        for _ in range(2):
            measure_load(endpoint, Load(BODIES, concurrency=1, num_requests=3), num_processes=1, timeout_s=30)
    assert len(set(questions(received))) == 6


@pytest.mark.subprocess
def test_an_open_loop_starts_when_requests_are_due_whatever_is_in_flight() -> None:
    received: list[dict[str, Any]] = []
    sent_by_then: list[int] = []
    with fake_endpoint(Behaviour(ttft_s=0.4, max_streams=1, tokens=1), received) as endpoint:
        result = measure_load(
            endpoint,
            Load(BODIES, rate_per_s=20, num_requests=8, seed=3),
            num_processes=2,
            timeout_s=30,
            on_result=lambda _: sent_by_then.append(len(received)),
        )
    due = arrival_times(20, 8, None, seed=3)
    starts = [timing.started_s for timing in result.timings]
    assert [start - starts[0] for start in starts] == pytest.approx([moment - due[0] for moment in due], abs=1e-6)
    assert sent_by_then[0] > 2  # one stream of each process would be two


def test_arrivals_are_a_poisson_process_of_the_rate() -> None:
    moments = arrival_times(4.0, 20_000, None, seed=0)
    gaps = [later - earlier for earlier, later in pairwise([0.0, *moments])]
    assert min(gaps) > 0
    assert statistics.mean(gaps) == pytest.approx(1 / 4, rel=0.03)
    assert statistics.stdev(gaps) == pytest.approx(1 / 4, rel=0.03)  # an exponential's deviation is its mean
    assert arrival_times(4.0, 5, None, seed=0) == moments[:5] != arrival_times(4.0, 5, None, seed=1)
    assert arrival_times(4.0, None, 10.0, seed=0) == [moment for moment in moments if moment < 10]
    assert len(arrival_times(4.0, 3, 10.0, seed=0)) == 3


def test_an_open_loop_too_short_for_a_request_measures_nothing() -> None:
    result, received = measured(Behaviour(), Load(BODIES, rate_per_s=0.001, duration_s=0.01))
    assert (result.timings, result.failures, result.wall_s, received) == ((), (), 0.0, [])


@pytest.mark.subprocess
def test_results_are_told_while_the_load_goes_on() -> None:
    received: list[dict[str, Any]] = []
    seen: list[tuple[object, int]] = []
    with fake_endpoint(Behaviour(ttft_s=0.2, error_at=(2,)), received) as endpoint:
        load = Load(BODIES, concurrency=1, num_requests=5)
        result = measure_load(
            endpoint, load, num_processes=1, timeout_s=30, retry_s=0, on_result=lambda item: seen.append((item, len(received)))
        )
    assert [type(item) for item, _ in seen] == [StreamTiming, RequestFailure, *[StreamTiming] * 3]
    assert sorted(map(repr, result.results)) == sorted(repr(item) for item, _ in seen)
    assert seen[0][1] < 5


@pytest.mark.subprocess
def test_requests_that_fail_are_counted_and_take_their_time() -> None:
    result, _ = measured(
        Behaviour(ttft_s=0.05, gap_s=0.02, cut_at=(4,), error_at=(2,)), Load(BODIES, concurrency=1, num_requests=4)
    )
    assert len(result.timings) == 2
    assert ["HTTP 500" in failure.reason for failure in result.failures] == [True, False]
    assert result.wall_s == result.failures[-1].ended_s - result.timings[0].started_s


@pytest.mark.subprocess
def test_an_endpoint_that_is_not_there_is_failures_and_no_zero() -> None:
    nowhere = Endpoint(base_url="http://127.0.0.1:1/v1", model="m")
    result = measure_load(nowhere, Load(BODIES, concurrency=2, num_requests=4), num_processes=2, timeout_s=5, retry_s=0)
    assert result.timings == ()
    assert len(result.failures) == 4


@pytest.mark.subprocess
def test_a_load_that_lasts_does_not_hammer_an_endpoint_that_fails() -> None:
    result, received = measured(Behaviour(error_at=range(1, 10**9)), Load(BODIES, concurrency=1, duration_s=1.2))
    assert 1 <= len(received) == len(result.failures) <= 3


@pytest.mark.subprocess
def test_a_refused_field_and_short_answers_are_noted() -> None:
    load = Load(BODIES, concurrency=1, num_requests=2)
    result, _ = measured(Behaviour(refuses=("ignore_eos",), tokens=3), load)
    assert result.notes == [
        "the endpoint refuses continuous_usage_stats and ignore_eos, so requests went without",
        "2 of 2 answers are shorter than the 8 tokens asked for",
    ]
    assert measured(Behaviour(), load)[0].notes == []


@pytest.mark.subprocess
def test_answers_that_show_nothing_are_noted() -> None:
    result, _ = measured(Behaviour(blank=True), Load(BODIES, concurrency=1, num_requests=2))
    assert result.notes == ["2 of 2 answers show no text, so the server's token counts time them"]


def test_forced_answers_are_text_of_one_length() -> None:
    body = BODIES[1]
    assert body["messages"] == [{"role": "user", "content": "question 1"}]
    assert (body["tools"], body["tool_choice"], body["ignore_eos"], body["max_tokens"]) == ([TOOL], "none", True, 8)
    assert Load(BODIES, concurrency=1, num_requests=1).output_tokens == 8


@pytest.mark.subprocess
def test_natural_answers_may_call_and_end() -> None:
    bodies = prompts(CASES, 8, natural=True)
    assert bodies[0]["tool_choice"] == "auto"
    assert "ignore_eos" not in bodies[0]
    load = Load(bodies, concurrency=1, num_requests=2)
    assert load.output_tokens is None
    result, _ = measured(Behaviour(tokens=6, call_after=2), load)
    assert [timing.first_call_s is not None for timing in result.timings] == [True, True]
    assert result.notes == []


def test_a_case_without_tools_asks_for_none() -> None:
    (body,) = prompts([{**CASES[0], "tools": []}], 8)
    assert not {"tools", "tool_choice"} & body.keys()


@pytest.mark.parametrize(
    ("wrong", "rule"),
    [
        ({"requests": ()}, "one body or more"),
        ({"concurrency": None}, "must be given, and not both"),
        ({"rate_per_s": 2.0}, "must be given, and not both"),
        ({"num_requests": None}, "a load must end"),
        ({"concurrency": 0}, r"concurrency \(0\) must be above 0"),
        ({"duration_s": -1.0}, r"duration_s \(-1.0\) must be above 0"),
    ],
)
def test_a_load_that_makes_no_sense_is_refused(wrong: dict[str, Any], rule: str) -> None:
    with pytest.raises(ValueError, match=rule):
        Load(**{"requests": BODIES, "concurrency": 1, "num_requests": 1} | wrong)
