"""Load on a live endpoint: a number of concurrent streams (closed loop), or Poisson arrivals at a rate (open loop).

Answers are forced to a fixed number of tokens (`ignore_eos`), so every run does the same work; a load can ask for natural
answers instead. Prompts are held-out questions with their tool lists, as long as real ones. `latency` evaluates the timings.
"""

import itertools
import random
import secrets
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from aria_ray.records import Endpoint
from aria_ray.validation.client import RETRY_S, RequestFailure, StreamTiming
from aria_ray.validation.load.processes import Cached, ClientShare, OnResult, run_clients

MAX_CLIENT_CPU_SHARE = 0.8
"""Share of a core above which the client process may be the bottleneck, not the endpoint."""


@dataclass(frozen=True)
class Load:
    """Requests for an endpoint. Give either `concurrency` or `rate_per_s`, and `num_requests` or `duration_s` or both."""

    requests: tuple[Mapping[str, Any], ...]
    """Bodies of chat completions, without model and stream options, sent in turn and repeated from the first."""
    concurrency: int | None = None
    """Closed loop: number of requests in flight. A stream sends its next request when its last one has ended."""
    rate_per_s: float | None = None
    """Open loop: rate of Poisson arrivals. Requests start whatever is still in flight."""
    num_requests: int | None = None
    duration_s: float | None = None
    """Time within which requests start; those in flight then may finish."""
    cached: Cached = "tools"
    """Part of a prompt that the endpoint's prefix cache may know: see `processes.numbered`."""
    seed: int = 0
    """Seed of the Poisson arrivals."""

    def __post_init__(self) -> None:
        if not self.requests:
            raise ValueError("a load of no requests measures nothing; give one body or more")
        if (self.concurrency is None) == (self.rate_per_s is None):
            raise ValueError(f"concurrency ({self.concurrency}) or rate_per_s ({self.rate_per_s}) must be given, and not both")
        if self.num_requests is None and self.duration_s is None:
            raise ValueError("a load must end: num_requests or duration_s must be given")
        for name in ("concurrency", "rate_per_s", "num_requests", "duration_s"):
            value = getattr(self, name)
            if value is not None and value <= 0:
                raise ValueError(f"{name} ({value}) must be above 0")

    @property
    def output_tokens(self) -> int | None:
        """Number of tokens that every answer is forced to; None where answers end by themselves."""
        asked = {body["max_tokens"] if body.get("ignore_eos") else None for body in self.requests}
        return asked.pop() if len(asked) == 1 else None


@dataclass(frozen=True)
class LoadResult:
    """Timings and failures of a load."""

    concurrency: int | None
    rate_per_s: float | None
    output_tokens: int | None
    """Number of tokens that every answer was to be forced to; None for natural answers."""
    timings: tuple[StreamTiming, ...]
    """Answered requests, in the order of their start."""
    failures: tuple[RequestFailure, ...]
    client_cpu_shares: tuple[float, ...]
    """Processor time over wall time of each client process: its share of a core."""

    @property
    def results(self) -> list[StreamTiming | RequestFailure]:
        """Results of all requests, answered or failed."""
        return [*self.timings, *self.failures]

    @property
    def wall_s(self) -> float:
        """Seconds from the first request's start to the last one's end, failed ones included; 0.0 without requests."""
        starts = [result.started_s for result in self.results if result.started_s is not None]
        ends = [result.ended_s for result in self.results if result.ended_s is not None]
        return max(ends) - min(starts) if starts and ends else 0.0

    @property
    def client_limited(self) -> bool:
        """Whether a client process used so much of a core that the times may be its own and not the endpoint's."""
        return max(self.client_cpu_shares, default=0.0) > MAX_CLIENT_CPU_SHARE

    @property
    def notes(self) -> list[str]:
        """Deviations from the load as asked: fields that the endpoint refused, blank answers, answers that are too short."""
        left_out = sorted({name for timing in self.timings for name in timing.left_out})
        notes = [f"the endpoint refuses {' and '.join(left_out)}, so requests went without"] if left_out else []
        blank = sum(timing.blank for timing in self.timings)
        if blank:
            notes.append(f"{blank} of {len(self.timings)} answers show no text, so the server's token counts time them")
        short = sum(timing.completion_tokens < (self.output_tokens or 0) for timing in self.timings)
        if short:
            notes.append(f"{short} of {len(self.timings)} answers are shorter than the {self.output_tokens} tokens asked for")
        return notes


