"""The report: every figure with its target and how it stands, for programs (`report.json`) and people (`system_report.txt`)."""

import os
import platform
import statistics
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil

from aria_ray.artifacts import package_versions, source_commit, write_text
from aria_ray.config import RunConfig
from aria_ray.records import Manifest, Metric, Report, Status
from aria_ray.validation.readiness import CONDITIONS, WEIGHTS, conditions, judge, readiness_percent, verdict

_MARKS: Mapping[Status | None, str] = {
    "met": "met",
    "not_met": "NOT MET",
    "inconclusive": "inconclusive",
    "unmeasured": "unmeasured",
    None: "",
}


def build_report(config: RunConfig, recipe: str, stages: Mapping[str, Manifest]) -> Report:
    """The report of a run from the manifests of its stages (`dataset`, `training`, `validation`)."""
    metrics = (*_quality(config, stages), *_speed(config, stages), *_training(config, stages), *_memory(stages))
    return Report(
        verdict=verdict(metrics),
        readiness_percent=readiness_percent(metrics),
        conditions=conditions(metrics),
        provenance={
            "recipe": recipe,
            "config": config.model_dump(mode="json"),
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
            "commit": source_commit(),
            "versions": package_versions(),
            "machine": machine(),
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


def write_report(report: Report, out: Path) -> None:
    """Write `report.json` and `system_report.txt` into the run directory."""
    write_text(out / "report.json", report.model_dump_json(indent=2) + "\n")
    write_text(out / "system_report.txt", render_text(report))


def render_text(report: Report) -> str:
    """The report as one page of text."""
    lines = [
        "ARIA system report",
        "==================",
        f"Verdict:    {report.verdict.upper()}",
        f"Readiness:  {report.readiness_percent:.0f} % of the weighted criteria met "
        f"({', '.join(f'{name} {weight}' for name, weight in WEIGHTS.items())})",
        "Conditions: " + ", ".join(f"{name} {_MARKS[status]}" for name, status in report.conditions.items()),
        "",
        f"{'figure':<30} {'value':>12} {'unit':<10} {'target':>8}  {'status':<13} 95 % interval (cases)",
    ]
    for metric in report.metrics:
        value = "unmeasured" if metric.value is None else f"{metric.value:.4g}"
        target = "" if metric.target is None else f"{metric.target:.4g}"
        interval = "" if metric.interval is None else f"{metric.interval[0]:.3f} - {metric.interval[1]:.3f} ({metric.cases})"
        line = f"{metric.name:<30} {value:>12} {metric.unit:<10} {target:>8}  {_MARKS[metric.status]:<13} {interval}"
        lines.append(f"{line}  {metric.detail}".rstrip())
    lines += ["", "Stages"]
    for name, stage in report.provenance["stages"].items():
        peak = "unmeasured" if stage["peak_memory_gib"] is None else f"{stage['peak_memory_gib']:.1f} GiB"
        lines.append(f"  {name:<12} {stage['wall_s']:8.0f} s   peak memory {peak}   fingerprint {stage['fingerprint']}")
    machine_line = ", ".join(f"{key} {value}" for key, value in report.provenance["machine"].items())
    versions = ", ".join(f"{name} {version}" for name, version in report.provenance["versions"].items())
    lines += ["", f"Machine:  {machine_line}", f"Versions: {versions}"]
    lines += [f"Made:     {report.provenance['created']}, recipe {report.provenance['recipe']}", ""]
    return "\n".join(lines)


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


def _share(quality: Mapping[str, Any], source: str, name: str, target: float | None, detail: str = "") -> Metric:
    """A share with its interval. Where requests failed the cases left are no random sample, so nothing is met by them."""
    share = quality.get("shares", {}).get(source)
    failed = quality.get("outcomes", {}).get("request_failed", 0)
    if share is None:
        return Metric(name=name, value=None, unit="share", target=target, status="unmeasured")
    interval = tuple(share["interval"])
    status = judge(name, share["value"], target, interval)
    return Metric(
        detail="; ".join(filter(None, [detail, f"{failed} requests failed" if failed else ""])),
        name=name,
        value=share["value"],
        unit="share",
        target=target,
        status="inconclusive" if failed and status == "met" else status,
        interval=interval,
        cases=share["cases"],
    )


def _quality(config: RunConfig, stages: Mapping[str, Manifest]) -> list[Metric]:
    facts = stages["validation"].facts
    targets = config.validation.targets
    ours, base, unseen = (facts.get(name, {}) for name in ("quality", "quality_base", "quality_unseen"))
    wanted = {"accuracy": targets.accuracy, "tool_compliance": targets.tool_compliance}
    how = "tools sent as strict" if config.validation.strict_tools else ""
    metrics = [_share(ours, name, name, target, how) for name, target in wanted.items()]
    metrics += [_share(ours, name, name, None) for name in ("thinking_prefix", "irrelevance")]
    metrics += [_share(base, name, f"{name}_base", None, how) for name in (*CONDITIONS, "irrelevance")]
    metrics += [_share(unseen, name, f"{name}_unseen_tools", None, how) for name in CONDITIONS]
    return metrics + [
        _share(ours, name, name.replace(":", "_"), None)
        for name in sorted(ours.get("shares", {}))
        if name.startswith(("category:", "scenario:"))
    ]


def _figure(name: str, value: float | None, unit: str, target: float | None = None, detail: str = "") -> Metric:
    return Metric(name=name, value=value, unit=unit, target=target, status=judge(name, value, target), detail=detail)


def _speed(config: RunConfig, stages: Mapping[str, Manifest]) -> list[Metric]:
    speed = stages["validation"].facts.get("speed", {})
    targets = config.validation.targets
    streams = f"{speed.get('concurrency')} streams"
    failed = speed.get("num_failures", 0)
    return [
        _figure("output_tokens_per_s", speed.get("output_tokens_per_s"), "tokens/s", targets.output_tokens_per_s, streams),
        _figure("single_stream_tokens_per_s", speed.get("single_stream_tokens_per_s"), "tokens/s"),
        _figure("ttft_ms", speed.get("ttft_ms"), "ms", detail="median, one stream"),
        _figure("stability_cv", speed.get("stability_cv"), "ratio", targets.stability_cv, f"{failed} failed requests"),
        _figure("serving_cpu_share", speed.get("serving_cpu_share"), "share", detail="busy share of all cores under load"),
    ]


def _training(config: RunConfig, stages: Mapping[str, Manifest]) -> list[Metric]:
    facts = stages["training"].facts
    targets = config.validation.targets
    # The first step pays for allocation and autotuning; a user waits for it once.
    steps = facts["step_wall_s"][1:] or facts["step_wall_s"]
    cores = config.training.cpus_per_worker
    # Seconds of processor time over seconds of cores: busy share of what the first worker was given. On a GPU the figure
    # would say nothing of the GPU, so it stays unmeasured there.
    busy = None if config.training.use_gpu else facts["cpu_s"] / (sum(facts["step_wall_s"]) * cores)
    return [
        _figure("train_step_ms", 1000 * statistics.median(steps), "ms", targets.train_step_ms, "median"),
        _figure("train_tokens_per_s", facts["tokens"] / sum(facts["step_wall_s"]), "tokens/s", detail="packed"),
        _figure("compute_utilization", busy, "share", targets.compute_utilization, "busy share of the training worker's cores"),
        _figure("memory_reduction", facts["memory_reduction"], "share", targets.memory_reduction, "against full fine-tuning"),
    ]


def _memory(stages: Mapping[str, Manifest]) -> list[Metric]:
    facts = stages["training"].facts
    return [
        _figure("training_peak_memory_gib", facts["peak_memory_gib"], "GiB", detail="first worker"),
        _figure("full_finetuning_peak_memory_gib", facts["full_finetuning_peak_gib"], "GiB", detail="baseline, really run"),
        _figure(
            "serving_peak_memory_gib",
            stages["validation"].facts.get("speed", {}).get("serving_peak_memory_gib"),
            "GiB",
            detail="all processes, Ray included",
        ),
    ]
