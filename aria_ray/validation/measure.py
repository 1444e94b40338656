"""The validation stage: everything that is measured of a live endpoint, of ours, of the base model's or of anybody's."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from aria_ray.artifacts import file_hash
from aria_ray.config import RunConfig
from aria_ray.config.schema import ValidationConfig
from aria_ray.errors import DataError
from aria_ray.machine.peaks import measure_peaks
from aria_ray.machine.roofline import decode_bounds
from aria_ray.planning.model_sizes import model_size
from aria_ray.progress import ShowStage
from aria_ray.records import Endpoint, ServedModel
from aria_ray.results import DecodeRoofline, Estimate, Quality, ValidationResult, YourRequests
from aria_ray.session import on_cluster
from aria_ray.telemetry.sampler import Sampling
from aria_ray.validation.bfcl.questions import CATEGORIES, read_questions
from aria_ray.validation.conversations import MAX_TOKENS, CaseResult
from aria_ray.validation.quality import (
    answer_bfcl,
    answer_cases,
    compare_models,
    read_cases,
    read_requests,
    summarise,
    write_answers,
)
from aria_ray.validation.speed import measure_speed, measure_stability
from aria_ray.validation.your_requests import keyword_answers, put_together

YOURS = "_your_requests"
"""Ending of the files and figures of requests in people's words."""
BYTES_PER_WEIGHT = {"float32": 4, "bfloat16": 2}


def measurement_inputs(config: RunConfig) -> dict[str, Any]:
    """What decides the measurements: the section without targets and patience, and the hashes of the requests' files.

    It is hashed into the fingerprint of the stage.

    Raises:
        DataError: a file of `validation.requests` is not there.
    """
    files = [Path(name).expanduser() for name in config.validation.requests]
    missing = [path for path in files if not path.is_file()]
    if missing:
        raise DataError(f"{missing[0]} of validation.requests is no file", "give one that exists")
    section = {"validation": config.validation.model_dump(mode="json", exclude={"targets", "request_timeout_s"})}
    return section | ({"requests": [file_hash(path) for path in files]} if files else {})


def check_bfcl(config: ValidationConfig) -> None:
    """Raise DataError if the recipe asks for BFCL's questions and they are not installed."""
    if config.bfcl_cases:
        read_questions(CATEGORIES[0], 1)


