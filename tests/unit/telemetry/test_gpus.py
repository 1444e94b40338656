"""Reading GPUs, on fakes of the two libraries built from their documented fields: no GPU is at hand."""

import math
import sys
from types import SimpleNamespace

import pytest

from aria_ray.telemetry.gpus import GpuReading, find_gpus
from aria_ray.telemetry.sampler import MachineSampler


class FakeNvmlError(Exception):
    pass


def fails(error, *but):
    """A function that gives its answer for the handles named only."""

    def ask(*handle):
        if handle and handle[0] in but:
            return handle[0]
        raise error

    return ask


def fake_nvml(power=350_000, **changes):
    def power_usage(_handle):
        if power is None:
            raise FakeNvmlError("Not Supported")
        return power

    functions = dict(
        NVMLError=FakeNvmlError,
        nvmlInit=lambda: None,
        nvmlDeviceGetCount=lambda: 2,
        nvmlDeviceGetHandleByIndex=lambda index: index,
        nvmlDeviceGetUtilizationRates=lambda handle: SimpleNamespace(gpu=90 + handle, memory=40),
        nvmlDeviceGetMemoryInfo=lambda handle: SimpleNamespace(used=(handle + 1) * 2**30, total=80 * 2**30),
        nvmlDeviceGetPowerUsage=power_usage,
        nvmlDeviceGetName=lambda _handle: "NVIDIA H100 80GB HBM3",
        nvmlDeviceGetPciInfo=lambda handle: SimpleNamespace(domain=0, bus=0x1B + handle, device=0),
    )
    return SimpleNamespace(**functions | changes)


class FakeAmdSmiError(Exception):
    pass


def fake_amdsmi(activity=75, memory_activity=12, **power):
    return SimpleNamespace(
        AmdSmiException=FakeAmdSmiError,
        amdsmi_init=lambda: None,
        amdsmi_get_processor_handles=lambda: ["gpu 0"],
        amdsmi_get_gpu_activity=lambda _handle: {
            "gfx_activity": activity,
            "umc_activity": memory_activity,
            "mm_activity": "N/A",
        },
        amdsmi_get_gpu_vram_usage=lambda _handle: {"vram_total": 196_592, "vram_used": 2048},
        amdsmi_get_power_info=lambda _handle: power,
        amdsmi_get_gpu_asic_info=lambda _handle: {"market_name": "AMD Instinct MI300X"},
        amdsmi_get_gpu_device_bdf=lambda _handle: "0000:0C:00.0",
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
    assert gpus.addresses == ("0000:1b:00", "0000:1c:00")
    assert gpus.read() == [GpuReading(0.90, 1.0, 350.0, 0.4), GpuReading(0.91, 2.0, 350.0, 0.4)]


def test_what_a_gpu_does_not_tell_is_no_zero(libraries):
    libraries(pynvml=fake_nvml(power=None))
    assert find_gpus().read()[0] == GpuReading(0.90, 1.0, None, 0.4)
    libraries(amdsmi=fake_amdsmi(activity="N/A", memory_activity="N/A", socket_power="N/A", current_socket_power="N/A"))
    assert find_gpus().read() == [GpuReading(None, 2.0, None, None)]


def test_amd(libraries):
    libraries(amdsmi=fake_amdsmi(socket_power="N/A", current_socket_power=700, average_socket_power="N/A"))
    gpus = find_gpus()
    assert (gpus.library, gpus.names, gpus.addresses) == ("amdsmi", ("AMD Instinct MI300X",), ("0000:0c:00",))
    assert gpus.read() == [GpuReading(0.75, 2.0, 700.0, 0.12)]


NOTHING = GpuReading(None, None, None, None)
TROUBLE = [FakeNvmlError("GPU is lost"), UnicodeDecodeError("utf-8", b"\xff", 0, 1, "")]


@pytest.mark.parametrize("error", TROUBLE, ids=lambda error: type(error).__name__)
def test_an_nvidia_gpu_without_a_handle_is_left_out_and_the_others_are_read(libraries, error):
    libraries(pynvml=fake_nvml(nvmlDeviceGetHandleByIndex=fails(error, 1)))
    gpus = find_gpus()
    assert gpus.addresses == ("0000:1c:00",)
    assert gpus.read() == [GpuReading(0.91, 2.0, 350.0, 0.4)]


@pytest.mark.parametrize("function", ["nvmlInit", "nvmlDeviceGetCount"])
@pytest.mark.parametrize("error", TROUBLE, ids=lambda error: type(error).__name__)
def test_a_library_that_does_not_start_is_no_gpu(libraries, error, function):
    changes = {"nvmlDeviceGetCount": fails(error)} | {function: fails(error)}
    libraries(pynvml=fake_nvml(**changes))
    assert find_gpus() is None


@pytest.mark.parametrize("function", ["amdsmi_init", "amdsmi_get_processor_handles"])
def test_amds_library_that_does_not_start_is_no_gpu(libraries, function):
    library = fake_amdsmi()
    library.amdsmi_get_processor_handles = fails(FakeAmdSmiError())
    setattr(library, function, fails(FakeAmdSmiError()))
    libraries(amdsmi=library)
    assert find_gpus() is None


def test_reads_that_fail_do_not_end_the_samples(libraries):
    library = fake_amdsmi()
    libraries(amdsmi=library)
    with MachineSampler() as sampler:
        for name in ("gpu_activity", "gpu_vram_usage", "power_info"):
            setattr(library, f"amdsmi_get_{name}", fails(FakeAmdSmiError("AMDSMI_STATUS_API_FAILED")))
    assert len(sampler.timeline.samples) >= 1
    assert sampler.timeline.samples[-1].gpus == (NOTHING,)
    assert sampler.timeline.samples[-1].memory_gib > 0


def test_a_bug_of_ours_is_not_taken_for_a_silent_gpu(libraries):
    """`read` is given a structure without the field that it reads: no library's error, so it is raised."""
    libraries(pynvml=fake_nvml(nvmlDeviceGetMemoryInfo=lambda _handle: SimpleNamespace()))
    with pytest.raises(AttributeError, match="used"):
        find_gpus().read()


def test_without_a_library_there_are_none(libraries):
    libraries()
    assert find_gpus() is None


@pytest.mark.parametrize("error", ["OSError('libamd_smi.so')", "KeyError('libamd_smi.so')", "AttributeError('no symbol')"])
def test_amds_bindings_without_a_driver_library_that_fits_are_no_gpu(monkeypatch, tmp_path, error):
    """They load it when they are imported; each of these is what a version of them raises then."""
    (tmp_path / "amdsmi.py").write_text(f"raise {error}")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(sys.modules, "pynvml", None)
    monkeypatch.delitem(sys.modules, "amdsmi", raising=False)
    assert find_gpus() is None


def test_the_series_holds_every_sample(libraries):
    libraries(amdsmi=fake_amdsmi(socket_power=500))
    with MachineSampler() as sampler:
        pass
    series = sampler.series([(0.0, "load")])
    assert series["source"] == "psutil, amdsmi"
    (gpu,) = series["gpus"]
    assert set(gpu["busy_share"]) == {0.75}
    assert set(gpu["power_w"]) == {500.0}
    lengths = {len(series[name]) for name in ("t_s", "cpu_share", "memory_gib")} | {len(gpu["busy_share"])}
    assert len(lengths) == 1
    assert series["marks"] == [[0.0, "load"]]
    assert sampler.usage_between(-math.inf, math.inf).gpu_share == 0.75
