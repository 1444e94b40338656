"""The report as a record: every figure with its target and how it stands, from the manifests of a run's stages."""

import os
import platform
import statistics
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from aria_ray.artifacts import package_versions, source_commit
from aria_ray.config import RunConfig
from aria_ray.intervals import median_interval
from aria_ray.records import Manifest, Metric, Report, Status
from aria_ray.report.verdict import CONDITIONS, conditions, criteria, judge, readiness_percent, reasons, verdict


def build_report(config: RunConfig, recipe: str, stages: Mapping[str, Manifest]) -> Report:
    """The report of a run from the manifests of its stages (`dataset`, `training`, `validation`).

    A stage that is not there, as the training of an endpoint that somebody else made, leaves its figures unmeasured.
    """
    metrics = (*_quality(config, stages), *_bfcl(stages), *_speed(config, stages), *_stability(config, stages))
    metrics += (*_training(config, stages), *_memory(stages))
    found, stand = criteria(metrics), conditions(metrics)
    percent = readiness_percent(found)
    return Report(
        verdict=verdict(stand, percent),
        readiness_percent=percent,
        conditions=stand,
        criteria=found,
        reasons=reasons(metrics, found, stand),
        provenance={
            "recipe": recipe,
            "config": config.model_dump(mode="json"),
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
            "commit": source_commit(),
            "versions": package_versions(),
            "machine": machine(),
            "endpoint": _facts(stages, "validation").get("endpoint"),
            "stages": {
                name: {
                    "fingerprint": stage.fingerprint,
                    "commit": stage.commit,
                    "wall_s": stage.wall_s,
                    "peak_memory_gib": stage.peak_memory_gib,
                }
                for name, stage in stages.items()
            },
        },
        metrics=metrics,
    )


def machine() -> dict[str, Any]:
    """What the run was made on, as far as the operating system tells."""
    return {
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "processor": _processor(),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
    }


def _processor() -> str:
    path = Path("/proc/cpuinfo")
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _facts(stages: Mapping[str, Manifest], name: str) -> Mapping[str, Any]:
    return stages[name].facts if name in stages else {}


def _share(quality: Mapping[str, Any], source: str, name: str, target: float | None, detail: str = "") -> Metric:
    """A share with its interval. Where requests or checks failed the cases left are no sample: nothing is met by them."""
    share = quality.get("shares", {}).get(source)
    outcomes = quality.get("outcomes", {})
    failed = {what: outcomes.get(f"{what}_failed", 0) for what in ("request", "check")}
    told = [detail, *(f"{number} {what}s failed" for what, number in failed.items() if number)]
    if share is None or share["value"] is None:
        detail = "; ".join(filter(None, told)) if share is None else share.get("reason", "")
        status: Status | None = "unmeasured"
        return Metric(name=name, value=None, unit="share", target=target, status=status, detail=detail)
    interval = (share["interval"][0], share["interval"][1])
    status = judge(name, share["value"], target, interval, share["cases"])
    return Metric(
        detail="; ".join(filter(None, told)),
        name=name,
        value=share["value"],
        unit="share",
        target=target,
        status="inconclusive" if any(failed.values()) and status == "met" else status,
        interval=interval,
        cases=share["cases"],
    )


def _quality(config: RunConfig, stages: Mapping[str, Manifest]) -> list[Metric]:
    facts = _facts(stages, "validation")
    targets = config.validation.targets
    ours, base, unseen = (facts.get(name, {}) for name in ("quality", "quality_base", "quality_unseen"))
    wanted = {"accuracy": targets.accuracy, "tool_compliance": targets.tool_compliance}
    how = "tools sent as strict" if config.validation.strict_tools else ""
    metrics = [_share(ours, name, name, target, how) for name, target in wanted.items()]
    metrics += [_share(ours, name, name, None) for name in _SHARES]
    metrics += [_share(base, name, f"{name}_base", None, how) for name in (*CONDITIONS, "tool_selection", "irrelevance")]
    metrics += [_difference(facts.get("paired", {}), name) for name in (*CONDITIONS, "tool_selection", "irrelevance")]
    metrics += [_share(unseen, name, f"{name}_unseen_tools", None, how) for name in CONDITIONS]
    return metrics + [
        _share(ours, name, name.replace(":", "_"), None)
        for name in sorted(ours.get("shares", {}))
        if name.startswith(("category:", "scenario:", "difficulty:"))
    ]


_SHARES = ("tool_selection", "argument_match", "schema_validity", "thinking_prefix", "irrelevance", "missing_value")