class Measurement:
    """Measures one endpoint after the other on the same cases, and puts the figures together."""

    def __init__(
        self,
        config: ValidationConfig,
        rows: Path | None,
        directory: Path,
        show_stage: ShowStage,
        sampler: Sampling | None = None,
        requests: Sequence[Mapping[str, Any]] = (),
    ) -> None:
        """`rows` is the dataset's JSON lines, None for none; `directory` is where transcripts and timings go.

        `sampler` watches the machines of the endpoints; None where they are somebody else's, whose usage stays unmeasured and
        whose answers may be longer. `requests` are rows of requests in people's words; without them, those of the dataset that
        were held out.

        Raises:
            DataError: there is no case.
        """
        self.config, self.directory, self.show_stage, self.sampler = config, directory, show_stage, sampler
        self.cases = read_cases(rows, "test", config.num_cases) if rows else []
        self.unseen = read_cases(rows, "test_unseen_tools", config.num_cases) if rows else []
        self.requests = requests or (read_requests(rows) if rows else [])
        if not self.cases and not self.requests:
            raise DataError(
                f"{rows} has no test conversation",
                "add requests to dataset.requests, conversations to dataset.sources, or raise dataset.num_templates",
            )
        self._answers: dict[str, Sequence[CaseResult]] = {}
        self._figures: dict[str, Any] = {}

    def roofline(self, model: Path, dtype: str) -> None:
        """Measure what this machine could decode at most of a model; before an engine takes its share of the machine."""
        self._figures["roofline"] = decode_roofline(model, dtype, self.config.concurrency)

    def base_model(self, endpoint: Endpoint) -> None:
        """Measure the base model's answers."""
        self._quality(endpoint, "_base", " of the base model")

    def quality(self, endpoint: Endpoint) -> None:
        """Measure the model's answers: on people's requests, held-out conversations, and tools that training has never seen."""
        self._quality(endpoint)
        if self.unseen:
            self._figures["quality_unseen"] = self._shares(endpoint, self.unseen, "_unseen_tools", "accuracy on unseen tools")

    def speed(self, endpoint: Endpoint) -> None:
        """Measure how fast the endpoint answers."""
        with self.show_stage("speed") as update:
            out = self.directory / "load.json"
            self._figures["speed"] = measure_speed(self.config, endpoint, self._prompts, out, update, self.sampler)

    def stability(self, endpoint: Endpoint) -> None:
        """Measure whether the endpoint stays so under sustained load."""
        with self.show_stage("stability") as update:
            out = self.directory / "sustained.json"
            self._figures["stability"] = measure_stability(self.config, endpoint, self._prompts, out, update, self.sampler)

    def all_of(self, endpoint: Endpoint) -> None:
        """Measure the model's answers, their speed and its stability."""
        self.quality(endpoint)
        self.speed(endpoint)
        self.stability(endpoint)

    def result(self, endpoint: Endpoint | None = None) -> ValidationResult:
        """Everything that was measured; `endpoint` is named in it if it is somebody else's."""
        if "_base" in self._answers and "" in self._answers:
            self._figures["gains"] = compare_models(self._answers[""], self._answers["_base"])
        if YOURS in self._answers:
            self._figures["your_requests"] = self._your_requests()
        served = ServedModel(base_url=endpoint.base_url, model=endpoint.model) if endpoint else None
        return ValidationResult(endpoint=served, **self._figures)

    def _quality(self, endpoint: Endpoint, suffix: str = "", whose: str = "") -> None:
        if self.requests:
            self._ask(endpoint, self.requests, f"{YOURS}{suffix}", f"your requests{whose}")
        if self.cases:
            self._figures[f"quality{suffix}"] = self._shares(endpoint, self.cases, suffix, f"accuracy{whose}")
        if self.config.bfcl_cases:
            with self.show_stage(f"BFCL{whose}") as update:
                shares: Mapping[str, Estimate] = answer_bfcl(
                    self.config, endpoint, self.directory / f"bfcl{suffix}.jsonl", update
                )
            self._figures[f"bfcl{suffix}"] = shares

    @property
    def _prompts(self) -> Sequence[Mapping[str, Any]]:
        """Cases whose questions make the load."""
        return self.cases or self.requests

    def _your_requests(self) -> YourRequests:
        keywords = keyword_answers(self.requests)
        write_answers(keywords, self.directory / f"cases{YOURS}_keywords.jsonl")
        return put_together(self.requests, self._answers[YOURS], self._answers.get(f"{YOURS}_base"), keywords)

    def _shares(self, endpoint: Endpoint, cases: Sequence[Mapping[str, Any]], suffix: str, title: str) -> Quality:
        return summarise(self._ask(endpoint, cases, suffix, title))

    def _ask(self, endpoint: Endpoint, cases: Sequence[Mapping[str, Any]], suffix: str, title: str) -> Sequence[CaseResult]:
        # Somebody else's model may think at length before it calls.
        limit = None if cases is self.requests and self.sampler is None else MAX_TOKENS
        with self.show_stage(title) as update:
            out = self.directory / f"cases{suffix}.jsonl"
            self._answers[suffix] = answer_cases(self.config, endpoint, cases, out, update, limit)
        return self._answers[suffix]


def has_roofline(config: RunConfig) -> bool:
    """Whether this machine's peaks bound the endpoint: it runs here, on processors, in the type that peaks are measured in."""
    return not (on_cluster() or config.training.use_gpu) and config.model.dtype == "float32"


def decode_roofline(model: Path, dtype: str, streams: int) -> DecodeRoofline:
    """What this machine could decode at most of the model in a directory, alone and with so many streams, by its own peaks."""
    peaks = measure_peaks(len(os.sched_getaffinity(0)))
    shape = model_size(str(model)).shape
    one, many = (
        decode_bounds(
            shape,
            each,
            bytes_per_weight=BYTES_PER_WEIGHT[dtype],
            bytes_per_s=peaks.copy_bytes_per_s,
            flops_per_s=peaks.gemm_flops_per_s,
        ).tokens_per_s
        for each in (1, streams)
    )
    return DecodeRoofline(**asdict(peaks), concurrency=streams, single_stream_tokens_per_s=one, concurrent_tokens_per_s=many)
