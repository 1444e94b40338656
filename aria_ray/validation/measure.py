"""Put one live endpoint through the held-out cases, or through the load, and write down what came back."""

import asyncio
import json
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from aria_ray.artifacts import write_json, write_text
from aria_ray.config.schema import ValidationConfig
from aria_ray.errors import ServingError
from aria_ray.intervals import paired_difference, wilson_interval
from aria_ray.records import Endpoint
from aria_ray.telemetry.sampler import MachineSampler
from aria_ray.validation.bfcl import questions as bfcl
from aria_ray.validation.client import RETRY_S, RequestFailure, StreamTiming, connect
from aria_ray.validation.conversations import (
    MAX_TOKENS,
    NO_ANSWER,
    CaseResult,
    as_json,
    choose_cases,
    expected_rounds,
    run_cases,
)
from aria_ray.validation.load.generator import Load, LoadResult, measure_load, prompts
from aria_ray.validation.load.latency import summarise as summarise_load
from aria_ray.validation.load.stability import NUM_WINDOWS, summarise_stability, sustained_load

MIN_REQUESTS = 6
"""Of any load: of fewer the median has no interval."""
PREFIX_OUTPUT_TOKENS = 4
"""Of answers of which only the first token matters."""

OnProgress = Callable[[float, float, str], None]
"""progress(done, total, what)"""


def read_cases(dataset: Path, split: str, num_cases: int) -> list[Mapping[str, Any]]:
    """The cases of a split of the dataset's JSON lines, the same ones for every model.

    A conversation with several requests is no case: what the second one is about depends on how the first was served.
    """
    with dataset.open(encoding="utf-8") as lines:
        rows = [row for row in map(json.loads, lines) if row["split"] == split]
    return choose_cases([row for row in rows if sum(turn["role"] == "user" for turn in row["messages"]) == 1], num_cases)


def measure_quality(
    config: ValidationConfig, endpoint: Endpoint, cases: Sequence[Mapping[str, Any]], out: Path, progress: OnProgress
) -> list[CaseResult]:
    """Run held-out conversations against an endpoint; every transcript goes to `out` (JSON lines).

    Raises:
        ServingError: no request was answered.
    """
    return asyncio.run(_quality(config, endpoint, cases, out, progress))


def measure_speed(
    config: ValidationConfig, endpoint: Endpoint, cases: Sequence[Mapping[str, Any]], out: Path, progress: OnProgress
) -> dict[str, Any]:
    """How fast an endpoint is; every timing goes to `out` (JSON)."""
    bench = _Bench(config, endpoint, cases, progress)
    warm_up = bench.run("warm-up", Load(bench.bodies(8), concurrency=config.concurrency, num_requests=config.concurrency))
    if warm_up["failures"] == warm_up["requests"]:
        reason = warm_up["reasons"][0]
        raise ServingError(f"no streamed request to {endpoint.base_url} was answered ({reason}); mend that and measure again")
    bodies = bench.bodies(config.output_tokens)
    levels = []
    with MachineSampler() as sampler:
        for level in config.levels:
            number = max(MIN_REQUESTS, 2 * level, round(config.load_requests * level / config.concurrency))
            levels.append(bench.run(f"{level} streams", Load(bodies, concurrency=level, num_requests=number)))
    facts: dict[str, Any] = {"levels": levels, "prefix": _prefix(bench)}
    facts["poisson"] = _poisson(bench, bodies, levels)
    facts["tool_calls"] = _tool_calls(bench)
    facts |= {"cpu_share": sampler.cpu_share, "gpu_share": sampler.gpu_share, "peak_memory_gib": sampler.peak_memory_gib}
    write_json(out, bench.raw)
    return facts


