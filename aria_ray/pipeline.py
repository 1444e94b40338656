"""The whole system on one page: every stage in order. The only module that knows them all.

dataset (Ray Data) -> curriculum LoRA (Ray Train) -> endpoint (Ray Serve LLM) -> proof (against the live endpoint)
"""

import os
import shutil
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import ray

from aria_ray import artifacts
from aria_ray.artifacts import fingerprint
from aria_ray.config import RunConfig
from aria_ray.dataset.generate import generate_dataset
from aria_ray.dataset.loading import templates_digest
from aria_ray.dataset.user_rows import path_and_share
from aria_ray.dataset.user_tools import tool_file
from aria_ray.errors import AriaError, DataError
from aria_ray.kernels.choice import Kernels, choose_kernels
from aria_ray.machine.peaks import measure_peaks
from aria_ray.records import Endpoint, Manifest, Report
from aria_ray.report import build_report, write_report
from aria_ray.serving.deploy import check_port, read_config, serve_model
from aria_ray.telemetry.cluster import start_sampling
from aria_ray.telemetry.sampler import Sampling
from aria_ray.telemetry.timeline import in_words
from aria_ray.terminal import Terminal
from aria_ray.training.base_model import prepare_base
from aria_ray.training.memory_baseline import full_finetuning_peak_gib
from aria_ray.training.model import is_merged, write_merged
from aria_ray.training.train import train_curriculum
from aria_ray.validation.bfcl.questions import CATEGORIES, read_questions
from aria_ray.validation.proof import Proof, roofline, unwatched

STAGES = ("dataset", "training", "validation")
DATASET, MODEL = "final_dataset.jsonl", "production_model.ckpt"
CHECKPOINTS = "checkpoints"
"""Folder of the training stage that is of no use once training is finished."""


def run(config: RunConfig, recipe: str, out: Path, terminal: Terminal) -> Report:
    """Every stage in order; finished ones are reused, an unfinished one goes on where it was."""
    out = out.absolute()
    check(config, out, serves=True)
    with terminal.stage("base model") as update:
        update(0, 0, config.model.source)
        base = prepare_base(config.model)  # first of all: a model that is not there must not cost a dataset
    if not (out / MODEL).is_dir():
        # The merged model is as large as the base; 1 GiB is for the dataset and the adapter's checkpoints.
        artifacts.check_writable(out, needed_gib=1 + artifacts.size_gib(base))
    with ray_session():
        dataset = make_dataset(config, out, terminal)
        training = train_model(config, dataset, out, terminal)
        validation = validate_model(config, dataset, training, out, terminal)
    return make_report(config, recipe, {"dataset": dataset, "training": training, "validation": validation}, out)


def check(config: RunConfig, out: Path, serves: bool) -> None:
    """Refuse now what would fail later: the directory, what is in it, and if `serves` the port. Only the directory is made.

    Raises:
        AriaError: the first thing that is wrong.
    """
    artifacts.check_writable(out, needed_gib=1)
    _check_bfcl(config)
    complete = [artifacts.finished(out / name, wanted) is not None for name, wanted in fingerprints(config).items()]
    if serves and not all(complete) and not on_cluster():  # on a cluster Ray Serve may be up already, and the port its own
        check_port(config.serving)


def _check_bfcl(config: RunConfig) -> None:
    if config.validation.bfcl_cases:
        read_questions(CATEGORIES[0], 1)


def fingerprints(config: RunConfig) -> dict[str, str]:
    """What each stage's directory must have been made from, by stage."""
    dataset = fingerprint(_dataset_section(config), {})
    training = fingerprint(_training_section(config), {"dataset": dataset})
    validation = fingerprint(_validation_section(config), {"dataset": dataset, "training": training})
    return {"dataset": dataset, "training": training, "validation": validation}


def on_cluster() -> bool:
    """Whether RAY_ADDRESS names a cluster to use; `ray job submit` sets it."""
    return os.environ.get("RAY_ADDRESS", "local") != "local"


