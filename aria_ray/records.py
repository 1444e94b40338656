"""Records that stages hand to each other and to people. Frozen, serialisable; what they compute is only from themselves."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr

SCHEMA_VERSION = 1
REPORT_SCHEMA_VERSION = 2
"""2: criteria, reasons, and the performance figures' intervals."""

Status = Literal["met", "not_met", "inconclusive", "unmeasured"]
Verdict = Literal["production ready", "conditional", "needs work", "not ready"]


class Record(BaseModel):
    """A frozen record that refuses unknown keys."""

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


class Manifest(Record):
    """What made a stage directory. Written last, so its presence means the directory is complete."""

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
    facts: dict[str, Any] = Field(default_factory=dict)
    """What the stage wants the report to know."""


class Metric(Record):
    """One figure of the report. `value` is None exactly where it was not measured."""

    name: str
    value: float | None
    unit: str
    target: float | None = None
    status: Status | None = None
    """None where there is no target."""
    interval: tuple[float, float] | None = None
    """95 % interval, where the value is an estimate from cases."""
    cases: int | None = None
    detail: str = ""


class Criterion(Record):
    """One part of the readiness: it brings its weight if all its metrics are met."""

    name: str
    weight: float
    """Percent of the readiness."""
    metrics: tuple[str, ...]
    """Names of the metrics that decide it."""
    status: Status


class Report(Record):
    """The content of `report.json`."""

    schema_version: int = REPORT_SCHEMA_VERSION
    verdict: Verdict
    readiness_percent: float
    conditions: dict[str, Status]
    """Criteria that no other merit makes up for: accuracy and tool compliance."""
    criteria: tuple[Criterion, ...]
    reasons: tuple[str, ...]
    """Why the verdict is no better than it is, a sentence each; empty for the best one."""
    provenance: dict[str, Any]
    metrics: tuple[Metric, ...]