def measure_stability(
    config: ValidationConfig, endpoint: Endpoint, cases: Sequence[Mapping[str, Any]], out: Path, progress: OnProgress
) -> dict[str, Any]:
    """Whether an endpoint stays what it is under sustained load; every timing goes to `out` (JSON)."""
    bench = _Bench(config, endpoint, cases, progress)
    load = sustained_load(cases, config.output_tokens, config.concurrency, config.stability_s)
    with MachineSampler() as sampler:
        result = bench.measure("sustained", load)
    write_json(out, bench.raw)
    # From when the clients, whose memory is in it too, are up, to the end of the load.
    settled_s = config.stability_s / NUM_WINDOWS
    within = [gib for t_s, gib in zip(sampler.t_s, sampler.memory_gib, strict=True) if settled_s <= t_s <= config.stability_s]
    return summarise_stability(result, config.stability_s, within)


class _Bench:
    """One load after another on one endpoint, with what came of each."""

    def __init__(
        self, config: ValidationConfig, endpoint: Endpoint, cases: Sequence[Mapping[str, Any]], progress: OnProgress
    ) -> None:
        self.config, self.endpoint, self.cases, self.progress = config, endpoint, cases, progress
        self.raw: dict[str, Any] = {}
        """By name of the load; the moments of single chunks are kept of the sustained one only."""

    def bodies(self, output_tokens: int) -> tuple[dict[str, Any], ...]:
        """Requests for answers of so many tokens."""
        return prompts(self.cases, output_tokens)

    def run(self, name: str, load: Load) -> dict[str, Any]:
        """The summary of a load."""
        return summarise_load(self.measure(name, load), self.config.objectives)

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
                self.progress(min(seconds, load.duration_s), load.duration_s, what)
            else:
                self.progress(done, load.num_requests or 0, what)

        self.progress(0, load.num_requests or load.duration_s or 0, name)
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


def _prefix(bench: _Bench) -> dict[str, Any]:
    """One stream, of whose prompts the endpoint's prefix cache knows nothing, and then everything."""
    bodies = bench.bodies(PREFIX_OUTPUT_TOKENS)[:MIN_REQUESTS]
    cold = bench.run("nothing cached", Load(bodies, concurrency=1, num_requests=len(bodies), cached="nothing"))
    everything = Load(bodies, concurrency=1, num_requests=len(bodies), cached="everything")
    bench.run("filling the cache", everything)
    return {"cold": cold, "warm": bench.run("everything cached", everything)}


