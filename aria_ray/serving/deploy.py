"""Bring a model up as an OpenAI-compatible endpoint, and take it down again whatever happens.

Ray has to be initialised by the caller. One application, named `aria`, at the root of the HTTP server. What an engine is and
how it is set up is in the Ray Serve config (`serving.file`), the same that `serve run` takes; here the model, the served name,
the host and the port are put in. The first answer takes about a minute on a CPU: most of it is imports of vLLM.
"""

import errno
import logging
import os
import re
import socket
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

import httpx
import psutil
import ray
import yaml
from pydantic import SecretStr
from ray import serve

import aria_ray
from aria_ray.config.schema import ServingConfig
from aria_ray.errors import ServingError
from aria_ray.records import Endpoint
from aria_ray.rocm.visibility import check_gpus_counted
from aria_ray.serving.app import IMPORT_PATH, build_app, check_args, parse_args
from aria_ray.serving.keys import check_reachable, read_keys
from aria_ray.serving.patches import end_serve

APP = "aria"
POLL_S = 1.0
REPORT_EVERY_S = 15.0
ANSWER_TIMEOUT_S = 120.0
"""For one small completion: the first one on a cold CPU engine is the slowest."""
ENGINE_STOP_S = 20.0
"""How long an engine gets to go by itself after its deployment is gone."""
_MARK = "ARIA_ENDPOINT"
LOGS = "/tmp/ray/session_latest/logs/serve"
_ERROR = re.compile(r"[\w.]*(?:Error|Exception)\b")
_ENGINE_ERROR = re.compile(r"^\((?:Worker|EngineCore)[^)]*\) ERROR [^\]]*\] ([\w.]*(?:Error|Exception): .*)", re.M)
_CONFIGS = resources.files("aria_ray.serving").joinpath("configs")
BASE_CHAT_TEMPLATE = Path(aria_ray.__file__).with_name("base_chat_template.jinja")

OnProgress = Callable[[str], None]


@contextmanager
def serve_model(
    config: ServingConfig,
    model: Path,
    served_name: str = "aria",
    base: bool = False,
    on_progress: OnProgress | None = None,
) -> Iterator[Endpoint]:
    """Serve the model in a directory for as long as the block runs.

    With `base` the model is prompted by `base_chat_template.jinja` and its output is not searched for thoughts.
    On leaving, Ray Serve is shut down if it was started here, otherwise only the application is deleted; engine processes
    on this machine that stay are killed.

    Raises:
        AriaError: Ray counts none of the GPUs that are there.
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
    args["env_vars"] = {**args.get("env_vars", {}), _MARK: mark}
    started = time.monotonic()
    try:
        report(f"starting Ray Serve for {model.name}")
        _deploy(options, args)
        ready = _Deadline(started, config.ready_timeout_s)
        _wait_running(ready, report)
        url = f"http://{_client_host(config.host)}:{config.port}/v1"
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


def config_names() -> tuple[str, ...]:
    """Names of the Ray Serve configs shipped with the package, sorted."""
    return tuple(sorted(item.name.removesuffix(".yaml") for item in _CONFIGS.iterdir() if item.name.endswith(".yaml")))


def find_config(file: str) -> Traversable:
    """The Ray Serve config that `serving.file` names.

    Either the path of a file, from the working directory, or the name of a shipped one: `laptop`, `laptop.yaml`, or
    `serve/laptop.yaml`, its path in a checkout. A path that exists comes first.

    Raises:
        ServingError: it is neither.
    """
    given = Path(file)
    if given.is_file():
        return given
    name = file.removeprefix("serve/").removesuffix(".yaml")
    if name in config_names():
        return _CONFIGS.joinpath(f"{name}.yaml")
    raise ServingError(
        f"serving.file '{file}' is neither a file at {given.absolute()} nor one of {', '.join(config_names())}, which are in "
        f"{_CONFIGS}",
        "give the path of a Ray Serve config, or one of these names",
    )


def read_config(file: str) -> dict[str, Any]:
    """What the Ray Serve config says, comments and order aside.

    Raises:
        ServingError: there is no such file, or it is not a config of one application of ours.
    """
    path = find_config(file)
    try:
        tree: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
        (application,) = tree["applications"]
        usable = application["import_path"] == IMPORT_PATH and isinstance(application["args"], dict)
    except (yaml.YAMLError, UnicodeDecodeError, KeyError, TypeError, ValueError):
        usable = False
    if not usable:
        raise ServingError(
            f"serving.file {path} must be a Ray Serve config with one application, import_path {IMPORT_PATH} and args",
            f"start from a copy of {_CONFIGS.joinpath('laptop.yaml')}",
        )
    return tree


def serving_inputs(config: ServingConfig) -> dict[str, Any]:
    """What decides how a model is served: hashed into the fingerprint of what is measured."""
    return {"serving": read_config(config.file)}


def check_endpoint_config(config: ServingConfig, port_must_be_free: bool) -> tuple[str, ...]:
    """What can be known to be wrong before there is a model; the API keys where nothing is.

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
    """Where Prometheus finds Ray's, Ray Serve's and vLLM's metrics: one address of each node of the cluster."""
    return [f"{node['NodeManagerAddress']}:{node['MetricsExportPort']}" for node in ray.nodes() if node["Alive"]]


