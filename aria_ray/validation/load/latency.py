"""Rates, percentiles and goodput from the timings of a load, with the interval of the rate.

Definitions are those of `vllm bench serve`; where one differs, its docstring says how and why. A test runs both tools on one
endpoint. The times of one request are defined at `client.StreamTiming`.
"""

import itertools
import statistics
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from aria_ray.config.schema import ObjectivesConfig
from aria_ray.intervals import mean_interval
from aria_ray.results import Distribution, LoadSummary
from aria_ray.validation.client import StreamTiming
from aria_ray.validation.load.generator import LoadResult

MIN_WINDOWS, MAX_WINDOWS = 8, 20
"""Fewest and most windows for the interval of a rate."""
MIN_ARRIVALS = 10
"""Fewest chunks per window, on average, for the interval of a rate: the number of fewer chunks is mostly chance."""
_PERCENTILES = (50, 90, 95, 99)
_MAX_REASONS = 5


def summarise(result: LoadResult, objectives: ObjectivesConfig) -> LoadSummary:
    """The summary of a load. A figure that was not measured is None, as is every rate and time where the client was the limit.

    `output_tokens_per_s` counts all streams from the first request's start to the last one's end, so it includes the ramp at
    both ends. It leaves out the tokens of failed requests.
    """
    prompt_tokens = [timing.prompt_tokens for timing in result.timings]
    reasons = Counter(failure.reason for failure in result.failures)
    return LoadSummary(
        arrivals="closed" if result.rate_per_s is None else "poisson",
        concurrency=result.concurrency,
        rate_per_s=result.rate_per_s,
        requests=len(result.results),
        failures=len(result.failures),
        reasons=tuple(reason for reason, _ in reasons.most_common(_MAX_REASONS)),
        notes=tuple(result.notes),
        retries=sum(part.retries for part in result.results),
        wall_s=result.wall_s,
        output_tokens=sum(timing.completion_tokens for timing in result.timings),
        prompt_tokens=None if None in prompt_tokens or not prompt_tokens else sum(filter(None, prompt_tokens)),
        objectives=objectives,
        client_cpu_share=max(result.client_cpu_shares, default=None),
        client_limited=result.client_limited,
        **({} if result.client_limited else _rates_and_times(result, objectives)),
    )


def _rates_and_times(result: LoadResult, objectives: ObjectivesConfig) -> dict[str, Any]:
    return {
        "output_tokens_per_s": output_tokens_per_s(result),
        "output_tokens_per_s_interval": rate_interval(result),
        "requests_per_s": len(result.timings) / result.wall_s if result.timings else None,
        "ttft_ms": _distribution_ms(timing.ttft_s for timing in result.timings),
        "tpot_ms": _distribution_ms(timing.tpot_s for timing in result.timings),
        "e2e_ms": _distribution_ms(timing.e2e_s for timing in result.timings),
        "first_call_ms": _distribution_ms(timing.time_to_first_call_s for timing in result.timings),
        "goodput_per_s": goodput_per_s(result, objectives),
    }


def output_tokens_per_s(result: LoadResult) -> float | None:
    """Output tokens per second of all streams, over the wall time; None where no answer was complete."""
    tokens = sum(timing.completion_tokens for timing in result.timings)
    return tokens / result.wall_s if tokens else None


def goodput_per_s(result: LoadResult, objectives: ObjectivesConfig) -> float | None:
    """Requests per second that meet every service level objective (`vllm bench serve`); None without an objective."""
    if objectives == ObjectivesConfig() or not result.wall_s:
        return None
    return sum(keeps(objectives, timing) for timing in result.timings) / result.wall_s


def keeps(objectives: ObjectivesConfig, timing: StreamTiming) -> bool:
    """Whether a request meets all objectives. A time per token that could not be measured meets no limit on it.

    An answer of one token has no time per token and meets every limit on it, as in `vllm bench serve`.
    """
    tpot_s = 0.0 if timing.completion_tokens == 1 else timing.tpot_s
    limits = ((objectives.ttft_ms, timing.ttft_s), (objectives.tpot_ms, tpot_s), (objectives.e2e_ms, timing.e2e_s))
    return all(limit is None or (time_s is not None and 1000 * time_s <= limit) for limit, time_s in limits)


def rate_interval(result: LoadResult) -> tuple[float, float] | None:
    """95 % interval of `output_tokens_per_s`, from its spread over equal windows of time.

    The windows lie between the first and the last moment at which all streams are busy, so the ramps do not count as spread.
    Where there is time for eight, a window is as long as a request: shorter ones would see the prompt part and the answer part
    of a request as different rates, and the interval would be too wide. Student's t gives the half width as a share of the
    windows' mean; that share is put around the rate of the whole load. The windows are taken as independent, so the interval is
    too narrow where the rate drifts.

    None where there are too few windows, and for an open loop, whose rate is that of the arrivals.
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


def window_rates(result: LoadResult, duration_s: float, num_windows: int) -> list[float]:
    """Output tokens per second in each of `num_windows` equal windows from the first request on; [] where none succeeded."""
    if not result.timings:
        return []
    return _rates(result.timings, min(timing.started_s for timing in result.timings), duration_s, num_windows)


def coefficient_of_variation(rates: Sequence[float]) -> float | None:
    """Standard deviation over mean of all windows but the first, which holds the ramp-up; None where the mean is 0."""
    steady = list(rates[1:])
    if len(steady) < 2 or statistics.mean(steady) == 0:
        return None
    return statistics.stdev(steady) / statistics.mean(steady)


def _rates(timings: Iterable[StreamTiming], start_s: float, span_s: float, num_windows: int) -> list[float]:
    """Tokens per second in each window; a token counts in the window in which it arrived."""
    counts = [0] * num_windows
    width_s = span_s / num_windows
    for timing in timings:
        for (_, before), (moment, tokens) in itertools.pairwise([(0.0, 0), *timing.arrivals]):
            window = int((moment - start_s) // width_s)
            if 0 <= window < num_windows:
                counts[window] += tokens - before
    return [count / width_s for count in counts]


def _all_busy(result: LoadResult) -> tuple[float, float] | None:
    """The first and the last moment at which every stream of a closed loop has a request in flight; None without them."""
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


def _distribution_ms(times_s: Iterable[float | None]) -> Distribution | None:
    """Mean and percentiles of the times that were measured, linearly interpolated as in numpy and `vllm bench serve`."""
    measured = [1000 * time_s for time_s in times_s if time_s is not None]
    if not measured:
        return None
    quantiles = zip(_PERCENTILES, np.percentile(measured, _PERCENTILES), strict=True)
    return Distribution(mean=statistics.mean(measured), **{f"p{percent}": float(value) for percent, value in quantiles})
