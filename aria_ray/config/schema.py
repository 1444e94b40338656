"""What a recipe can say. One class per section; validators check and never repair.

The docstrings are published: `aria config --schema` and `docs/settings.md` have them as the settings' descriptions.
"""

from collections.abc import Iterable
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

Share = float
"""A fraction, 0 to 1."""
Augmentation = Literal["none", "context", "paraphrase", "noise", "formats", "tool_list", "masking"]
"""How a row differs from its base template; `DatasetConfig.augmentation_kinds` says what each kind is."""


class Section(BaseModel):
    """A frozen section that refuses unknown keys."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, use_attribute_docstrings=True)


class ModelConfig(Section):
    """The base model."""

    source: str = Field(min_length=1)
    """Where the weights are: a directory in Hugging Face layout, a Hub id, `package:NAME` (a Python package that has them) or
    `random:tiny`."""
    dtype: Literal["float32", "bfloat16"] = "float32"
    """Number format of the weights in training and in the merged model."""


class ToolSource(Section):
    """A source of your own tools, with what is to be done with them."""

    source: str = Field(min_length=1)
    """Where they are: a module, a `.py` or `.json` file, `mcp:COMMAND` or the address of an MCP server, or an OpenAPI
    document."""
    simulate: bool | None = None
    """Whether their results are made up instead of running them. Without it, Python functions are run and all others are
    simulated."""
    only: tuple[str, ...] = ()
    """Names of the tools to take, or tags of an OpenAPI document; empty for all."""


class TeacherConfig(Section):
    """A large model that writes further example requests. Nothing that it says is taken unchecked."""

    base_url: str | None = Field(default=None, min_length=1)
    """Address of an OpenAI-compatible endpoint, such as `https://host/v1`."""
    model: str | None = Field(default=None, min_length=1)
    """Name of the model there."""
    source: str | None = Field(default=None, min_length=1)
    """In place of an endpoint: a model that Ray serves while the dataset is made, given as `model.source` is."""
    key_env: str | None = None
    """Name of the environment variable with the API key; without it no key is sent."""
    requests_per_tool: int = Field(default=30, gt=0)
    """Number of requests to ask for, for each tool."""
    asked_back: int = Field(default=2, ge=1)
    """Number of times that the teacher, shown the request alone, must choose the same call."""
    max_tokens: int = Field(default=2000, gt=0)
    """Longest answer, thought included. A teacher that thinks before it writes needs more."""
    concurrency: int = Field(default=8, gt=0)
    """Number of requests in flight."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if (self.base_url is None) == (self.source is None):
            raise ValueError("a teacher has either a `base_url` or a `source`; give one of them")
        if (self.base_url is None) != (self.model is None):
            raise ValueError("`base_url` and `model` go together; a `source` has neither")
        return self


