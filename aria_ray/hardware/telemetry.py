"""Processor time, memory and GPUs while something runs, sampled from the operating system and the GPUs' own libraries."""

import contextlib
import threading
import time
from collections.abc import Sequence
from types import TracebackType
from typing import Any, Self

import psutil

from aria_ray.hardware.gpus import GpuReading, find_gpus

INTERVAL_S = 1.0
MAX_INTERVAL_S = 10.0
MAX_OWN_SHARE = 0.02
"""Of one core's time, taken by reading memory: the kernel walks every page of every process, with a lock that the process waits
for, so on a small machine a sample a second (0.15 s each beside Ray) takes a tenth of a core from what is being measured."""


class Sampler:
    """Samples while its block runs: busy share of the machine's cores, memory of this process and all below it, the GPUs.

    Every second, less often (up to every ten) where a sample itself takes long, and once more at the end.

    Memory is proportional set size, in GiB: pages that several processes share are counted once over all of them, which
    matters with Ray's shared object store.
    """

    def __init__(self) -> None:
        self.started_s = time.perf_counter()
        self.t_s: list[float] = []
        """When each sample was taken, in seconds since `started_s`."""
        self.cpu_shares: list[float] = []
        """Busy share of all cores of the machine, 0 to 1, up to each sample but the first."""
        self.memory_gib: list[float] = []
        self.gpu_readings: list[Sequence[GpuReading]] = []
        self._gpus = find_gpus()
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._run, name="telemetry", daemon=True)

    @property
    def peak_memory_gib(self) -> float | None:
        """Largest sample, None before the first."""
        return max(self.memory_gib, default=None)

    @property
    def cpu_share(self) -> float | None:
        """Mean busy share, None before the first sample."""
        return sum(self.cpu_shares) / len(self.cpu_shares) if self.cpu_shares else None

    @property
    def gpu_share(self) -> float | None:
        """Mean busy share of all GPUs, None where none told any."""
        told = [gpu.busy_share for reading in self.gpu_readings for gpu in reading if gpu.busy_share is not None]
        return sum(told) / len(told) if told else None

    def series(self, marks: Sequence[tuple[float, str]] = ()) -> dict[str, Any]:
        """All samples, as the content of `telemetry.json`; `marks` say what began at which second of the block."""
        names = self._gpus.names if self._gpus else ()
        return {
            "source": "psutil" + (f", {self._gpus.library}" if self._gpus else ""),
            "t_s": [round(moment, 2) for moment in self.t_s],
            "cpu_share": [None, *(round(share, 3) for share in self.cpu_shares)],
            "memory_gib": [round(gib, 3) for gib in self.memory_gib],
            "gpus": [
                {
                    "name": name,
                    "busy_share": [reading[index].busy_share for reading in self.gpu_readings],
                    "memory_gib": [reading[index].memory_gib for reading in self.gpu_readings],
                    "power_w": [reading[index].power_w for reading in self.gpu_readings],
                }
                for index, name in enumerate(names)
            ],
            "marks": [[round(moment, 2), what] for moment, what in marks],
        }

    def __enter__(self) -> Self:
        self.started_s = time.perf_counter()
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._done.set()
        self._thread.join()

    def _run(self) -> None:
        psutil.cpu_percent()  # each thread has readings of its own: the first starts the window of the next
        while not self._done.is_set():
            before_s = time.thread_time()
            self._sample()
            self._done.wait(min(max(INTERVAL_S, (time.thread_time() - before_s) / MAX_OWN_SHARE), MAX_INTERVAL_S))
            self.cpu_shares.append(psutil.cpu_percent() / 100)
        self._sample()

    def _sample(self) -> None:
        self.t_s.append(time.perf_counter() - self.started_s)
        self.memory_gib.append(_tree_memory_gib())
        if self._gpus:
            self.gpu_readings.append(self._gpus.read())


def _tree_memory_gib() -> float:
    process = psutil.Process()
    total = 0
    for each in (process, *process.children(recursive=True)):
        # A process that ended since it was listed takes no memory.
        with contextlib.suppress(psutil.NoSuchProcess, psutil.AccessDenied):
            total += each.memory_full_info().pss
    return total / 2**30
