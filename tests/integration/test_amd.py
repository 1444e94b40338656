"""Real Ray on a node whose two AMD GPUs are a fake `amdsmi`: what is wrong there, and what `rocm.visibility` does about it.

Each of Ray's faults has a test that shows it, which fails when Ray mends it.
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
import yaml

from aria_ray.config.load import load_config
from aria_ray.errors import AriaError
from aria_ray.rocm.visibility import check_environment, check_gpus_counted
from aria_ray.serving.app import llm_config, parse_args

pytestmark = pytest.mark.ray

ROOT = Path(__file__).parents[2]
# What ray/_private/thirdparty/pyamdsmi and ray/_private/accelerators/amd_gpu.py of Ray 2.60 use of AMD's package.
FAKE_AMDSMI = """
class AmdSmiInitFlags:
    INIT_AMD_GPUS = 2

class AmdSmiMemoryType:
    VRAM = 0

class AmdSmiLibraryException(Exception):
    pass

initialised = False

def amdsmi_init(flag):
    global initialised
    assert flag == AmdSmiInitFlags.INIT_AMD_GPUS
    initialised = True

def amdsmi_shut_down():
    global initialised
    initialised = False

def amdsmi_get_processor_handles():
    assert initialised
    return [f"fake GPU {index}" for index in range(NUM_GPUS)]

def amdsmi_get_gpu_id(handle):
    assert handle in amdsmi_get_processor_handles()
    return PCI_ID
"""
NO_AMDSMI = "raise ModuleNotFoundError('fake: not installed')"  # also where the real one is

START = """
import json, os, sys
from pathlib import Path
import ray
# No CPU: Ray would start a process for each. Ray Train's workers ask for none beside their GPU.
options = dict(include_dashboard=False, log_to_driver=False, logging_level="ERROR", _temp_dir=sys.argv[1])
ray.init(address="local", num_cpus=0, **options)
print(json.dumps(ray.cluster_resources()))
"""
# Gloo, because a torch without GPUs has no NCCL, Ray Train's choice for GPU workers; all else is as in training/train.py.
TRAIN = (
    START
    + """
import ray.train, ray.train.torch
from ray.train import RunConfig, ScalingConfig
from ray.train.torch import TorchConfig, TorchTrainer
from aria_ray.rocm.visibility import TRAIN_WORKER_ENV

def look(loop_config):
    context = ray.train.get_context()
    assert context.get_world_size() == 2
    seen = {name: os.environ.get(f"{name}_VISIBLE_DEVICES") for name in ("HIP", "CUDA")}
    seen["device"] = str(ray.train.torch.get_device())
    Path(loop_config["out"], f"{loop_config['run']} {context.get_world_rank()}").write_text(json.dumps(seen))

for run, worker_env in (("ours", TRAIN_WORKER_ENV), ("plain", {})):
    TorchTrainer(
        look,
        train_loop_config={"run": run, "out": sys.argv[2]},
        torch_config=TorchConfig(backend="gloo"),
        scaling_config=ScalingConfig(num_workers=2, use_gpu=True),
        run_config=RunConfig(name=run, storage_path=sys.argv[2], worker_runtime_env={"env_vars": worker_env}),
    ).fit()
"""
)


# A head and a worker as Ray's autoscaler starts them: with the resources of the cluster's file, which this is told as JSON.
CLUSTER = """
import json, os, sys
os.environ |= {"RAY_enable_worker_prestart": "0", "RAY_prestart_worker_first_driver": "0"}  # a process for each promised CPU
import ray
from ray.cluster_utils import Cluster
from ray.util.placement_group import placement_group, remove_placement_group

promised = json.loads(sys.argv[2])
cluster = Cluster()
for resources in promised["nodes"]:
    os.environ["RAY_OVERRIDE_RESOURCES"] = json.dumps(resources)
    cluster.add_node(include_dashboard=False)
ray.init(cluster.address, log_to_driver=False, logging_level="ERROR")

@ray.remote(num_cpus=0, num_gpus=1)
def visible():
    return os.environ["HIP_VISIBLE_DEVICES"]

found = {"nodes": [node["Resources"] for node in ray.nodes()], "groups": {}}
for name, bundles in promised["groups"].items():
    group = placement_group(bundles, strategy="PACK")
    found["groups"][name] = group.wait(10)
    remove_placement_group(group)
found["visible"] = ray.get([visible.remote() for _ in range(2)])
print(json.dumps(found))
ray.shutdown()
cluster.shutdown()
"""


def fake_amdsmi(pci_id, num_gpus=2):
    return FAKE_AMDSMI.replace("PCI_ID", hex(pci_id)).replace("NUM_GPUS", str(num_gpus))


def on_node(amdsmi, code, folder, *arguments, **variables):
    """What Python code prints in a process of its own, in which `import amdsmi` runs the given source."""
    (folder / "amdsmi.py").write_text(amdsmi)
    environment = {
        key: value for key, value in os.environ.items() if not key.startswith("RAY_") and not key.endswith("_VISIBLE_DEVICES")
    }
    environment |= {"PYTHONPATH": str(folder), "RAY_AUTH_MODE": "disabled", "RAY_USAGE_STATS_ENABLED": "0", **variables}
    # Ray's folder is not below tmp_path: the path of a Unix socket in it may have 107 bytes.
    with tempfile.TemporaryDirectory(prefix="ray", dir="/tmp", ignore_cleanup_errors=True) as ray_folder:
        return subprocess.run(
            [sys.executable, "-c", code, ray_folder, *map(str, arguments)],
            env=environment,
            capture_output=True,
            text=True,
            timeout=400,
            check=False,
        )


def gpus_and_types(done):
    """Ray's count of the node's GPUs, and the accelerator types it has for them."""
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[0])
    return found.get("GPU", 0), [name for name in found if name.startswith("accelerator_type:")]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The folder and the process of the two training runs, on the MI300X of a virtual machine."""
    folder = tmp_path_factory.mktemp("trained")
    return folder, on_node(fake_amdsmi(0x74B5), TRAIN, folder, folder)


