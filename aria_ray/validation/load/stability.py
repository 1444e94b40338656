"""Stability of an endpoint under sustained load: spread and drift of throughput, growth of memory, failures."""

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from aria_ray.intervals import deviation_interval, relative_trend
from aria_ray.results import Stability
from aria_ray.validation.load.generator import Load, LoadResult, prompts
from aria_ray.validation.load.latency import coefficient_of_variation, window_rates

NUM_WINDOWS = 12
"""Number of windows of the sustained load. The first holds the ramp-up and does not count."""
_GOLDEN = 0.618034
"""Golden ratio minus one: its multiples modulo 1 spread evenly over 0 to 1, however many there are."""


def sustained_load(cases: Sequence[Mapping[str, Any]], output_tokens: int, concurrency: int, duration_s: float) -> Load:
    """A load of `concurrency` streams for `duration_s` seconds, with answers of 0.5 to 1.5 times `output_tokens`.

    With answers of one length, all streams would read their prompts together and answer together. Throughput would then swing
    between zero and its peak even on a steady engine: a coefficient of variation of 0.5 was measured.
    """
    bodies = prompts(cases, output_tokens)
    varied = tuple(
        {**body, "max_tokens": max(2, round(output_tokens * (0.5 + index * _GOLDEN % 1)))} for index, body in enumerate(bodies)
    )
    return Load(requests=varied, concurrency=concurrency, duration_s=duration_s)


def summarise_stability(result: LoadResult, duration_s: float, memory_gib: Sequence[float]) -> Stability:
    """The summary of a sustained load. `memory_gib` holds samples of the serving processes' memory at equal intervals.

    Drift is the rise of a straight line fitted to the windows' rates, from the first window to the last, as a share of their
    mean, with its 95 % interval. Growth is the same for the memory. Failed requests are counted and are part of no rate. Rates
    are left out where the client was the limit.
    """
    rates = [] if result.client_limited else window_rates(result, duration_s, NUM_WINDOWS)
    spread = deviation_interval(rates[1:])
    drift, growth = relative_trend(rates[1:]), relative_trend(memory_gib)
    mean = statistics.mean(rates[1:]) if any(rates[1:]) else None
    return Stability(
        duration_s=duration_s,
        window_s=duration_s / NUM_WINDOWS,
        rates=tuple(rates),
        cv=coefficient_of_variation(rates),
        cv_interval=(spread[0] / mean, spread[1] / mean) if spread and mean else None,
        drift_share=drift[0] if drift else None,
        drift_interval=drift[1:] if drift else None,
        memory_gib=tuple(memory_gib),
        memory_growth_share=growth[0] if growth else None,
        memory_growth_interval=growth[1:] if growth else None,
        requests=len(result.results),
        failures=len(result.failures),
        reasons=tuple(sorted({failure.reason for failure in result.failures})[:5]),
        client_limited=result.client_limited,
    )
