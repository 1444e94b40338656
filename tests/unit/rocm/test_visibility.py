"""The kernel's GPUs, and what is refused because of them."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from aria_ray.errors import AriaError
from aria_ray.rocm.visibility import check_environment, check_gpus_counted, num_gpus_of_kernel

ROOT = Path(__file__).parents[3]


@pytest.fixture
def kfd(tmp_path):
    """The driver's folder on a machine with two sockets and two MI300X."""
    for node, simds in enumerate((0, 0, 1216, 1216)):
        (tmp_path / str(node)).mkdir()
        properties = f"cpu_cores_count {0 if simds else 48}\nsimd_count {simds}\nmem_banks_count 1\nsimd_per_cu 4\n"
        (tmp_path / str(node) / "properties").write_text(properties)
    return tmp_path


def test_gpus_are_the_nodes_with_simd_units(kfd):
    assert num_gpus_of_kernel(kfd) == 2


def test_no_driver_is_no_gpu(tmp_path):
    assert num_gpus_of_kernel(tmp_path / "none") == 0


def test_a_gpu_that_the_container_may_not_use_is_not_counted(kfd, monkeypatch):
    read = Path.read_text

    def refuse_last(path, *arguments, **options):
        if path == kfd / "3" / "properties":
            raise PermissionError(1, "Operation not permitted", str(path))
        return read(path, *arguments, **options)

    monkeypatch.setattr(Path, "read_text", refuse_last)  # as root, no file's mode refuses a read
    assert num_gpus_of_kernel(kfd) == 1


def test_rocr_alone_is_refused(kfd):
    with pytest.raises(AriaError, match=r"^ROCR_VISIBLE_DEVICES=2,3: .* set HIP_VISIBLE_DEVICES=2,3 and unset ROCR_VISIBLE"):
        check_environment({"ROCR_VISIBLE_DEVICES": "2,3"}, kfd)


def test_hip_and_cuda_that_differ_are_refused(kfd):
    with pytest.raises(AriaError, match=r"^HIP_VISIBLE_DEVICES=0 and CUDA_VISIBLE_DEVICES=0,1 must not differ"):
        check_environment({"HIP_VISIBLE_DEVICES": "0", "CUDA_VISIBLE_DEVICES": "0,1"}, kfd)


@pytest.mark.parametrize(
    "environ",
    [
        {},
        {"HIP_VISIBLE_DEVICES": "0,1"},
        {"ROCR_VISIBLE_DEVICES": "0", "HIP_VISIBLE_DEVICES": "0"},
        {"HIP_VISIBLE_DEVICES": "0,1", "CUDA_VISIBLE_DEVICES": "0,1"},
        {"HIP_VISIBLE_DEVICES": "0,1", "CUDA_VISIBLE_DEVICES": ""},
        {"CUDA_VISIBLE_DEVICES": "0"},
    ],
)
def test_what_ray_and_vllm_take_is_let_through(environ, kfd):
    check_environment(environ, kfd)


@pytest.mark.parametrize("variables", [("ROCR",), ("HIP", "CUDA")])
def test_without_an_amd_gpu_the_variables_mean_nothing(variables, tmp_path):
    check_environment({f"{name}_VISIBLE_DEVICES": str(place) for place, name in enumerate(variables)}, tmp_path)


def test_gpus_that_ray_does_not_count_are_refused_with_the_fix(kfd):
    with pytest.raises(AriaError, match=r"^Ray counts 0 GPUs, the kernel shows 2 .*`pip install /opt/rocm/share/amd_smi`"):
        check_gpus_counted(0, kfd)


def test_gpus_that_ray_counts_and_a_node_without_any_are_let_through(kfd, tmp_path):
    check_gpus_counted(2.0, kfd)
    check_gpus_counted(0, tmp_path / "none")


def test_nothing_asks_for_an_accelerator_type():
    """Of Ray Train in our call, of Ray Serve in the file for this GPU."""
    tree = ast.parse((ROOT / "aria_ray" / "training" / "train.py").read_text(encoding="utf-8"))
    asked = {keyword.arg for node in ast.walk(tree) if isinstance(node, ast.Call) for keyword in node.keywords}
    assert "use_gpu" in asked
    assert "accelerator_type" not in asked
    (application,) = yaml.safe_load((ROOT / "serve" / "mi300x.yaml").read_text(encoding="utf-8"))["applications"]
    assert application["args"]["accelerator"] == "gpu"
    assert "accelerator_type" not in application["args"]


@pytest.mark.subprocess
def test_light():
    """Whoever has to look before Ray is imported must not import it."""
    code = "import sys, aria_ray.rocm.visibility; print([name for name in ('torch', 'ray') if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
