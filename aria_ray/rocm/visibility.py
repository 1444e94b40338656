"""Differences of Ray 2.60 and vLLM on AMD GPUs, in one place: how the GPUs are counted, named and assigned.

Nothing here needs a GPU or ROCm. No code asks Ray for an `accelerator_type`, and neither does `serve/mi300x.yaml`: Ray takes
the type from a table of PCI ids that lacks the MI300X of virtual machines (0x74b5), so such a request would wait for ever.
"""

import re
from collections.abc import Mapping
from pathlib import Path

from aria_ray.errors import AriaError

KFD = Path("/sys/class/kfd/kfd/topology/nodes")
"""Folder in which amdgpu, the kernel driver, has a folder for each CPU socket and each GPU."""

TRAIN_WORKER_ENV = {"RAY_EXPERIMENTAL_NOSET_HIP_VISIBLE_DEVICES": "1"}
"""Environment of Ray Train's GPU workers; on NVIDIA GPUs it changes nothing.

Ray sets HIP_VISIBLE_DEVICES to a worker's own GPU. Ray Train sets only CUDA_VISIBLE_DEVICES to the GPUs of all workers of the
node, and takes the device number from there. HIP_VISIBLE_DEVICES wins, so the second worker would be given `cuda:1` although it
sees one device. With this variable Ray leaves HIP_VISIBLE_DEVICES alone. Other workers must not have it: they would see every
GPU of their node.
"""


def check_environment(environ: Mapping[str, str], kfd: Path = KFD) -> None:
    """Refuse an environment in which Ray or vLLM cannot tell which GPUs are theirs.

    Call it before `import ray`, which raises for the first of the two errors. Without an AMD GPU on this node every environment
    passes: Ray and vLLM do not read these variables then.

    Raises:
        AriaError: ROCR_VISIBLE_DEVICES is set without HIP_VISIBLE_DEVICES, or HIP_VISIBLE_DEVICES and CUDA_VISIBLE_DEVICES
            differ.
    """
    if num_gpus_of_kernel(kfd) == 0:
        return
    rocr, hip, cuda = (environ.get(f"{name}_VISIBLE_DEVICES") for name in ("ROCR", "HIP", "CUDA"))
    if rocr is not None and hip is None:
        raise AriaError(
            f"ROCR_VISIBLE_DEVICES={rocr}: Ray takes the AMD GPUs it may use from HIP_VISIBLE_DEVICES alone",
            f"set HIP_VISIBLE_DEVICES={rocr} and unset ROCR_VISIBLE_DEVICES",
        )
    # vLLM counts an empty value as unset.
    if hip and cuda and hip != cuda:
        raise AriaError(
            f"HIP_VISIBLE_DEVICES={hip} and CUDA_VISIBLE_DEVICES={cuda} must not differ on AMD GPUs, vLLM refuses to start",
            "unset CUDA_VISIBLE_DEVICES",
        )


def check_gpus_counted(ray_gpus: float, kfd: Path = KFD) -> None:
    """Refuse a cluster in which Ray counts no GPUs (`ray_gpus`) although the kernel shows AMD GPUs on this node.

    Raises:
        AriaError: Ray has not found the GPUs; Ray itself does not report it.
    """
    shown = num_gpus_of_kernel(kfd)
    if shown > 0 and ray_gpus == 0:
        raise AriaError(
            f"Ray counts 0 GPUs, the kernel shows {shown} from AMD on this node: Ray sees them only through the Python package "
            "amdsmi",
            "`pip install /opt/rocm/share/amd_smi` into the environment that starts Ray, see that HIP_VISIBLE_DEVICES "
            "is not empty there, and restart Ray",
        )


def num_gpus_of_kernel(kfd: Path = KFD) -> int:
    """Number of AMD GPUs that the kernel driver shows this process, each partition of a GPU counted; 0 without the driver."""
    return sum(_num_simds(properties) > 0 for properties in kfd.glob("*/properties"))


def _num_simds(properties: Path) -> int:
    """SIMD units of a node: four for each compute unit of a GPU, none for a CPU."""
    try:
        text = properties.read_text(encoding="ascii")
    except PermissionError:
        return 0  # a GPU outside this container's cgroup (kernel: kfd_devcgroup_check_permission)
    simd_count = re.search(r"^simd_count (\d+)$", text, re.M)
    return int(simd_count[1]) if simd_count else 0