@contextmanager
def ray_session() -> Iterator[None]:
    """Ray for the block: the cluster of RAY_ADDRESS, else one of our own that goes away again."""
    options: dict[str, Any] = {} if on_cluster() else {"include_dashboard": False}
    # Read by Ray Serve's controller, a process of the Ray started here: 5 s, its limit for a proxy to come up, are too few
    # for a machine of two busy cores, and a proxy that misses it is killed and started again.
    os.environ.setdefault("RAY_SERVE_PROXY_READY_CHECK_TIMEOUT_S", "60")
    address = os.environ.get("RAY_ADDRESS", "local")
    try:
        ray.init(address=address, log_to_driver=False, logging_level="ERROR", **options)
    except ConnectionError as error:
        reason = str(error).strip().splitlines()[0]
        raise AriaError(f"RAY_ADDRESS={address} must be a running cluster ({reason}); unset it to run without one") from None
    # Ray ends the process on SIGTERM, as batch systems send it: take the way of Ctrl-C, so that the endpoint comes down.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        ray.shutdown()


def make_dataset(config: RunConfig, out: Path, terminal: Terminal) -> Manifest:
    """The dataset stage."""

    def produce(directory: Path, _sampler: Sampling) -> dict[str, Any]:
        with terminal.stage("dataset") as update:
            generate_dataset(config.dataset, directory, lambda done, total: update(done, total, "rows"))
        return {}

    manifest = _stage("dataset", _dataset_section(config), {}, out, terminal, produce)
    _publish(out / "dataset" / DATASET, out / DATASET)
    return manifest


def train_model(config: RunConfig, dataset: Manifest, out: Path, terminal: Terminal) -> Manifest:
    """The training stage, and the merged model."""
    rows = out / "dataset" / DATASET

    def produce(directory: Path, sampler: Sampling) -> dict[str, Any]:
        base = prepare_base(config.model)
        unknown = config.training.use_gpu or on_cluster() or config.model.dtype != "float32"
        peaks = None if unknown else measure_peaks(config.training.cpus_per_worker)
        with terminal.stage("training") as update:
            steps_s: list[float] = []
            on_event = _training_progress(config.training.num_steps, update, steps_s)
            facts = train_curriculum(config.training, config.model.dtype, base, rows, directory, on_event, _kernels(config))
        facts["peak_flops_per_s"] = peaks.gemm_flops_per_s if peaks else None
        if config.training.use_gpu:  # what the workers tell of memory is that of their processes, not of their GPUs
            unknown_memory = {"peak_memory_gib": None, "full_finetuning_peak_gib": None, "memory_reduction": None}
            span = min(steps_s, default=0.0), max(steps_s, default=0.0)
            usage = sampler.usage_between(*span, gpus=facts["gpus"])
            seen = {name: getattr(usage, name) for name in ("cpu_share", "gpu_share", "peak_gpu_memory_gib")}
            return facts | unknown_memory | seen
        with terminal.stage("memory baseline") as update:
            update(0, 0, "two steps of full fine-tuning")
            baseline = full_finetuning_peak_gib(config.training, config.model.dtype, base, rows)
        reduction = None if baseline is None else 1 - facts["peak_memory_gib"] / baseline
        return facts | {"full_finetuning_peak_gib": baseline, "memory_reduction": reduction}

    manifest = _stage("training", _training_section(config), {"dataset": dataset}, out, terminal, produce)
    if not is_merged(out / MODEL, manifest.fingerprint):
        with terminal.stage("merge"):
            base, adapter = prepare_base(config.model), out / "training" / "adapter"
            write_merged(base, adapter, config.model.dtype, out / MODEL, manifest.fingerprint)
    return manifest


