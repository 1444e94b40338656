"""The Ray Serve application: one model on vLLM behind the OpenAI API.

`serve run serve/laptop.yaml` and `deploy.serve_model` both build the application here. The chat template is the one in the
model's tokenizer, so training and serving render the same text. Nothing is merged or downloaded here.
"""

from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any, Literal

import ray
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator
from ray import serve

from aria_ray.errors import ServingError
from aria_ray.serving.guard import Limits
from aria_ray.serving.keys import digest, read_keys
from aria_ray.serving.patches import PAUSE_S, PAUSE_VARIABLE, read_pause_s

IMPORT_PATH = "aria_ray.serving.app:build_app"


class Replicas(BaseModel):
    """Bounds of the number of engines, and when Ray Serve changes it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    min: int = Field(default=1, ge=0)
    max: int = Field(default=1, ge=1)
    target_ongoing_requests: int = Field(default=16, ge=1)
    """Requests in flight per engine above which Ray Serve starts another engine."""
    upscale_delay_s: float = Field(default=30, ge=0)
    """Seconds with too many requests before another engine is started."""
    downscale_delay_s: float = Field(default=600, ge=0)
    """Seconds with too few requests before an engine is stopped. With `min` 0 that may be the last one."""
    surge_percent: int = Field(default=0, ge=0, le=100)
    """Percentage of engines that may start in a new version before old ones stop; above 0 at least one engine.

    Above 0 the service has no gap, and the old engines stay if the new ones fail. This needs resources for one more engine;
    without them nothing is replaced. With 0 an old engine stops first, and its successor starts when there is room: with a
    single engine the service has a gap, and a version that fails ends it.
    """

    @model_validator(mode="after")
    def _check(self) -> "Replicas":
        if self.min > self.max:
            raise ValueError(f"min ({self.min}) must not be above max ({self.max})")
        return self


class AppArgs(BaseModel):
    """`args` of the application in a Ray Serve config file."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: str = Field(min_length=1)
    """Directory in Hugging Face layout. It must be on every node that may run an engine."""
    served_name: str = Field(default="aria", min_length=1)
    """Name of the model in requests (field `model`)."""
    chat_template: str | None = None
    """Jinja file that replaces the tokenizer's own template. Base models need it, as they do not have ours."""
    replicas: Replicas = Replicas()
    max_ongoing_requests: int = Field(default=256, ge=1)
    """Requests in one engine at a time; further ones wait at the ingress."""
    drain_timeout_s: float = Field(default=120, ge=0)
    """Seconds that an engine has to finish its answers when it is replaced or no longer needed. Then it is killed.

    The end of `aria serve` does not wait: it stops the proxy, and with it all connections, at once.
    """
    limits: Limits = Limits()
    """Limits of one request and of one API key."""
    api_keys_file: str | None = None
    """File with API keys, one a line, on the node where the application is built. They add to those of ARIA_API_KEYS."""
    self_check: bool = True
    """Whether an engine must first call a tool and decline one, both plain and streamed, before it takes requests."""
    accelerator: Literal["cpu", "gpu"]
    accelerator_type: str | None = None
    """Ray's name of the GPU, for example H100. None takes any."""
    cpus_per_engine: float = Field(default=0.25, gt=0)
    """CPUs that Ray reserves per engine. They decide where an engine is placed; they do not limit what it uses."""
    engine_kwargs: dict[str, Any] = {}
    """Arguments of vLLM's engine and front end, by their names in vLLM."""
    env_vars: dict[str, str] = {}
    """Environment variables of the engine's processes."""
    stream_batching_interval_ms: float = Field(default=0, ge=0)
    """Milliseconds for which Ray Serve collects streamed tokens before it sends them."""

    @field_validator("env_vars")
    @classmethod
    def _check_pause(cls, env_vars: dict[str, str]) -> dict[str, str]:
        read_pause_s(env_vars.get(PAUSE_VARIABLE, ""))
        return env_vars


def build_app(args: Mapping[str, Any]) -> serve.Application:
    """The Ray Serve application for `args` (see `AppArgs`). A Ray Serve config names this function as its `import_path`.

    Raises:
        ServingError: an argument is unknown or wrong, or the model or the chat template is not there.
    """
    checked = check_args(args)
    digests = tuple(digest(key) for key in read_keys(checked.api_keys_file))
    # Importing Ray's LLM package imports vLLM (seconds, 1 GB): only where an app is really built.
    from ray.serve.llm import LLMConfig, build_llm_deployment

    from aria_ray.serving.ingress import Ingress
    from aria_ray.serving.replica import Replica

    try:
        llm = LLMConfig(**llm_config(checked, engine_threads()))
        llm.get_engine_config()
    except ValueError as error:
        raise ServingError(
            f"engine of '{checked.model}': {_one_line(error)}", "see engine_kwargs in the Serve config"
        ) from None
    engines = build_llm_deployment(llm, deployment_cls=Replica, bind_kwargs={"with_self_check": checked.self_check})
    return (
        serve.deployment(Ingress)
        .options(
            # One ingress, because it counts the requests of each key. It fits beside an engine on a small machine. For a new
            # version the next ingress starts first, and the old one has time for requests that wait for a new engine.
            num_replicas=1,
            max_ongoing_requests=4 * checked.max_ongoing_requests * checked.replicas.max,
            graceful_shutdown_timeout_s=checked.drain_timeout_s + checked.limits.max_wait_s,
            max_surge_percent=100,
            ray_actor_options={"num_cpus": 0.1},
        )
        .bind(engines, checked.served_name, checked.engine_kwargs.get("max_model_len"), digests, checked.limits)
    )


