"""Speed of the live endpoint: one stream alone, many at a time, and many for a while.

Answers are forced to a fixed number of tokens (`ignore_eos`), so every run does the same work. Prompts are held-out questions
with their tool lists, as long as real ones; each question opens with a number of its own, so that a prefix cache can know the
tool list, as in use, but never the question.
"""

import asyncio
import itertools
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from aria_ray.validation.client import Client, RequestFailure, StreamTiming

NUM_WINDOWS = 10
SINGLE_STREAM_REQUESTS = 4
_NUMBERS = itertools.count(1)


@dataclass(frozen=True)
class LoadResult:
    """Timings of a batch of streamed requests."""

    timings: tuple[StreamTiming, ...]
    failures: tuple[str, ...]
    wall_s: float

    @property
    def tokens_per_s(self) -> float | None:
        """Output tokens of all streams over the wall time of the batch; None where nothing came back whole."""
        tokens = sum(timing.completion_tokens for timing in self.timings)
        return tokens / self.wall_s if tokens else None

    @property
    def ttft_ms(self) -> float | None:
        """Median time to first token, in milliseconds; None where nothing came back whole."""
        waits = [timing.first_token_s - timing.started_s for timing in self.timings]
        return 1000 * statistics.median(waits) if waits else None


async def run_load(
    client: Client, cases: Sequence[Mapping[str, Any]], num_requests: int, concurrency: int, output_tokens: int
) -> LoadResult:
    """`num_requests` streamed requests, at most `concurrency` in flight (closed loop)."""
    free = asyncio.Semaphore(concurrency)

    async def one(index: int) -> StreamTiming | RequestFailure:
        async with free:
            return await _request(client, cases[index % len(cases)], output_tokens)

    started = time.perf_counter()
    results = await asyncio.gather(*(one(index) for index in range(num_requests)))
    return _collect(results, time.perf_counter() - started)


async def sustain_load(
    client: Client,
    cases: Sequence[Mapping[str, Any]],
    duration_s: float,
    concurrency: int,
    output_tokens: int,
    on_second: Callable[[float], None],
) -> LoadResult:
    """Keep `concurrency` requests in flight for `duration_s`; what is in flight then is let finish."""
    started = time.perf_counter()
    results: list[StreamTiming | RequestFailure] = []

    async def stream_on(first: int) -> None:
        index = first
        while time.perf_counter() - started < duration_s:
            result = await _request(client, cases[index % len(cases)], output_tokens)
            results.append(result)
            on_second(min(duration_s, time.perf_counter() - started))
            index += concurrency
            if isinstance(result, RequestFailure):
                await asyncio.sleep(0.5)  # an endpoint that is down is not hammered

    await asyncio.gather(*(stream_on(index) for index in range(concurrency)))
    return _collect(results, time.perf_counter() - started)


def window_rates(result: LoadResult, duration_s: float) -> list[float]:
    """Output tokens per second in each of ten equal windows of the sustained load, from the first request on."""
    if not result.timings:
        return []
    start = min(timing.started_s for timing in result.timings)
    width = duration_s / NUM_WINDOWS
    counts = [0] * NUM_WINDOWS
    for timing in result.timings:
        before = 0
        for moment, tokens in timing.arrivals:
            window = int((moment - start) / width)
            if window < NUM_WINDOWS:
                counts[window] += tokens - before
            before = tokens
    return [count / width for count in counts]


def coefficient_of_variation(rates: Sequence[float]) -> float | None:
    """Standard deviation over mean, of the windows after the first (which holds the ramp-up); None without a mean."""
    steady = list(rates[1:])
    if len(steady) < 2 or statistics.mean(steady) == 0:
        return None
    return statistics.stdev(steady) / statistics.mean(steady)


async def _request(client: Client, case: Mapping[str, Any], output_tokens: int) -> StreamTiming | RequestFailure:
    messages = [
        {**message, "content": f"{next(_NUMBERS)}. {message['content']}"} if message["role"] == "user" else message
        for message in case["messages"]
        if message["role"] in ("system", "user")
    ]
    return await client.stream(
        messages, tools=case["tools"], tool_choice="none", max_tokens=output_tokens, temperature=0, ignore_eos=True
    )


def _collect(results: Sequence[StreamTiming | RequestFailure], wall_s: float) -> LoadResult:
    return LoadResult(
        timings=tuple(result for result in results if isinstance(result, StreamTiming)),
        failures=tuple(result.reason for result in results if isinstance(result, RequestFailure)),
        wall_s=wall_s,
    )
