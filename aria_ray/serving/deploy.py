"""Start a model as an OpenAI-compatible endpoint, and stop it again whatever happens in between.

The caller initialises Ray. The endpoint is one Ray Serve application, named `aria`, at the root of the HTTP server. The Ray
Serve config (`serving.file`, the same that `serve run` takes) says how an engine is set up. The model, the served name, the
host and the port are filled in here. The first answer takes about a minute on a CPU, most of it for importing vLLM.
"""

import logging
import os
import re
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import ray
from pydantic import SecretStr
from ray import serve

import aria_ray
from aria_ray.config.schema import ServingConfig
from aria_ray.errors import ServingError
from aria_ray.records import Endpoint
from aria_ray.rocm.visibility import check_gpus_counted
from aria_ray.serving.addresses import check_port, client_host, is_taken
from aria_ray.serving.app import build_app, check_args, parse_args
from aria_ray.serving.engine_processes import MARK_VARIABLE, engine_error, stop_engines
from aria_ray.serving.keys import check_reachable, read_keys
from aria_ray.serving.patches import end_serve
from aria_ray.serving.serve_file import read_config

APP = "aria"
POLL_S = 1.0
REPORT_EVERY_S = 15.0
ANSWER_TIMEOUT_S = 120.0
"""Limit for one small completion. The first one of a CPU engine that has just started is the slowest."""
LOGS = "/tmp/ray/session_latest/logs/serve"
BASE_CHAT_TEMPLATE = Path(aria_ray.__file__).with_name("base_chat_template.jinja")
_ERROR = re.compile(r"[\w.]*(?:Error|Exception)\b")

OnStatus = Callable[[str], None]


@contextmanager
def serve_model(
    config: ServingConfig,
    model: Path,
    served_name: str = "aria",
    base: bool = False,
    on_progress: OnStatus | None = None,
) -> Iterator[Endpoint]:
    """Serve the model in the directory `model` while the block runs.

    With `base` the chat template is `base_chat_template.jinja`, and the output is not searched for thoughts. At the end Ray
    Serve is shut down if it was started here; otherwise only the application is deleted. Engine processes of this deployment
    that remain on this machine are killed.

    Raises:
        AriaError: Ray counts none of this machine's GPUs.
        ServingError: the config, the model or the port cannot be used (nothing is deployed then), or the engine fails to
            start or to answer within `config.ready_timeout_s`.
    """
    report = on_progress or (lambda _line: None)
    options, args = _read(config, model, served_name, base)
    checked = check_args(args)
    keys = read_keys(checked.api_keys_file)
    check_reachable(config.host, keys)
    if checked.accelerator == "gpu":
        check_gpus_counted(ray.cluster_resources().get("GPU", 0))
    running = bool(serve.status().proxies)
    _check_free(config, running)
    mark = uuid.uuid4().hex
    args["env_vars"] = {**args.get("env_vars", {}), MARK_VARIABLE: mark}
    started = time.monotonic()
    try:
        report(f"starting Ray Serve for {model.name}")
        _deploy(options, args)
        ready = _Deadline(started, config.ready_timeout_s)
        _wait_running(ready, report)
        url = f"http://{client_host(config.host)}:{config.port}/v1"
        endpoint = Endpoint(base_url=url, model=served_name, api_key=SecretStr(keys[0]) if keys else None)
        _wait_answer(endpoint, ready)
        report(f"first answer after {ready.elapsed_s:.0f} s at {url}")
        yield endpoint
    finally:
        report("stopping the endpoint")
        try:
            serve.delete(APP) if running else end_serve()
        except TimeoutError:  # `serve.delete` waits a minute
            report("answers still in flight are cut off")
        finally:
            stop_engines(mark)


def check_endpoint_config(config: ServingConfig, port_must_be_free: bool) -> tuple[str, ...]:
    """Check what can be checked before there is a model. Returns the API keys.

    Raises:
        ServingError: the Serve file, the keys, the host or the port cannot be used.
    """
    _, args = _read(config, Path(), "aria", base=False)
    keys = read_keys(parse_args(args).api_keys_file)
    check_reachable(config.host, keys)
    if port_must_be_free:
        check_port(config)
    return keys


def metrics_addresses() -> list[str]:
    """The address (HOST:PORT) on each node at which Prometheus finds the metrics of Ray, Ray Serve and vLLM."""
    return [f"{node['NodeManagerAddress']}:{node['MetricsExportPort']}" for node in ray.nodes() if node["Alive"]]


@dataclass(frozen=True)
class _Deadline:
    """A start on the monotonic clock and a time limit, in seconds."""

    started: float
    timeout_s: float

    @property
    def elapsed_s(self) -> float:
        return time.monotonic() - self.started

    def check(self, state: str) -> None:
        if self.elapsed_s > self.timeout_s:
            raise ServingError(
                f"endpoint not ready after {self.elapsed_s:.0f} s (serving.ready_timeout_s {self.timeout_s:g}): {state}",
                f"raise the limit, or see the logs under {LOGS}",
            )