def _difference(paired: Mapping[str, Any], name: str) -> Metric:
    """Ours less the base model's share, over the same cases."""
    found = paired.get(name)
    if found is None:
        return Metric(name=f"{name}_over_base", value=None, unit="share", status="unmeasured")
    interval = (found["interval"][0], found["interval"][1])
    detail = "ours less base, same cases"
    return Metric(
        name=f"{name}_over_base", value=found["value"], unit="share", interval=interval, cases=found["cases"], detail=detail
    )


def _bfcl(stages: Mapping[str, Manifest]) -> list[Metric]:
    facts = _facts(stages, "validation")
    return [
        _share({"shares": facts.get(source, {})}, category, f"bfcl_{category}{suffix}", None)
        for source, suffix in (("bfcl", ""), ("bfcl_base", "_base"))
        for category in facts.get(source, {})
    ]


def _figure(
    name: str,
    value: float | None,
    unit: str,
    target: float | None = None,
    detail: str = "",
    interval: Sequence[float] | None = None,
) -> Metric:
    sure = (interval[0], interval[1]) if interval and value is not None else None
    status = judge(name, value, target, sure)
    return Metric(name=name, value=value, unit=unit, target=target, status=status, interval=sure, detail=detail)


_BUSY_GPU = "share of time with anything running"
"""A GPU that is busy all the time may still use little of itself: that is `train_flop_utilization`'s to say."""


def _speed(config: RunConfig, stages: Mapping[str, Manifest]) -> list[Metric]:
    facts = _facts(stages, "validation")
    speed, roofline, targets = facts.get("speed", {}), facts.get("roofline") or {}, config.validation.targets
    streams = config.validation.concurrency
    levels = {level["concurrency"]: level for level in speed.get("levels", [])}
    many, one = levels.get(streams, {}), levels.get(1, {})
    prefix, poisson = speed.get("prefix") or {}, speed.get("poisson") or {}
    rate, sure, bound = (
        many.get("output_tokens_per_s"),
        many.get("output_tokens_per_s_interval"),
        roofline.get("batched_bound_tokens_per_s"),
    )
    how = "; ".join(
        [
            f"{streams} streams",
            *(["refused: the client was the limit"] if many.get("client_limited") else []),
            *([f"{many['failures']} of {many['requests']} requests failed"] if many.get("failures") else []),
            *many.get("reasons", [])[:1],
            *many.get("notes", []),
        ]
    )
    of_bound = (
        f"of {bound:.0f} tokens/s, which {streams} streams could have at most" if bound else "no roofline of this machine"
    )
    slo = ", ".join(f"{name} {value:g}" for name, value in config.validation.objectives.model_dump().items() if value)
    return [
        _figure("output_tokens_per_s", rate, "tokens/s", targets.output_tokens_per_s, how, sure),
        _figure(
            "output_roofline_share",
            rate / bound if rate and bound else None,
            "share",
            targets.output_roofline_share,
            of_bound,
            [side / bound for side in sure] if sure and bound else None,
        ),
        _figure("single_stream_tokens_per_s", one.get("output_tokens_per_s"), "tokens/s"),
        _figure("ttft_ms", _quantile(one, "ttft_ms"), "ms", detail="median, one stream"),
        _figure("ttft_p95_ms", _quantile(many, "ttft_ms", "p95"), "ms", detail=f"95 % of requests, {streams} streams"),
        _figure("ttft_cold_ms", _quantile(prefix.get("cold"), "ttft_ms"), "ms", detail="median, nothing of the prompt cached"),
        _figure("ttft_warm_ms", _quantile(prefix.get("warm"), "ttft_ms"), "ms", detail="median, the whole prompt cached"),
        _figure("tpot_ms", _quantile(many, "tpot_ms"), "ms", detail=f"median, {streams} streams"),
        _figure("e2e_p95_ms", _quantile(many, "e2e_ms", "p95"), "ms", detail=f"95 % of requests, {streams} streams"),
        _figure("first_tool_call_ms", _quantile(speed.get("tool_calls"), "first_call_ms"), "ms", detail="median, one stream"),
        _figure("goodput_per_s", poisson.get("goodput_per_s"), "1/s", detail=_arrivals(poisson, slo)),
        _figure("client_cpu_share", many.get("client_cpu_share"), "share", detail="busiest client process, of one core"),
        _figure("serving_cpu_share", speed.get("cpu_share"), "share", detail="busy share of all cores under load"),
        _figure("serving_gpu_share", speed.get("gpu_share"), "share", detail=f"{_BUSY_GPU}, mean of all GPUs under load"),
    ]