def check_port(config: ServingConfig) -> None:
    """Raise ServingError if another program has the port."""
    if _is_taken(config.host, config.port):
        raise ServingError(
            f"serving.port {config.port} on {config.host} is in use by another program",
            "choose a free one with serving.port=PORT, or stop that program",
        )


def stop_engines(mark: str, timeout_s: float = ENGINE_STOP_S) -> int:
    """Wait until the engine processes of one deployment on this machine are gone, and kill what stays; how many that were."""
    engines = _engines(mark)
    deadline = time.monotonic() + timeout_s
    while engines and time.monotonic() < deadline:
        time.sleep(0.5)
        engines = _engines(mark)
    for process in engines:
        try:
            process.kill()
        except psutil.NoSuchProcess:
            continue
    psutil.wait_procs(engines, timeout=5)
    return len(engines)


@dataclass(frozen=True)
class _Deadline:
    """A start and a limit, in seconds of the monotonic clock."""

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
    """Options of `serve.start` and arguments of the application, with the run's own values put in."""
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
    """Refuse a port that another program has, and an application that is already up on this cluster."""
    if not running:
        check_port(config)
        return
    if not _is_taken(config.host, config.port):
        raise ServingError(
            f"serving.port {config.port} on {config.host}: Ray Serve already runs on this cluster with another port",
            "set serving.port to that one, or stop it with `serve shutdown`",
        )
    if APP in serve.status().applications:
        raise ServingError(f"this cluster already serves an application named '{APP}'", "stop it with `serve shutdown`")


def _is_taken(host: str, port: int) -> bool:
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        # As a server binds: a port whose last connections are only winding down counts as free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                return True
            raise ServingError(
                f"serving.host {host} and serving.port {port} must be an address this machine can listen on ({error.strerror})",
                "set serving.host to one of its addresses and serving.port to 1024 or more",
            ) from None
    return False


def _deploy(options: dict[str, Any], args: dict[str, Any]) -> None:
    # The engine's own logs stay in Ray's session folder; here only what went wrong is wanted.
    os.environ.setdefault("VLLM_LOGGING_LEVEL", "ERROR")
    for name in ("ray.serve", "httpx"):
        logging.getLogger(name).setLevel(logging.ERROR)
    app = build_app(args)
    serve.start(**options, logging_config={"log_level": "WARNING"})
    target = serve.RunTarget(target=app, name=APP, route_prefix="/")
    serve.run_many([target], wait_for_ingress_deployment_creation=False, wait_for_applications_running=False)


def _wait_running(deadline: _Deadline, report: OnProgress) -> None:
    """Until Ray Serve says RUNNING; a deployment that failed is an error at once."""
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
    """The error at the end of the longest message that the application or a deployment left, and the engine's own."""
    messages = [app.message, *(deployment.message for deployment in app.deployments.values())]
    lines = [line.strip() for line in max(messages, key=len).splitlines() if line.strip()]
    errors = [index for index, line in enumerate(lines) if _ERROR.match(line)]
    told = " ".join(lines[errors[-1] if errors else -5 :])[:1000]
    return "; ".join(part for part in (_engine_error(), told) if part) or f"Ray Serve gives no reason ({app.status.value})"


def _engine_error() -> str:
    """The first error that an engine process wrote last, from Ray's logs on this machine; empty where there is none.

    vLLM tells its parent no more than "See root cause above".
    """
    context = ray.get_runtime_context()
    logs = (Path(context.get_temp_dir()) / context.get_session_name() / "logs").glob("worker-*.out")
    for path in sorted(logs, key=lambda item: item.stat().st_mtime, reverse=True):
        if found := _ENGINE_ERROR.search(path.read_text(encoding="utf-8", errors="replace")):
            return found.group(1)[:1000]
    return ""


def _wait_answer(endpoint: Endpoint, deadline: _Deadline) -> None:
    """Until the model is listed and one real completion came back."""
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


def _engines(mark: str) -> list[psutil.Process]:
    """Processes started by the replicas of one deployment; they inherit its mark. Ray's own workers are Ray's to stop."""
    found = []
    for process in psutil.process_iter(["environ", "cmdline"]):
        command = " ".join(process.info["cmdline"] or ())
        is_ray = command.startswith("ray::") or "default_worker.py" in command
        if command and not is_ray and (process.info["environ"] or {}).get(_MARK) == mark:
            found.append(process)
    return found


def _client_host(host: str) -> str:
    known = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, host)
    return f"[{known}]" if ":" in known and not known.startswith("[") else known
