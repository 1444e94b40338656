"""What the timings of a load come to: rates, percentiles, goodput, and how sure they are.

The definitions are those of `vllm bench serve`, or the docstring says how and why they differ; a test has both tools measure
one endpoint. Times of one request are defined at `client.StreamTiming`.
"""

import itertools
import statistics
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from aria_ray.intervals import mean_interval
from aria_ray.validation.client import StreamTiming
from aria_ray.validation.load.generator import LoadResult

NUM_WINDOWS = 10
"""Of the sustained load."""
MIN_WINDOWS, MAX_WINDOWS = 8, 20
"""Of a rate's interval."""
MIN_ARRIVALS = 10
"""Chunks that a window of a rate's interval holds on average: with fewer, their number is mostly chance."""
_PERCENTILES = (50, 90, 95, 99)
_MAX_REASONS = 5


@dataclass(frozen=True)
class Slo:
    """What a request must keep to be good; None where a time does not matter."""

    ttft_ms: float | None = None
    tpot_ms: float | None = None
    e2e_ms: float | None = None

    def is_met(self, timing: StreamTiming) -> bool:
        """Whether a request keeps all of it. A time per token that could not be measured keeps no limit on it.

        An answer of one token has no time per token and keeps every limit, as in `vllm bench serve`.
        """
        tpot_s = 0.0 if timing.completion_tokens == 1 else timing.tpot_s
        limits = ((self.ttft_ms, timing.ttft_s), (self.tpot_ms, tpot_s), (self.e2e_ms, timing.e2e_s))
        return all(limit is None or (time_s is not None and 1000 * time_s <= limit) for limit, time_s in limits)


def summarise(result: LoadResult, slo: Slo) -> dict[str, Any]:
    """The facts of a load. What was not measured is None, and so is every rate and time where the client was the limit.

    `output_tokens_per_s` is of all streams, over the time from the first request's start to the last one's end, so it holds the
    ramp at both ends; tokens of requests that failed are not in it.
    """
    tokens = sum(timing.completion_tokens for timing in result.timings)
    prompt_tokens = [timing.prompt_tokens for timing in result.timings]
    reasons = Counter(failure.reason for failure in result.failures)
    facts = {
        "arrivals": "closed" if result.rate_per_s is None else "poisson",
        "concurrency": result.concurrency,
        "rate_per_s": result.rate_per_s,
        "requests": len(result.results),
        "failures": len(result.failures),
        "reasons": [reason for reason, _ in reasons.most_common(_MAX_REASONS)],
        "notes": result.notes,
        "retries": sum(part.retries for part in result.results),
        "wall_s": result.wall_s,
        "output_tokens": tokens,
        "prompt_tokens": None if None in prompt_tokens or not prompt_tokens else sum(filter(None, prompt_tokens)),
        "slo": asdict(slo),
        "client_cpu_share": max(result.client_cpu_shares, default=None),
        "client_limited": result.client_limited,
    }
    measured = _rates_and_times(result, slo)
    return facts | (dict.fromkeys(measured) if result.client_limited else measured)


def _rates_and_times(result: LoadResult, slo: Slo) -> dict[str, Any]:
    interval = rate_interval(result)
    return {
        "output_tokens_per_s": output_tokens_per_s(result),
        "output_tokens_per_s_interval": None if interval is None else list(interval),
        "requests_per_s": len(result.timings) / result.wall_s if result.timings else None,
        "ttft_ms": _distribution_ms(timing.ttft_s for timing in result.timings),
        "tpot_ms": _distribution_ms(timing.tpot_s for timing in result.timings),
        "e2e_ms": _distribution_ms(timing.e2e_s for timing in result.timings),
        "first_call_ms": _distribution_ms(timing.time_to_first_call_s for timing in result.timings),
        "goodput_per_s": goodput_per_s(result, slo),
    }


def output_tokens_per_s(result: LoadResult) -> float | None:
    """Output tokens of all streams over the wall time; None where nothing came back whole."""
    tokens = sum(timing.completion_tokens for timing in result.timings)
    return tokens / result.wall_s if tokens else None


