"""Samples of this machine's processors, memory and GPUs while something runs.

`telemetry.cluster` samples the nodes of a Ray cluster.
"""

import contextlib
import os
import queue
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import replace
from types import TracebackType
from typing import Any, Self

import psutil

from aria_ray.telemetry.gpus import find_gpus
from aria_ray.telemetry.timeline import (
    Sample,
    Timeline,
    Usage,
    machine_series,
    mean_cpu_share,
    mean_gpu_share,
    peak_gpu_memory_gib,
)

INTERVAL_S = 1.0
"""Time between two samples, in seconds."""
MAX_INTERVAL_S = 10.0
"""Time between two samples that cost much, in seconds."""
MAX_OWN_SHARE = 0.02
"""Largest share of one core that sampling takes. Reading memory costs most: the kernel walks every page of every process, and
holds a lock that the process waits for. Samples of 0.15 s each, as beside Ray, once a second would take 15 % of a core."""


def tree_memory_gib() -> float:
    """Memory of this process and all below it, in GiB, as proportional set size.

    Pages that several processes share are counted once over all of them, which matters with Ray's shared object store.
    """
    process = psutil.Process()
    total = 0
    for each in (process, *process.children(recursive=True)):
        # A process that has ended since it was listed takes no memory.
        with contextlib.suppress(psutil.NoSuchProcess, psutil.AccessDenied):
            total += each.memory_full_info().pss
    return total / 2**30


def machine_memory_gib() -> float:
    """Memory of this machine in use, in GiB, by all processes in all containers."""
    memory = psutil.virtual_memory()
    return (memory.total - memory.available) / 2**30


def interval_s(cost_s: float) -> float:
    """Seconds to the next sample, after one that took `cost_s` seconds of processor time."""
    return min(max(INTERVAL_S, cost_s / MAX_OWN_SHARE), MAX_INTERVAL_S)


class Sampling(ABC):
    """Samples of one machine or of a cluster, taken by a background thread while the `with` block runs."""

    def __init__(self, name: str) -> None:
        self.started_s = time.perf_counter()
        """Start of the block (`time.perf_counter`); times of samples are in seconds since then."""
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def __enter__(self) -> Self:
        self.started_s = time.perf_counter()
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._done.set()
        self._thread.join()

    @property
    @abstractmethod
    def timelines(self) -> tuple[Timeline, ...]:
        """Samples so far, one timeline per machine."""

    @property
    def peak_memory_gib(self) -> float | None:
        """Largest sample of this process and all below it, in GiB; None where it was not sampled."""
        return max((gib for _, gib in self._tree_memory()), default=None)

    @abstractmethod
    def series(self, marks: Sequence[tuple[float, str]] = ()) -> dict[str, Any]:
        """Content of `telemetry.json`: all samples, and `marks`, each the second of the block at which something began."""

    def memory_between(self, begin_s: float, end_s: float) -> list[tuple[float, float]]:
        """Memory of this process and all below it between two moments of `time.perf_counter`.

        Each pair is the sample's time in seconds since `started_s`, and GiB. Empty where it was not sampled.
        """
        return [(t_s, gib) for t_s, gib in self._tree_memory() if begin_s <= self.started_s + t_s <= end_s]

    def usage_between(self, begin_s: float, end_s: float, gpus: Sequence[tuple[str, str]] | None = None) -> Usage:
        """Usage of the machines between two moments of `time.perf_counter`.

        `gpus` limits the GPUs' busy share to these, each given by its node and PCI address: other GPUs of the machine may
        work for somebody else. A field of the result is None where nothing was sampled in between.
        """
        span = (begin_s - self.started_s, end_s - self.started_s)
        return Usage(
            cpu_share=mean_cpu_share(self.timelines, span),
            gpu_share=mean_gpu_share(self.timelines, span, gpus),
            peak_memory_gib=max((gib for _, gib in self.memory_between(begin_s, end_s)), default=None),
            peak_gpu_memory_gib=peak_gpu_memory_gib(self.timelines, span),
        )

    def sample_now(self) -> float:
        """Take a sample now where the machine is this one, and return the moment just after it (`time.perf_counter`).

        Called before and after a piece of work, it gives the moments for `usage_between`: the first sample closes the window
        before the work and is outside of the span, the last one is inside. Short work is sampled at least once in this way.
        """
        return time.perf_counter()

    @abstractmethod
    def _tree_memory(self) -> list[tuple[float, float]]:
        """All samples of the memory of this process and those below it: seconds since `started_s`, GiB."""

    @abstractmethod
    def _run(self) -> None:
        """Take samples until `_done` is set."""


class MachineSampler(Sampling):
    """Samples the busy share of this machine's cores, its memory and its GPUs while its block runs.

    Samples are a second apart, or up to ten seconds where a sample costs much (`interval_s`), and one is taken at the end.
    `read_memory_gib` decides whose memory is sampled. `on_sample` is called with each sample, in the sampler's thread.
    """

    def __init__(
        self,
        node: str = "",
        read_memory_gib: Callable[[], float] = tree_memory_gib,
        on_sample: Callable[[Sample], None] | None = None,
    ) -> None:
        super().__init__("telemetry")
        self._requests: queue.SimpleQueue[threading.Event] = queue.SimpleQueue()
        """Samples that were asked for; each event is set once its sample is taken."""
        self._gpus = gpus = find_gpus()
        self.timeline = Timeline(node, os.cpu_count() or 1, None, ())
        if gpus:
            self.timeline = replace(self.timeline, library=gpus.library, gpu_names=gpus.names, gpu_addresses=gpus.addresses)
        self._read_memory_gib, self._on_sample = read_memory_gib, on_sample

    @property
    def timelines(self) -> tuple[Timeline, ...]:
        """The timeline of this machine."""
        return (self.timeline,)

    def series(self, marks: Sequence[tuple[float, str]] = ()) -> dict[str, Any]:
        """Content of `telemetry.json`: all samples, and `marks`, each the second of the block at which something began."""
        return machine_series(self.timeline, marks)

    def sample_now(self) -> float:
        """Take a sample now, and return the moment just after it (`time.perf_counter`)."""
        taken = threading.Event()
        self._requests.put(taken)
        while self._thread.is_alive() and not taken.wait(INTERVAL_S):
            pass
        return time.perf_counter()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._done.set()
        self._requests.put(threading.Event())  # ends the wait for the next sample
        self._thread.join()

    def _tree_memory(self) -> list[tuple[float, float]]:
        return [(sample.t_s, sample.memory_gib) for sample in self.timeline.samples]

    def _run(self) -> None:
        psutil.cpu_percent()  # psutil reads per thread: the first reading starts the window of the next
        cpu_share, request = None, None
        while True:
            is_last, before_s = self._done.is_set(), time.thread_time()
            self._sample(cpu_share)
            if request is not None:
                request.set()
            if is_last:
                return
            try:
                request = self._requests.get(timeout=interval_s(time.thread_time() - before_s))
            except queue.Empty:
                request = None
            cpu_share = psutil.cpu_percent() / 100

    def _sample(self, cpu_share: float | None) -> None:
        moment_s = time.perf_counter() - self.started_s
        gpus = tuple(self._gpus.read()) if self._gpus else ()
        sample = Sample(moment_s, cpu_share, self._read_memory_gib(), gpus)
        self.timeline.samples.append(sample)
        if self._on_sample:
            self._on_sample(sample)
