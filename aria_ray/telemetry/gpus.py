"""What the GPUs of this machine say of themselves: NVIDIA's through NVML, AMD's through amdsmi; none where there is neither."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

MIB_PER_GIB = 1024
ACCUMULATOR_WRAPS = 2**32
"""amdsmi.h: gfx_activity_acc and mem_activity_acc have 32 bits."""
SURPLUS = 1.05
"""What rounding and reads that are not quite at one moment may put on top of a mean of all."""
BINDING_ERRORS = (ImportError, AttributeError, KeyError, OSError, TypeError, ValueError)
"""What the libraries' bindings raise beside errors of their own: without the driver's library or one of its functions, with an
answer that they cannot decode. Telemetry is no reason to end a run."""
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
    addresses: tuple[str | None, ...]
    """On the PCI bus (`pci_address`)."""
    read: Callable[[], Sequence[GpuReading]]


def find_gpus() -> Gpus | None:
    """The GPUs that can be read here; None where there is no such library, or no GPU."""
    return _nvidia() or _amd()


def pci_address(domain: int, bus: int, device: int) -> str:
    """Where a GPU is on its machine, as Linux writes it, without the function; parts of one GPU have it in common."""
    return f"{domain:04x}:{bus:02x}:{device:02x}"


def _nvidia() -> Gpus | None:
    try:
        import pynvml
    except BINDING_ERRORS:
        return None

    def told(function: Callable[..., Any], *handle: Any) -> Any:
        return _told(pynvml.NVMLError, function, *handle)

    told(pynvml.nvmlInit)
    found = [told(pynvml.nvmlDeviceGetHandleByIndex, index) for index in range(told(pynvml.nvmlDeviceGetCount) or 0)]
    handles = [handle for handle in found if handle is not None]  # one that fell off the bus has none

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
    places = [told(pynvml.nvmlDeviceGetPciInfo, handle) for handle in handles]
    addresses = tuple(None if place is None else pci_address(place.domain, place.bus, place.device) for place in places)
    return Gpus("NVML", names, addresses, read) if handles else None


def _amd() -> Gpus | None:
    try:
        import amdsmi  # loads the driver's library
    except BINDING_ERRORS:
        return None

    def told(function: Callable[..., Any], *handle: Any) -> Any:
        return _told(amdsmi.AmdSmiException, function, *handle)

    def fields(function: Callable[[Any], Any], handle: Any) -> Mapping[str, Any]:
        """Those of an answer, none where the GPU gives no answer."""
        return told(function, handle) or {}

    told(amdsmi.amdsmi_init)
    handles = told(amdsmi.amdsmi_get_processor_handles) or []
    meters = [(_MeanActivity("gfx_activity_acc"), _MeanActivity("mem_activity_acc")) for _ in handles]

    def read() -> list[GpuReading]:
        found = []
        for handle, (busy, memory_busy) in zip(handles, meters, strict=True):
            now, since = fields(amdsmi.amdsmi_get_gpu_activity, handle), fields(amdsmi.amdsmi_get_gpu_metrics_info, handle)
            mib = _number(fields(amdsmi.amdsmi_get_gpu_vram_usage, handle), "vram_used")
            power = fields(amdsmi.amdsmi_get_power_info, handle)
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

    names = tuple(str(fields(amdsmi.amdsmi_get_gpu_asic_info, handle).get("market_name", "AMD GPU")) for handle in handles)
    places = [told(amdsmi.amdsmi_get_gpu_device_bdf, handle) for handle in handles]
    addresses = tuple(None if place is None else place.partition(".")[0].lower() for place in places)  # 0000:0c:00.0
    return Gpus("amdsmi", names, addresses, read) if handles else None


def _told(own_error: type[Exception], function: Callable[..., Any], *handle: Any) -> Any:
    """A library's answer, None where it has none."""
    try:
        return function(*handle)
    except (own_error, *BINDING_ERRORS):
        return None


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
