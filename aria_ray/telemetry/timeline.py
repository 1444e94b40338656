"""Samples of machines over time, and their summaries: means and peaks of a span, a progress line, `telemetry.json`."""

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from statistics import fmean
from typing import Any

from aria_ray.telemetry.gpus import GpuReading

Span = tuple[float, float]
"""First and last second of a part of a timeline, both included."""
ALWAYS = (-math.inf, math.inf)
MAX_MOMENTS = 1800
"""Largest number of moments in a cluster's series. A plot shows 120; eight nodes of eight GPUs fill 15 MB with this many."""
STALE_S = 20.0
"""A node whose last sample is this many seconds older than the newest of all is gone or has no work."""
LEAST_STEP_S = 2.0
"""Smallest step of a cluster's series, in seconds: twice the time between two samples, so that every live node has a sample in
each step."""


@dataclass(frozen=True)
class Sample:
    """One machine at one moment."""

    t_s: float
    """Seconds since sampling began."""
    cpu_share: float | None
    """Busy share of all cores since the previous sample, 0 to 1; None in the first."""
    memory_gib: float
    """Memory in use: of the machine, or of the run's processes, as the sampler was told."""
    gpus: tuple[GpuReading, ...] = ()


@dataclass
class Timeline:
    """The samples of one machine so far."""

    node: str
    """The machine's address, as Ray knows it; empty for a machine without Ray."""
    cores: int
    """Number of its logical cores."""
    library: str | None
    """Name of the library that reads its GPUs; None where it has none."""
    gpu_names: tuple[str, ...]
    samples: list[Sample] = field(default_factory=list)
    gpu_addresses: tuple[str | None, ...] = ()
    """PCI address of each GPU; None where it is not known."""

    def within(self, span: Span) -> list[Sample]:
        """Samples of a span."""
        return [sample for sample in self.samples if span[0] <= sample.t_s <= span[1]]


@dataclass(frozen=True)
class Usage:
    """Usage of the machines during a span. A field is None where it was not sampled or a GPU does not tell it."""

    cpu_share: float | None
    """Mean busy share of the cores, 0 to 1."""
    gpu_share: float | None
    """Mean share of time in which the GPUs ran anything, 0 to 1."""
    peak_memory_gib: float | None
    """Largest memory of this process and all below it, in GiB; None on a cluster."""
    peak_gpu_memory_gib: float | None
    """Largest memory in use on one GPU, by all processes, in GiB."""


def mean_cpu_share(timelines: Iterable[Timeline], span: Span = ALWAYS) -> float | None:
    """Mean busy share of the cores of all machines over time, each core counting once; None where nothing was sampled."""
    return _weighted_mean((timeline.cores, _mean_over_time(timeline, span)) for timeline in timelines)


def mean_gpu_share(
    timelines: Iterable[Timeline], span: Span = ALWAYS, only: Sequence[tuple[str, str]] | None = None
) -> float | None:
    """Mean busy share of the GPUs of all machines, or of those in `only`, each given by its node and PCI address.

    None where no GPU tells its share, and where the number of sampled GPUs is not that of `only`: an address is then not known,
    or belongs to several parts that one GPU was split into.
    """
    chosen = [
        (timeline, index)
        for timeline in timelines
        for index in range(len(timeline.gpu_names))
        if only is None or (timeline.node, timeline.gpu_addresses[index]) in only
    ]
    if only is not None and len(chosen) != len(only):
        return None
    return _mean(_mean(sample.gpus[index].busy_share for sample in timeline.within(span)) for timeline, index in chosen)


def peak_gpu_memory_gib(timelines: Iterable[Timeline], span: Span = ALWAYS) -> float | None:
    """Largest memory in use on one GPU, by all processes, in GiB; None where no GPU tells it."""
    readings = (gpu for timeline in timelines for sample in timeline.within(span) for gpu in sample.gpus)
    return max((gpu.memory_gib for gpu in readings if gpu.memory_gib is not None), default=None)


def in_words(timelines: Sequence[Timeline]) -> str:
    """Newest samples for the progress line: `cpu 92 %, gpu 81 %, 412 W`; what is not known is left out.

    Shares are means over all machines, the power is the mean over all GPUs.
    """
    last = [timeline.samples[-1] for timeline in timelines if timeline.samples]
    latest_s = max((sample.t_s for sample in last), default=0.0)
    newest = [sample for sample in last if sample.t_s >= latest_s - STALE_S]
    gpus = [gpu for sample in newest for gpu in sample.gpus]
    cpu, gpu = _mean(sample.cpu_share for sample in newest), _mean(each.busy_share for each in gpus)
    watts = _mean(each.power_w for each in gpus)
    words = [
        *([f"cpu {cpu:.0%}".replace("%", " %")] if cpu is not None else []),
        *([f"gpu {gpu:.0%}".replace("%", " %")] if gpu is not None else []),
        *([f"{watts:.0f} W"] if watts is not None else []),
    ]
    return ", ".join(words)


