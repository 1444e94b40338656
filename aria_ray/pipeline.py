"""The whole system on one page: every stage in order. The only module that knows them all.

dataset (Ray Data) -> curriculum LoRA (Ray Train) -> endpoint (Ray Serve LLM) -> proof (against the live endpoint)
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from aria_ray import artifacts
from aria_ray.config import RunConfig
from aria_ray.dataset.conversations.sources import told
from aria_ray.dataset.from_requests.cases import request_cases
from aria_ray.dataset.generate import generate_dataset
from aria_ray.dataset.inputs import dataset_inputs
from aria_ray.errors import DataError
from aria_ray.records import Endpoint, Manifest, Report
from aria_ray.report import build_report, write_report
from aria_ray.results import DatasetResult, TrainingResult, ValidationResult
from aria_ray.serving import addresses, agreement, serve_file
from aria_ray.serving.deploy import serve_model
from aria_ray.session import on_cluster, ray_session
from aria_ray.stage import Run, Stage
from aria_ray.telemetry.sampler import Sampling
from aria_ray.training.base_check import check_base
from aria_ray.training.base_model import prepare_base
from aria_ray.training.model import is_merged, write_merged
from aria_ray.training.stage import train, training_inputs
from aria_ray.validation.measure import Measurement, check_bfcl, has_roofline, measurement_inputs

ROWS, MODEL = "final_dataset.jsonl", "production_model.ckpt"
DATASET = Stage(
    "dataset",
    DatasetResult,
    lambda config: dataset_inputs(config.dataset, hold_out=not config.validation.requests),
    "generate",
)
DATASET_ROWS = Path(DATASET.name, ROWS)
TRAINING = Stage("training", TrainingResult, training_inputs, "train", (DATASET,))
VALIDATION = Stage(
    "validation",
    ValidationResult,
    lambda config: serve_file.serving_inputs(config.serving) | measurement_inputs(config),
    "validate",
    (DATASET, TRAINING),
)


def check(run: Run, *stages: Stage[Any]) -> None:
    """Raise AriaError now for what would fail later: the run directory, what it holds of these stages, what they need."""
    artifacts.check_writable(run.out, needed_gib=1)
    complete = {stage.name: run.finished(stage) is not None for stage in stages}
    if TRAINING in stages and not all(complete.values()):
        agreement.check_agreement(run.config)
    if not complete.get(DATASET.name, True):
        check_conversations(run)
    if not complete.get(VALIDATION.name, True):
        check_bfcl(run.config.validation)
        own_cases(run.config)
        if not on_cluster():  # on a cluster Ray Serve may be up already, and the port its own
            addresses.check_port(run.config.serving)


def check_conversations(run: Run) -> None:
    """Read `dataset.sources`, and tell what is left out. Raises DataError if more than its share of one is wrong."""
    for line in told(run.config.dataset):
        run.terminal.line(line)


def run_all(run: Run) -> Report:
    """Every stage in order. Finished ones are reused, an unfinished one goes on where it was."""
    check(run, DATASET, TRAINING, VALIDATION)
    run.terminal.line(f"{run.out}: dataset, training, validation, report. Ctrl-C stops; the same command resumes")
    base = ready_base(run)  # first of all: a model that cannot be trained must not cost a dataset
    if not (run.out / MODEL).is_dir():  # as large as the base; 1 GiB is for the dataset and the adapter's checkpoints
        artifacts.check_writable(run.out, needed_gib=1 + artifacts.size_gib(base))
    with ray_session():
        make_dataset(run)
        make_model(run)
        measure_model(run)
    return make_report(run)


def ready_base(run: Run) -> Path:
    """Directory of the base model. Raises AriaError where it cannot be trained, found out in seconds, unless it has been."""
    with run.terminal.stage(f"base model {run.config.model.source}"):
        base = prepare_base(run.config.model)
        if run.finished(TRAINING) is None:
            check_base(base, run.config.training.lora)
    return base


def make_dataset(run: Run) -> Manifest[DatasetResult]:
    """The dataset stage, and its rows at the top of the run directory."""

    def produce(directory: Path, _sampler: Sampling) -> DatasetResult:
        with run.terminal.stage("dataset") as update:
            return generate_dataset(
                run.config.dataset,
                directory,
                lambda done, total: update(done, total, f"{done:,} rows"),
                hold_out=not run.config.validation.requests,
                serve_teacher=partial(teacher, run, partial(update, 0, 0)),
                on_taught=lambda done, total: update(done, total, f"{done:,} answers of the teacher"),
            )

    manifest = run.make(DATASET, produce)
    artifacts.publish(run.out / DATASET_ROWS, run.out / ROWS)
    return manifest


def make_model(run: Run) -> Manifest[TrainingResult]:
    """The training stage, and the merged model."""

    def produce(directory: Path, sampler: Sampling) -> TrainingResult:
        base, rows = prepare_base(run.config.model), run.out / DATASET_ROWS
        return train(run.config, base, rows, directory, sampler, run.terminal.stage)

    manifest = run.make(TRAINING, produce)
    if manifest.result.dropped_too_long:
        run.terminal.line(
            f"{manifest.result.dropped_too_long} turns were left out of training: they take more than training.max_tokens "
            f"({run.config.training.max_tokens})"
        )
    if not is_merged(run.out / MODEL, manifest.fingerprint):
        base, adapter = prepare_base(run.config.model), run.out / TRAINING.name / "adapter"
        with run.terminal.stage("merge"):
            write_merged(base, adapter, run.config.model.dtype, run.out / MODEL, manifest.fingerprint)
    return manifest


def measure_model(run: Run) -> Manifest[ValidationResult]:
    """The validation stage: the base model's endpoint, then ours."""
    config, model = run.config, run.out / MODEL

    def produce(directory: Path, sampler: Sampling) -> ValidationResult:
        rows, requests = run.out / DATASET_ROWS, own_cases(config)
        measurement = Measurement(config.validation, rows, directory, run.terminal.stage, sampler, requests)
        if has_roofline(config):
            measurement.roofline(model, config.model.dtype)
        measure_base(run, measurement)
        with endpoint(run, model) as live:
            measurement.all_of(live)
        return measurement.result()

    return run.make(VALIDATION, produce)


