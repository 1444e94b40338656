"""Reading GPUs, on fakes of the two libraries built from their documented fields: no GPU is at hand."""

import sys
from types import SimpleNamespace

import pytest

from aria_ray.hardware.gpus import GpuReading, find_gpus
from aria_ray.hardware.telemetry import Sampler


class FakeNvmlError(Exception):
    pass


def fake_nvml(power=350_000):
    def power_usage(_handle):
        if power is None:
            raise FakeNvmlError("Not Supported")
        return power

    return SimpleNamespace(
        NVMLError=FakeNvmlError,
        nvmlInit=lambda: None,
        nvmlDeviceGetCount=lambda: 2,
        nvmlDeviceGetHandleByIndex=lambda index: index,
        nvmlDeviceGetUtilizationRates=lambda handle: SimpleNamespace(gpu=90 + handle, memory=40),
        nvmlDeviceGetMemoryInfo=lambda handle: SimpleNamespace(used=(handle + 1) * 2**30, total=80 * 2**30),
        nvmlDeviceGetPowerUsage=power_usage,
        nvmlDeviceGetName=lambda _handle: "NVIDIA H100 80GB HBM3",
    )


class FakeAmdSmiError(Exception):
    pass


def fake_amdsmi(activity=75, **power):
    return SimpleNamespace(
        AmdSmiException=FakeAmdSmiError,
        amdsmi_init=lambda: None,
        amdsmi_get_processor_handles=lambda: ["gpu 0"],
        amdsmi_get_gpu_activity=lambda _handle: {"gfx_activity": activity, "umc_activity": 12, "mm_activity": "N/A"},
        amdsmi_get_gpu_vram_usage=lambda _handle: {"vram_total": 196_592, "vram_used": 2048},
        amdsmi_get_power_info=lambda _handle: power,
        amdsmi_get_gpu_asic_info=lambda _handle: {"market_name": "AMD Instinct MI300X"},
    )


@pytest.fixture
def libraries(monkeypatch):
    def only(**modules):
        for name in ("pynvml", "amdsmi"):
            monkeypatch.setitem(sys.modules, name, modules.get(name))  # None: importing it fails

    return only


def test_nvidia(libraries):
    libraries(pynvml=fake_nvml())
    gpus = find_gpus()
    assert (gpus.library, gpus.names) == ("NVML", ("NVIDIA H100 80GB HBM3",) * 2)
    assert gpus.read() == [GpuReading(0.90, 1.0, 350.0), GpuReading(0.91, 2.0, 350.0)]


def test_what_a_gpu_does_not_tell_is_no_zero(libraries):
    libraries(pynvml=fake_nvml(power=None))
    assert find_gpus().read()[0] == GpuReading(0.90, 1.0, None)
    libraries(amdsmi=fake_amdsmi(activity="N/A", socket_power="N/A", current_socket_power="N/A"))
    assert find_gpus().read() == [GpuReading(None, 2.0, None)]


def test_amd(libraries):
    libraries(amdsmi=fake_amdsmi(socket_power="N/A", current_socket_power=700, average_socket_power="N/A"))
    gpus = find_gpus()
    assert (gpus.library, gpus.names) == ("amdsmi", ("AMD Instinct MI300X",))
    assert gpus.read() == [GpuReading(0.75, 2.0, 700.0)]


def test_without_a_library_there_are_none(libraries):
    libraries()
    assert find_gpus() is None


def test_the_series_holds_every_sample(libraries):
    libraries(amdsmi=fake_amdsmi(socket_power=500))
    with Sampler() as sampler:
        pass
    series = sampler.series([(0.0, "load")])
    assert series["source"] == "psutil, amdsmi"
    (gpu,) = series["gpus"]
    assert set(gpu["busy_share"]) == {0.75}
    assert set(gpu["power_w"]) == {500.0}
    lengths = {len(series[name]) for name in ("t_s", "cpu_share", "memory_gib")} | {len(gpu["busy_share"])}
    assert len(lengths) == 1
    assert series["marks"] == [[0.0, "load"]]
    assert sampler.gpu_share == 0.75