def _poisson(bench: _Bench, bodies: tuple[dict[str, Any], ...], levels: Sequence[Mapping[str, Any]]) -> dict[str, Any] | None:
    """Poisson arrivals at `poisson_share` of the rate of requests that the concurrent load reached."""
    full = next(level for level in levels if level["concurrency"] == bench.config.concurrency)["requests_per_s"]
    rate_per_s = bench.config.poisson_share * (full or 0)
    if not rate_per_s:
        return None
    number = max(MIN_REQUESTS, bench.config.load_requests // 2)
    return bench.run("Poisson arrivals", Load(bodies, rate_per_s=rate_per_s, num_requests=number))


def _tool_calls(bench: _Bench) -> dict[str, Any] | None:
    """One stream of the model's own answers to questions that a tool answers: the time to its first call."""
    calling = [case for case in bench.cases if expected_rounds(case)][:MIN_REQUESTS]
    if not calling:
        return None
    bodies = prompts(calling, MAX_TOKENS, natural=True)
    return bench.run("tool calls", Load(bodies, concurrency=1, num_requests=len(bodies)))


async def _quality(
    config: ValidationConfig, endpoint: Endpoint, cases: Sequence[Mapping[str, Any]], out: Path, progress: OnProgress
) -> list[CaseResult]:
    done: list[CaseResult] = []

    def on_case(result: CaseResult) -> None:
        done.append(result)
        progress(len(done), len(cases), f"{sum(item.outcome == 'correct' for item in done)} right")

    async with connect(endpoint, config.request_timeout_s, config.concurrency, RETRY_S) as client:
        results = await run_cases(client, cases, config.concurrency, on_case, strict=config.strict_tools)
    write_text(out, "".join(as_json(result) + "\n" for result in results))
    if all(result.outcome == "request_failed" for result in results):
        raise ServingError(f"every request to {endpoint.base_url} failed: {results[0].detail}; the transcripts are in {out}")
    return results


def measure_bfcl(config: ValidationConfig, endpoint: Endpoint, out: Path, progress: OnProgress) -> dict[str, Any]:
    """The Berkeley leaderboard's questions against an endpoint; every answer goes to `out` (JSON lines). Returns the shares."""
    questions = [each for category in bfcl.CATEGORIES for each in bfcl.read_questions(category, config.bfcl_cases)]
    done: list[bfcl.BfclResult] = []

    def on_case(result: bfcl.BfclResult) -> None:
        done.append(result)
        progress(len(done), len(questions), f"{sum(item.outcome == 'correct' for item in done)} right")

    async def ask() -> list[bfcl.BfclResult]:
        async with connect(endpoint, config.request_timeout_s, config.concurrency, RETRY_S) as client:
            return await bfcl.run_bfcl(client, questions, config.concurrency, on_case)

    results = asyncio.run(ask())
    write_text(out, "".join(bfcl.as_json(result) + "\n" for result in results))
    return bfcl.summarise(results)


def summarise(results: Sequence[CaseResult]) -> dict[str, Any]:
    """Shares with 95 % intervals. Requests and checks that failed are no answers: they are counted, and judge no model."""
    groups: dict[str, list[bool]] = defaultdict(list)
    for result in results:
        if result.outcome not in NO_ANSWER:
            for name, values in _judgements(result).items():
                groups[name] += values
    shares = {name: _share(values) for name, values in groups.items() if values}
    return {"outcomes": dict(Counter(result.outcome for result in results)), "shares": shares}


def compare_models(ours: Sequence[CaseResult], base: Sequence[CaseResult]) -> dict[str, Any]:
    """Differences of shares, ours less the base model's, with paired 95 % intervals over the cases that both answered."""
    theirs = {result.id: result for result in base if result.outcome not in NO_ANSWER}
    pairs = [(result, theirs[result.id]) for result in ours if result.outcome not in NO_ANSWER and result.id in theirs]
    found = {}
    for name in ("accuracy", "tool_compliance", "tool_selection", "irrelevance"):
        judged = [(_judgements(one)[name], _judgements(other)[name]) for one, other in pairs]
        both = [(mine[0], theirs_[0]) for mine, theirs_ in judged if mine and theirs_]
        if both:
            value, low, high = paired_difference([mine for mine, _ in both], [theirs_ for _, theirs_ in both])
            found[name] = {"value": value, "cases": len(both), "interval": (low, high)}
    return found


def _judgements(result: CaseResult) -> dict[str, list[bool]]:
    """What one answered case says, by the name of the share that it counts for."""
    right = result.outcome == "correct"
    return {
        "accuracy": [right],
        "tool_compliance": [bool(result.compliant)],
        "tool_selection": [] if result.right_tools is None else [result.right_tools],
        "argument_match": [] if result.right_arguments is None else [result.right_arguments],
        "schema_validity": [True] * result.num_valid_calls + [False] * (result.num_calls - result.num_valid_calls),
        "thinking_prefix": [True] * result.num_thoughts + [False] * (result.num_turns - result.num_thoughts),
        # An answer in the wrong format is no restraint.
        "irrelevance": [] if result.expects_call else [not result.made_call and result.outcome != "malformed"],
        "missing_value": [right] if result.expects_question else [],
        f"category:{result.category}": [right],
        f"scenario:{result.scenario}": [right],
        f"difficulty:{result.difficulty}": [right],
    }


def _share(values: Sequence[bool]) -> dict[str, Any]:
    return {"value": sum(values) / len(values), "cases": len(values), "interval": wilson_interval(sum(values), len(values))}
