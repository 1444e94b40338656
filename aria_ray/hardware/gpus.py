"""What the GPUs of this machine say of themselves: NVIDIA's through NVML, AMD's through amdsmi; none where there is neither."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

MIB_PER_GIB = 1024
ACCUMULATOR_WRAPS = 2**32
"""amdsmi.h: gfx_activity_acc and mem_activity_acc have 32 bits."""
SURPLUS = 1.05
"""What rounding and reads that are not quite at one moment may put on top of a mean of all."""
BUSY_READS = 5
"""Looks at a GPU that is busy for 1 % of the time that all find it so by chance: one in ten thousand million."""


@dataclass(frozen=True)
class GpuReading:
    """One GPU at one moment. What it does not tell (AMD says "N/A" within a virtual machine) is None, not zero."""

    busy_share: float | None
    """Share of the time in which any of its units ran something, 0 to 1: not how much of the GPU was used. Of the time since
    the reading before where the GPU keeps accumulators (MI300), else of its own last moments."""
    memory_gib: float | None
    power_w: float | None
    memory_busy_share: float | None
    """Share of the same time in which its memory was read or written, as NVML says it; of its bandwidth, as AMD does."""


@dataclass(frozen=True)
class Gpus:
    """The GPUs of this machine, and how to read them all."""

    library: str
    names: tuple[str, ...]
    read: Callable[[], Sequence[GpuReading]]


def find_gpus() -> Gpus | None:
    """The GPUs that can be read here; None where there is no such library, or no GPU."""
    return _nvidia() or _amd()


def _nvidia() -> Gpus | None:
    try:
        import pynvml
    except ImportError:
        return None
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return None
    handles = [pynvml.nvmlDeviceGetHandleByIndex(index) for index in range(pynvml.nvmlDeviceGetCount())]

    def told(function: Callable[[Any], Any], handle: Any) -> Any:
        try:
            return function(handle)
        except pynvml.NVMLError:
            return None

    def read() -> list[GpuReading]:
        found = []
        for handle in handles:
            rates = told(pynvml.nvmlDeviceGetUtilizationRates, handle)
            memory = told(pynvml.nvmlDeviceGetMemoryInfo, handle)
            milliwatts = told(pynvml.nvmlDeviceGetPowerUsage, handle)
            found.append(
                GpuReading(
                    None if rates is None else rates.gpu / 100,
                    None if memory is None else memory.used / 2**30,
                    None if milliwatts is None else milliwatts / 1000,
                    None if rates is None else rates.memory / 100,
                )
            )
        return found

    names = tuple(str(told(pynvml.nvmlDeviceGetName, handle) or "NVIDIA GPU") for handle in handles)
    return Gpus("NVML", names, read) if handles else None


def _amd() -> Gpus | None:
    try:
        import amdsmi
    except (ImportError, OSError, KeyError):  # the package loads the driver's library when it is imported
        return None
    try:
        amdsmi.amdsmi_init()
        handles = amdsmi.amdsmi_get_processor_handles()
    except amdsmi.AmdSmiException:
        return None

    def told(function: Callable[[Any], Any], handle: Any) -> Mapping[str, Any]:
        """The fields of an answer, none where the GPU gives no answer."""
        try:
            fields: Mapping[str, Any] = function(handle)
        except amdsmi.AmdSmiException:
            return {}
        return fields

    meters = [(_MeanActivity("gfx_activity_acc"), _MeanActivity("mem_activity_acc")) for _ in handles]

    def read() -> list[GpuReading]:
        found = []
        for handle, (busy, memory_busy) in zip(handles, meters, strict=True):
            now, since = told(amdsmi.amdsmi_get_gpu_activity, handle), told(amdsmi.amdsmi_get_gpu_metrics_info, handle)
            mib = _number(told(amdsmi.amdsmi_get_gpu_vram_usage, handle), "vram_used")
            power = told(amdsmi.amdsmi_get_power_info, handle)
            found.append(
                GpuReading(
                    busy.share(since, _number(now, "gfx_activity")),
                    None if mib is None else mib / MIB_PER_GIB,
                    # MI300 fills the current socket's power, older ones the average.
                    _number(power, "socket_power", "current_socket_power", "average_socket_power"),
                    memory_busy.share(since, _number(now, "umc_activity")),
                )
            )
        return found

    return Gpus("amdsmi", tuple(_amd_name(amdsmi, handle) for handle in handles), read) if handles else None


class _MeanActivity:
    """Mean activity from one read to the next, of an accumulator in `amdsmi_get_gpu_metrics_info`.

    The firmware adds the activity of the moment each time it raises `accumulation_counter`, a thousand times a second, so that
    the differences of both over a window give its true mean (RDC's changelog for ROCm 7.13; SocketGfxBusyAcc in Linux'
    smu_v13_0_6_ppt.c). AMD contradicts itself on the unit. amdsmi.h has per cent for the accumulators of single dies, and so
    has the table in amdsmi's changelog for ROCm 6.1: memory activity by the counter is 2.12e-4 there, bandwidth 2.16e-4 % of
    its maximum. RDC takes the quotient for a share and multiplies it by 100. So the unit is found out on the GPU itself, and
    until it is, the activity of the moment stands in.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._last: tuple[float, float] | None = None
        self._full: float | None = None
        """What the accumulator gains at each count while all is busy: 100, 1, or not known yet."""
        self._busy_reads = 0

    def share(self, metrics: Mapping[str, Any], momentary_percent: float | None) -> float | None:
        """The mean since the last read, 0 to 1; the moment's where there are no accumulators, None where nothing is told."""
        momentary = None if momentary_percent is None else momentary_percent / 100
        total, count = _number(metrics, self._name), _number(metrics, "accumulation_counter")
        last, self._last = self._last, None if total is None or count is None else (total, count)
        if last is None or total is None or count is None or count <= last[1]:  # the counter starts anew after a reset
            return momentary
        gain = (total - last[0]) % ACCUMULATOR_WRAPS / (count - last[1])
        if gain > 100 * SURPLUS:
            return momentary
        self._find_unit(gain, momentary)
        return momentary if self._full is None else min(gain / self._full, 1.0)

    def _find_unit(self, gain: float, momentary: float | None) -> None:
        """A mean share is never above 1. It is no per cent where the GPU is busy at each of several looks, and it is not."""
        if gain > SURPLUS:
            self._full = 100.0
        elif self._full is None:
            self._busy_reads = self._busy_reads + 1 if (momentary or 0) >= 0.5 else 0
            self._full = 1.0 if self._busy_reads == BUSY_READS else None


def _number(fields: Mapping[str, Any], *names: str) -> float | None:
    """The first of the named fields that holds a number."""
    return next((float(fields[name]) for name in names if isinstance(fields.get(name), (int, float))), None)


def _amd_name(amdsmi: Any, handle: Any) -> str:
    try:
        return str(amdsmi.amdsmi_get_gpu_asic_info(handle)["market_name"])
    except (amdsmi.AmdSmiException, KeyError):
        return "AMD GPU"
