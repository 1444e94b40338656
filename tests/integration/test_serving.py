"""A real endpoint on a real local Ray: a driver process serves a tiny model, then is interrupted.

The model knows the two answers of the self-check by heart, so the endpoint comes up only if the self-check passes. Its other
answers mean nothing: a grammar and a logit bias decide them where a test needs a certain form.
"""

import asyncio
import contextlib
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
import ray
import yaml
from bad_requests import bad_request
from served import KEYS, QUESTION, Served, processes_of, serving

from aria_ray import grammar
from aria_ray.config.schema import ServingConfig
from aria_ray.errors import ServingError
from aria_ray.serving import self_check
from aria_ray.serving.deploy import serve_model
from aria_ray.serving.ingress import NoAnswer, first_within

pytestmark = [pytest.mark.ray, pytest.mark.vllm]

SERVE = Path(__file__).parents[2] / "serve"
MAX_BODY_BYTES, MAX_OUTPUT_TOKENS, MAX_REQUESTS = 100_000, 512, 4
LONG = [{"role": "user", "content": "So long that the prefix cache has whole blocks of it. " * 12}]
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


@pytest.fixture(scope="module")
def served(drilled_model: Path, tmp_path_factory: pytest.TempPathFactory, free_port: Callable[[], int]) -> Iterator[Served]:
    limits = {
        "max_body_bytes": MAX_BODY_BYTES,
        "max_output_tokens": MAX_OUTPUT_TOKENS,
        "max_requests_per_key": MAX_REQUESTS,
    }
    with serving(drilled_model, tmp_path_factory.mktemp("driver"), free_port(), limits=limits) as endpoint:
        yield endpoint
        interrupt(endpoint)


def interrupt(served: Served) -> None:
    """A driver that is interrupted leaves no process: how the endpoint of this module ends."""
    assert served.processes("VLLM")
    served.driver.send_signal(signal.SIGINT)
    served.driver.wait(timeout=120)
    deadline = time.monotonic() + 60
    while (left := processes_of(served.mark)) and time.monotonic() < deadline:
        time.sleep(1)
    assert not left


def test_models(served: Served) -> None:
    assert [item["id"] for item in served.client.get("models").json()["data"]] == ["aria"]


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "streamed"])
def test_what_the_model_knows_comes_as_thought_call_and_answer(served: Served, stream: bool) -> None:
    for body, thought, calls, content in zip(
        self_check.requests()[::2],
        ("ask: percentage; function: percent_of; args: 15, 80", "ask: opposite; function: none; reason: no tool needed"),
        ((grammar.Call("percent_of", {"percent": 15, "value": 80}),), ()),
        ("", "Cold."),
        strict=True,
    ):
        answer = served.chat(**body | {"stream": stream})
        if stream:
            streamed = grammar.StreamedMessage()
            for line in filter(None, answer.iter_lines()):
                streamed.add(line)
            message = streamed.message()
        else:
            message = answer.json()["choices"][0]["message"]
        assert message["reasoning"].strip() == thought
        assert grammar.message_calls(message) == calls
        assert (message["content"] or "").strip() == content


def test_plain_chat(served: Served) -> None:
    answer = served.chat().json()
    assert answer["choices"][0]["finish_reason"] in ("stop", "length")
    assert 0 < answer["usage"]["completion_tokens"] <= 16


def test_stream_ends_with_usage_and_done(served: Served) -> None:
    request = {"model": "aria", "messages": QUESTION, "max_tokens": 8, "stream": True}
    events = []
    with served.client.stream("POST", "chat/completions", json=request | {"stream_options": {"include_usage": True}}) as answer:
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


def test_a_key_is_needed(served: Served) -> None:
    for key, status in (("none", 401), ("nobody", 401), (KEYS[1], 200)):
        answer = served.client.get("models", headers={"Authorization": f"Bearer {key}"})
        assert answer.status_code == status
    assert answer.json()["data"][0]["max_model_len"] == 2048


