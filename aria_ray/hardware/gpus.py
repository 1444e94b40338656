"""What the GPUs of this machine say of themselves: NVIDIA's through NVML, AMD's through amdsmi; none where there is neither."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

MIB_PER_GIB = 1024


@dataclass(frozen=True)
class GpuReading:
    """One GPU at one moment. What it does not tell (AMD says "N/A" within a virtual machine) is None, not zero."""

    busy_share: float | None
    """Share of the last moments in which any of its units ran something: not how much of the GPU was used."""
    memory_gib: float | None
    power_w: float | None


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

    def told(function: Callable[[Any], Any], handle: Any, *names: str) -> float | None:
        """The first of the named fields that holds a number."""
        try:
            fields = function(handle)
        except amdsmi.AmdSmiException:
            return None
        return next((float(fields[name]) for name in names if isinstance(fields.get(name), (int, float))), None)

    def read() -> list[GpuReading]:
        found = []
        for handle in handles:
            percent = told(amdsmi.amdsmi_get_gpu_activity, handle, "gfx_activity")
            mib = told(amdsmi.amdsmi_get_gpu_vram_usage, handle, "vram_used")
            # MI300 fills the current socket's power, older ones the average.
            watts = told(amdsmi.amdsmi_get_power_info, handle, "socket_power", "current_socket_power", "average_socket_power")
            found.append(
                GpuReading(None if percent is None else percent / 100, None if mib is None else mib / MIB_PER_GIB, watts)
            )
        return found

    return Gpus("amdsmi", tuple(_amd_name(amdsmi, handle) for handle in handles), read) if handles else None


def _amd_name(amdsmi: Any, handle: Any) -> str:
    try:
        return str(amdsmi.amdsmi_get_gpu_asic_info(handle)["market_name"])
    except (amdsmi.AmdSmiException, KeyError):
        return "AMD GPU"
