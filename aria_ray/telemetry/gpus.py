"""Readings of this machine's GPUs: NVIDIA's through NVML, AMD's through amdsmi.

A library or a GPU that does not answer leaves a reading out; it never ends a run.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

MIB_PER_GIB = 1024


@dataclass(frozen=True)
class GpuReading:
    """One GPU at one moment. A value that the GPU does not tell (AMD says "N/A" within a virtual machine) is None, not zero."""

    busy_share: float | None
    """Share of the time in which any of its units ran something, 0 to 1: not how much of the GPU was used. The time is a window
    of the library's own before the reading (NVML: between 1/6 s and 1 s)."""
    memory_gib: float | None
    """Memory in use, by all processes."""
    power_w: float | None
    memory_busy_share: float | None
    """NVML: share of the same time in which its memory was read or written. AMD: share of the memory's bandwidth."""


@dataclass(frozen=True)
class Gpus:
    """All GPUs of this machine that one library reads; `names`, `addresses` and what `read` returns have the same order."""

    library: str
    names: tuple[str, ...]
    addresses: tuple[str | None, ...]
    """PCI address of each GPU (`pci_address`); None where the library does not tell it."""
    read: Callable[[], Sequence[GpuReading]]


def find_gpus() -> Gpus | None:
    """The GPUs that can be read here; None where there is no such library, or no GPU."""
    return _nvidia() or _amd()


def pci_address(domain: int, bus: int, device: int) -> str:
    """PCI address as Linux writes it, without the function; the parts that one GPU was split into have it in common."""
    return f"{domain:04x}:{bus:02x}:{device:02x}"


def _nvidia() -> Gpus | None:
    try:
        import pynvml
    except ImportError:
        return None

    def ask(function: Callable[..., Any], *arguments: Any) -> Any:
        return _answer(pynvml.NVMLError, function, *arguments)

    ask(pynvml.nvmlInit)
    by_index = [ask(pynvml.nvmlDeviceGetHandleByIndex, index) for index in range(ask(pynvml.nvmlDeviceGetCount) or 0)]
    handles = [handle for handle in by_index if handle is not None]  # a GPU that fell off the bus has no handle

    def read_one(handle: Any) -> GpuReading:
        rates = ask(pynvml.nvmlDeviceGetUtilizationRates, handle)
        memory = ask(pynvml.nvmlDeviceGetMemoryInfo, handle)
        milliwatts = ask(pynvml.nvmlDeviceGetPowerUsage, handle)
        return GpuReading(
            busy_share=None if rates is None else rates.gpu / 100,
            memory_gib=None if memory is None else memory.used / 2**30,
            power_w=None if milliwatts is None else milliwatts / 1000,
            memory_busy_share=None if rates is None else rates.memory / 100,
        )

    names = tuple(str(ask(pynvml.nvmlDeviceGetName, handle) or "NVIDIA GPU") for handle in handles)
    places = [ask(pynvml.nvmlDeviceGetPciInfo, handle) for handle in handles]
    addresses = tuple(None if place is None else pci_address(place.domain, place.bus, place.device) for place in places)
    return Gpus("NVML", names, addresses, lambda: [read_one(handle) for handle in handles]) if handles else None


# The busy share of AMD GPUs is the activity of the moment, although MI300's firmware also keeps accumulators, from which a true
# mean would follow: in `amdsmi_get_gpu_metrics_info`, `gfx_activity_acc` grows by the activity each time that
# `accumulation_counter` is raised, a thousand times a second (RDC's changelog for ROCm 7.13; SocketGfxBusyAcc in Linux'
# smu_v13_0_6_ppt.c). AMD contradicts itself on their unit: per cent by amdsmi.h and by the table in amdsmi's changelog for
# ROCm 6.1, a share by RDC, which multiplies the quotient by 100. They wait for a machine on which the unit can be seen.
def _amd() -> Gpus | None:
    try:
        import amdsmi
    # Importing amdsmi loads libamd_smi.so. Without that file it raises OSError (ROCm 6) or KeyError (ROCm 7), with an older one
    # that lacks a function AttributeError.
    except (ImportError, OSError, KeyError, AttributeError):
        return None

    def ask(function: Callable[..., Any], *arguments: Any) -> Any:
        return _answer(amdsmi.AmdSmiException, function, *arguments)

    def fields(function: Callable[[Any], Any], handle: Any) -> Mapping[str, Any]:
        """Fields of an answer; none where the GPU gives no answer."""
        return ask(function, handle) or {}

    def read_one(handle: Any) -> GpuReading:
        activity = fields(amdsmi.amdsmi_get_gpu_activity, handle)
        busy_percent, memory_busy_percent = _number(activity, "gfx_activity"), _number(activity, "umc_activity")
        used_mib = _number(fields(amdsmi.amdsmi_get_gpu_vram_usage, handle), "vram_used")
        power = fields(amdsmi.amdsmi_get_power_info, handle)
        return GpuReading(
            busy_share=None if busy_percent is None else busy_percent / 100,
            memory_gib=None if used_mib is None else used_mib / MIB_PER_GIB,
            # MI300 fills the current socket's power, older GPUs the average.
            power_w=_number(power, "socket_power", "current_socket_power", "average_socket_power"),
            memory_busy_share=None if memory_busy_percent is None else memory_busy_percent / 100,
        )

    ask(amdsmi.amdsmi_init)
    handles = ask(amdsmi.amdsmi_get_processor_handles) or []
    names = tuple(str(fields(amdsmi.amdsmi_get_gpu_asic_info, handle).get("market_name", "AMD GPU")) for handle in handles)
    places = [ask(amdsmi.amdsmi_get_gpu_device_bdf, handle) for handle in handles]
    addresses = tuple(None if place is None else place.partition(".")[0].lower() for place in places)  # 0000:0c:00.0
    return Gpus("amdsmi", names, addresses, lambda: [read_one(handle) for handle in handles]) if handles else None


def _answer(library_error: type[Exception], function: Callable[..., Any], *arguments: Any) -> Any:
    """A library's answer; None where it has none."""
    try:
        return function(*arguments)
    except (library_error, UnicodeDecodeError):  # both bindings decode names from bytes that the driver fills
        return None


def _number(fields: Mapping[str, Any], *names: str) -> float | None:
    """The first of the named fields that holds a number."""
    return next((float(fields[name]) for name in names if isinstance(fields.get(name), (int, float))), None)