def test_limits_are_told_in_openais_shape(served: Served) -> None:
    long = [{"role": "user", "content": "x" * MAX_BODY_BYTES}]
    for answer, status in (
        (served.chat(messages=long), 413),
        (served.chat(max_tokens=MAX_OUTPUT_TOKENS + 1), 422),
        (served.chat(max_tokens=str(MAX_OUTPUT_TOKENS + 1)), 422),
        (served.chat(n=100), 422),
        (served.client.post("completions", json={"model": "aria", "prompt": [[1]] * 100}), 422),
        (served.client.post("chat/completions", content=b"{"), 415),
        (served.client.get("nothing"), 404),
        (served.client.get("chat/completions"), 405),
    ):
        assert answer.status_code == status
        assert {"message", "type", "param", "code"} <= answer.json()["error"].keys()


def test_a_key_has_no_more_than_its_requests_in_flight(served: Served) -> None:
    """The others are told at once, while those in flight go on and another key is answered."""

    def one(key: str) -> int:
        body = {"model": "aria", "messages": QUESTION, "max_tokens": 256, "ignore_eos": True}
        return served.client.post("chat/completions", json=body, headers={"Authorization": f"Bearer {key}"}).status_code

    with ThreadPoolExecutor(3 * MAX_REQUESTS) as pool:
        first = list(pool.map(one, [KEYS[0]] * 2 * MAX_REQUESTS + [KEYS[1]] * MAX_REQUESTS))
    own, other = first[: 2 * MAX_REQUESTS], first[2 * MAX_REQUESTS :]
    assert set(own) == {200, 429}
    assert own.count(200) >= MAX_REQUESTS
    assert set(other) == {200}


def test_a_client_that_goes_away_frees_its_place(served: Served) -> None:
    """More streams than a key may have are begun and dropped; then all places are free, and the engine is idle."""
    body = {"model": "aria", "messages": QUESTION, "max_tokens": MAX_OUTPUT_TOKENS, "ignore_eos": True, "stream": True}
    for _ in range(2 * MAX_REQUESTS):
        deadline = time.monotonic() + 60
        while True:
            with served.client.stream("POST", "chat/completions", json=body) as answer:
                if answer.status_code == httpx.codes.OK:
                    next(answer.iter_lines())
                    break
            assert time.monotonic() < deadline, "no place came free"
            time.sleep(0.2)
    deadline = time.monotonic() + 60
    with ThreadPoolExecutor(MAX_REQUESTS) as pool:
        while set(pool.map(lambda _: served.chat(max_tokens=1).status_code, range(MAX_REQUESTS))) != {200}:
            assert time.monotonic() < deadline, "no place came free"


def test_five_hundred_bad_requests_leave_it_healthy(served: Served) -> None:
    """Each is answered by a 4xx in OpenAI's shape, or, where it only looks bad, by an answer."""
    draw = random.Random(0)
    for number in range(500):
        kind, content, may_pass = bad_request(draw)
        answer = served.client.post("chat/completions", content=content, headers={"Content-Type": "application/json"})
        assert 400 <= answer.status_code < 500 or (may_pass and answer.status_code == 200), (
            number,
            kind,
            content[:300],
            answer,
        )
        if answer.status_code != 200:
            assert "message" in answer.json()["error"], (number, kind)
    assert served.chat().status_code == 200