def _quantile(load: Mapping[str, Any] | None, name: str, quantile: str = "p50") -> float | None:
    found = (load or {}).get(name)
    return found[quantile] if found else None


def _arrivals(poisson: Mapping[str, Any], slo: str) -> str:
    if not poisson:
        return "no load by chance"
    return f"requests by chance, {poisson['rate_per_s']:.3g} a second" + (
        f"; good: {slo} or less" if slo else "; no objectives"
    )


def _stability(config: RunConfig, stages: Mapping[str, Manifest]) -> list[Metric]:
    facts, targets = _facts(stages, "validation").get("stability", {}), config.validation.targets
    how = f"{facts.get('duration_s', 0):g} s, windows of {facts.get('window_s', 0):g} s" if facts else ""
    failed = facts["failures"] / facts["requests"] if facts.get("requests") else None
    told = "; ".join([f"{facts.get('requests', 0)} requests in the sustained load", *facts.get("reasons", [])[:1]])
    return [
        _figure("stability_cv", facts.get("cv"), "ratio", targets.stability_cv, how, facts.get("cv_interval")),
        _figure(
            "stability_drift",
            facts.get("drift_share"),
            "share",
            targets.stability_drift,
            "rise of throughput, by its mean",
            facts.get("drift_interval"),
        ),
        _figure(
            "memory_growth",
            facts.get("memory_growth_share"),
            "share",
            targets.memory_growth,
            "of the run's processes, the engine's among them",
            facts.get("memory_growth_interval"),
        ),
        _figure("failed_requests", failed, "share", 0.0, told),
    ]


def _training(config: RunConfig, stages: Mapping[str, Manifest]) -> list[Metric]:
    facts, targets = _facts(stages, "training"), config.validation.targets
    # The first step pays for allocation and autotuning; a user waits for it once.
    all_steps = facts.get("step_wall_s", [])
    steps = all_steps[1:] or all_steps
    total_s, step_ms = sum(all_steps), [1000 * step for step in steps]
    busy, of_what = (
        facts.get("gpu_share"),
        f"{_BUSY_GPU}, mean of the {config.training.num_workers} workers' GPUs during the steps",
    )
    if not config.training.use_gpu:
        # Seconds of processor time over seconds of cores: busy share of what the first worker was given.
        busy = facts["cpu_s"] / (total_s * config.training.cpus_per_worker) if total_s else None
        of_what = "busy share of the training worker's cores"
    flops = facts.get("flops_per_s")
    peak = facts.get("peak_flops_per_s")
    middle = statistics.median(step_ms) if steps else None
    return [
        _figure("train_step_ms", middle, "ms", targets.train_step_ms, "median", median_interval(step_ms)),
        _figure("train_step_p95_ms", float(np.percentile(step_ms, 95)) if steps else None, "ms"),
        _figure(
            "train_flop_utilization",
            flops / peak if flops and peak else None,
            "share",
            targets.train_flop_utilization,
            f"of the {peak / 1e9:.0f} GFLOP/s that matrix products reach" if peak else "",
        ),
        _figure("train_tokens_per_s", facts["tokens"] / total_s if total_s else None, "tokens/s", detail="packed"),
        _figure("compute_utilization", busy, "share", targets.compute_utilization, of_what),
        _figure(
            "memory_reduction", facts.get("memory_reduction"), "share", targets.memory_reduction, "against full fine-tuning"
        ),
    ]


def _memory(stages: Mapping[str, Manifest]) -> list[Metric]:
    facts, speed = _facts(stages, "training"), _facts(stages, "validation").get("speed", {})
    baseline = facts.get("full_finetuning_peak_gib")
    return [
        _figure("training_peak_memory_gib", facts.get("peak_memory_gib"), "GiB", detail="first worker"),
        _figure("training_peak_gpu_memory_gib", facts.get("peak_gpu_memory_gib"), "GiB", detail="fullest GPU, by any program"),
        _figure("full_finetuning_peak_memory_gib", baseline, "GiB", detail="baseline, really run"),
        _figure("serving_peak_memory_gib", speed.get("peak_memory_gib"), "GiB", detail="all processes, Ray included"),
        _figure("serving_peak_gpu_memory_gib", speed.get("peak_gpu_memory_gib"), "GiB", detail="fullest GPU, by any program"),
    ]