def measure_base(run: Run, measurement: Measurement) -> None:
    """Serve the base model and measure it, where the recipe asks for it."""
    if run.config.validation.compare_base:
        with endpoint(run, prepare_base(run.config.model), base=True) as live:
            measurement.base_model(live)


def measure_endpoint(run: Run, live: Endpoint) -> Report:
    """Measure any endpoint on the held-out cases, always anew: DataError if the directory holds a finished validation."""
    check(run)
    check_bfcl(run.config.validation)
    requests = own_cases(run.config)
    if (run.out / VALIDATION.name / artifacts.MANIFEST).exists():
        raise DataError(f"{run.out / VALIDATION.name} holds a finished validation", "give another --out to measure an endpoint")
    with ray_session():
        make_dataset(run)

    def produce(directory: Path, _sampler: Sampling) -> ValidationResult:
        # Nothing is sampled: the endpoint's machines are not ours to watch.
        measurement = Measurement(
            run.config.validation, run.out / DATASET_ROWS, directory, run.terminal.stage, requests=requests
        )
        measurement.all_of(live)
        return measurement.result(live)

    served = {"endpoint": [live.base_url, live.model]}
    stage = replace(VALIDATION, inputs=lambda config: served | measurement_inputs(config), upstream=(DATASET,))
    return make_report(run, run.make(stage, produce))


def own_cases(config: RunConfig) -> list[dict[str, Any]]:
    """The test rows of `validation.requests`. Raises DataError if a file of them is wrong."""
    return request_cases(config.dataset, config.validation.requests) if config.validation.requests else []


def ask_requests(run: Run, files: Sequence[str], live: Endpoint | None) -> tuple[Report, Path]:
    """Judge an endpoint, or the trained model, on files of example requests alone. Returns where the report is, too.

    That is a directory for this measurement within the run's, so that the run's own report stays. Neither a dataset nor a load
    is made.

    Raises:
        DataError: a file of requests is wrong, or the trained model is not there.
    """
    changes = {"requests": tuple(files), "bfcl_cases": 0}
    config = run.config.model_copy(update={"validation": run.config.validation.model_copy(update=changes)})
    cases = request_cases(config.dataset, files, "--requests")
    check(run)
    inputs = {"cases": artifacts.fingerprint({"cases": cases}, {}), **measurement_inputs(config)}
    if live:  # always anew: what answers there may be another model by now
        inputs |= {"endpoint": [live.base_url, live.model], "asked": datetime.now(UTC).isoformat()}
    else:
        inputs |= serve_file.serving_inputs(config.serving) | {"training": run.required(TRAINING).fingerprint}
    stage = replace(VALIDATION, inputs=lambda _config: inputs, upstream=())
    out = run.out / f"requests-{artifacts.fingerprint(inputs, {})[:8]}"
    into = Run(config, run.recipe, out, run.terminal)
    if not (live or on_cluster() or into.finished(stage)):
        addresses.check_port(config.serving)

    def produce(directory: Path, sampler: Sampling) -> ValidationResult:
        measurement = Measurement(config.validation, None, directory, run.terminal.stage, None if live else sampler, cases)
        if live:
            measurement.quality(live)
        else:
            measure_base(run, measurement)
            with endpoint(run, run.out / MODEL) as ours:
                measurement.quality(ours)
        return measurement.result(live)

    with nullcontext() if live else ray_session():
        validation = into.make(stage, produce)
    report = build_report(config, run.recipe, validation=validation)
    write_report(report, out)
    return report, out


def make_report(run: Run, of_endpoint: Manifest[ValidationResult] | None = None) -> Report:
    """The report, from the finished stages, or of an endpoint. Raises DataError if a stage is missing or was made otherwise."""
    training = None if of_endpoint else run.required(TRAINING)
    validation = of_endpoint or run.required(VALIDATION)
    report = build_report(run.config, run.recipe, dataset=run.required(DATASET), training=training, validation=validation)
    write_report(report, run.out)
    return report


@contextmanager
def endpoint(run: Run, model: Path, base: bool = False) -> Iterator[Endpoint]:
    """A live endpoint of a model directory, for as long as the block runs."""
    with ExitStack() as stack:
        with run.terminal.stage("endpoint of the base model" if base else "endpoint") as update:
            live = stack.enter_context(serve_model(run.config.serving, model, base=base, on_progress=partial(update, 0, 0)))
        yield live


@contextmanager
def teacher(run: Run, on_status: Callable[[str], None]) -> Iterator[Endpoint]:
    """A live endpoint of the model in `dataset.teacher.source`, for as long as the block runs."""
    wanted = run.config.dataset.teacher
    source = prepare_base(run.config.model.model_copy(update={"source": wanted.source if wanted else None}))
    with serve_model(run.config.serving, source, base=True, on_progress=on_status) as live:
        yield live
