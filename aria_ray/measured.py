"""How each figure of the report is taken from the results of a run. `metrics` says what the figures are."""

import statistics
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from aria_ray.config.schema import RunConfig
from aria_ray.intervals import median_interval
from aria_ray.results import (
    Distribution,
    Estimate,
    Gains,
    LoadSummary,
    Quality,
    RequestQuality,
    Results,
    Speed,
    Stability,
    TrainingResult,
    ValidationResult,
    YourRequests,
)

Interval = tuple[float, float]


@dataclass(frozen=True)
class Measured:
    """One figure as a run gave it."""

    value: float | None
    """None where it was not measured."""
    interval: Interval | None = None
    """95 % interval."""
    cases: int | None = None
    """Number of cases that it is estimated from."""
    detail: str = ""
    """How it was measured, or why it was not."""
    is_partial: bool = False
    """Whether some cases failed, so that the others are no fair sample: such a figure meets no target."""


UNMEASURED = Measured(None)
Take = Callable[[RunConfig, Results], Measured]
TakeMany = Callable[[RunConfig, Results], Mapping[str, Measured]]


def validation(results: Results) -> ValidationResult:
    """The validation stage's result; one without figures if it was not run."""
    return results.validation or ValidationResult()


def speed(results: Results) -> Speed:
    """The speed of the endpoint; one without loads if it was not measured."""
    return validation(results).speed or Speed(levels=())


def share_of(estimate: Estimate | None, quality: Quality | RequestQuality | None, detail: str = "") -> Measured:
    """A share with its interval, and how many requests and checks failed beside it."""
    failures = {"request": quality.request_failures, "check": quality.check_failures} if quality else {}
    notes = "; ".join(filter(None, [detail, *(f"{number} {what}s failed" for what, number in failures.items() if number)]))
    if estimate is None:
        return Measured(None, detail=notes)
    if estimate.value is None:
        return Measured(None, detail=estimate.reason)
    return Measured(estimate.value, estimate.interval, estimate.cases, notes, is_partial=any(failures.values()))


def share_by(
    model: Callable[[ValidationResult], Quality | None],
    pick: Callable[[Quality], Estimate | None],
    *,
    says_strict: bool = False,
) -> Take:
    """Take a share of one model's cases; `says_strict` notes whether tools were sent as strict."""

    def take(config: RunConfig, results: Results) -> Measured:
        quality = model(validation(results))
        how = "tools sent as strict" if says_strict and config.validation.strict_tools else ""
        return share_of(pick(quality) if quality else None, quality, how)

    return take


def request_share_by(
    model: Callable[[YourRequests], RequestQuality | None], pick: Callable[[RequestQuality], Estimate | None], detail: str = ""
) -> Take:
    """Take a share of the requests in people's words, of a model or of a control."""

    def take(_config: RunConfig, results: Results) -> Measured:
        requests = validation(results).your_requests
        if requests is None:
            return Measured(None, detail="no requests in people's words")
        quality = model(requests)
        return share_of(pick(quality) if quality else None, quality, detail)

    return take


def request_gain_by(pick: Callable[[YourRequests], Estimate | None], other: str) -> Take:
    """Take a difference between this model and another, or a control, over the requests in people's words."""

    def take(_config: RunConfig, results: Results) -> Measured:
        requests = validation(results).your_requests
        gain = pick(requests) if requests else None
        if gain is None:
            return UNMEASURED
        return Measured(gain.value, gain.interval, gain.cases, f"this model less {other}, same requests")

    return take


def gain_by(pick: Callable[[Gains], Estimate | None]) -> Take:
    """Take a difference between this model and the base model."""

    def take(_config: RunConfig, results: Results) -> Measured:
        gain = pick(validation(results).gains or Gains())
        if gain is None:
            return UNMEASURED
        return Measured(gain.value, gain.interval, gain.cases, "this model less the base model, same cases")

    return take


def shares_by_group(
    pick: Callable[[Quality], Mapping[str, Estimate]],
) -> Callable[[RunConfig, Results], Mapping[str, Measured]]:
    """Take the shares of groups of this model's cases, in the order of their names."""

    def take(_config: RunConfig, results: Results) -> Mapping[str, Measured]:
        quality = validation(results).quality
        return {name: share_of(each, quality) for name, each in sorted(pick(quality).items())} if quality else {}

    return take


def concurrent_load(results: Results, config: RunConfig) -> LoadSummary | None:
    """The closed loop with `validation.concurrency` streams, which is the one that is judged."""
    return speed(results).level(config.validation.concurrency)


def time_of(
    load: LoadSummary | None, pick: Callable[[LoadSummary], Distribution | None], detail: str, *, p95: bool = False
) -> Measured:
    """The median of a time, or its 95th percentile."""
    times = pick(load) if load else None
    if times is None:
        return Measured(None, detail=detail)
    return Measured(times.p95 if p95 else times.p50, detail=detail)


def output_rate(config: RunConfig, results: Results) -> Measured:
    """Output tokens per second of the concurrent load, and what a reader should know of it."""
    load = concurrent_load(results, config)
    streams = f"{config.validation.concurrency} streams"
    if load is None:
        return Measured(None, detail=streams)
    notes = [
        streams,
        *(["refused: the client was the limit"] if load.client_limited else []),
        *([f"{load.failures} of {load.requests} requests failed"] if load.failures else []),
        *load.reasons[:1],
        *load.notes,
    ]
    return Measured(load.output_tokens_per_s, load.output_tokens_per_s_interval, detail="; ".join(notes))


