"""What Ray 2.60 and vLLM do differently on AMD GPUs, in one place: how the GPUs are counted, named and handed out.

Nothing here needs a GPU or ROCm, and nothing asks for an `accelerator_type`: Ray takes it from a table of PCI ids that lacks
the MI300X of virtual machines (0x74b5), where whoever asks for one waits for ever. `serve/mi300x.yaml` names none either.
"""

import re
from collections.abc import Mapping
from pathlib import Path

from aria_ray.errors import AriaError

KFD = Path("/sys/class/kfd/kfd/topology/nodes")
"""Where amdgpu, the kernel driver, shows a folder for each CPU socket and each GPU."""

TRAIN_WORKER_ENV = {"RAY_EXPERIMENTAL_NOSET_HIP_VISIBLE_DEVICES": "1"}
"""Environment of Ray Train's GPU workers; on NVIDIA GPUs it changes nothing.

Ray sets HIP_VISIBLE_DEVICES to a worker's own GPU, Ray Train shares the GPUs of all workers of the node through
CUDA_VISIBLE_DEVICES only and takes the device number from there. HIP_VISIBLE_DEVICES wins, so the second worker would be given
`cuda:1` where it can see one device. With this set Ray leaves HIP_VISIBLE_DEVICES alone. Not for other workers: they would
see every GPU of their node.
"""


def check_environment(environ: Mapping[str, str], kfd: Path = KFD) -> None:
    """Refuse an environment in which Ray or vLLM cannot tell which GPUs are theirs.

    To be called before `import ray`, which raises for the first of the two. Lets everything through where this node has no AMD
    GPU: there they do not read these variables.

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
    """Refuse to go on where the kernel shows AMD GPUs on this node and `ray_gpus`, the GPUs of Ray's cluster, are none.

    Raises:
        AriaError: Ray has not seen them; it says nothing about it itself.
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
    """AMD GPUs that the kernel driver lets this process see (each partition of a partitioned one); 0 without the driver."""
    return sum(_num_simds(properties) > 0 for properties in kfd.glob("*/properties"))


def _num_simds(properties: Path) -> int:
    """SIMD units of a node: four for each compute unit of a GPU, none for a CPU."""
    try:
        text = properties.read_text(encoding="ascii")
    except PermissionError:
        return 0  # a GPU outside this container's cgroup (kernel: kfd_devcgroup_check_permission)
    found = re.search(r"^simd_count (\d+)$", text, re.M)
    return int(found[1]) if found else 0