def validate_model(config: RunConfig, dataset: Manifest, training: Manifest, out: Path, terminal: Terminal) -> Manifest:
    """The validation stage: the base model's endpoint, then ours."""

    def produce(directory: Path, sampler: Sampling) -> dict[str, Any]:
        proof = Proof(config.validation, out / "dataset" / DATASET, directory, terminal.stage)
        facts: dict[str, Any] = {}
        # Measured in float32: of another type the machine can do more or less.
        if (
            not on_cluster() and not config.training.use_gpu and config.model.dtype == "float32"
        ):  # before an engine takes its share of the machine
            facts["roofline"] = roofline(out / MODEL, config.model.dtype, config.validation.concurrency)
        if config.validation.compare_base:
            with endpoint(config, prepare_base(config.model), terminal, base=True) as live:
                facts |= proof.quality(live, "_base")
        with endpoint(config, out / MODEL, terminal) as live:
            facts |= proof.quality(live) | proof.unseen_tools(live)
            began_s = time.perf_counter()
            speed = proof.speed(live)
            under_load = sampler.usage_between(began_s, time.perf_counter())
            speed["speed"]["peak_gpu_memory_gib"] = under_load.peak_gpu_memory_gib
            measured = speed | proof.stability(live)
            facts |= unwatched(measured, asdict(under_load)) if on_cluster() else measured
        return facts | proof.paired()

    upstream = {"dataset": dataset, "training": training}
    return _stage("validation", _validation_section(config), upstream, out, terminal, produce)


def validate_endpoint(config: RunConfig, recipe: str, live: Endpoint, out: Path, terminal: Terminal) -> Report:
    """Put any endpoint to the proof, on the recipe's held-out cases; what only a training of our own tells stays unmeasured.

    Raises:
        DataError: `out` holds the finished proof of an endpoint already: a live thing is never taken from an earlier run.
    """
    out = out.absolute()
    artifacts.check_writable(out, needed_gib=1)
    if (out / "validation" / artifacts.MANIFEST).exists():
        raise DataError(f"{out / 'validation'} holds a finished validation; give another --out to measure an endpoint")
    _check_bfcl(config)
    with ray_session():
        dataset = make_dataset(config, out, terminal)

    def produce(directory: Path, _sampler: Sampling) -> dict[str, Any]:
        proof = Proof(config.validation, out / "dataset" / DATASET, directory, terminal.stage)
        named = {"endpoint": {"base_url": live.base_url, "model": live.model}}
        return named | proof.quality(live) | proof.unseen_tools(live) | unwatched(proof.speed(live) | proof.stability(live))

    section = {"endpoint": [live.base_url, live.model], "validation": _measured(config)}
    validation = _stage("validation", section, {"dataset": dataset}, out, terminal, produce)
    return make_report(config, recipe, {"dataset": dataset, "validation": validation}, out)


def make_report(config: RunConfig, recipe: str, stages: Mapping[str, Manifest], out: Path) -> Report:
    """The report, from the manifests of finished stages."""
    report = build_report(config, recipe, stages)
    write_report(report, out)
    return report


def finished_stages(config: RunConfig, out: Path, names: tuple[str, ...]) -> dict[str, Manifest]:
    """The manifests of stages that must have been run before.

    Raises:
        DataError: one was not, or was with another configuration.
    """
    wanted = fingerprints(config)
    manifests = {}
    for name in names:
        manifest = artifacts.finished(out / name, wanted[name])
        if manifest is None:
            command = {"dataset": "generate", "training": "train", "validation": "validate"}[name]
            raise DataError(f"{out / name} is not complete; run `aria {command}` with the same recipe and --out first")
        manifests[name] = manifest
    return manifests


@contextmanager
def endpoint(config: RunConfig, model: Path, terminal: Terminal, base: bool = False) -> Iterator[Endpoint]:
    """A live endpoint of a model directory."""
    title = "endpoint of the base model" if base else "endpoint"
    with terminal.stage(title) as update:
        serving = serve_model(config.serving, model, base=base, on_progress=lambda what: update(0, 0, what))
        live = serving.__enter__()
    try:
        yield live
    finally:
        serving.__exit__(None, None, None)