class DatasetConfig(Section):
    """The dataset: how many rows, and of what."""

    seed: int = 0
    """Seed of everything drawn at random. The same seed gives the same bytes, for any number of workers."""
    num_templates: int = Field(ge=0)
    """Number of base templates of what is built in. A base template is one intent in one phrasing. With 0 only your own tools,
    requests and conversations are trained on."""
    augmentations: int = Field(default=5, ge=1, le=1000)
    """Rows per base template: the first one plain, the others of each of `augmentation_kinds` in turn."""
    augmentation_kinds: tuple[Augmentation, ...] = ("context", "paraphrase", "noise", "formats", "tool_list", "masking")
    """Kinds of augmentation for the rows after the first. `context`: a sentence beside the request. `paraphrase`: synonyms.
    `noise`: typos, letter case, filler words. `formats`: other notations of numbers, dates and units. `tool_list`: another
    order of the tools, with look-alikes and unrelated ones. `masking`: neutral names for tools and parameters, which teaches to
    read the tool list and is hard for small models."""
    catalogue_share: Share = Field(default=0.7, ge=0, le=1)
    """Fraction of the templates for reasoning and for errors that use simulated tools of the catalogue. With 0 no other row
    lists its tools either, except in the test of unseen tools."""
    num_intents: int | None = Field(default=None, ge=25)
    """Number of different intents, in the same shares of scenarios and categories; without it, all. Fewer intents, each in more
    templates, are learnt in fewer steps. Your own tools and the test of unseen tools keep all of theirs."""
    builtin_tools: Literal["none"] | tuple[str, ...] = ()
    """Names of the built-in tools to train on, at least twelve and some of every category; empty for all; `none` for none of
    what is built in. Fewer tools are learnt in fewer steps. The test of unseen tools keeps its own."""
    builtin_requests: bool = False
    """Whether the built-in tools are trained on by the package's example requests, worded as people ask, beside the templates.
    With your own `tools` they are not."""
    mix_builtin: bool = False
    """Whether the templates of what is built in are trained on beside your own `tools`. By default your own are
    trained on alone."""
    tools: tuple[str | ToolSource, ...] = ()
    """Your own tools: modules or files with typed functions (`my_package.my_tools`, `tools.py`), JSON files with OpenAI tool
    definitions, MCP servers (`mcp:COMMAND`, a URL, or a saved `tools/list` answer), OpenAPI 3 documents. Functions are run, the
    others are simulated."""
    requests: tuple[str, ...] = ()
    """Files of example requests for your own tools, JSON Lines or YAML: what people say and what is to be called for it."""
    num_request_rows: int = Field(default=1200, gt=0)
    """Number of rows to make of example requests, about: each is filled with other values as often as it takes, 2 to 40
    times."""
    held_out_share: Share = Field(default=0.2, ge=0, lt=1)
    """Fraction of the example requests that are kept for the test, word for word, and that no training row is made from."""
    teacher: TeacherConfig | None = None
    """A large model that writes further example requests; without it there is none."""
    sources: tuple[str, ...] = ()
    """Your own conversations, in any of the formats that `docs/dataset.md` lists: a file, a folder, a glob, an `s3://` address
    or `OWNER/NAME` of the Hub; `NAME:SHARE` takes a fraction of them."""
    max_left_out_share: Share = Field(default=0.1, ge=0, le=1)
    """Largest fraction of a source's conversations that may be left out because they are wrong. More end the run."""
    num_workers: int = Field(default=2, gt=0)
    """Number of Ray Data tasks at a time. It does not change the rows."""

    @property
    def has_builtin(self) -> bool:
        """Whether templates of what is built in are trained on."""
        return self.num_templates > 0 and self.builtin_tools != "none" and (self.mix_builtin or not self.tools)

    @property
    def has_requests(self) -> bool:
        """Whether example requests are trained on, for the user's tools or for the built-in ones."""
        return bool(self.tools) or (self.builtin_requests and self.builtin_tools != "none")

    @model_validator(mode="after")
    def _check(self) -> Self:
        if not (self.has_builtin or self.has_requests or self.sources):
            raise ValueError(
                f"num_templates ({self.num_templates}) and builtin_tools ({self.builtin_tools}) leave nothing to train on; "
                "raise num_templates, or give tools or sources"
            )
        if self.teacher is not None and not self.has_requests:
            raise ValueError("a teacher writes requests for your own tools, and there are none; give tools")
        kinds = self.augmentation_kinds
        if len(set(kinds)) != len(kinds) or "none" in kinds:
            raise ValueError(
                f"augmentation_kinds ({', '.join(kinds)}) must be each once, and not none, which always comes first"
            )
        return self