@pytest.fixture
def kfd(tmp_path):
    """What the kernel driver shows for a CPU and two MI300X."""
    for node, simds in enumerate((0, 1216, 1216)):
        (tmp_path / "kfd" / str(node)).mkdir(parents=True)
        (tmp_path / "kfd" / str(node) / "properties").write_text(f"simd_count {simds}\n")
    return tmp_path / "kfd"


def test_a_virtual_machines_gpus_are_counted_and_have_no_accelerator_type(trained, kfd):
    gpus, types = gpus_and_types(trained[1])
    assert (gpus, types) == (2, [])
    check_gpus_counted(gpus, kfd)


def test_a_bare_machines_gpus_have_an_accelerator_type(tmp_path):
    found = gpus_and_types(on_node(fake_amdsmi(0x74A1), START, tmp_path))
    assert found == (2, ["accelerator_type:AMD-Instinct-MI300X-OAM"])


def test_without_amdsmi_ray_counts_no_gpu_and_we_say_so(tmp_path, kfd):
    # Nor a GPU of NVIDIA, if there is one.
    gpus, _ = gpus_and_types(on_node(NO_AMDSMI, START, tmp_path, CUDA_VISIBLE_DEVICES=""))
    assert gpus == 0
    with pytest.raises(AriaError, match="pip install /opt/rocm/share/amd_smi"):
        check_gpus_counted(gpus, kfd)


def test_ray_cannot_be_imported_with_rocr_visible_devices_and_we_say_so_first(tmp_path, kfd):
    code = (
        "import os, pathlib, sys, aria_ray.rocm.visibility as amd; amd.check_environment(os.environ, pathlib.Path(sys.argv[2]))"
    )
    fake = fake_amdsmi(0x74A1)
    imported = on_node(fake, "import ray", tmp_path, ROCR_VISIBLE_DEVICES="0")
    assert "RuntimeError: Please use HIP_VISIBLE_DEVICES instead of ROCR_VISIBLE_DEVICES" in imported.stderr
    told = on_node(fake, code, tmp_path, kfd, ROCR_VISIBLE_DEVICES="0")
    assert "AriaError: ROCR_VISIBLE_DEVICES=0: " in told.stderr
    assert on_node(fake, "import ray", tmp_path, HIP_VISIBLE_DEVICES="0").returncode == 0  # the way out that we name
    check_environment({"HIP_VISIBLE_DEVICES": "0"}, kfd)


def test_train_workers_see_the_device_they_are_given(trained):
    folder, done = trained
    assert done.returncode == 0, done.stderr

    def seen(run, name):
        return sorted(str(json.loads((folder / f"{run} {rank}").read_text())[name]) for rank in range(2))

    for run in ("ours", "plain"):
        assert seen(run, "CUDA") == ["0,1", "0,1"]
        assert seen(run, "device") == ["cuda:0", "cuda:1"]
    assert seen("ours", "HIP") == ["None", "None"]
    # The trap: HIP_VISIBLE_DEVICES wins on ROCm, so each sees one device, and one of them is given `cuda:1`. When this fails,
    # TRAIN_WORKER_ENV may have become needless.
    assert seen("plain", "HIP") == ["0", "1"]


def test_nodes_give_what_the_clusters_file_promises_and_training_and_engines_find_room(tmp_path):
    """On the virtual machines of `cluster/mi300x.yaml`: its type of GPU too, which Ray would not give them by itself."""
    file = yaml.safe_load((ROOT / "cluster" / "mi300x.yaml").read_text(encoding="utf-8"))
    nodes = [kind["resources"] for kind in file["available_node_types"].values()]
    training = load_config("mi300x", []).training
    (application,) = yaml.safe_load((ROOT / "serve" / "mi300x.yaml").read_text(encoding="utf-8"))["applications"]
    engines = parse_args(application["args"])
    bundle = llm_config(engines, threads=1)["placement_group_config"]["bundle_per_worker"]
    groups = {
        "training": [{"GPU": 1}] * training.num_workers,
        "engines": [bundle] * engines.replicas.max,
        "one GPU more than there is": [{"GPU": 1}] * (training.num_workers + 1),
    }
    fake = fake_amdsmi(0x74B5, num_gpus=8)
    done = on_node(fake, CLUSTER, tmp_path, json.dumps({"nodes": nodes, "groups": groups}))
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    for promised in nodes:
        assert any(promised.items() <= given.items() for given in found["nodes"]), promised
    assert found["groups"] == {"training": True, "engines": True, "one GPU more than there is": False}
    assert sorted(found["visible"]) == ["0", "1"]
