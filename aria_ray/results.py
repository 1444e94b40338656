"""What each stage hands to the report, typed. A stage's manifest holds its result, so that the report needs no other file.

None is what was not measured, never zero. Shares are fractions, 0 to 1.
"""

from collections.abc import Mapping
from typing import Literal

from aria_ray.config.schema import ObjectivesConfig
from aria_ray.records import Record, ServedModel, WrongKind, WrongRequest

Gate = Literal["target", "passed", "failed"]
"""Whether an accuracy reaches the stage's target, only its minimum ("passed"), or neither."""


class Estimate(Record):
    """A share, or a difference of two shares, estimated from cases."""

    value: float | None
    interval: tuple[float, float] | None
    """95 % interval; None where there is no value."""
    cases: int
    reason: str = ""
    """Why there is no value."""


class DatasetResult(Record):
    """What the dataset stage made."""

    num_rows: int
    """Rows of `final_dataset.jsonl`, those of the user's files among them."""
    num_templates: int
    """Base templates that the rows were made from."""
    near_duplicate_share: float | None
    """Share of the sampled rows that are near-duplicates of another (MinHash)."""


class Transition(Record):
    """How one attempt at a curriculum stage ended."""

    stage: str
    attempt: int
    """0 for the first, 1 for the first retry."""
    steps: int
    """Optimizer steps of the attempt."""
    accuracy: float
    """Share of held-out decisions that were right at its end, of the difficulties that the stage is judged by."""
    num_judged: int
    """Held-out decisions behind that share."""
    gate: Gate
    target: float
    minimum: float
    reason: Literal["target", "steps", "patience"]
    """What ended the attempt."""
    retried: bool
    best_checkpoint: str | None
    """Checkpoint with the lowest held-out loss so far."""


class TrainingResult(Record):
    """What the training stage measured."""

    transitions: tuple[Transition, ...]
    best_accuracy: float
    """Held-out decision accuracy of the checkpoint that was kept."""
    step_wall_s: tuple[float, ...]
    """Seconds of each optimizer step of the first worker, in order."""
    cpu_s: float
    """Processor seconds of the first worker during its steps."""
    tokens: int
    """Packed tokens of all steps, over all workers."""
    unshared_tokens: int
    """Tokens that the same turns would take without shared prefixes."""
    dropped_too_long: int
    """Turns left out for taking more than `training.max_tokens`."""
    flops_per_s: float | None
    """Operations that one worker's steps needed (`machine.flops`), per second of the steps."""
    gpus: tuple[tuple[str, str], ...] = ()
    """The workers' GPUs: address of the node, and PCI address on it."""
    peak_flops_per_s: float | None = None
    """Operations per second that matrix products reach on this machine; None where that was not measured."""
    peak_memory_gib: float | None = None
    """Largest resident memory of the first worker; None on GPUs, where it says nothing about their memory."""
    full_finetuning_peak_gib: float | None = None
    """The same for full fine-tuning of the same model on the same rows."""
    gpu_share: float | None = None
    """Mean share of the steps' time in which the workers' GPUs ran anything."""
    peak_gpu_memory_gib: float | None = None
    """Most memory taken on one GPU during the steps, by any program."""

    @property
    def memory_reduction(self) -> float | None:
        """Share of full fine-tuning's memory that LoRA does without."""
        if self.peak_memory_gib is None or self.full_finetuning_peak_gib is None:
            return None
        return 1 - self.peak_memory_gib / self.full_finetuning_peak_gib


class Quality(Record):
    """How one model did on held-out conversations. Requests and checks that failed are counted and judge no model."""

    outcomes: Mapping[str, int]
    """Number of cases by how they ended (`validation.conversations.Outcome`)."""
    accuracy: Estimate | None = None
    """Share of conversations whose calls and answer are right."""
    tool_compliance: Estimate | None = None
    """Share of conversations in which every call names a listed tool, fits its schema, and is made only where one is needed."""
    tool_selection: Estimate | None = None
    """Share of conversations that need calls in which the right tools are called."""
    argument_match: Estimate | None = None
    """Share of conversations with the right tools in which the arguments are right."""
    schema_validity: Estimate | None = None
    """Share of calls whose arguments fit the tool's schema."""
    thinking_prefix: Estimate | None = None
    """Share of assistant turns that open with a thought in the fixed shape."""
    irrelevance: Estimate | None = None
    """Share of conversations that need no tool in which none is called and the answer is well formed."""
    missing_value: Estimate | None = None
    """Share of conversations that lack a value in which the model asks for it."""
    by_category: Mapping[str, Estimate] = {}
    """Accuracy by category."""
    by_scenario: Mapping[str, Estimate] = {}
    """Accuracy by scenario."""
    by_difficulty: Mapping[str, Estimate] = {}
    """Accuracy by difficulty, 1 to 4."""

    @property
    def request_failures(self) -> int:
        """Cases whose request failed."""
        return self.outcomes.get("request_failed", 0)

    @property
    def check_failures(self) -> int:
        """Cases whose check raised."""
        return self.outcomes.get("check_failed", 0)


