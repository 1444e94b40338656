"""ROCm's settings: one table, and who takes what from it."""

from pathlib import Path

import pytest
import torch
import yaml

from aria_ray.config import load_config
from aria_ray.rocm.settings import (
    HOST_SETTINGS,
    SETTINGS,
    contradictions,
    read_host,
    serving_env,
    training_env,
)
from aria_ray.rocm.visibility import TRAIN_WORKER_ENV
from aria_ray.training import train

ROOT = Path(__file__).parents[3]
TOGETHER = {"NCCL_MIN_NCHANNELS", "TORCH_NCCL_HIGH_PRIORITY", "GPU_MAX_HW_QUEUES"}


def served(name):
    (application,) = yaml.safe_load((ROOT / "serve" / name).read_text(encoding="utf-8"))["applications"]
    return application["args"]["env_vars"]


def test_the_serve_file_has_the_tables_settings_and_nothing_else_of_its_own():
    """What the file for H100 has too is no matter of ROCm."""
    mi300x, h100 = served("mi300x.yaml"), served("h100.yaml")
    assert {name: value for name, value in mi300x.items() if name not in h100} == serving_env()
    assert h100.items() <= mi300x.items()


def test_settings_for_several_gpus_are_for_several_gpus():
    assert training_env(8, {}).keys() - training_env(1, {}).keys() == TOGETHER
    assert training_env(8, {})["NCCL_MIN_NCHANNELS"] == "112"
    assert not TOGETHER & serving_env().keys()


def test_what_the_user_set_wins_and_reaches_the_workers():
    assert training_env(8, {"GPU_MAX_HW_QUEUES": "4"})["GPU_MAX_HW_QUEUES"] == "4"
    # On one GPU too, and without the file that TunableOp is advised with: what the table would leave out.
    own = {"GPU_MAX_HW_QUEUES": "4", "NCCL_MIN_NCHANNELS": "32", "PYTORCH_TUNABLEOP_ENABLED": "1"}
    assert training_env(1, own) == training_env(1, {}) | own
    assert "VLLM_ROCM_USE_AITER" not in training_env(8, {"VLLM_ROCM_USE_AITER": "0"})


def test_tunableop_needs_a_file_of_tuned_kernels():
    assert not any(name.startswith("PYTORCH_TUNABLEOP") for name in training_env(8, {}))
    tuned = training_env(8, {"PYTORCH_TUNABLEOP_FILENAME": "/shared/tuned.csv"})
    assert {name: value for name, value in tuned.items() if name.startswith("PYTORCH_TUNABLEOP")} == {
        "PYTORCH_TUNABLEOP_FILENAME": "/shared/tuned.csv",
        "PYTORCH_TUNABLEOP_ENABLED": "1",
        "PYTORCH_TUNABLEOP_TUNING": "0",
    }


def test_workers_get_them_with_a_torch_for_rocm_only(monkeypatch):
    training = load_config("mi300x", []).training
    monkeypatch.setattr(torch.version, "hip", None)  # as on NVIDIA GPUs
    assert train._worker_env(training) == TRAIN_WORKER_ENV
    monkeypatch.setattr(torch.version, "hip", "7.2.53211")
    for setting in SETTINGS:
        monkeypatch.delenv(setting.name, raising=False)
    assert train._worker_env(training) == TRAIN_WORKER_ENV | training_env(8, {})


def test_contradictions_name_the_setting_and_the_value():
    environ = {"HIP_FORCE_DEV_KERNARG": "0", "VLLM_ROCM_USE_AITER": "1", "HOME": "/root"}
    assert [(setting.name, value) for setting, value in contradictions(environ)] == [("HIP_FORCE_DEV_KERNARG", "0")]


def test_every_setting_is_there_once_with_its_reason_and_its_source():
    assert len({setting.name for setting in SETTINGS}) == len(SETTINGS)
    assert all(setting.why and setting.source for setting in SETTINGS)
    assert all(setting.fix and setting.source for setting in HOST_SETTINGS)


@pytest.mark.parametrize(("shown", "read"), [("SPX\n", "SPX"), ("UNKNOWN\n", None), ("N/A\n", None), ("", None)])
def test_what_the_kernel_does_not_tell_is_none(shown, read, tmp_path):
    (setting,) = (setting for setting in HOST_SETTINGS if setting.value == "SPX")
    assert read_host(setting, tmp_path) == []
    for card in ("card1", "card2"):
        (tmp_path / f"sys/class/drm/{card}/device").mkdir(parents=True)
    (tmp_path / "sys/class/drm/card1/device/current_compute_partition").write_text(shown)
    assert read_host(setting, tmp_path) == [read]
