"""Processor time and memory while something runs, sampled from the operating system by psutil."""

import contextlib
import threading
import time
from types import TracebackType
from typing import Self

import psutil

INTERVAL_S = 1.0
MAX_INTERVAL_S = 10.0
MAX_OWN_SHARE = 0.02
"""Of one core's time, taken by reading memory: the kernel walks every page of every process, with a lock that the process waits
for, so on a small machine a sample a second (0.15 s each beside Ray) takes a tenth of a core from what is being measured."""


class Sampler:
    """Samples while its block runs: busy share of the machine's cores, and memory of this process and all below it.

    Every second, less often (up to every ten) where a sample itself takes long, and once more at the end.

    Memory is proportional set size, in GiB: pages that several processes share are counted once over all of them, which
    matters with Ray's shared object store.
    """

    def __init__(self) -> None:
        self.cpu_shares: list[float] = []
        """Busy share of all cores of the machine, 0 to 1, one per interval."""
        self.memory_gib: list[float] = []
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

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._done.set()
        self._thread.join()

    def _run(self) -> None:
        psutil.cpu_percent()  # each thread has readings of its own: the first starts the window of the next
        while not self._done.is_set():
            before_s = time.thread_time()
            self.memory_gib.append(_tree_memory_gib())
            self._done.wait(min(max(INTERVAL_S, (time.thread_time() - before_s) / MAX_OWN_SHARE), MAX_INTERVAL_S))
            self.cpu_shares.append(psutil.cpu_percent() / 100)
        self.memory_gib.append(_tree_memory_gib())


def _tree_memory_gib() -> float:
    process = psutil.Process()
    total = 0
    for each in (process, *process.children(recursive=True)):
        # A process that ended since it was listed takes no memory.
        with contextlib.suppress(psutil.NoSuchProcess, psutil.AccessDenied):
            total += each.memory_full_info().pss
    return total / 2**30