SHARES = (
    "accuracy",
    "tool_compliance",
    "tool_selection",
    "argument_match",
    "schema_validity",
    "thinking_prefix",
    "irrelevance",
    "missing_value",
)
"""Fields of `Quality` that are shares of all cases."""


class Gains(Record):
    """Shares of ours less those of the base model, paired over the cases that both answered; None where no case says it."""

    accuracy: Estimate | None = None
    tool_compliance: Estimate | None = None
    tool_selection: Estimate | None = None
    irrelevance: Estimate | None = None


class RequestQuality(Record):
    """How a model, or a control, did on requests in people's words. Intervals count each example request once.

    The calls are judged, not the words of the answer.
    """

    outcomes: Mapping[str, int]
    """Number of requests by how they ended (`validation.conversations.Outcome`)."""
    accuracy: Estimate | None = None
    """Share of requests for which the right calls are made, and none where none is wanted."""
    calls: Estimate | None = None
    """The same of requests that want a call."""
    refusals: Estimate | None = None
    """The same of requests that want none."""
    tool_selection: Estimate | None = None
    """Share of requests that want a call in which the right tools are called."""
    tool_compliance: Estimate | None = None
    """Share of requests for which every call names a listed tool, fits its schema, and is made only where one is wanted."""
    questions: Estimate | None = None
    """Share of requests that lack a value in which the answer names its parameter or asks a question."""

    @property
    def request_failures(self) -> int:
        """Requests that the endpoint failed to answer."""
        return self.outcomes.get("request_failed", 0)

    @property
    def check_failures(self) -> int:
        """Requests whose check raised."""
        return self.outcomes.get("check_failed", 0)


class YourRequests(Record):
    """Requests in people's words, never trained on: this model, and what it has to beat on the same requests."""

    ours: RequestQuality
    base: RequestQuality | None = None
    """The base model."""
    keywords: RequestQuality
    """The keyword baseline (`validation.baselines`)."""
    declining: RequestQuality
    """An assistant that never calls a tool."""
    over_base: Estimate | None = None
    """Accuracy of this model less that of the base model, over the same requests."""
    over_keywords: Estimate | None = None
    over_declining: Estimate | None = None
    num_wrong: Mapping[WrongKind, int] = {}
    """Number of this model's wrong answers by kind."""
    wrong: tuple[WrongRequest, ...] = ()
    """Wrong answers, the kinds taking turns; not all where there are many."""


class Distribution(Record):
    """Mean and percentiles of a time, in milliseconds."""

    mean: float
    p50: float
    p90: float
    p95: float
    p99: float


class LoadSummary(Record):
    """What one load on an endpoint came to. Rates and times are None where the client was the limit."""

    arrivals: Literal["closed", "poisson"]
    """Closed loop: a fixed number of requests in flight. Poisson: requests arrive at random at a mean rate."""
    concurrency: int | None
    """Requests in flight of a closed loop."""
    rate_per_s: float | None
    """Mean arrivals per second of Poisson arrivals."""
    requests: int
    failures: int
    reasons: tuple[str, ...] = ()
    """The most frequent reasons of failures."""
    notes: tuple[str, ...] = ()
    """What a reader of the times should know."""
    retries: int
    """Requests that were sent again before anything of an answer had come."""
    wall_s: float
    """From the first request's start to the last one's end."""
    output_tokens: int
    """Output tokens of requests that did not fail."""
    prompt_tokens: int | None
    """Prompt tokens of the same; None where the endpoint does not count them."""
    objectives: ObjectivesConfig
    client_cpu_share: float | None
    """Share of one core that the busiest client process took."""
    client_limited: bool
    """Whether a client was so busy that the times may be its own."""
    output_tokens_per_s: float | None = None
    """Output tokens of all streams, per second of `wall_s`."""
    output_tokens_per_s_interval: tuple[float, float] | None = None
    """95 % interval of that rate."""
    requests_per_s: float | None = None
    """Requests answered whole, per second of `wall_s`."""
    ttft_ms: Distribution | None = None
    """Time to the first token."""
    tpot_ms: Distribution | None = None
    """Time per output token after the first chunk."""
    e2e_ms: Distribution | None = None
    """Time to the end of the answer."""
    first_call_ms: Distribution | None = None
    """Time to the first whole tool call."""
    goodput_per_s: float | None = None
    """Requests per second that keep every objective; None without an objective."""