def machine_series(timeline: Timeline, marks: Sequence[tuple[float, str]]) -> dict[str, Any]:
    """Content of `telemetry.json` for one machine: all samples, and `marks`, each the second at which something began."""
    samples = timeline.samples
    return {
        "source": _source([timeline]),
        "t_s": [round(sample.t_s, 2) for sample in samples],
        "cpu_share": [_rounded(sample.cpu_share) for sample in samples],
        "memory_gib": [_rounded(sample.memory_gib) for sample in samples],
        "gpus": [
            {"name": name, **_gpu_columns([[sample.gpus[index]] for sample in samples])}
            for index, name in enumerate(timeline.gpu_names)
        ],
        "marks": _marks(marks),
    }


def cluster_series(timelines: Sequence[Timeline], marks: Sequence[tuple[float, str]]) -> dict[str, Any]:
    """Content of `telemetry.json` for a cluster: the samples of all nodes at common moments.

    The columns of one machine (`machine_series`) are there too, so that one reader serves both: `cpu_share` is the mean over
    the cores of all nodes, `memory_gib` the sum over the nodes, `gpus` lists the GPUs of all nodes, each with its `node`. In
    `nodes` are the first two of each node. A value is the mean of the samples since the previous moment; null where a node was
    absent.
    """
    end_s = max((sample.t_s for timeline in timelines for sample in timeline.samples), default=0.0)
    step_s = max(LEAST_STEP_S, end_s / MAX_MOMENTS)
    num_moments = math.ceil(end_s / step_s)
    cells = [_cells(timeline, step_s, num_moments) for timeline in timelines]
    cpu = [_columns(each, lambda sample: sample.cpu_share) for each in cells]
    memory = [_columns(each, lambda sample: sample.memory_gib) for each in cells]
    cores = [timeline.cores for timeline in timelines]
    return {
        "source": _source(timelines),
        "t_s": [round(step_s * (index + 1), 2) for index in range(num_moments)],
        "cpu_share": [_rounded(_weighted_mean(zip(cores, moment, strict=True))) for moment in zip(*cpu, strict=True)],
        "memory_gib": [_rounded(_sum(moment)) for moment in zip(*memory, strict=True)],
        "gpus": [
            {"node": timeline.node, "name": name, **_gpu_columns([[sample.gpus[index] for sample in cell] for cell in each])}
            for timeline, each in zip(timelines, cells, strict=True)
            for index, name in enumerate(timeline.gpu_names)
        ],
        "nodes": [
            {
                "node": timeline.node,
                "cores": timeline.cores,
                "cpu_share": [_rounded(share) for share in shares],
                "memory_gib": [_rounded(gib) for gib in gibs],
            }
            for timeline, shares, gibs in zip(timelines, cpu, memory, strict=True)
        ],
        "marks": _marks(marks),
    }


def _cells(timeline: Timeline, step_s: float, num_moments: int) -> list[list[Sample]]:
    """Samples in each step."""
    cells: dict[int, list[Sample]] = defaultdict(list)
    for sample in timeline.samples:
        cells[min(max(0, int(sample.t_s / step_s)), num_moments - 1)].append(sample)
    return [cells[index] for index in range(num_moments)]


def _columns(cells: Sequence[Sequence[Sample]], value: Callable[[Sample], float | None]) -> list[float | None]:
    return [_mean(value(sample) for sample in cell) for cell in cells]


def _gpu_columns(cells: Sequence[Sequence[GpuReading]]) -> dict[str, list[float | None]]:
    """Columns of one GPU, each with its value at each moment."""
    names = ("busy_share", "memory_busy_share", "memory_gib", "power_w")
    return {name: [_rounded(_mean(getattr(reading, name) for reading in cell)) for cell in cells] for name in names}


def _weighted_mean(weights_and_values: Iterable[tuple[float, float | None]]) -> float | None:
    """Mean of the values that are known; None where none is."""
    known = [(weight, value) for weight, value in weights_and_values if value is not None]
    total = sum(weight for weight, _ in known)
    return sum(weight * value for weight, value in known) / total if total > 0 else None


def _source(timelines: Iterable[Timeline]) -> str:
    return ", ".join(["psutil", *sorted({timeline.library for timeline in timelines if timeline.library})])


def _marks(marks: Sequence[tuple[float, str]]) -> list[list[Any]]:
    return [[round(moment, 2), what] for moment, what in marks]


def _mean_over_time(timeline: Timeline, span: Span) -> float | None:
    """Mean busy share of the cores of one machine: each sample's share is of the time since the sample before."""
    pairs = zip(timeline.samples, timeline.samples[1:], strict=False)
    return _weighted_mean((now.t_s - last.t_s, now.cpu_share) for last, now in pairs if span[0] <= now.t_s <= span[1])


def _sum(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) if known else None


def _mean(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return fmean(known) if known else None


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 3)
