"""Records that stages hand to each other and to people. Frozen, serialisable; what they compute is only from themselves."""

from typing import Any, Generic, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, SecretStr

SCHEMA_VERSION = 2
"""Version of a manifest. 2: the stage's result is typed."""
REPORT_SCHEMA_VERSION = 3
"""2: criteria, reasons, and the performance figures' intervals. 3: requests in people's words."""

Status = Literal["met", "not_met", "inconclusive", "unmeasured"]
Verdict = Literal["production ready", "conditional", "needs work", "not ready"]


class Record(BaseModel):
    """A frozen record that refuses unknown keys. Docstrings of fields are their descriptions in a JSON Schema."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class Endpoint(Record):
    """A live endpoint with OpenAI's API."""

    base_url: str
    """Ending in `/v1`."""
    model: str
    """What a request's field `model` must say."""
    api_key: SecretStr | None = None
    """Sent as a bearer token; None where the endpoint asks for none."""

    @property
    def headers(self) -> dict[str, str]:
        """What every request to it carries."""
        return {"Authorization": f"Bearer {self.api_key.get_secret_value()}"} if self.api_key else {}


ResultT = TypeVar("ResultT", bound=Record)


class ServedModel(Record):
    """An endpoint that this program did not start."""

    base_url: str
    model: str


class Manifest(Record, Generic[ResultT]):
    """What made a stage directory, and what came of it. Written last, so its presence means the directory is complete."""

    schema_version: int = SCHEMA_VERSION
    stage: str
    fingerprint: str
    """Hash of the stage's configuration and of the fingerprints it was made from."""
    upstream: dict[str, str]
    """Fingerprints of the stages it used, by name."""
    config: dict[str, Any]
    files: dict[str, str]
    """sha256 of each file, by path within the directory."""
    versions: dict[str, str]
    commit: str | None
    created: str
    """UTC, ISO 8601."""
    wall_s: float
    """Of the attempt that finished; what an earlier one that was cut off took is not in it."""
    peak_memory_gib: float | None = None
    """Largest memory of the processes of that attempt (proportional set size), by sampling; None where unmeasured."""
    result: ResultT
    """What the stage measured (`results`)."""


class Metric(Record):
    """One figure of the report (`metrics` says what it is). `value` is None exactly where it was not measured."""

    name: str
    value: float | None
    unit: str
    target: float | None = None
    status: Status | None = None
    """How the value stands against the target; None where there is no target."""
    interval: tuple[float, float] | None = None
    """95 % interval, where the value is an estimate."""
    cases: int | None = None
    """Number of cases that the value is estimated from."""
    detail: str = ""
    """How the value was measured, or why it was not."""


class Criterion(Record):
    """One part of the readiness: it brings its weight if all its metrics are met."""

    name: str
    weight: float
    """Percent of the readiness."""
    metrics: tuple[str, ...]
    """Names of the metrics that decide it."""
    status: Status


class Machine(Record):
    """The machine that the report was made on, as far as its operating system tells."""

    cores: int
    """Cores that the process may use."""
    memory_gib: float
    processor: str
    system: str
    python: str


class StageProvenance(Record):
    """What one stage was made from, and what it took."""

    fingerprint: str
    commit: str | None
    """Commit of the source that ran the stage."""
    wall_s: float
    """Seconds of the attempt that finished."""
    peak_memory_gib: float | None
    """Most memory that the run's processes took together; None where it is not seen."""


class Provenance(Record):
    """What the report was made from."""

    recipe: str
    config: dict[str, Any]
    """The resolved recipe, as JSON."""
    created: str
    """UTC, ISO 8601."""
    commit: str | None
    """Commit of the source that wrote the report."""
    versions: dict[str, str]
    """Versions of the packages that decide what a run gives."""
    machine: Machine
    endpoint: ServedModel | None
    """The endpoint that was measured, where this program did not start it."""
    stages: dict[str, StageProvenance]


WrongKind = Literal["no call", "needless call", "other tool", "other values", "other number of calls", "bad answer"]
"""What is wrong about an answer."""


class WrongRequest(Record):
    """A request that was not answered right."""

    request: str
    kind: WrongKind
    wanted: str
    """The right calls, as text."""
    got: str
    """The calls that were made, or the answer without a call."""


class RequestsSummary(Record):
    """How the model does on requests in people's words, and what it does not do yet."""

    sentences: tuple[str, ...]
    """Share of right answers, and whether the model beats each control beyond noise."""
    next_step: str
    """What to do about the wrong answers; empty where there are none."""
    wrong: tuple[WrongRequest, ...]
    """Wrong answers, the kinds taking turns; not all where there are many."""


class Report(Record):
    """The content of `report.json`."""

    schema_version: int = REPORT_SCHEMA_VERSION
    verdict: Verdict
    readiness_percent: float
    """Sum of the weights of the criteria that are met."""
    conditions: dict[str, Status]
    """Figures that no other merit makes up for: accuracy and tool compliance, of requests in people's words where there are
    any."""
    criteria: tuple[Criterion, ...]
    reasons: tuple[str, ...]
    """Why the verdict is no better than it is, a sentence each; empty for the best one."""
    your_requests: RequestsSummary | None = None
    """None where there are no requests in people's words."""
    provenance: Provenance
    metrics: tuple[Metric, ...]