def prompts(cases: Sequence[Mapping[str, Any]], output_tokens: int, *, natural: bool = False) -> tuple[dict[str, Any], ...]:
    """A request body for the question of each case, with its tools.

    The answer is text of exactly `output_tokens` tokens. With `natural` the model ends it, after at most that many tokens, and
    may call tools.
    """
    return tuple(_body(case, output_tokens, natural) for case in cases)


def arrival_times(rate_per_s: float, num_requests: int | None, duration_s: float | None, seed: int) -> list[float]:
    """Times of Poisson arrivals, in seconds from the start: the gaps are exponentially distributed.

    `vllm bench serve` scales its gaps so that they sum up to number / rate; here they stay as drawn.
    """
    gaps = random.Random(seed)
    moments: Iterator[float] = itertools.accumulate(gaps.expovariate(rate_per_s) for _ in itertools.count())
    if duration_s is not None:
        moments = itertools.takewhile(lambda moment: moment < duration_s, moments)
    return list(itertools.islice(moments, num_requests))


def measure_load(
    endpoint: Endpoint,
    load: Load,
    *,
    num_processes: int,
    timeout_s: float,
    on_result: OnResult = lambda _: None,
    retry_s: float = RETRY_S,
) -> LoadResult:
    """Put a load on an endpoint from `num_processes` client processes (fewer if there are fewer streams or arrivals).

    `on_result` gets each result as it arrives, so measurements survive if this call is interrupted. A request without an answer
    is a failure in the result. `client` retries it for `retry_s` seconds and gives up when nothing arrives for `timeout_s`. In
    an open loop, a request that a busy client sends late is timed from the moment at which it was due.

    Raises:
        AriaError: a client process died.
    """
    results: list[StreamTiming | RequestFailure] = []

    def keep(result: StreamTiming | RequestFailure) -> None:
        results.append(result)
        on_result(result)

    shares = _deal(endpoint, load, num_processes, timeout_s, retry_s)
    cpu_shares = run_clients(shares, keep)
    return LoadResult(
        concurrency=load.concurrency,
        rate_per_s=load.rate_per_s,
        output_tokens=load.output_tokens,
        timings=tuple(sorted((r for r in results if isinstance(r, StreamTiming)), key=lambda timing: timing.started_s)),
        failures=tuple(result for result in results if isinstance(result, RequestFailure)),
        client_cpu_shares=tuple(cpu_shares),
    )


def _deal(endpoint: Endpoint, load: Load, num_processes: int, timeout_s: float, retry_s: float) -> list[ClientShare]:
    """The share of each process: streams or arrivals, dealt in turn. Requests of different loads have different numbers."""
    first_number = 100_000 + secrets.randbelow(900_000)

    def share(**own: Any) -> ClientShare:
        return ClientShare(endpoint, load.requests, load.cached, first_number, timeout_s, retry_s, **own)

    if load.concurrency is not None:
        streams = range(min(load.concurrency, load.num_requests or load.concurrency))
        return [
            share(
                streams=tuple(streams[process::num_processes]),
                concurrency=load.concurrency,
                num_requests=load.num_requests,
                duration_s=load.duration_s,
            )
            for process in range(min(num_processes, len(streams)))
        ]
    assert load.rate_per_s is not None
    arrivals = list(enumerate(arrival_times(load.rate_per_s, load.num_requests, load.duration_s, load.seed)))
    return [share(arrivals=tuple(arrivals[process::num_processes])) for process in range(min(num_processes, len(arrivals)))]


def _body(case: Mapping[str, Any], output_tokens: int, natural: bool) -> dict[str, Any]:
    body: dict[str, Any] = {
        "messages": [message for message in case["messages"] if message["role"] in ("system", "user")],
        "max_tokens": output_tokens,
        "temperature": 0,
    }
    if case["tools"]:
        body |= {"tools": case["tools"], "tool_choice": "auto" if natural else "none"}
    return body if natural else body | {"ignore_eos": True}