def test_the_proof_takes_any_endpoint(served: Served, tmp_path: Path) -> None:
    """`aria validate --endpoint` on one that it did not start: here ours, with a key."""

    def validate(*more: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "aria_ray", "validate", "smoke", "--out", str(tmp_path / "out")]
        given = [*command, "--endpoint", served.endpoint.base_url, *more]
        keys = os.environ | {"A_KEY": KEYS[0]}
        return subprocess.run(given, capture_output=True, text=True, timeout=600, check=False, env=keys)

    refused = validate()
    assert (refused.returncode, "refuses the request (HTTP 401)" in refused.stderr) == (2, True)
    unknown = validate("--key-env", "A_KEY", "--model", "other")
    assert (unknown.returncode, "serves aria, not 'other'" in unknown.stderr) == (2, True)
    done = validate("--key-env", "A_KEY", "--require-ready")
    assert done.returncode == 3, done.stdout + done.stderr
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    metrics = {metric["name"]: metric for metric in report["metrics"]}
    for name in ("accuracy", "tool_compliance", "output_tokens_per_s", "ttft_cold_ms", "stability_cv"):
        assert metrics[name]["value"] is not None, name
    assert metrics["failed_requests"]["value"] == 0
    for name in ("train_flop_utilization", "memory_reduction", "memory_growth", "output_roofline_share"):
        assert metrics[name]["status"] == "unmeasured", name
    assert report["provenance"]["endpoint"]["base_url"] == served.endpoint.base_url.rstrip("/")
    assert (tmp_path / "out" / "report.html").stat().st_size > 50_000
    assert KEYS[0] not in "".join(path.read_text() for path in (tmp_path / "out").rglob("*.json*"))
    again = validate("--key-env", "A_KEY")
    assert (again.returncode, "holds a finished validation" in again.stderr) == (2, True)


def test_the_dashboards_metrics_are_on_one_port(served: Served) -> None:
    """Everything that the Grafana dashboard asks for is there once requests were answered, but what is of GPUs."""
    wanted = {name.removesuffix("_bucket") for name in re.findall(r"ray_\w+", " ".join(expressions()))}
    deadline = time.monotonic() + 120
    while True:
        assert served.chat(messages=LONG).status_code == 200
        text = httpx.get(f"http://{served.metrics}/metrics", trust_env=False, timeout=30).text
        there = set(re.findall(r"^# TYPE (\S+)", text, re.M))
        if wanted <= there:
            return
        assert time.monotonic() < deadline, wanted - there
        time.sleep(2)


@pytest.mark.skipif(shutil.which("prometheus") is None, reason="not installed: prometheus (Debian package of that name)")
def test_prometheus_answers_every_panel(served: Served, tmp_path: Path, free_port: Callable[[], int]) -> None:
    """A real Prometheus with serve/prometheus.yml, its target changed, scrapes the endpoint under requests."""
    tree = yaml.safe_load((SERVE / "prometheus.yml").read_text())
    tree["scrape_configs"][0] |= {"scrape_interval": "1s", "static_configs": [{"targets": [served.metrics]}]}
    (tmp_path / "prometheus.yml").write_text(yaml.safe_dump(tree))
    port = free_port()
    command = ["prometheus", f"--config.file={tmp_path}/prometheus.yml", f"--storage.tsdb.path={tmp_path}/data"]
    running = subprocess.Popen([*command, f"--web.listen-address=127.0.0.1:{port}"], stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 120
        missing = list(expressions())
        while missing:
            assert time.monotonic() < deadline, missing
            assert served.chat(messages=LONG).status_code == 200
            with contextlib.suppress(httpx.TransportError):
                missing = [each for each in missing if not answered(port, each)]
            time.sleep(1)
    finally:
        running.terminate()
        running.wait()


def answered(port: int, expression: str) -> bool:
    """Whether Prometheus has a value for an expression."""
    query = {"query": expression.replace("$__rate_interval", "30s")}
    answer = httpx.get(f"http://127.0.0.1:{port}/api/v1/query", params=query, trust_env=False).json()
    assert answer["status"] != "error", answer
    return bool(answer["data"]["result"])


def expressions() -> list[str]:
    """What the panels of the dashboard ask for, but for those of GPUs, which are not here."""
    panels = json.loads((SERVE / "grafana.json").read_text())["panels"]
    found = [target["expr"] for panel in panels for target in panel["targets"]]
    return [each for each in found if "gpu" not in each]


def test_a_request_that_no_engine_takes_is_refused_in_the_end() -> None:
    """A stand-in for Ray Serve's handle, which waits without end where no replica comes."""

    class Waiting:
        cancelled = False

        async def __aiter__(self) -> AsyncIterator[Any]:
            await asyncio.Event().wait()
            yield None

        def cancel(self) -> None:
            self.cancelled = True

    response = Waiting()
    with pytest.raises(NoAnswer):
        asyncio.run(first_within(response, 0.05))
    assert response.cancelled


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