def _stage(
    name: str,
    section: Mapping[str, Any],
    upstream: Mapping[str, Manifest],
    out: Path,
    terminal: Terminal,
    produce: Callable[[Path, Sampling], dict[str, Any]],
) -> Manifest:
    """Reuse a finished stage, or run it and write its manifest last."""
    prints = {each: record.fingerprint for each, record in upstream.items()}
    directory, wanted = out / name, fingerprint(section, prints)
    manifest = artifacts.finished(directory, wanted)
    if manifest is not None:
        terminal.line(f"{name}: reused (fingerprint {wanted})")
        return manifest
    artifacts.begin(directory, wanted)
    started = time.perf_counter()
    try:
        with start_sampling(on_cluster()) as sampler, terminal.beside(lambda: in_words(sampler.timelines)):
            facts = produce(directory, sampler)
        marks = [(moment - sampler.started_s, what) for moment, what in terminal.begun if moment >= sampler.started_s]
        artifacts.write_json(directory / "telemetry.json", sampler.series(marks))
    except AriaError:
        if not any(directory.glob(f"{CHECKPOINTS}/step-*")):  # nothing to go on from: the mended input starts anew
            kept = directory.with_name(f"{name}.failed")  # what was found so far may say why
            shutil.rmtree(kept, ignore_errors=True)
            directory.rename(kept)
        raise
    manifest = Manifest(
        stage=name,
        fingerprint=wanted,
        upstream=prints,
        config=dict(section),
        files=artifacts.file_hashes(directory, but=CHECKPOINTS),
        versions=artifacts.package_versions(),
        commit=artifacts.source_commit(),
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        wall_s=time.perf_counter() - started,
        # On a cluster the work is done by processes that are not below this one.
        peak_memory_gib=None if on_cluster() else sampler.peak_memory_gib,
        facts=facts,
    )
    artifacts.finish(directory, manifest)
    return manifest


def _dataset_section(config: RunConfig) -> dict[str, Any]:
    """What decides the rows: their configuration, the templates and the user's own files, not the number of workers."""
    own = [tool_file(source) for source in config.dataset.tools]
    own += [path_and_share(source)[0] for source in config.dataset.sources]
    missing = [path for path in own if not path.is_file()]
    if missing:
        raise DataError(f"{missing[0]} of dataset.tools or dataset.sources is no file; give one that exists")
    section = {"dataset": config.dataset.model_dump(mode="json", exclude={"num_workers"}), "templates": templates_digest()}
    return section | ({"own": [artifacts.file_hash(path) for path in own]} if own else {})


def _training_section(config: RunConfig) -> dict[str, Any]:
    """What decides the adapter. Kernels round otherwise than the library, and a training that is taken up again must not change
    over to them: where they compute they belong to it, however they came to be chosen; where they do not, nothing is said.
    """
    section = {"model": config.model.model_dump(mode="json"), "training": config.training.model_dump(mode="json")}
    return section | ({"kernels": "triton"} if _kernels(config) == "triton" else {})


def _kernels(config: RunConfig) -> Kernels:
    return choose_kernels(config.hardware.kernels, use_gpu=config.training.use_gpu)


def _validation_section(config: RunConfig) -> dict[str, Any]:
    """What decides the measurements: what the Serve file says and the cases, not the address, the patience or the targets."""
    return {
        "serving": read_config(config.serving.file),
        "validation": _measured(config),
    }


def _measured(config: RunConfig) -> dict[str, Any]:
    return config.validation.model_dump(mode="json", exclude={"targets", "request_timeout_s"})


def _publish(source: Path, target: Path) -> None:
    """Put a stage's file at the top of the run directory, without a second copy where the file system can."""
    with artifacts.atomic_path(target) as temporary:
        temporary.unlink()
        try:
            os.link(source, temporary)
        except OSError:
            shutil.copy(source, temporary)


def _training_progress(
    num_steps: int, update: Callable[[float, float, str], None], steps_s: list[float]
) -> Callable[[dict[str, Any]], None]:
    """Turn the training log into progress: steps done, stage, loss, held-out accuracy. `steps_s` gets the time of each step."""
    what, held_out = "", ""

    def on_event(event: dict[str, Any]) -> None:
        nonlocal what, held_out
        if event["event"] == "step":
            steps_s.append(time.perf_counter())
            what = f"{event['stage']} loss {event['loss']:.3f}"
        elif event["event"] == "evaluation":
            held_out = f", held-out {event['stage_accuracy']:.0%}" + (f", gate {event['ended']}" if event["ended"] else "")
        done = event.get("total_steps")
        if done is not None:  # with stages that were tried again they may be more than planned
            update(done, max(done, num_steps), what + held_out)

    return on_event
