"""What a recipe can say. One class per section; validators check and never repair."""

from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

Share = float
"""A fraction, 0 to 1."""
Augmentation = Literal["none", "context", "paraphrase", "noise", "formats", "tool_list", "masking"]
"""What is done to a base template: nothing but new values; a sentence beside the request; synonyms; typos, case, fillers;
numbers, dates and units written otherwise; look-alikes and strangers in another order of the tool list; neutral tool names."""


class Section(BaseModel):
    """A frozen section that refuses unknown keys."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class ModelConfig(Section):
    """The base model."""

    source: str = Field(min_length=1)
    """A directory in Hugging Face layout, a Hub id, `package:NAME` (weights in a Python package) or `random:tiny`."""
    dtype: Literal["float32", "bfloat16"] = "float32"


class DatasetConfig(Section):
    """How many rows of what."""

    seed: int = 0
    num_templates: int = Field(gt=0)
    """Base templates: an intent in one phrasing."""
    augmentations: int = Field(default=5, ge=1, le=1000)
    """Rows made from each base template: a plain one, then one of each kind in turn."""
    augmentation_kinds: tuple[Augmentation, ...] = ("context", "paraphrase", "noise", "formats", "tool_list", "masking")
    """Kinds that the rows after the first take turns with. Masking makes a model read the tool list, at a price."""
    catalogue_share: Share = Field(default=0.7, ge=0, le=1)
    """The simulated catalogue's part of the templates that it has any for: tool use to reason about, and errors. With 0 its
    tools are not listed either, but for those kept for the test of unseen tools."""
    num_intents: int | None = Field(default=None, ge=25)
    """Different things that are asked for, drawn in the shares of scenarios and categories; all there are if not given. Fewer,
    each in more templates, are learnt sooner. Tools of your own and the test of unseen tools are not narrowed."""
    builtin_tools: tuple[str, ...] = ()
    """Names of the built-in tools to train on, twelve or more of all categories; all of them if empty. Fewer are learnt sooner.
    Those kept for the test of unseen tools stay there."""
    tools: tuple[str, ...] = ()
    """Tools of your own: a module of typed functions (`my_package.my_tools`), or a JSON file of OpenAI tool definitions."""
    sources: tuple[str, ...] = ()
    """Conversations of your own: JSON Lines files in OpenAI chat format, `FILE` or `FILE:SHARE` for a part of its rows."""
    num_workers: int = Field(default=2, gt=0)
    """Ray Data tasks at a time. The rows do not depend on it."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        kinds = self.augmentation_kinds
        if len(set(kinds)) != len(kinds) or "none" in kinds:
            raise ValueError(
                f"augmentation_kinds ({', '.join(kinds)}) must be each once, and not none, which always comes first"
            )
        return self