class Speed(Record):
    """How fast an endpoint answers."""

    levels: tuple[LoadSummary, ...]
    """Closed loops, by ascending number of streams."""
    cold: LoadSummary | None = None
    """One stream of prompts of which the prefix cache knows nothing."""
    warm: LoadSummary | None = None
    """One stream of prompts that the prefix cache knows whole."""
    poisson: LoadSummary | None = None
    """Poisson arrivals."""
    tool_calls: LoadSummary | None = None
    """One stream of questions that a tool answers."""
    cpu_share: float | None = None
    """Busy share of all cores during the closed loops."""
    gpu_share: float | None = None
    """Mean share of the time of the closed loops in which the GPUs ran anything."""
    peak_memory_gib: float | None = None
    """Most memory that the run's processes took together, Ray's and the engine's among them."""
    peak_gpu_memory_gib: float | None = None
    """Most memory taken on one GPU, by any program."""

    def level(self, concurrency: int) -> LoadSummary | None:
        """The closed loop with so many streams; None where there was none."""
        return next((level for level in self.levels if level.concurrency == concurrency), None)


class Stability(Record):
    """Whether an endpoint stays what it is under sustained load."""

    duration_s: float
    window_s: float
    """Length of the windows that rates are counted in; the first holds the ramp-up and is left out of the figures."""
    rates: tuple[float, ...]
    """Output tokens per second in each window; empty where the client was the limit."""
    cv: float | None
    """Coefficient of variation of the rates: standard deviation by mean."""
    cv_interval: tuple[float, float] | None
    drift_share: float | None
    """Rise of a straight line through the rates from first to last, by their mean; negative where throughput falls."""
    drift_interval: tuple[float, float] | None
    memory_gib: tuple[float, ...]
    """Memory of the run's processes, sampled through the load; empty where it is not seen."""
    memory_growth_share: float | None
    """Rise of a straight line through `memory_gib` from first to last, divided by its mean."""
    memory_growth_interval: tuple[float, float] | None
    requests: int
    failures: int
    reasons: tuple[str, ...] = ()
    """Some reasons of failures."""
    client_limited: bool


class DecodeRoofline(Record):
    """What this machine could decode at most, by its own measured peaks (`machine.roofline`)."""

    threads: int
    gemm_flops_per_s: float
    copy_bytes_per_s: float
    concurrency: int
    """Number of streams of the concurrent bound."""
    single_stream_tokens_per_s: float
    concurrent_tokens_per_s: float


class ValidationResult(Record):
    """What the validation stage measured of a live endpoint."""

    endpoint: ServedModel | None = None
    """The endpoint that was measured, where this program did not start it."""
    roofline: DecodeRoofline | None = None
    quality: Quality | None = None
    """This model on held-out cases."""
    quality_base: Quality | None = None
    """The base model on the same cases."""
    quality_unseen: Quality | None = None
    """This model on tools that training has never seen."""
    gains: Gains | None = None
    """This model against the base model."""
    your_requests: YourRequests | None = None
    """This model on requests in people's words; None where there are none."""
    bfcl: Mapping[str, Estimate] = {}
    """This model on questions of the Berkeley leaderboard, by category."""
    bfcl_base: Mapping[str, Estimate] = {}
    speed: Speed | None = None
    stability: Stability | None = None


class Results(Record):
    """The results of a run's finished stages; None for a stage that was not run."""

    dataset: DatasetResult | None = None
    training: TrainingResult | None = None
    validation: ValidationResult | None = None
