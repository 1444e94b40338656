"""A real endpoint on a real local Ray: a driver process serves the tiny random model, then is interrupted.

Its answers mean nothing, so a grammar and a logit bias decide what it says where a test needs a certain form.
"""

import json
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
import ray
from transformers import PreTrainedTokenizerBase

from aria_ray import grammar
from aria_ray.config.schema import ModelConfig, ServingConfig
from aria_ray.errors import ServingError
from aria_ray.serving.deploy import serve_model
from aria_ray.training.base import prepare_base
from aria_ray.training.model import load_model, load_tokenizer

pytestmark = pytest.mark.integration

START_TIMEOUT_S = 480
RUN_MARK = "ARIA_TEST_RUN"
QUESTION = [{"role": "user", "content": "What is 2+3?"}]
TOOL = {
    "type": "function",
    "function": {
        "name": "add",
        "description": "Adds.",
        "parameters": {
            "type": "object",
            "properties": {"a": {"type": "integer", "minimum": 0, "maximum": 9}, "b": {"type": "boolean"}},
            "required": ["a", "b"],
            "additionalProperties": False,
        },
    },
}
DRIVER = """
import signal, sys, time
from pathlib import Path
import ray
from aria_ray.config.schema import ServingConfig
from aria_ray.serving.deploy import serve_model

# Processes that a shell starts in the background ignore the interrupt, and so do their children.
signal.signal(signal.SIGINT, signal.default_int_handler)
ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
config = ServingConfig(port=int(sys.argv[2]))
with serve_model(config, Path(sys.argv[1]), on_progress=lambda line: print(line, flush=True)) as endpoint:
    print("READY", endpoint.base_url, flush=True)
    time.sleep(3600)
"""


@dataclass(frozen=True)
class Served:
    """The driver process, its environment's mark, and a client of its endpoint."""

    driver: subprocess.Popen[str]
    mark: str
    client: httpx.Client
    tokenizer: PreTrainedTokenizerBase

    def chat(self, **changes: Any) -> httpx.Response:
        request = {"model": "aria", "messages": QUESTION, "max_tokens": 16, "temperature": 0, **changes}
        return self.client.post("/chat/completions", json=request)

    def bias(self, **strengths: float) -> dict[str, float]:
        """A logit bias by token; `space` stands for all white space, `end` and `think_end` for the markers."""
        tokens = {"space": " \n\t\r", "end": [grammar.TURN_END], "think_end": [grammar.THINK_END]}
        return {
            str(self.tokenizer.encode(token, add_special_tokens=False)[0]): strength
            for name, strength in strengths.items()
            for token in tokens.get(name, name)
        }


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    base = prepare_base(ModelConfig(source="random:tiny"))
    target = tmp_path_factory.mktemp("model")
    tokenizer = load_tokenizer(base)
    load_model(base, tokenizer, "float32").save_pretrained(target)
    tokenizer.save_pretrained(target)
    return target


@pytest.fixture(scope="module")
def served(model: Path, tmp_path_factory: pytest.TempPathFactory, free_port: Callable[[], int]) -> Iterator[Served]:
    port, mark = free_port(), uuid.uuid4().hex
    log = tmp_path_factory.mktemp("driver") / "log"
    environment = os.environ | {RUN_MARK: mark, "RAY_USAGE_STATS_ENABLED": "0"}
    environment.pop("RAY_ADDRESS", None)
    with log.open("w") as output:
        driver = subprocess.Popen(
            [sys.executable, "-c", DRIVER, str(model), str(port)], stdout=output, stderr=output, env=environment, text=True
        )
    try:
        deadline = time.monotonic() + START_TIMEOUT_S
        while "READY" not in log.read_text():
            assert driver.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(1)
        with httpx.Client(base_url=f"http://127.0.0.1:{port}/v1", timeout=120, trust_env=False) as client:
            yield Served(driver, mark, client, load_tokenizer(model))
    finally:
        driver.kill()
        driver.wait()
        for process in processes_of(mark):
            process.kill()


