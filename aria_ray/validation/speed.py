"""How fast an endpoint answers, and whether it stays so: one load after another, from client processes."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from aria_ray.artifacts import write_json
from aria_ray.config.schema import ValidationConfig
from aria_ray.errors import ServingError
from aria_ray.progress import OnProgress
from aria_ray.records import Endpoint
from aria_ray.results import LoadSummary, Speed, Stability
from aria_ray.telemetry.sampler import Sampling
from aria_ray.validation.client import RequestFailure, StreamTiming
from aria_ray.validation.conversations import MAX_TOKENS
from aria_ray.validation.load.generator import Load, LoadResult, measure_load, prompts
from aria_ray.validation.load.latency import summarise
from aria_ray.validation.load.stability import NUM_WINDOWS, summarise_stability, sustained_load
from aria_ray.validation.references import expected_rounds

MIN_REQUESTS = 6
"""Least requests of any load: the median of fewer has no interval."""
PREFIX_OUTPUT_TOKENS = 4
"""Output tokens of answers of which only the first token matters."""
Cases = Sequence[Mapping[str, Any]]


def measure_speed(
    config: ValidationConfig, endpoint: Endpoint, cases: Cases, out: Path, on_progress: OnProgress, sampler: Sampling | None
) -> Speed:
    """How fast an endpoint answers; every timing goes to `out` (JSON).

    `sampler` watches the machines of the endpoint; None where they are somebody else's, whose usage stays unmeasured.

    Raises:
        ServingError: no streamed request was answered.
    """
    bench = _Bench(config, endpoint, cases, on_progress)
    began_s = sampler.sample_now() if sampler else 0.0
    warm_up = bench.run("warm-up", Load(bench.bodies(8), concurrency=config.concurrency, num_requests=config.concurrency))
    if warm_up.failures == warm_up.requests:
        raise ServingError(
            f"no streamed request to {endpoint.base_url} was answered ({warm_up.reasons[0]})", "mend that and measure again"
        )
    bodies = bench.bodies(config.output_tokens)
    loaded_s = sampler.sample_now() if sampler else 0.0
    levels = []
    for level in config.levels:
        number = max(MIN_REQUESTS, 2 * level, round(config.load_requests * level / config.concurrency))
        levels.append(bench.run(f"{level} streams", Load(bodies, concurrency=level, num_requests=number)))
    unloaded_s = sampler.sample_now() if sampler else 0.0
    cold, warm = _prefix(bench)
    poisson, tool_calls = _poisson(bench, bodies, levels), _tool_calls(bench)
    # Asked for at the end: the samples of a cluster's nodes come in some seconds after they are taken.
    loaded = sampler.usage_between(loaded_s, unloaded_s) if sampler else None
    whole = sampler.usage_between(began_s, sampler.sample_now()) if sampler else None
    speed = Speed(
        levels=tuple(levels),
        cold=cold,
        warm=warm,
        poisson=poisson,
        tool_calls=tool_calls,
        cpu_share=loaded.cpu_share if loaded else None,
        gpu_share=loaded.gpu_share if loaded else None,
        peak_memory_gib=whole.peak_memory_gib if whole else None,
        peak_gpu_memory_gib=whole.peak_gpu_memory_gib if whole else None,
    )
    write_json(out, bench.raw)
    return speed


def measure_stability(
    config: ValidationConfig, endpoint: Endpoint, cases: Cases, out: Path, on_progress: OnProgress, sampler: Sampling | None
) -> Stability:
    """Whether an endpoint stays what it is under sustained load; every timing goes to `out` (JSON). `sampler` as above."""
    bench = _Bench(config, endpoint, cases, on_progress)
    load = sustained_load(cases, config.output_tokens, config.concurrency, config.stability_s)
    began_s = sampler.sample_now() if sampler else 0.0
    result = bench.measure("sustained", load)
    write_json(out, bench.raw)
    # The clients' memory is in it too: from when they are up to the end of the load.
    settled_s, ended_s = began_s + config.stability_s / NUM_WINDOWS, began_s + config.stability_s
    memory = sampler.memory_between(settled_s, ended_s) if sampler else []
    return summarise_stability(result, config.stability_s, [gib for _, gib in memory])


class _Bench:
    """One load after another on one endpoint, with what came of each."""

    def __init__(self, config: ValidationConfig, endpoint: Endpoint, cases: Cases, on_progress: OnProgress) -> None:
        self.config, self.endpoint, self.cases, self.on_progress = config, endpoint, cases, on_progress
        self.raw: dict[str, Any] = {}
        """Timings by name of the load; the moments of single chunks are kept of the sustained one only."""

    def bodies(self, output_tokens: int) -> tuple[dict[str, Any], ...]:
        """Requests for answers of so many tokens."""
        return prompts(self.cases, output_tokens)

    def run(self, name: str, load: Load) -> LoadSummary:
        """The summary of a load."""
        return summarise(self.measure(name, load), self.config.objectives)

    def measure(self, name: str, load: Load) -> LoadResult:
        """The timings of a load, with live progress: requests done, and tokens per second so far."""
        began, done, tokens, failed = time.perf_counter(), 0, 0, 0

        def on_result(result: StreamTiming | RequestFailure) -> None:
            nonlocal done, tokens, failed
            done += 1
            failed += isinstance(result, RequestFailure)
            tokens += 0 if isinstance(result, RequestFailure) else result.completion_tokens
            seconds = time.perf_counter() - began
            what = f"{name}: {tokens / seconds:.0f} tokens/s" + (f", {failed} failed" if failed else "")
            if load.duration_s:
                self.on_progress(min(seconds, load.duration_s), load.duration_s, what)
            else:
                self.on_progress(done, load.num_requests or 0, what)

        self.on_progress(0, load.num_requests or load.duration_s or 0, name)
        result = measure_load(
            self.endpoint,
            load,
            num_processes=self.config.client_processes,
            timeout_s=self.config.request_timeout_s,
            on_result=on_result,
            retry_s=0,  # what a client would have to send again is a failure of the service
        )
        keep_chunks = load.duration_s is not None
        timings = [asdict(timing if keep_chunks else replace(timing, arrivals=())) for timing in result.timings]
        self.raw[name] = {
            "concurrency": load.concurrency,
            "rate_per_s": load.rate_per_s,
            "timings": timings,
            "failures": [asdict(failure) for failure in result.failures],
            "client_cpu_shares": result.client_cpu_shares,
        }
        return result


def _prefix(bench: _Bench) -> tuple[LoadSummary, LoadSummary]:
    """One stream of prompts that the endpoint's prefix cache does not know, then one of prompts that it knows whole."""
    bodies = bench.bodies(PREFIX_OUTPUT_TOKENS)[:MIN_REQUESTS]
    cold = bench.run("prompts not cached", Load(bodies, concurrency=1, num_requests=len(bodies), cached="nothing"))
    everything = Load(bodies, concurrency=1, num_requests=len(bodies), cached="everything")
    bench.run("filling the prompt cache", everything)
    return cold, bench.run("prompts cached", everything)


def _poisson(bench: _Bench, bodies: tuple[dict[str, Any], ...], levels: Sequence[LoadSummary]) -> LoadSummary | None:
    """Poisson arrivals at `validation.poisson_share` of the requests per second that the concurrent load got answered."""
    full = next(level for level in levels if level.concurrency == bench.config.concurrency).requests_per_s
    rate_per_s = bench.config.poisson_share * (full or 0)
    if not rate_per_s:
        return None
    number = max(MIN_REQUESTS, bench.config.load_requests // 2)
    return bench.run("Poisson arrivals", Load(bodies, rate_per_s=rate_per_s, num_requests=number))


def _tool_calls(bench: _Bench) -> LoadSummary | None:
    """One stream of the model's own answers to questions that a tool answers: the time to its first call."""
    calling = [case for case in bench.cases if expected_rounds(case)][:MIN_REQUESTS]
    if not calling:
        return None
    bodies = prompts(calling, MAX_TOKENS, natural=True)
    return bench.run("tool calls", Load(bodies, concurrency=1, num_requests=len(bodies)))
