"""Put one live endpoint through the held-out cases, or through the load, and write down what came back."""

import asyncio
import json
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from aria_ray.artifacts import write_json, write_text
from aria_ray.config.schema import ValidationConfig
from aria_ray.errors import ServingError
from aria_ray.hardware.telemetry import Sampler
from aria_ray.records import Endpoint
from aria_ray.validation.accuracy import CaseResult, as_json, choose_cases, run_cases, wilson_interval
from aria_ray.validation.client import connect
from aria_ray.validation.load import (
    SINGLE_STREAM_REQUESTS,
    coefficient_of_variation,
    run_load,
    sustain_load,
    window_rates,
)

Progress = Callable[[float, float, str], None]
"""progress(done, total, what)"""


def read_cases(dataset: Path, split: str, num_cases: int) -> list[Mapping[str, Any]]:
    """The cases of a split of the dataset's JSON lines, the same ones for every model.

    A conversation with several requests is no case: what the second one is about depends on how the first was served.
    """
    with dataset.open(encoding="utf-8") as lines:
        rows = [row for row in map(json.loads, lines) if row["split"] == split]
    return choose_cases([row for row in rows if sum(turn["role"] == "user" for turn in row["messages"]) == 1], num_cases)


def measure_quality(
    config: ValidationConfig, endpoint: Endpoint, cases: Sequence[Mapping[str, Any]], out: Path, progress: Progress
) -> dict[str, Any]:
    """Run held-out conversations against an endpoint; every transcript goes to `out` (JSON lines). Returns the shares."""
    return asyncio.run(_quality(config, endpoint, cases, out, progress))


def measure_speed(
    config: ValidationConfig, endpoint: Endpoint, cases: Sequence[Mapping[str, Any]], out: Path, progress: Progress
) -> dict[str, Any]:
    """Single stream, concurrent and sustained load against an endpoint; every timing goes to `out` (JSON)."""
    return asyncio.run(_speed(config, endpoint, cases, out, progress))


async def _quality(
    config: ValidationConfig, endpoint: Endpoint, cases: Sequence[Mapping[str, Any]], out: Path, progress: Progress
) -> dict[str, Any]:
    done: list[CaseResult] = []

    def on_case(result: CaseResult) -> None:
        done.append(result)
        progress(len(done), len(cases), f"{sum(item.outcome == 'correct' for item in done)} right")

    async with connect(endpoint, config.request_timeout_s, config.concurrency) as client:
        results = await run_cases(client, cases, config.concurrency, on_case, strict=config.strict_tools)
    write_text(out, "".join(as_json(result) + "\n" for result in results))
    if all(result.outcome == "request_failed" for result in results):
        raise ServingError(f"every request to {endpoint.base_url} failed: {results[0].detail}; the transcripts are in {out}")
    return summarise(results)


def summarise(results: Sequence[CaseResult]) -> dict[str, Any]:
    """Shares with 95 % intervals. Failed requests are failures of the service: they are counted, and judged nowhere."""
    answered = [result for result in results if result.outcome != "request_failed"]
    groups: dict[str, list[bool]] = defaultdict(list)
    for result in answered:
        right = result.outcome == "correct"
        groups["accuracy"].append(right)
        groups[f"category:{result.category}"].append(right)
        groups[f"scenario:{result.scenario}"].append(right)
        groups["tool_compliance"].append(bool(result.compliant))
        if not result.expects_call:
            groups["irrelevance"].append(not result.made_call)
        groups["thinking_prefix"] += [True] * result.num_thoughts
        groups["thinking_prefix"] += [False] * (result.num_turns - result.num_thoughts)
    shares = {}
    for name, values in groups.items():
        if values:
            hits = sum(values)
            shares[name] = {"value": hits / len(values), "cases": len(values), "interval": wilson_interval(hits, len(values))}
    return {"outcomes": dict(Counter(result.outcome for result in results)), "shares": shares}


async def _speed(
    config: ValidationConfig, endpoint: Endpoint, cases: Sequence[Mapping[str, Any]], out: Path, progress: Progress
) -> dict[str, Any]:
    total_s = config.stability_s
    async with connect(endpoint, config.request_timeout_s, config.concurrency) as client:
        progress(0, total_s, "warm-up")
        await run_load(client, cases, config.concurrency, config.concurrency, 8)
        progress(0, total_s, "single stream")
        single = await run_load(client, cases, SINGLE_STREAM_REQUESTS, 1, config.output_tokens)
        progress(0, total_s, f"{config.concurrency} streams")
        with Sampler() as sampler:
            many = await run_load(client, cases, config.load_requests, config.concurrency, config.output_tokens)
        progress(0, total_s, "sustained")
        sustained = await sustain_load(
            client,
            cases,
            total_s,
            config.concurrency,
            config.output_tokens,
            lambda second: progress(second, total_s, "sustained"),
        )
    rates = window_rates(sustained, total_s)
    failures = [*single.failures, *many.failures, *sustained.failures]
    write_json(out, {"single": asdict(single), "concurrent": asdict(many), "sustained": asdict(sustained)})
    return {
        "single_stream_tokens_per_s": single.tokens_per_s,
        "ttft_ms": single.ttft_ms,
        "output_tokens_per_s": many.tokens_per_s,
        "concurrency": config.concurrency,
        "stability_cv": None if sustained.failures else coefficient_of_variation(rates),
        "sustained_rates": rates,
        "serving_cpu_share": sampler.cpu_share,
        "serving_peak_memory_gib": sampler.peak_memory_gib,
        "requests": len(failures) + sum(len(part.timings) for part in (single, many, sustained)),
        "failures": failures[:10],
        "num_failures": len(failures),
    }