def _read(config: ServingConfig, model: Path, served_name: str, base: bool) -> tuple[dict[str, Any], dict[str, Any]]:
    """Options of `serve.start` and arguments of the application, with this run's values filled in."""
    tree = read_config(config.file)
    args = dict(tree["applications"][0]["args"])
    args |= {"model": str(model.absolute()), "served_name": served_name}
    args["self_check"] = args.get("self_check", True) and config.self_check and not base
    if base:
        args["chat_template"] = str(BASE_CHAT_TEMPLATE)
        args["engine_kwargs"] = {
            key: value for key, value in args.get("engine_kwargs", {}).items() if key != "reasoning_parser"
        }
    options = {
        "proxy_location": tree.get("proxy_location", "HeadOnly"),
        "http_options": {**tree.get("http_options", {}), "host": config.host, "port": config.port},
    }
    return options, args


def _check_free(config: ServingConfig, running: bool) -> None:
    """Raise ServingError if another program has the port, or this cluster already has such an application."""
    if not running:
        check_port(config)
        return
    if not is_taken(config.host, config.port):
        raise ServingError(
            f"serving.port {config.port} on {config.host}: Ray Serve already runs on this cluster with another port",
            "set serving.port to that one, or stop it with `serve shutdown`",
        )
    if APP in serve.status().applications:
        raise ServingError(f"this cluster already serves an application named '{APP}'", "stop it with `serve shutdown`")


def _deploy(options: dict[str, Any], args: dict[str, Any]) -> None:
    # Whole logs are in Ray's session folder. The terminal shows errors only.
    os.environ.setdefault("VLLM_LOGGING_LEVEL", "ERROR")
    for name in ("ray.serve", "httpx"):
        logging.getLogger(name).setLevel(logging.ERROR)
    app = build_app(args)
    serve.start(**options, logging_config={"log_level": "WARNING"})
    target = serve.RunTarget(target=app, name=APP, route_prefix="/")
    serve.run_many([target], wait_for_ingress_deployment_creation=False, wait_for_applications_running=False)


def _wait_running(deadline: _Deadline, report: OnStatus) -> None:
    """Wait until the application runs. Raises ServingError as soon as its deployment has failed."""
    last, reported_s = "", -REPORT_EVERY_S
    while True:
        app = serve.status().applications.get(APP)
        state = "not deployed yet" if app is None else str(app.status.value)
        if app is not None and state == "RUNNING":
            return
        if app is not None and state in ("DEPLOY_FAILED", "UNHEALTHY"):
            raise ServingError(f"the endpoint cannot start: {_reason(app)}", f"correct that; more is in the logs under {LOGS}")
        if state != last or deadline.elapsed_s - reported_s >= REPORT_EVERY_S:
            report(f"waiting for the engine to load ({state.lower()}), {deadline.elapsed_s:.0f} s")
            last, reported_s = state, deadline.elapsed_s
        deadline.check(f"its state is {state}")
        time.sleep(POLL_S)


def _reason(app: Any) -> str:
    """Why an application failed: the error of an engine process, then the one that ends Ray Serve's longest message."""
    messages = [app.message, *(deployment.message for deployment in app.deployments.values())]
    lines = [line.strip() for line in max(messages, key=len).splitlines() if line.strip()]
    errors = [index for index, line in enumerate(lines) if _ERROR.match(line)]
    told = " ".join(lines[errors[-1] if errors else -5 :])[:1000]
    context = ray.get_runtime_context()
    logs = Path(context.get_temp_dir()) / context.get_session_name() / "logs"
    return "; ".join(part for part in (engine_error(logs), told) if part) or f"Ray Serve gives no reason ({app.status.value})"


def _wait_answer(endpoint: Endpoint, deadline: _Deadline) -> None:
    """Wait until the endpoint lists the model and has answered one completion."""
    url = endpoint.base_url
    request = {"model": endpoint.model, "messages": [{"role": "user", "content": "hi"}], "max_tokens": 1}
    problem = "no request was made"
    # No proxy from the environment: the endpoint is on this machine.
    with httpx.Client(timeout=ANSWER_TIMEOUT_S, trust_env=False, headers=endpoint.headers) as client:
        while True:
            try:
                listed = client.get(f"{url}/models")
                if listed.is_success and endpoint.model in listed.text:
                    answer = client.post(f"{url}/chat/completions", json=request)
                    if answer.is_success:
                        return
                    listed = answer
                problem = f"HTTP {listed.status_code}: {listed.text[:500]}"
            except httpx.TransportError as error:
                problem = f"{type(error).__name__}: {error}"
            deadline.check(f"its last answer was {problem}")
            time.sleep(POLL_S)
