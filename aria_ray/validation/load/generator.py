"""Load on a live endpoint: so many streams at a time (closed loop), or so many requests a second (open loop, Poisson).

Answers are forced to a fixed number of tokens (`ignore_eos`), so every run does the same work, unless the load asks for natural
ones. Prompts are held-out questions with their tool lists, as long as real ones. `latency` says what the timings come to.
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
"""Of one core: a client process that takes more was, at times, what the answers waited for."""


@dataclass(frozen=True)
class Load:
    """What is asked of an endpoint. Either `concurrency` or `rate_per_s` is given, and at least one of the two limits."""

    requests: tuple[Mapping[str, Any], ...]
    """Bodies of chat completions without model and stream options, sent in turn, from the first again after the last."""
    concurrency: int | None = None
    """Closed loop: requests in flight. A stream sends its next request when its last one has ended."""
    rate_per_s: float | None = None
    """Open loop: requests start by a Poisson process of this rate, whatever is still in flight."""
    num_requests: int | None = None
    duration_s: float | None = None
    """Requests are begun until then; those in flight are let finish."""
    cached: Cached = "tools"
    """What of a prompt the endpoint's prefix cache may know: see `processes.numbered`."""
    seed: int = 0
    """Of the Poisson process."""

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
        """Tokens that every answer is forced to; None where they end by themselves."""
        asked = {body["max_tokens"] if body.get("ignore_eos") else None for body in self.requests}
        return asked.pop() if len(asked) == 1 else None


@dataclass(frozen=True)
class LoadResult:
    """What came of a load."""

    concurrency: int | None
    rate_per_s: float | None
    output_tokens: int | None
    """What every answer was to be forced to; None where they were to end by themselves."""
    timings: tuple[StreamTiming, ...]
    """By start."""
    failures: tuple[RequestFailure, ...]
    client_cpu_shares: tuple[float, ...]
    """Of each client process: its processor time over its wall time."""

    @property
    def results(self) -> list[StreamTiming | RequestFailure]:
        """Of all requests."""
        return [*self.timings, *self.failures]

    @property
    def wall_s(self) -> float:
        """From the first request's start to the last one's end, failed ones too; 0.0 where there is none."""
        starts = [result.started_s for result in self.results if result.started_s is not None]
        ends = [result.ended_s for result in self.results if result.ended_s is not None]
        return max(ends) - min(starts) if starts and ends else 0.0

    @property
    def client_limited(self) -> bool:
        """Whether a client process took so much of a core that times may be its own and not the endpoint's."""
        return max(self.client_cpu_shares, default=0.0) > MAX_CLIENT_CPU_SHARE

    @property
    def notes(self) -> list[str]:
        """What was not as asked: fields that the endpoint refused, answers shorter than they were to be."""
        left_out = sorted({name for timing in self.timings for name in timing.left_out})
        notes = [f"the endpoint refuses {' and '.join(left_out)}, it was asked without"] if left_out else []
        blank = sum(timing.blank for timing in self.timings)
        if blank:
            notes.append(
                f"{blank} of {len(self.timings)} answers show nothing, they are timed by the server's counts of tokens"
            )
        short = sum(timing.completion_tokens < (self.output_tokens or 0) for timing in self.timings)
        if short:
            notes.append(f"{short} of {len(self.timings)} answers are shorter than the {self.output_tokens} tokens asked for")
        return notes


def prompts(cases: Sequence[Mapping[str, Any]], output_tokens: int, *, natural: bool = False) -> tuple[dict[str, Any], ...]:
    """A body for the question of each case, with its tools.

    The answer is text of exactly `output_tokens`, or, if `natural`, what the model itself says, of that many tokens at most; it
    may call tools then.
    """
    return tuple(_body(case, output_tokens, natural) for case in cases)


def arrival_times(rate_per_s: float, num_requests: int | None, duration_s: float | None, seed: int) -> list[float]:
    """Seconds from the start at which the requests of a Poisson process are due: the gaps are exponential.

    `vllm bench serve` stretches its gaps to take number / rate together; here they are left as drawn.
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
    """Put a load on an endpoint, from `num_processes` client processes (fewer if there are fewer streams or arrivals).

    `on_result` gets each result as it comes, so what was measured is known even if this call does not return. A request that
    is not answered is a failure in the result; it is sent again for `retry_s` as `client` says, and given up once nothing has
    come for `timeout_s`. Of an open loop, what is sent late because the client was busy counts from when it was due.

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
    """A share for each process: streams, or arrivals, in turn. No request of two loads has the same number."""
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
