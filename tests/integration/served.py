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
QUESTION = [{"role": "user", "content": "What is 2+3?"}]
SERVE_FILE = Path(__file__).parents[2] / "serve" / "laptop.yaml"
DEPLOYED_AGAIN = "DEPLOYED AGAIN"
DRIVER = """
import signal, sys, time
from pathlib import Path
import ray, yaml
from ray import serve
from aria_ray.config.schema import ServingConfig
from aria_ray.serving.app import build_app
from aria_ray.serving.deploy import APP, metrics_addresses, serve_model

def deploy_again(*_):
    # A new version each time; `serve deploy FILE` makes one where something in the file is new.
    args = yaml.safe_load(Path(sys.argv[3]).read_text())["applications"][0]["args"]
    serve.run(build_app(args | {"model": sys.argv[1]}), name=APP, route_prefix="/")
    print(sys.argv[4], flush=True)

signal.signal(signal.SIGUSR1, deploy_again)

# Processes that a shell starts in the background ignore the interrupt, and so do their children.
signal.signal(signal.SIGINT, signal.default_int_handler)
ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
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
        """Begin to deploy what is served with other `args`; `num_deployed_again` goes up when it is done."""
        tree = yaml.safe_load(self.serve_file.read_text())
        tree["applications"][0]["args"] |= args
        self.serve_file.write_text(yaml.safe_dump(tree))
        self.driver.send_signal(signal.SIGUSR1)

    @property
    def num_deployed_again(self) -> int:
        assert self.driver.poll() is None, self.log.read_text()
        return self.log.read_text().count(DEPLOYED_AGAIN)

    def processes(self, title: str = "") -> list[psutil.Process]:
        """The live processes of the endpoint, or those among them whose title has this in it."""
        return [process for process in processes_of(self.mark) if title in " ".join(process.cmdline())]


@contextmanager
def serving(model: Path, folder: Path, port: int, **args: Any) -> Iterator[Served]:
    """Serve a model with the laptop's Serve file, changed by `args`; its processes are gone afterwards."""
    tree = yaml.safe_load(SERVE_FILE.read_text())
    tree["applications"][0]["args"] |= args
    serve_file, log = folder / "serve.yaml", folder / "log"
    serve_file.write_text(yaml.safe_dump(tree))
    mark = uuid.uuid4().hex
    environment = os.environ | {RUN_MARK: mark, "RAY_USAGE_STATS_ENABLED": "0", KEYS_VARIABLE: ",".join(KEYS)}
    environment["RAY_SERVE_PROXY_READY_CHECK_TIMEOUT_S"] = "60"  # as the command line has it
    environment.pop("RAY_ADDRESS", None)
    command = [sys.executable, "-c", DRIVER, str(model), str(port), str(serve_file), DEPLOYED_AGAIN]
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
            yield Served(driver, serve_file, log, mark, client, load_tokenizer(model))
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
