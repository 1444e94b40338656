"""Telemetry of a Ray cluster: a sampler on every node at work, gathered by the driver, and shown as Ray's Prometheus metrics.

Only this module and `patches` import Ray here. A sampler is an actor without resources of its own: one more process on each
node. What it measures is the node's, not the run's: other programs on it are in it too.
"""

import contextlib
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import ray
from ray.exceptions import RayError
from ray.util.metrics import Gauge
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from aria_ray.telemetry.patches import free_resources
from aria_ray.telemetry.sampler import MachineSampler, Sampling, machine_memory_gib
from aria_ray.telemetry.timeline import Sample, Timeline, cluster_series

GATHER_S = 2.0
ANSWER_S = 1.0
"""How long one round waits for answers; a late one is taken in a later round."""
LAST_ANSWER_S = 5.0
LATE_S = 0.05
"""An answer that is heard so much sooner after it was given than all before puts their samples right."""
MAX_STARTS = 3
"""Of samplers on one node: where they keep dying, its samples end."""
REST_S = 60.0
"""How long a node may have no work before its sampler leaves it."""
HEAD = "node:__internal_head__"
"""A resource that Ray gives the head alone."""


class NodeGauges:
    """Ray's Prometheus metrics of one machine; Ray puts `ray_` before each name. What is not told is not set."""

    def __init__(self, node: str) -> None:
        self._node = {"node": node}
        self._machine = {
            "cpu_share": Gauge("aria_cpu_busy_share", "Busy share of the cores, 0 to 1", ("node",)),
            "memory_gib": Gauge("aria_memory_gib", "Memory in use, GiB", ("node",)),
        }
        self._gpu = {
            "busy_share": Gauge("aria_gpu_busy_share", "Share of time in which the GPU ran anything, 0 to 1", ("node", "gpu")),
            "memory_busy_share": Gauge("aria_gpu_memory_busy_share", "Activity of the GPU's memory, 0 to 1", ("node", "gpu")),
            "memory_gib": Gauge("aria_gpu_memory_gib", "Memory of the GPU in use, GiB", ("node", "gpu")),
            "power_w": Gauge("aria_gpu_power_w", "Power that the GPU takes, W", ("node", "gpu")),
        }

    def show(self, sample: Sample) -> None:
        """Set every gauge to what a sample says."""
        for name, gauge in self._machine.items():
            gauge.set(getattr(sample, name), self._node)
        for index, reading in enumerate(sample.gpus):
            for name, gauge in self._gpu.items():
                gauge.set(getattr(reading, name), self._node | {"gpu": str(index)})


@dataclass(frozen=True)
class News:
    """What a node's sampler has that the driver has not."""

    age_s: float
    """How long it has been sampling; clocks of different nodes need not agree, differences of one clock do."""
    timeline: Timeline
    """With the new samples only."""


class NodeSampler:
    """The actor: samples its node from its birth to its death."""

    def __init__(self, node: str) -> None:
        self._sampler = MachineSampler(node, machine_memory_gib, NodeGauges(node).show).__enter__()

    def news(self, num_known: int) -> News:
        """All but the first so many samples."""
        own = self._sampler.timeline
        return News(time.perf_counter() - self._sampler.started_s, replace(own, samples=own.samples[num_known:]))


class ClusterSampler(Sampling):
    """Samples every node of the Ray cluster while its block runs.

    Nodes that join are found within seconds; of one that dies, all is kept that was gathered up to then. But for the head, a
    node is sampled only while some of its cores or GPUs are taken: to Ray's autoscaler an actor is work, though it takes no
    resources, so that a node that is paid for and not needed would not be given back.
    """

    def __init__(self) -> None:
        super().__init__("node telemetry")
        self._nodes: dict[str, _Node] = {}

    @property
    def timelines(self) -> tuple[Timeline, ...]:
        """One for each node that was ever heard of, times in seconds since `started_s`."""
        return tuple(node.timeline for node in list(self._nodes.values()) if node.timeline is not None)

    def series(self, marks: Sequence[tuple[float, str]] = ()) -> dict[str, Any]:
        """All samples, as the content of `telemetry.json`; `marks` say what began at which second of the block."""
        return cluster_series(self.timelines, marks)

    def _tree_memory(self) -> list[tuple[float, float]]:
        return []  # the run's processes on the nodes are not below this one

    def _run(self) -> None:
        try:
            # A cluster that is gone ends the run elsewhere, with its reason; the samples up to then stay.
            with contextlib.suppress(RayError):
                while True:
                    self._gather(self._at_work(), ANSWER_S)
                    if self._done.wait(GATHER_S):
                        break
                self._gather([node for node in self._nodes.values() if node.is_heard], LAST_ANSWER_S)
        finally:
            for node in self._nodes.values():
                node.leave()

    def _at_work(self) -> list["_Node"]:
        """The nodes that are there now and have work, new ones among them; samplers of the others are sent away."""
        free, found = free_resources(), []
        for each in ray.nodes():
            if each["Alive"]:
                there = each["Resources"]
                left = free.get(each["NodeID"], {})
                rests = HEAD not in there and all(left.get(kind, 0) >= there.get(kind, 0) for kind in ("CPU", "GPU"))
                node = self._nodes.setdefault(each["NodeID"], _Node(each["NodeID"], each["NodeManagerAddress"]))
                if node.is_to_be_sampled(rests):
                    found.append(node)
        return found

    def _gather(self, nodes: Sequence["_Node"], timeout_s: float) -> None:
        """Start the samplers that are missing, and take what the others have to say."""
        asked = {node.ask(): node for node in nodes}
        answers, _ = ray.wait(list(asked), num_returns=len(asked), timeout=timeout_s) if asked else ([], [])
        for answer in answers:
            asked[answer].hear(self.started_s)