class LoraConfig(Section):
    """The adapter (LoRA, arXiv 2106.09685)."""

    rank: int = Field(default=16, gt=0)
    """Rank of the two factors of each layer's update."""
    alpha: float = Field(default=32, gt=0)
    """Numerator of the scale of the update, which is alpha / rank."""
    dropout: Share = Field(default=0.0, ge=0, lt=1)
    """Dropout probability of the adapter's input."""
    target_modules: Literal["auto"] | tuple[str, ...] = "auto"
    """Names of the linear layers that get an adapter; `auto` for all but the head. A name that matches no layer is an error."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if not self.target_modules:
            raise ValueError("target_modules (none) must be names of linear layers, or auto")
        if self.target_modules != "auto" and len(set(self.target_modules)) != len(self.target_modules):
            raise ValueError(f"target_modules ({', '.join(self.target_modules)}) must be each once")
        return self

    def chosen(self, layers: Iterable[str]) -> tuple[str, ...]:
        """Names of the layers that get an adapter, in a model whose linear layers have the names `layers`."""
        return tuple(layers) if self.target_modules == "auto" else self.target_modules


class LossWeights(Section):
    """Weights of the assistant's tokens in the loss, by the part of the turn they are in."""

    thinking: float = Field(default=1.0, ge=0)
    """Weight of the thought, with its markers."""
    tool_call: float = Field(default=1.0, gt=0)
    """Weight of the tokens after the thought in a turn that calls tools."""
    answer: float = Field(default=1.0, gt=0)
    """Weight of the tokens after the thought in a turn that answers."""


class StageConfig(Section):
    """One curriculum stage. The default is all four, each with a quarter of the steps."""

    name: Literal["foundation", "application", "integration", "mastery"]
    """Name of the stage, which decides the difficulty of its examples."""
    learning_rate_multiplier: float = Field(gt=0)
    """Factor on `training.learning_rate` in this stage."""
    target: Share = Field(gt=0, le=1)
    """Held-out decision accuracy at which the stage ends early."""
    minimum: Share = Field(gt=0, le=1)
    """Held-out decision accuracy below which the gate fails."""
    steps_share: Share = Field(gt=0, le=1)
    """Fraction of `training.num_steps` for this stage. Those of all stages add up to 1."""


DEFAULT_STAGES = (
    StageConfig(name="foundation", learning_rate_multiplier=1.2, target=0.75, minimum=0.65, steps_share=0.25),
    StageConfig(name="application", learning_rate_multiplier=1.0, target=0.80, minimum=0.70, steps_share=0.25),
    StageConfig(name="integration", learning_rate_multiplier=0.8, target=0.82, minimum=0.75, steps_share=0.25),
    StageConfig(name="mastery", learning_rate_multiplier=0.6, target=0.85, minimum=0.80, steps_share=0.25),
)