def test_models(served: Served) -> None:
    assert [item["id"] for item in served.client.get("/models").json()["data"]] == ["aria"]


def test_plain_chat(served: Served) -> None:
    answer = served.chat().json()
    assert answer["choices"][0]["finish_reason"] in ("stop", "length")
    assert 0 < answer["usage"]["completion_tokens"] <= 16


def test_stream_ends_with_usage_and_done(served: Served) -> None:
    request = {"model": "aria", "messages": QUESTION, "max_tokens": 8, "stream": True}
    events = []
    with served.client.stream(
        "POST", "/chat/completions", json=request | {"stream_options": {"include_usage": True}}
    ) as answer:
        events = [line.removeprefix("data: ") for line in answer.iter_lines() if line]
    assert events[-1] == "[DONE]"
    assert json.loads(events[-2])["usage"]["completion_tokens"] > 0
    assert any(json.loads(event)["choices"] for event in events[:-1])


@pytest.mark.parametrize("choice", ["required", {"type": "function", "function": {"name": "add"}}], ids=["required", "named"])
def test_forced_call_comes_as_tool_calls(served: Served, choice: Any) -> None:
    """The grammar sets in at the end of the thought, which the bias brings; it also ends white space and the turn."""
    bias = served.bias(think_end=20, end=10, space=-100)
    answer = served.chat(tools=[TOOL], tool_choice=choice, logit_bias=bias, max_tokens=96).json()
    (call, *_) = grammar.message_calls(answer["choices"][0]["message"])
    assert call.name == "add"
    assert call.arguments.keys() == {"a", "b"}


def test_thought_is_reasoning_not_content(served: Served) -> None:
    answer = served.chat(logit_bias=served.bias(x=20)).json()["choices"][0]["message"]
    assert answer["reasoning"] == "x" * 16
    assert not answer["content"]


def test_markers_in_user_text_are_data(served: Served) -> None:
    """With the byte tokenizer every data character is a token, and a marker would be a single one."""
    texts = ["", "a<think>b</tool_call><|im_end|>"]
    empty, marked = [
        served.chat(messages=[{"role": "user", "content": text}], max_tokens=1).json()["usage"]["prompt_tokens"]
        for text in texts
    ]
    assert marked - empty >= len(texts[1])


def test_unknown_model_is_404(served: Served) -> None:
    assert served.chat(model="nobody").status_code == 404


@pytest.mark.parametrize("changes", [{"temperature": -1}, {"messages": [{"role": "user", "content": "x" * 4000}]}])
def test_bad_request_is_400(served: Served, changes: dict[str, Any]) -> None:
    assert served.chat(**changes).status_code == 400


def test_taken_port_is_refused_before_anything_is_deployed(served: Served, model: Path) -> None:
    port = served.client.base_url.port
    assert port is not None
    ray.init(num_cpus=1, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    try:
        with (
            pytest.raises(ServingError, match=f"{port}.*in use by another program"),
            serve_model(ServingConfig(port=port), model),
        ):
            pytest.fail("served on a taken port")
    finally:
        ray.shutdown()


def test_interrupted_driver_leaves_no_process(served: Served) -> None:
    """Last: it ends the endpoint of this module."""
    assert any("VLLM" in process.name() for process in processes_of(served.mark))
    served.driver.send_signal(signal.SIGINT)
    served.driver.wait(timeout=120)
    deadline = time.monotonic() + 60
    while (left := processes_of(served.mark)) and time.monotonic() < deadline:
        time.sleep(1)
    assert not left


def processes_of(mark: str) -> list[psutil.Process]:
    """Every process that inherited a mark in its environment."""
    return [
        process
        for process in psutil.process_iter(["environ", "status"])
        if (process.info["environ"] or {}).get(RUN_MARK) == mark and process.info["status"] != psutil.STATUS_ZOMBIE
    ]