class _Node:
    """One node as the driver sees it: its sampler, and what that has told."""

    def __init__(self, node_id: str, address: str) -> None:
        self.timeline: Timeline | None = None
        self._node_id, self._address = node_id, address
        self._num_starts = 0
        self._actor: Any = None
        self._question: Any = None
        self._num_known = 0
        """Samples told by the sampler that runs now."""
        self._began_s = math.inf
        """When that one began, by the driver's clock: no answer is heard before it is given, so the earliest is right."""
        self._worked_s = -math.inf
        """When work was last seen, by the same clock."""

    @property
    def is_heard(self) -> bool:
        """Whether a sampler runs there that has answered."""
        return self._actor is not None and self._began_s < math.inf

    def is_to_be_sampled(self, rests: bool) -> bool:
        """Whether it has had work of late, and samplers do not keep dying on it; `rests` is whether it has none now."""
        if not rests:
            self._worked_s = time.perf_counter()
        elif time.perf_counter() - self._worked_s > REST_S:
            self.leave()
            return False
        return self._actor is not None or self._num_starts < MAX_STARTS

    def ask(self) -> Any:
        """The question that is open, or a new one."""
        if self._actor is None:
            here = NodeAffinitySchedulingStrategy(self._node_id, soft=False)
            self._actor = ray.remote(num_cpus=0)(NodeSampler).options(scheduling_strategy=here).remote(self._address)
            self._num_starts, self._num_known, self._began_s = self._num_starts + 1, 0, math.inf
        if self._question is None:
            self._question = self._actor.news.remote(self._num_known)
        return self._question

    def hear(self, started_s: float) -> None:
        """Take an answer that has come; `started_s` is when the driver began, by its clock."""
        question, self._question = self._question, None
        try:
            news: News = ray.get(question)
        except RayError:  # the node is gone, the sampler could not start there, or somebody ended it
            self._actor = None
            return
        self.take(news, time.perf_counter(), started_s)

    def take(self, news: News, now_s: float, started_s: float) -> None:
        """Add what a sampler told; `now_s` is when that was heard, by the driver's clock as is `started_s`."""
        if self.timeline is None:
            self.timeline = replace(news.timeline, samples=[])
        known, began_s = self.timeline.samples, now_s - news.age_s
        if began_s < self._began_s - LATE_S:
            if self._num_known:
                late_s = self._began_s - began_s
                known[-self._num_known :] = [replace(sample, t_s=sample.t_s - late_s) for sample in known[-self._num_known :]]
            self._began_s = began_s
        self._num_known += len(news.timeline.samples)
        offset_s = self._began_s - started_s
        known += [replace(sample, t_s=offset_s + sample.t_s) for sample in news.timeline.samples]

    def leave(self) -> None:
        """End the sampler, if there is one."""
        if self._actor is not None:
            with contextlib.suppress(RayError):
                ray.kill(self._actor)
        self._actor = self._question = None
        self._num_starts = 0


def start_sampling(cluster: bool) -> Sampling:
    """Samplers on every node of a cluster; else one in this process, which sets Ray's metrics too if Ray is up."""
    if not ray.is_initialized():
        return MachineSampler()
    here = ray.util.get_node_ip_address()
    return ClusterSampler() if cluster else MachineSampler(here, on_sample=NodeGauges(here).show)
