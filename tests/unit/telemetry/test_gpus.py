"""Reading GPUs, on fakes of the two libraries built from their documented fields: no GPU is at hand."""

import sys
from types import SimpleNamespace

import pytest

from aria_ray.telemetry.gpus import BUSY_READS, GpuReading, find_gpus
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


def fake_amdsmi(activity=75, metrics=(), **power):
    """`metrics`: what the single reads of `amdsmi_get_gpu_metrics_info` give; without any it gives no answer."""
    answers = iter(metrics)

    def metrics_info(_handle):
        if not metrics:
            raise FakeAmdSmiError("AMDSMI_STATUS_NOT_SUPPORTED")
        return next(answers)

    return SimpleNamespace(
        AmdSmiException=FakeAmdSmiError,
        amdsmi_init=lambda: None,
        amdsmi_get_processor_handles=lambda: ["gpu 0"],
        amdsmi_get_gpu_activity=lambda _handle: {"gfx_activity": activity, "umc_activity": 12, "mm_activity": "N/A"},
        amdsmi_get_gpu_metrics_info=metrics_info,
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
    nothing = dict.fromkeys(("gfx_activity_acc", "mem_activity_acc", "accumulation_counter"), "N/A")
    libraries(amdsmi=fake_amdsmi(activity="N/A", metrics=[nothing] * 2, socket_power="N/A", current_socket_power="N/A"))
    gpus = find_gpus()
    for reading in (*gpus.read(), *gpus.read()):
        assert (reading.busy_share, reading.power_w) == (None, None)


def test_amd(libraries):
    libraries(amdsmi=fake_amdsmi(socket_power="N/A", current_socket_power=700, average_socket_power="N/A"))
    gpus = find_gpus()
    assert (gpus.library, gpus.names, gpus.addresses) == ("amdsmi", ("AMD Instinct MI300X",), ("0000:0c:00",))
    assert gpus.read() == [GpuReading(0.75, 2.0, 700.0, 0.12)]


def metrics(gained, counted=1000, begin=5_000_000):
    """Reads of a GPU whose accumulator gains so much in each window of a thousand counts, which is a second."""
    answers, total, count = [], begin, 123_456
    for each in (0, *gained):
        total, count = (total + each * counted) % 2**32, count + counted
        answers.append({"gfx_activity_acc": round(total), "mem_activity_acc": "N/A", "accumulation_counter": count})
    return answers


def busy_shares(libraries, answers, activity):
    """What each read after the first says."""
    libraries(amdsmi=fake_amdsmi(activity=activity, metrics=answers))
    gpus = find_gpus()
    return [gpus.read()[0].busy_share for _ in answers][1:]


def test_amds_accumulators_give_the_mean_of_the_window_not_the_moments_activity(libraries):
    assert busy_shares(libraries, metrics([40.0, 87.5, 0.5]), activity=0) == [0.4, 0.875, 0.005]


def test_an_accumulator_of_shares_is_told_from_one_of_per_cents(libraries):
    shares = busy_shares(libraries, metrics([0.9] * (BUSY_READS + 1)), activity=99)
    assert shares == [0.99] * (BUSY_READS - 1) + [0.9, 0.9]


def test_an_idle_gpu_is_not_taken_for_a_busy_one(libraries):
    """A gain of 0.8 a count is 0.8 % or 80 %: the GPU is seen idle, so that its unit stays open until it gains more than 1."""
    shares = busy_shares(libraries, metrics([0.8, 0.8, 0.8, 60.0, 0.8]), activity=1)
    assert shares == [0.01, 0.01, 0.01, 0.6, pytest.approx(0.008)]


def test_an_accumulator_that_wraps_goes_on(libraries):
    assert busy_shares(libraries, metrics([50.0, 50.0], begin=2**32 - 60_000), activity=0) == [0.5, 0.5]


def test_after_a_reset_the_moment_stands_in_for_one_window(libraries):
    answers = [*metrics([50.0]), *metrics([50.0], begin=0)]
    assert busy_shares(libraries, answers, activity=30) == [0.5, 0.3, 0.5]


def test_an_accumulator_that_starts_anew_beside_its_counter_gives_no_mean(libraries):
    answers = metrics([50.0, 50.0])
    answers[-1]["gfx_activity_acc"] = 0
    assert busy_shares(libraries, answers, activity=30) == [0.5, 0.3]


def test_without_the_counter_the_moments_activity_stays(libraries):
    """Firmware tables before 1.6 have none."""
    answers = [answer | {"accumulation_counter": "N/A"} for answer in metrics([50.0, 50.0])]
    assert busy_shares(libraries, answers, activity=30) == [0.3, 0.3]


NOTHING = GpuReading(None, None, None, None)
TROUBLE = [FakeNvmlError("GPU is lost"), AttributeError("undefined symbol"), UnicodeDecodeError("utf-8", b"\xff", 0, 1, "")]


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
        for name in ("gpu_activity", "gpu_metrics_info", "gpu_vram_usage", "power_info"):
            setattr(library, f"amdsmi_get_{name}", fails(KeyError("a field of another version")))
    assert len(sampler.timeline.samples) >= 1
    assert sampler.timeline.samples[-1].gpus == (NOTHING,)
    assert sampler.timeline.samples[-1].memory_gib > 0


def test_without_a_library_there_are_none(libraries):
    libraries()
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
    assert sampler.gpu_share == 0.75