def check_args(args: Mapping[str, Any]) -> AppArgs:
    """The validated arguments, checked against the file system.

    Raises:
        ServingError: an argument is unknown or wrong, or the model or the chat template is not there.
    """
    checked = parse_args(args)
    if not (Path(checked.model) / "config.json").is_file():
        raise ServingError(
            f"model '{Path(checked.model).absolute()}' must be a directory in Hugging Face layout with a config.json",
            "make it with `aria train`, or set args.model to another one",
        )
    if checked.chat_template is not None and not Path(checked.chat_template).is_file():
        raise ServingError(
            f"args.chat_template '{checked.chat_template}' must be a Jinja file", "leave it out to use the tokenizer's own"
        )
    return checked


def parse_args(args: Mapping[str, Any]) -> AppArgs:
    """The arguments, checked by their types alone. Raises ServingError if one is unknown or wrong."""
    try:
        return AppArgs.model_validate(dict(args))
    except ValidationError as error:
        problems = "; ".join(f"args.{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in error.errors())
        if "canary" in args:  # its name in 0.1.0
            raise ServingError(problems, "args.canary is now args.self_check: rename it") from None
        example = resources.files("aria_ray.serving").joinpath("configs", "laptop.yaml")
        raise ServingError(problems, f"the arguments are listed in {example}") from None


def llm_config(args: AppArgs, threads: int) -> dict[str, Any]:
    """The configuration for Ray Serve LLM, as plain data. `threads` is the number of OpenMP threads of a CPU engine."""
    on_cpu = args.accelerator == "cpu"
    engine_kwargs = dict(args.engine_kwargs)
    if args.chat_template is not None:
        # The text instead of the path, because the file may be missing on the engine's node.
        engine_kwargs["chat_template"] = Path(args.chat_template).read_text(encoding="utf-8")
    env_vars = dict(args.env_vars)
    if on_cpu:
        # Ray sets OMP_NUM_THREADS to the actor's CPUs, here 1, unless the environment says otherwise.
        env_vars.setdefault("OMP_NUM_THREADS", str(threads))
        env_vars.setdefault(PAUSE_VARIABLE, str(PAUSE_S))
    bundle = {"CPU": args.cpus_per_engine} if on_cpu else {"CPU": args.cpus_per_engine, "GPU": 1}
    return {
        "model_loading_config": {"model_id": args.served_name, "model_source": str(Path(args.model).absolute())},
        "accelerator_config": {"kind": args.accelerator},
        "accelerator_type": args.accelerator_type,
        "placement_group_config": {"bundle_per_worker": bundle},
        "deployment_config": {
            "max_ongoing_requests": args.max_ongoing_requests,
            "graceful_shutdown_timeout_s": args.drain_timeout_s,
            "max_surge_percent": args.replicas.surge_percent,
            "autoscaling_config": {
                "min_replicas": args.replicas.min,
                # At least one at first, because its self-check shows whether the deployment works.
                "initial_replicas": max(1, args.replicas.min),
                "max_replicas": args.replicas.max,
                "target_ongoing_requests": args.replicas.target_ongoing_requests,
                "upscale_delay_s": args.replicas.upscale_delay_s,
                "downscale_delay_s": args.replicas.downscale_delay_s,
            },
            # One try, so that an engine that cannot start is reported at once. Ray Serve's default is three.
            "max_constructor_retry_count": 1,
            # The replica and its engine share the bundle above. Ray Serve would add the two.
            "ray_actor_options": {"num_cpus": 0},
        },
        "engine_kwargs": engine_kwargs,
        "callback_config": {"callback_class": "aria_ray.serving.patches.skip_download"},
        "experimental_configs": {"stream_batching_interval_ms": args.stream_batching_interval_ms},
        "runtime_env": {"env_vars": env_vars},
    }


def engine_threads() -> int:
    """Number of CPUs of the smallest node that has any, as Ray counts (with cgroup limits and `num_cpus`)."""
    nodes = ray.nodes()
    return max(1, int(min((node["Resources"]["CPU"] for node in nodes if node["Resources"].get("CPU")), default=1)))


def _one_line(error: ValueError) -> str:
    return " ".join(str(error).split())