def output_roofline_share(config: RunConfig, results: Results) -> Measured:
    """The output rate, with its interval, by the bound of this machine's roofline."""
    roofline, rate = validation(results).roofline, output_rate(config, results)
    if roofline is None:
        return Measured(None, detail="no roofline of this machine")
    bound = roofline.concurrent_tokens_per_s
    detail = f"of {bound:.0f} tokens/s, the bound of {config.validation.concurrency} streams"
    if rate.value is None:
        return Measured(None, detail=detail)
    low_high = (rate.interval[0] / bound, rate.interval[1] / bound) if rate.interval else None
    return Measured(rate.value / bound, low_high, detail=detail)


def goodput(config: RunConfig, results: Results) -> Measured:
    """Goodput of the Poisson arrivals, with the objectives."""
    load = speed(results).poisson
    if load is None:
        return Measured(None, detail="no Poisson arrivals")
    limits = ", ".join(f"{name} {value:g}" for name, value in config.validation.objectives.model_dump().items() if value)
    rate = "" if load.rate_per_s is None else f", {load.rate_per_s:.3g} a second"
    return Measured(
        load.goodput_per_s, detail=f"Poisson arrivals{rate}; " + (f"good: {limits} or less" if limits else "no objectives")
    )


def stability_by(pick: Callable[[Stability], tuple[float | None, Interval | None]], detail: str = "") -> Take:
    """Take a figure of the sustained load, with its interval; `detail` stands in place of the load's length."""

    def take(_config: RunConfig, results: Results) -> Measured:
        stability = validation(results).stability
        if stability is None:
            return Measured(None, detail=detail)
        value, interval = pick(stability)
        windows = f"{stability.duration_s:g} s, windows of {stability.window_s:g} s"
        return Measured(value, interval if value is not None else None, detail=detail or windows)

    return take


def failed_requests(_config: RunConfig, results: Results) -> Measured:
    """Share of the sustained load's requests that failed."""
    stability = validation(results).stability
    requests = stability.requests if stability else 0
    detail = "; ".join([f"{requests} requests in the sustained load", *(stability.reasons[:1] if stability else ())])
    return Measured(stability.failures / requests if stability and requests else None, detail=detail)


def _steps_ms(training: TrainingResult) -> list[float]:
    """Times of the steps without the first, which alone pays for allocation and autotuning; in milliseconds."""
    return [1000 * step_s for step_s in training.step_wall_s[1:] or training.step_wall_s]


def step_time(_config: RunConfig, results: Results) -> Measured:
    """Median time of an optimizer step, with its interval."""
    if results.training is None or not results.training.step_wall_s:
        return Measured(None, detail="median")
    steps_ms = _steps_ms(results.training)
    return Measured(statistics.median(steps_ms), median_interval(steps_ms), detail="median")


def step_time_p95(_config: RunConfig, results: Results) -> Measured:
    """95th percentile of the time of an optimizer step."""
    if results.training is None or not results.training.step_wall_s:
        return UNMEASURED
    return Measured(float(np.percentile(_steps_ms(results.training), 95)))


def flop_utilization(_config: RunConfig, results: Results) -> Measured:
    """Operations per second of the training steps, by those of matrix products alone."""
    training = results.training
    peak = training.peak_flops_per_s if training else None
    if training is None or not peak:
        return UNMEASURED
    share = training.flops_per_s / peak if training.flops_per_s else None
    return Measured(share, detail=f"of the {peak / 1e9:.0f} GFLOP/s that matrix products reach")


def tokens_rate(_config: RunConfig, results: Results) -> Measured:
    """Packed tokens per second of the training steps."""
    training = results.training
    rate = training.tokens / sum(training.step_wall_s) if training and training.step_wall_s else None
    return Measured(rate, detail="packed")


BUSY_GPU = "share of time with anything running"
"""A GPU that is busy all the time may still use little of itself: `train_flop_utilization` says how much."""


def busy_share(config: RunConfig, results: Results) -> Measured:
    """Busy share of the GPUs that train, or of the first worker's cores."""
    training = results.training
    if config.training.use_gpu:
        detail = f"{BUSY_GPU}, mean of the {config.training.num_workers} workers' GPUs during the steps"
        return Measured(training.gpu_share if training else None, detail=detail)
    # Seconds of processor time, by seconds of the cores that the first worker was given.
    core_s = sum(training.step_wall_s) * config.training.cpus_per_worker if training else 0.0
    return Measured(
        training.cpu_s / core_s if training and core_s else None, detail="busy share of the training worker's cores"
    )


def training_by(pick: Callable[[TrainingResult], float | None], detail: str) -> Take:
    """Take a figure of the training stage."""
    return lambda _config, results: Measured(pick(results.training) if results.training else None, detail=detail)


def speed_by(pick: Callable[[Speed], float | None], detail: str) -> Take:
    """Take a figure of the endpoint's speed."""
    return lambda _config, results: Measured(pick(speed(results)), detail=detail)