class TrainingConfig(Section):
    """Training: a LoRA adapter through a curriculum of gated stages."""

    seed: int = 0
    """Seed of the adapter's first weights and of the order of the examples."""
    num_workers: int = Field(default=1, gt=0)
    """Number of data-parallel workers, one process and, with `use_gpu`, one GPU each."""
    cpus_per_worker: int = Field(default=2, gt=0)
    """CPU cores of each worker."""
    use_gpu: bool = False
    """Whether each worker trains on a GPU of its own."""
    parallelism: Literal["ddp", "fsdp"] = "ddp"
    """How the base model is held: whole in every worker (`ddp`), or in parts spread over the workers (`fsdp`, FSDP2)."""
    order: Literal["staged", "shuffled"] = "staged"
    """Order of difficulty. `shuffled` gives every stage rows of all difficulties: the control that tells whether staging
    helps."""
    num_steps: int = Field(gt=0)
    """Number of optimizer steps over all stages."""
    tokens_per_step: int = Field(gt=0)
    """Packed tokens of one optimizer step, over all workers."""
    max_tokens: int = Field(gt=0)
    """Length of one packed row in tokens. A longer example is left out and counted."""
    learning_rate: float = Field(gt=0)
    """Peak learning rate, before a stage's `learning_rate_multiplier`."""
    warmup_share: Share = Field(default=0.1, ge=0, lt=1)
    """Fraction of a stage's steps over which the learning rate rises to its peak."""
    replay_share: Share = Field(default=0.1, ge=0, lt=1)
    """Fraction of a stage's examples that are drawn from earlier stages."""
    optimizer_between_stages: Literal["continue", "restart"] = "continue"
    """Whether the optimizer's running averages are kept for the next stage."""
    loss_weights: LossWeights = LossWeights()
    """Weights of the assistant's tokens in the loss."""
    evaluations_per_stage: int = Field(default=2, gt=0)
    """Number of held-out evaluations in a stage."""
    evaluation_examples: int = Field(default=64, gt=0)
    """Number of held-out examples in an evaluation."""
    patience: int = Field(default=2, gt=0)
    """Number of evaluations without improvement after which a stage ends early."""
    gate_retries: int = Field(default=1, ge=0)
    """Number of times a stage whose gate fails is trained again, from the best checkpoint and at half the learning rate."""
    on_gate_failure: Literal["continue", "stop"] = "continue"
    """What happens when a gate has failed and its retries are used up."""
    checkpoint_every_steps: int = Field(default=50, gt=0)
    """Optimizer steps between checkpoints. Every evaluation writes one too."""
    lora: LoraConfig = LoraConfig()
    """The adapter."""
    stages: tuple[StageConfig, ...] = DEFAULT_STAGES
    """The stages, in order, each at most once."""

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
    """The endpoint: where it runs. How it serves is in the Ray Serve config."""

    file: str = "laptop"
    """Ray Serve config, the same that `serve run` takes: the path of a file, or the name of a shipped one (`laptop`, `h100`,
    `mi300x`)."""
    host: str = "127.0.0.1"
    """Address to listen on. Any other than this machine's own needs API keys."""
    port: int = Field(default=8000, ge=1, le=65535)
    """Port to listen on."""
    ready_timeout_s: float = Field(default=600, gt=0)
    """Longest wait for the first answer, in seconds. The run fails after it."""
    self_check: bool = True
    """Whether the model must call a tool and decline one before it is served. Set to false for a model that can do neither."""