def goodput_per_s(result: LoadResult, slo: Slo) -> float | None:
    """Requests per second that keep every service level objective (`vllm bench serve`); None without an objective."""
    if slo == Slo() or not result.wall_s:
        return None
    return sum(map(slo.is_met, result.timings)) / result.wall_s


def rate_interval(result: LoadResult) -> tuple[float, float] | None:
    """95 % interval of `output_tokens_per_s`, from its spread over equal windows of time; None where they would be too few.

    The windows lie between the moments when all streams are first and last busy, so that the ramps are not taken for spread,
    and are as long as a request where there is time for eight such: shorter ones see the prompt's share of a request and the
    answer's share as different rates, which makes the interval wider than it need be. Student's t gives the half width as a
    share of their mean, and that share is put around the rate of the whole load. It takes windows for independent, so where
    the rate drifts it is too narrow. None too for an open loop, whose rate is what arrives.
    """
    span, rate = _all_busy(result), output_tokens_per_s(result)
    if span is None or rate is None:
        return None
    start, end = span
    arrivals = sum(start <= moment < end for timing in result.timings for moment, _ in timing.arrivals)
    requests_long = (end - start) / statistics.mean(timing.e2e_s for timing in result.timings)
    num_windows = min(MAX_WINDOWS, max(MIN_WINDOWS, int(requests_long)), arrivals // MIN_ARRIVALS)
    if num_windows < MIN_WINDOWS:
        return None
    rates = _rates(result.timings, start, end - start, num_windows)
    low_high = mean_interval(rates)
    if low_high is None:
        return None
    mean = statistics.mean(rates)
    return (max(0.0, rate * low_high[0] / mean), rate * low_high[1] / mean)


def window_rates(result: LoadResult, duration_s: float, num_windows: int = NUM_WINDOWS) -> list[float]:
    """Output tokens per second in each of equal windows of a sustained load, from the first request on; [] without any."""
    if not result.timings:
        return []
    return _rates(result.timings, min(timing.started_s for timing in result.timings), duration_s, num_windows)


def coefficient_of_variation(rates: Sequence[float]) -> float | None:
    """Standard deviation over mean, of the windows after the first (which holds the ramp-up); None without a mean."""
    steady = list(rates[1:])
    if len(steady) < 2 or statistics.mean(steady) == 0:
        return None
    return statistics.stdev(steady) / statistics.mean(steady)


def _rates(timings: Iterable[StreamTiming], start_s: float, span_s: float, num_windows: int) -> list[float]:
    """Tokens per second in each window, every token counted where it came."""
    counts = [0] * num_windows
    width_s = span_s / num_windows
    for timing in timings:
        for (_, before), (moment, tokens) in itertools.pairwise([(0.0, 0), *timing.arrivals]):
            window = int((moment - start_s) // width_s)
            if 0 <= window < num_windows:
                counts[window] += tokens - before
    return [count / width_s for count in counts]


def _all_busy(result: LoadResult) -> tuple[float, float] | None:
    """The first and the last moment at which as many requests are in flight as the closed loop has streams."""
    if result.concurrency is None:
        return None
    changes = sorted(
        (moment, change)
        for part in result.results
        for moment, change in ((part.started_s, 1), (part.ended_s, -1))
        if moment is not None
    )
    in_flight = list(itertools.accumulate(change for _, change in changes))
    full = [index for index, number in enumerate(in_flight) if number == result.concurrency]
    if not full:
        return None
    start, end = changes[full[0]][0], changes[full[-1] + 1][0]  # a change follows: in the end none is in flight
    return (start, end) if end > start else None


def _distribution_ms(times_s: Iterable[float | None]) -> dict[str, float] | None:
    """Mean and percentiles (interpolated linearly, as numpy and `vllm bench serve` do), of those that were measured."""
    measured = [1000 * time_s for time_s in times_s if time_s is not None]
    if not measured:
        return None
    quantiles = zip(_PERCENTILES, np.percentile(measured, _PERCENTILES), strict=True)
    return {"mean": statistics.mean(measured), **{f"p{percent}": float(value) for percent, value in quantiles}}