class LoraConfig(Section):
    """The adapter (LoRA, arXiv 2106.09685): scale is alpha / rank."""

    rank: int = Field(default=16, gt=0)
    alpha: float = Field(default=32, gt=0)
    dropout: Share = Field(default=0.0, ge=0, lt=1)
    target_modules: tuple[str, ...] = Field(
        min_length=1, default=("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        if len(set(self.target_modules)) != len(self.target_modules):
            raise ValueError(f"target_modules ({', '.join(self.target_modules)}) must be each once")
        return self


class LossWeights(Section):
    """How much a token counts in the loss, by what it belongs to."""

    thinking: float = Field(default=1.0, ge=0)
    """The thought, with its markers."""
    tool_call: float = Field(default=1.0, gt=0)
    """What follows the thought in a turn that calls."""
    answer: float = Field(default=1.0, gt=0)
    """What follows the thought in a turn that answers."""


class StageConfig(Section):
    """One curriculum stage."""

    name: Literal["foundation", "application", "integration", "mastery"]
    learning_rate_multiplier: float = Field(gt=0)
    target: Share = Field(gt=0, le=1)
    """Held-out decision accuracy at which the stage ends early."""
    minimum: Share = Field(gt=0, le=1)
    """Held-out decision accuracy below which the gate fails."""
    steps_share: Share = Field(gt=0, le=1)
    """This stage's share of the optimizer steps."""


DEFAULT_STAGES = (
    StageConfig(name="foundation", learning_rate_multiplier=1.2, target=0.75, minimum=0.65, steps_share=0.25),
    StageConfig(name="application", learning_rate_multiplier=1.0, target=0.80, minimum=0.70, steps_share=0.25),
    StageConfig(name="integration", learning_rate_multiplier=0.8, target=0.82, minimum=0.75, steps_share=0.25),
    StageConfig(name="mastery", learning_rate_multiplier=0.6, target=0.85, minimum=0.80, steps_share=0.25),
)


class TrainingConfig(Section):
    """The four-stage curriculum."""

    seed: int = 0
    num_workers: int = Field(default=1, gt=0)
    cpus_per_worker: int = Field(default=2, gt=0)
    use_gpu: bool = False
    parallelism: Literal["ddp", "fsdp"] = "ddp"
    """Whether every worker holds the whole base model, or a part of it (FSDP2)."""
    order: Literal["staged", "shuffled"] = "staged"
    """Shuffled gives every stage rows of all difficulties: the control that tells whether staging helps."""
    num_steps: int = Field(gt=0)
    """Optimizer steps over all stages."""
    tokens_per_step: int = Field(gt=0)
    """Packed tokens of one optimizer step, over all workers."""
    max_tokens: int = Field(gt=0)
    """Tokens of one packed row; a longer example is dropped and counted."""
    learning_rate: float = Field(gt=0)
    warmup_share: Share = Field(default=0.1, ge=0, lt=1)
    """Share of a stage's steps spent warming up."""
    replay_share: Share = Field(default=0.1, ge=0, lt=1)
    """Share of a stage's examples drawn from earlier stages."""
    optimizer_between_stages: Literal["continue", "restart"] = "continue"
    """Whether the optimizer's averages live on into the next stage."""
    loss_weights: LossWeights = LossWeights()
    evaluations_per_stage: int = Field(default=2, gt=0)
    evaluation_examples: int = Field(default=64, gt=0)
    patience: int = Field(default=2, gt=0)
    """Evaluations without improvement after which a stage ends early."""
    gate_retries: int = Field(default=1, ge=0)
    """How often a stage whose gate fails is trained again, from the best checkpoint and at half the learning rate."""
    on_gate_failure: Literal["continue", "stop"] = "continue"
    """What follows when a gate has failed and its retries are used up."""
    checkpoint_every_steps: int = Field(default=50, gt=0)
    """Optimizer steps between checkpoints; there is one after every evaluation too."""
    lora: LoraConfig = LoraConfig()
    stages: tuple[StageConfig, ...] = DEFAULT_STAGES

    @model_validator(mode="after")
    def _check(self) -> Self:
        names = [stage.name for stage in self.stages]
        for stage in self.stages:
            if stage.minimum > stage.target:
                raise ValueError(f"minimum ({stage.minimum}) of stage {stage.name} must be at most its target ({stage.target})")
        if len(set(names)) != len(names) or not names:
            raise ValueError(f"stages ({', '.join(names)}) must be one or more and each once")
        total = sum(stage.steps_share for stage in self.stages)
        if abs(total - 1) > 1e-6:
            raise ValueError(f"steps_share of the stages adds up to {total:.3f}, must be 1")
        if self.num_steps < len(names):
            raise ValueError(f"num_steps ({self.num_steps}) must be at least one per stage ({len(names)})")
        if self.parallelism == "fsdp" and self.num_workers == 1:
            raise ValueError("parallelism (fsdp) spreads the model over workers, num_workers (1) must be more; or set ddp")
        if self.num_workers * self.max_tokens > self.tokens_per_step:
            raise ValueError(
                f"tokens_per_step ({self.tokens_per_step}) must be at least num_workers x max_tokens "
                f"({self.num_workers} x {self.max_tokens}), so that every worker has a row; raise it or lower one of the two"
            )
        return self


class ServingConfig(Section):
    """Where the endpoint runs. How it serves is in the Ray Serve file."""

    file: str = "laptop"
    """Ray Serve config, the same that `serve run` takes: the path of a file, or the name of a shipped one (`laptop`, `h100`,
    `mi300x`)."""
    host: str = "127.0.0.1"
    port: int = Field(default=8000, ge=1, le=65535)
    ready_timeout_s: float = Field(default=600, gt=0)
    self_check: bool = True
    """Whether the model has to call a tool and to decline one before it is served; for a model that can do neither, false."""


class TargetsConfig(Section):
    """What counts as met. A criterion without a target is shown, not judged, and brings nothing to the verdict.

    Speed has its targets in figures of its own, for hardware that is known beforehand, or as shares of what the machine at hand
    was measured to reach at most.
    """

    output_tokens_per_s: float | None = Field(default=None, gt=0)
    output_roofline_share: Share | None = Field(default=None, gt=0, le=1)
    """Output tokens per second by those that `concurrency` streams could have at most (`machine.roofline`)."""
    train_step_ms: float | None = Field(default=None, gt=0)
    train_flop_utilization: Share | None = Field(default=None, gt=0, le=1)
    """Operations that training needs by those that matrix products alone would have done in the time."""
    memory_reduction: Share = Field(default=0.70, gt=0, le=1)
    compute_utilization: Share = Field(default=0.80, gt=0, le=1)
    stability_cv: float = Field(default=0.15, gt=0)
    """Largest coefficient of variation of throughput under sustained load."""
    stability_drift: float = Field(default=-0.15, ge=-1, le=0)
    """Largest fall of throughput over the sustained load, as a share of its mean."""
    memory_growth: Share = Field(default=0.05, ge=0, le=1)
    """Largest growth of the serving processes' memory over the sustained load, as a share of its mean."""
    accuracy: Share = Field(default=0.85, gt=0, le=1)
    tool_compliance: Share = Field(default=0.80, gt=0, le=1)

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.output_tokens_per_s is None and self.output_roofline_share is None:
            raise ValueError("output_tokens_per_s or output_roofline_share must be given: no verdict without a target of speed")
        return self


class ObjectivesConfig(Section):
    """What one request may take to count for the goodput (service level objectives); None asks nothing."""

    ttft_ms: float | None = Field(default=None, gt=0)
    """From the request to its first token."""
    tpot_ms: float | None = Field(default=None, gt=0)
    """For each further token."""
    e2e_ms: float | None = Field(default=None, gt=0)
    """For the whole answer."""


class ValidationConfig(Section):
    """What is measured against the endpoint."""

    num_cases: int = Field(gt=0)
    """Held-out conversations for accuracy (fewer if the test split is smaller)."""
    strict_tools: bool = True
    """Whether tools are sent with OpenAI's `strict`: an engine that heeds it decodes no call but of a listed tool, with
    arguments that fit its schema. The base model gets the same."""
    compare_base: bool = True
    """Whether the base model is served and put through the same cases."""
    bfcl_cases: int = Field(default=0, ge=0)
    """Questions of each of four categories of the Berkeley leaderboard, an outside yardstick; needs the package bfcl-eval."""
    concurrency: int = Field(default=8, gt=0)
    """Requests in flight in the concurrent load that is judged, and in the sustained one."""
    sweep: tuple[int, ...] = ()
    """Further numbers of requests in flight to measure, besides 1 and `concurrency`."""
    load_requests: int = Field(default=32, gt=0)
    """Requests of the concurrent load; other numbers in flight get as many in proportion, but four at least."""
    poisson_share: float = Field(default=0.7, ge=0)
    """Requests that come by chance (Poisson) as a share of the requests per second of the concurrent load; 0 for none."""
    objectives: ObjectivesConfig = ObjectivesConfig()
    client_processes: int = Field(default=1, gt=0)
    """Processes that send the load. More where one is not fast enough: it says so."""
    output_tokens: int = Field(default=64, gt=0)
    """Tokens of each answer in the load measurements."""
    stability_s: float = Field(default=60, gt=0)
    """Length of the sustained load."""
    request_timeout_s: float = Field(default=120, gt=0)
    targets: TargetsConfig

    @model_validator(mode="after")
    def _check(self) -> Self:
        if any(level <= 0 for level in self.sweep):
            raise ValueError(f"sweep ({', '.join(map(str, self.sweep))}) must be numbers of requests in flight, 1 or more")
        return self

    @property
    def levels(self) -> tuple[int, ...]:
        """Numbers of requests in flight that are measured, ascending."""
        return tuple(sorted({1, *self.sweep, self.concurrency}))


class HardwareConfig(Section):
    """What a recipe is meant for. How many there are is `training.num_workers`, of which each has one."""

    accelerator: Literal["mi300x", "mi325x", "h100", "h200", "cpu"] = "cpu"
    """What `aria plan` reckons with (`machine.specs`); cpu is the machine at hand, measured, which is none for a recipe with
    `training.use_gpu`. Changes no stage."""
    kernels: Literal["auto", "triton", "torch"] = "auto"
    """Kernels of the LoRA layers in training: `torch` is the library's; `triton` is the project's own, for GPUs only; `auto` is
    `torch` until the project's own kernel has been timed on a GPU."""


class RunConfig(Section):
    """A whole recipe."""

    model: ModelConfig
    hardware: HardwareConfig = HardwareConfig()
    dataset: DatasetConfig
    training: TrainingConfig
    serving: ServingConfig = ServingConfig()
    validation: ValidationConfig