class TargetsConfig(Section):
    """Targets of the verdict. A criterion without a target is shown, not judged, and adds nothing to the verdict.

    Targets of speed are absolute figures for known hardware, or fractions of what the machine at hand was measured to reach.
    """

    output_tokens_per_s: float | None = Field(default=None, gt=0)
    """Least output tokens per second of `concurrency` streams together."""
    output_roofline_share: Share | None = Field(default=None, gt=0, le=1)
    """Least output tokens per second as a fraction of the upper bound for `concurrency` streams (`machine.roofline`)."""
    train_step_ms: float | None = Field(default=None, gt=0)
    """Longest median optimizer step, in milliseconds."""
    train_flop_utilization: Share | None = Field(default=None, gt=0, le=1)
    """Least floating-point operations of training as a fraction of those that matrix products alone do in the same time."""
    memory_reduction: Share = Field(default=0.70, gt=0, le=1)
    """Least memory saved by LoRA training, as a fraction of full fine-tuning's."""
    compute_utilization: Share = Field(default=0.80, gt=0, le=1)
    """Least busy fraction, in training, of the workers' GPUs, or without GPUs of the first worker's cores."""
    stability_cv: float = Field(default=0.15, gt=0)
    """Largest coefficient of variation of throughput under the sustained load."""
    stability_drift: float = Field(default=-0.15, ge=-1, le=0)
    """Largest fall of throughput over the sustained load, as a fraction of its mean."""
    memory_growth: Share = Field(default=0.05, ge=0, le=1)
    """Largest growth of the serving processes' memory over the sustained load, as a fraction of its mean."""
    accuracy: Share = Field(default=0.85, gt=0, le=1)
    """Least fraction that is right of the requests in people's words, or without any of the held-out conversations."""
    tool_compliance: Share = Field(default=0.80, gt=0, le=1)
    """Least fraction of the same whose tools are called exactly where they are needed, with valid arguments."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.output_tokens_per_s is None and self.output_roofline_share is None:
            raise ValueError("output_tokens_per_s or output_roofline_share must be given: no verdict without a target of speed")
        return self


class ObjectivesConfig(Section):
    """Service level objectives: the longest times of a request that counts for the goodput. Without a limit any time counts."""

    ttft_ms: float | None = Field(default=None, gt=0)
    """Limit from the request to its first token, in milliseconds."""
    tpot_ms: float | None = Field(default=None, gt=0)
    """Limit for each further token, in milliseconds."""
    e2e_ms: float | None = Field(default=None, gt=0)
    """Limit for the whole answer, in milliseconds."""


class ValidationConfig(Section):
    """Validation: what is measured on the endpoint."""

    num_cases: int = Field(gt=0)
    """Number of held-out conversations for accuracy; fewer if the test split is smaller."""
    requests: tuple[str, ...] = ()
    """Files of example requests to test on, JSON Lines or YAML, in people's words and not trained on. With them none of
    `dataset.requests` is held out."""
    strict_tools: bool = True
    """Whether tools are sent with OpenAI's `strict`: the engine then decodes only calls of listed tools, with arguments that
    fit their schemas. The base model gets the same."""
    compare_base: bool = True
    """Whether the base model is served and measured on the same cases."""
    bfcl_cases: int = Field(default=0, ge=0)
    """Number of questions from each of four categories of the Berkeley Function-Calling Leaderboard; needs the package
    bfcl-eval."""
    concurrency: int = Field(default=8, gt=0)
    """Number of requests in flight in the concurrent load, which is judged, and in the sustained load."""
    sweep: tuple[int, ...] = ()
    """Further numbers of requests in flight to measure, besides 1 and `concurrency`."""
    load_requests: int = Field(default=32, gt=0)
    """Number of requests of the concurrent load. Other numbers in flight get proportionally many, at least four."""
    poisson_share: float = Field(default=0.7, ge=0)
    """Rate of the load with Poisson arrivals, as a fraction of the requests per second of the concurrent load; 0 for none."""
    objectives: ObjectivesConfig = ObjectivesConfig()
    """Service level objectives of the goodput."""
    client_processes: int = Field(default=1, gt=0)
    """Number of processes that send the load. The report says when one is not fast enough."""
    output_tokens: int = Field(default=64, gt=0)
    """Tokens of each answer in the load measurements."""
    stability_s: float = Field(default=60, gt=0)
    """Length of the sustained load, in seconds."""
    request_timeout_s: float = Field(default=120, gt=0)
    """Longest wait for an answer, in seconds. The request counts as failed after it."""
    targets: TargetsConfig
    """Targets of the verdict."""

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
    """The hardware that a recipe is for. `training.num_workers` says how many; each worker has one."""

    accelerator: Literal["mi300x", "mi325x", "h100", "h200", "cpu"] = "cpu"
    """Hardware that `aria plan` reckons with (`machine.specs`). `cpu` is the machine at hand, measured, and is not for a recipe
    with `training.use_gpu`. It changes no stage."""
    kernels: Literal["auto", "triton", "torch"] = "auto"
    """Kernels of the LoRA layers in training: `torch` is the library's; `triton` is the project's own, for GPUs only; `auto` is
    `torch` until the project's own kernel has been timed on a GPU."""


class RunConfig(Section):
    """A recipe of aria-ray: everything that one run is made from."""

    model: ModelConfig
    """The base model."""
    hardware: HardwareConfig = HardwareConfig()
    """The hardware that the recipe is for."""
    dataset: DatasetConfig
    """The dataset."""
    training: TrainingConfig
    """Training."""
    serving: ServingConfig = ServingConfig()
    """The endpoint."""
    validation: ValidationConfig
    """What is measured on the endpoint."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        """What the sections say about each other. `serving.agreement` compares them with the Serve config.

        A GPU that no figures are known of has no name in `hardware.accelerator`, so `use_gpu` may stand without one.
        """
        if self.hardware.accelerator != "cpu" and not self.training.use_gpu:
            raise ValueError(
                f"hardware.accelerator ({self.hardware.accelerator}) is a GPU and training.use_gpu (false) trains on none; "
                "set training.use_gpu=true, or hardware.accelerator=cpu"
            )
        return self
