"""Processor time, memory and GPUs of this machine while something runs, from the operating system and the GPUs' own libraries.

The nodes of a Ray cluster are sampled by `telemetry.cluster`.
"""

import contextlib
import os
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from types import TracebackType
from typing import Any, Self

import psutil

from aria_ray.telemetry.gpus import find_gpus
from aria_ray.telemetry.timeline import Sample, Timeline, machine_series, mean_cpu_share, mean_gpu_share

INTERVAL_S = 1.0
MAX_INTERVAL_S = 10.0
MAX_OWN_SHARE = 0.02
"""Of one core's time, taken by reading memory: the kernel walks every page of every process, with a lock that the process waits
for, so on a small machine a sample a second (0.15 s each beside Ray) takes a tenth of a core from what is being measured."""


def tree_memory_gib() -> float:
    """Memory of this process and all below it, as proportional set size: pages that several processes share are counted once
    over all of them, which matters with Ray's shared object store."""
    process = psutil.Process()
    total = 0
    for each in (process, *process.children(recursive=True)):
        # A process that ended since it was listed takes no memory.
        with contextlib.suppress(psutil.NoSuchProcess, psutil.AccessDenied):
            total += each.memory_full_info().pss
    return total / 2**30


def machine_memory_gib() -> float:
    """Memory of this machine that is taken, by all processes together, whoever started them and in whatever container."""
    memory = psutil.virtual_memory()
    return (memory.total - memory.available) / 2**30


class Sampling:
    """A block during which `_run` takes samples in a thread of its own, until `_done` is set."""

    def __init__(self, name: str) -> None:
        self.started_s = time.perf_counter()
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def __enter__(self) -> Self:
        self.started_s = time.perf_counter()
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._done.set()
        self._thread.join()

    def _run(self) -> None:
        raise NotImplementedError


class Sampler(Sampling):
    """Samples while its block runs: busy share of the machine's cores, memory, the GPUs.

    Every second, less often (up to every ten) where a sample itself takes long, and once more at the end. `on_sample` is called
    with each, in the sampler's thread.
    """

    def __init__(
        self,
        node: str = "",
        read_memory_gib: Callable[[], float] = tree_memory_gib,
        on_sample: Callable[[Sample], None] | None = None,
    ) -> None:
        super().__init__("telemetry")
        self._gpus = gpus = find_gpus()
        self.timeline = Timeline(node, os.cpu_count() or 1, None, ())
        if gpus:
            self.timeline = replace(self.timeline, library=gpus.library, gpu_names=gpus.names, gpu_addresses=gpus.addresses)
        self._read_memory_gib, self._on_sample = read_memory_gib, on_sample

    @property
    def timelines(self) -> tuple[Timeline, ...]:
        """This machine's alone: a cluster's sampler has one for each node."""
        return (self.timeline,)

    @property
    def t_s(self) -> list[float]:
        """When each sample was taken, in seconds since `started_s`."""
        return [sample.t_s for sample in self.timeline.samples]

    @property
    def memory_gib(self) -> list[float]:
        """Of each sample."""
        return [sample.memory_gib for sample in self.timeline.samples]

    @property
    def peak_memory_gib(self) -> float | None:
        """Largest sample, None before the first."""
        return max(self.memory_gib, default=None)

    @property
    def cpu_share(self) -> float | None:
        """Mean busy share of the cores, None before the second sample."""
        return mean_cpu_share(self.timelines)

    @property
    def gpu_share(self) -> float | None:
        """Mean busy share of all GPUs, None where none told any."""
        return mean_gpu_share(self.timelines)

    def series(self, marks: Sequence[tuple[float, str]] = ()) -> dict[str, Any]:
        """All samples, as the content of `telemetry.json`; `marks` say what began at which second of the block."""
        return machine_series(self.timeline, marks)

    def _run(self) -> None:
        psutil.cpu_percent()  # each thread has readings of its own: the first starts the window of the next
        cpu_share = None
        while not self._done.is_set():
            before_s = time.thread_time()
            self._sample(cpu_share)
            self._done.wait(min(max(INTERVAL_S, (time.thread_time() - before_s) / MAX_OWN_SHARE), MAX_INTERVAL_S))
            cpu_share = psutil.cpu_percent() / 100
        self._sample(cpu_share)

    def _sample(self, cpu_share: float | None) -> None:
        moment_s = time.perf_counter() - self.started_s
        gpus = tuple(self._gpus.read()) if self._gpus else ()
        sample = Sample(moment_s, cpu_share, self._read_memory_gib(), gpus)
        self.timeline.samples.append(sample)
        if self._on_sample:
            self._on_sample(sample)
