"""A real endpoint on a real local Ray for tests: a driver process serves a tiny model."""

import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psutil
import yaml
from transformers import PreTrainedTokenizerBase

from aria_ray import grammar
from aria_ray.records import Endpoint
from aria_ray.serving.keys import KEYS_VARIABLE
from aria_ray.training.model import load_tokenizer

START_TIMEOUT_S = 480
RUN_MARK = "ARIA_TEST_RUN"
KEYS = ("first-key-of-the-tests", "second-key-of-the-tests")
RAY_TOKEN = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "0123456789abcdef" * 4}
QUESTION = [{"role": "user", "content": "What is 2+3?"}]
SERVE_FILE = Path(__file__).parents[2] / "serve" / "laptop.yaml"
DRIVER = """
import signal, sys, time
from pathlib import Path
import ray
from aria_ray.config.schema import ServingConfig
from aria_ray.serving.deploy import metrics_addresses, serve_model

# Processes that a shell starts in the background ignore the interrupt, and so do their children.
signal.signal(signal.SIGINT, signal.default_int_handler)
# `serve deploy` talks to the dashboard.
port = int(sys.argv[4]) if len(sys.argv) > 4 else None
ray.init(num_cpus=2, include_dashboard=bool(port), dashboard_port=port, log_to_driver=False, logging_level="ERROR")
config = ServingConfig(file=sys.argv[3], port=int(sys.argv[2]))
with serve_model(config, Path(sys.argv[1]), on_progress=lambda line: print(line, flush=True)) as endpoint:
    print("METRICS", *metrics_addresses(), flush=True)
    print("READY", endpoint.base_url, flush=True)
    time.sleep(3600)
"""


@dataclass(frozen=True)
class Served:
    """The driver process, its environment's mark, and a client of its endpoint."""

    driver: subprocess.Popen[str]
    serve_file: Path
    log: Path
    mark: str
    client: httpx.Client
    tokenizer: PreTrainedTokenizerBase
    dashboard: str | None
    """Ray's, where there is one."""

    @property
    def endpoint(self) -> Endpoint:
        return Endpoint(base_url=str(self.client.base_url), model="aria", api_key=KEYS[0])

    def chat(self, **changes: Any) -> httpx.Response:
        request = {"model": "aria", "messages": QUESTION, "max_tokens": 16, "temperature": 0, **changes}
        return self.client.post("chat/completions", json=request)

    def bias(self, **strengths: float) -> dict[str, float]:
        """A logit bias by token; `space` stands for all white space, `end` and `think_end` for the markers."""
        tokens = {"space": " \n\t\r", "end": [grammar.TURN_END], "think_end": [grammar.THINK_END]}
        return {
            str(self.tokenizer.encode(token, add_special_tokens=False)[0]): strength
            for name, strength in strengths.items()
            for token in tokens.get(name, name)
        }

    @property
    def metrics(self) -> str:
        """Host and port of the metrics."""
        (line,) = [line for line in self.log.read_text().splitlines() if line.startswith("METRICS")]
        return line.split()[1]

    def deploy_again(self, **args: Any) -> None:
        """`serve deploy` what is served, with other `args`; returns once Ray Serve has taken the new version up."""
        tree = yaml.safe_load(self.serve_file.read_text())
        tree["applications"][0]["args"] |= args
        self.serve_file.write_text(yaml.safe_dump(tree))
        command = [Path(sys.executable).with_name("serve"), "deploy", f"--address={self.dashboard}", self.serve_file]
        done = subprocess.run(command, env=os.environ | RAY_TOKEN, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr

    @property
    def state(self) -> str:
        """What Ray Serve says of the application: DEPLOYING, RUNNING, ..."""
        headers = {"Authorization": f"Bearer {RAY_TOKEN['RAY_AUTH_TOKEN']}"}
        answer = httpx.get(f"{self.dashboard}/api/serve/applications/", headers=headers, trust_env=False, timeout=60)
        return str(answer.raise_for_status().json()["applications"]["aria"]["status"])

    def processes(self, title: str = "") -> list[psutil.Process]:
        """The live processes of the endpoint, or those among them whose title has this in it."""
        return [process for process in processes_of(self.mark) if title in " ".join(process.cmdline())]


@contextmanager
def serving(model: Path, folder: Path, port: int, dashboard_port: int | None = None, **args: Any) -> Iterator[Served]:
    """Serve a model with the laptop's Serve file, changed by `args`; its processes are gone afterwards."""
    tree = yaml.safe_load(SERVE_FILE.read_text())
    tree["applications"][0]["args"] |= {"model": str(model), **args}
    serve_file, log = folder / "serve.yaml", folder / "log"
    serve_file.write_text(yaml.safe_dump(tree))
    mark = uuid.uuid4().hex
    environment = os.environ | RAY_TOKEN | {RUN_MARK: mark, "RAY_USAGE_STATS_ENABLED": "0", KEYS_VARIABLE: ",".join(KEYS)}
    environment["RAY_SERVE_PROXY_READY_CHECK_TIMEOUT_S"] = "60"  # as the command line has it
    environment.pop("RAY_ADDRESS", None)
    command = [sys.executable, "-c", DRIVER, str(model), str(port), str(serve_file)]
    command += [str(dashboard_port)] if dashboard_port else []
    with log.open("w") as output:
        driver = subprocess.Popen(command, stdout=output, stderr=output, env=environment, text=True)
    try:
        deadline = time.monotonic() + START_TIMEOUT_S
        while "READY" not in log.read_text():
            assert driver.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(1)
        headers = {"Authorization": f"Bearer {KEYS[0]}"}
        with httpx.Client(base_url=f"http://127.0.0.1:{port}/v1", timeout=120, trust_env=False, headers=headers) as client:
            dashboard = f"http://127.0.0.1:{dashboard_port}" if dashboard_port else None
            yield Served(driver, serve_file, log, mark, client, load_tokenizer(model), dashboard)
    finally:
        driver.send_signal(signal.SIGKILL)
        driver.wait()
        for process in processes_of(mark):
            process.kill()


def processes_of(mark: str) -> list[psutil.Process]:
    """Every process that inherited a mark in its environment."""
    return [
        process
        for process in psutil.process_iter(["environ", "status"])
        if (process.info["environ"] or {}).get(RUN_MARK) == mark and process.info["status"] != psutil.STATUS_ZOMBIE
    ]
