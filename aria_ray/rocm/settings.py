"""Settings of ROCm for MI300X: one table of environment variables, and one of the host kernel's settings.

`training/train.py` gives the first to Ray Train's workers where torch is a build for ROCm, `serve/mi300x.yaml` has those of
serving (a test compares them), `aria doctor` looks at both. None was measured by the project: it has had no such machine.

Left out on purpose: `HSA_ENABLE_SDMA=1` is the default; `CUDA_DEVICE_MAX_CONNECTIONS=1` and `NVTE_*` are for Megatron and
Transformer Engine; `RCCL_MSCCL_ENABLE` does nothing since MSCCL was taken out of RCCL (usage tips for ROCm 7.13);
`HSA_ENABLE_IPC_MODE_LEGACY=1`, which vLLM's image sets, breaks peer-to-peer on some hosts, by what their users report.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

RocmStage = Literal["training", "serving"]

_GUIDE = "ROCm documentation, how-to/rocm-for-ai/inference-optimization/workload.rst"
_SERVING_GUIDE = "ROCm documentation, AI ecosystem: vLLM V1 performance optimization"
_VLLM_IMAGE = "vLLM, docker/Dockerfile.rocm"


@dataclass(frozen=True)
class Setting:
    """One environment variable of the processes that use the GPUs."""

    name: str
    value: str
    why: str
    source: str
    stages: tuple[RocmStage, ...] = ("training", "serving")
    many_gpus: bool = False
    """Whether only training on several GPUs needs it, for communication between them; an engine has one GPU."""
    beside: str = ""
    """Another variable that this one needs and that only the user can set."""


SETTINGS = (
    Setting("HIP_FORCE_DEV_KERNARG", "1", "kernel arguments in device memory: microseconds less per launch", _SERVING_GUIDE),
    Setting("TORCH_BLAS_PREFER_HIPBLASLT", "1", "the faster of ROCm's two BLAS libraries on this GPU", _SERVING_GUIDE),
    Setting("SAFETENSORS_FAST_GPU", "1", "weights go straight to the GPU", _VLLM_IMAGE, ("serving",)),
    Setting(
        "VLLM_ROCM_USE_AITER",
        "1",
        "AMD's kernels; the first start compiles them for minutes",
        "vLLM recipes, meta-llama/Llama-3.1-8B-Instruct",
        ("serving",),
    ),
    Setting(
        "HSA_NO_SCRATCH_RECLAIM",
        "1",
        "memory for spilled registers is kept, not given back and asked for anew between kernels",
        "AMD Primus, base environment",
        ("training",),
    ),
    Setting(
        "NCCL_MIN_NCHANNELS",
        "112",
        "channels of RCCL, AMD's number for this GPU",
        _SERVING_GUIDE,
        ("training",),
        many_gpus=True,
    ),
    Setting("TORCH_NCCL_HIGH_PRIORITY", "1", "RCCL's streams overlap with computation", _GUIDE, ("training",), many_gpus=True),
    Setting(
        "GPU_MAX_HW_QUEUES",
        "2",
        "two streams to compute, two for RCCL",
        _GUIDE,
        ("training",),
        many_gpus=True,
    ),
    # Tuning in a run would try thousands of kernels for each new number of packed tokens: only what was tuned before is used.
    Setting(
        "PYTORCH_TUNABLEOP_ENABLED",
        "1",
        "matrix products by the kernels that were fastest when tuned",
        _GUIDE,
        ("training",),
        beside="PYTORCH_TUNABLEOP_FILENAME",
    ),
    Setting(
        "PYTORCH_TUNABLEOP_TUNING",
        "0",
        "products that were not tuned take the library's choice",
        _GUIDE,
        ("training",),
        beside="PYTORCH_TUNABLEOP_FILENAME",
    ),
)


@dataclass(frozen=True)
class HostSetting:
    """One setting of the host's kernel, and how to correct it."""

    what: str
    paths: str
    """Files in which the kernel shows it: a glob pattern below /."""
    value: str
    fix: str
    source: str
    bare_metal: bool
    """Whether it exists on bare metal only: a virtual machine's guest neither sees nor changes it."""


_AMDGPU = "Linux, drivers/gpu/drm/amd/amdgpu"
HOST_SETTINGS = (
    HostSetting(
        "automatic NUMA balancing, which moves pages under running kernels",
        "proc/sys/kernel/numa_balancing",
        "0",
        "sysctl kernel.numa_balancing=0 on the host",
        "ROCm documentation, how-to/system-optimization/mi300x.rst",
        bare_metal=False,
    ),
    HostSetting(
        "memory partition",
        "sys/class/drm/card*/device/current_memory_partition",
        "NPS1",
        "amd-smi set --memory-partition NPS1 as root, with nothing running: it loads the driver anew",
        f"{_AMDGPU}/amdgpu_gmc.c",
        bare_metal=True,
    ),
    HostSetting(
        "compute partition",
        "sys/class/drm/card*/device/current_compute_partition",
        "SPX",
        "amd-smi set --compute-partition SPX as root, in NPS1 and with nothing running: a recipe's GPU is a whole one",
        f"{_AMDGPU}/amdgpu_gfx.c",
        bare_metal=True,
    ),
)


def settings_for(stage: RocmStage, num_gpus: int, environ: Mapping[str, str]) -> Iterator[Setting]:
    """Settings of a stage whose processes work together on `num_gpus` GPUs.

    A setting that needs another variable (`beside`) is included where `environ` has that variable. A setting of the stage that
    `environ` itself has is always included.
    """
    for setting in SETTINGS:
        fits = (num_gpus > 1 or not setting.many_gpus) and (not setting.beside or setting.beside in environ)
        if stage in setting.stages and (fits or setting.name in environ):
            yield setting


def training_env(num_gpus: int, environ: Mapping[str, str]) -> dict[str, str]:
    """Environment variables for the workers of a training on `num_gpus` AMD GPUs.

    A value in `environ`, the driver's environment, wins and is passed on: workers on other nodes do not inherit it.
    """
    settings = list(settings_for("training", num_gpus, environ))
    beside = {setting.beside: environ[setting.beside] for setting in settings if setting.beside in environ}
    return beside | {setting.name: environ.get(setting.name, setting.value) for setting in settings}


def serving_env() -> dict[str, str]:
    """Environment variables for an engine on one AMD GPU, as the Serve file has them."""
    return {setting.name: setting.value for setting in settings_for("serving", 1, {})}


def contradictions(environ: Mapping[str, str]) -> Iterator[tuple[Setting, str]]:
    """Settings for which `environ` has another value than the table, each with that value."""
    for setting in SETTINGS:
        value = environ.get(setting.name)
        if value is not None and value != setting.value:
            yield setting, value


def read_host(setting: HostSetting, root: Path = Path("/")) -> list[str | None]:
    """Values that the kernel shows for a setting, one per GPU or one in all; None is an unknown value. Empty: no such file."""
    return [_read(path) for path in sorted(root.glob(setting.paths))]


def _read(path: Path) -> str | None:
    try:
        text = path.read_text(encoding="ascii").strip()
    except OSError:
        return None
    return None if text in ("", "N/A", "UNKNOWN") else text
