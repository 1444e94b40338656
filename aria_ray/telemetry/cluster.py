"""Telemetry of a Ray cluster: a sampler on every node at work. The driver gathers the samples; Ray shows them to Prometheus.

Only this module and `patches` import Ray here. A sampler is an actor that asks for no resources: one more process on each node.
It measures the whole node, so other programs on the node are included.
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
"""Time between two rounds of asking all nodes, in seconds."""
ANSWER_S = 1.0
"""Time that one round waits for answers, in seconds; a late answer is received in a later round."""
LAST_ANSWER_S = 5.0
"""Time that the round at the end of the block waits for answers, in seconds."""
LATE_S = 0.05
"""Smallest correction of a node's clock, in seconds: an answer's delay shows in its samples' times. Earlier samples are shifted
when an answer's delay is smaller than the smallest so far by more than this."""
MAX_STARTS = 3
"""Number of samplers started on one node: where they keep dying, its samples end."""
IDLE_S = 60.0
"""Time that a node may be without work before its sampler is stopped, in seconds."""
HEAD = "node:__internal_head__"
"""Resource that Ray gives to the head node alone."""


class NodeGauges:
    """Ray's Prometheus metrics of one machine. Ray puts `ray_` before each name; a value that is not known is not set."""

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
        """Set every gauge to the sample's value."""
        for name, gauge in self._machine.items():
            gauge.set(getattr(sample, name), self._node)
        for index, reading in enumerate(sample.gpus):
            for name, gauge in self._gpu.items():
                gauge.set(getattr(reading, name), self._node | {"gpu": str(index)})


@dataclass(frozen=True)
class NewSamples:
    """Answer of a node's sampler: the samples that the driver does not have yet."""

    age_s: float
    """Time since the sampler started, in seconds. Clocks of different nodes need not agree; differences of one clock do."""
    timeline: Timeline
    """The node's timeline with the new samples only."""


class NodeSampler:
    """Actor that samples its node for as long as it lives."""

    def __init__(self, node: str) -> None:
        self._sampler = MachineSampler(node, machine_memory_gib, NodeGauges(node).show).__enter__()

    def new_samples(self, num_known: int) -> NewSamples:
        """All samples after the first `num_known`."""
        own = self._sampler.timeline
        return NewSamples(time.perf_counter() - self._sampler.started_s, replace(own, samples=own.samples[num_known:]))


class ClusterSampler(Sampling):
    """Samples every node of the Ray cluster while its block runs.

    Nodes that join are sampled within seconds. When a node dies, the samples gathered so far are kept. A node other than the
    head is sampled only while some of its cores or GPUs are in use: Ray's autoscaler counts an actor as work, although it takes
    no resources, and would not give an idle node back.
    """

    def __init__(self) -> None:
        super().__init__("node telemetry")
        self._nodes: dict[str, _Node] = {}

    @property
    def timelines(self) -> tuple[Timeline, ...]:
        """One timeline for each node that ever answered, times in seconds since `started_s`."""
        return tuple(node.timeline for node in list(self._nodes.values()) if node.timeline is not None)

    def series(self, marks: Sequence[tuple[float, str]] = ()) -> dict[str, Any]:
        """Content of `telemetry.json`: all samples, and `marks`, each the second of the block at which something began."""
        return cluster_series(self.timelines, marks)

    def _tree_memory(self) -> list[tuple[float, float]]:
        return []  # the run's processes on the nodes are not below this one

    def _run(self) -> None:
        try:
            # Where the cluster is gone, the run ends elsewhere and says why. The samples so far stay.
            with contextlib.suppress(RayError):
                while True:
                    self._gather(self._nodes_at_work(), ANSWER_S)
                    if self._done.wait(GATHER_S):
                        break
                self._gather([node for node in self._nodes.values() if node.has_answered], LAST_ANSWER_S)
        finally:
            for node in self._nodes.values():
                node.stop()

    def _nodes_at_work(self) -> list["_Node"]:
        """Nodes to sample now: alive and with work. Samplers of idle nodes are stopped."""
        free, at_work = free_resources(), []
        for each in ray.nodes():
            if each["Alive"]:
                total = each["Resources"]
                left = free.get(each["NodeID"], {})
                is_idle = HEAD not in total and all(left.get(kind, 0) >= total.get(kind, 0) for kind in ("CPU", "GPU"))
                node = self._nodes.setdefault(each["NodeID"], _Node(each["NodeID"], each["NodeManagerAddress"]))
                if node.should_be_sampled(is_idle):
                    at_work.append(node)
        return at_work

    def _gather(self, nodes: Sequence["_Node"], timeout_s: float) -> None:
        """Start the samplers that are missing, ask all for new samples, and add those that come in time."""
        requests = {node.request(): node for node in nodes}
        answered, _ = ray.wait(list(requests), num_returns=len(requests), timeout=timeout_s) if requests else ([], [])
        for request in answered:
            requests[request].receive(self.started_s)


class _Node:
    """One node as the driver knows it: its sampler, and the samples received from it."""

    def __init__(self, node_id: str, address: str) -> None:
        self.timeline: Timeline | None = None
        self._node_id, self._address = node_id, address
        self._num_starts = 0
        self._actor: Any = None
        self._request: Any = None
        """Ray's reference of the request that has no answer yet."""
        self._num_known = 0
        """Number of samples received from the sampler that runs now."""
        self._began_s = math.inf
        """Start of the sampler that runs now, by the driver's clock: the earliest estimate, as an answer can only be late."""
        self._worked_s = -math.inf
        """Last time the node had work, by the driver's clock."""

    @property
    def has_answered(self) -> bool:
        """Whether the sampler that runs now has answered."""
        return self._actor is not None and self._began_s < math.inf

    def should_be_sampled(self, is_idle: bool) -> bool:
        """Whether the node had work in the last `IDLE_S` seconds and its samplers do not keep dying.

        `is_idle` says that it has no work now. A node that was idle for longer has its sampler stopped.
        """
        if not is_idle:
            self._worked_s = time.perf_counter()
        elif time.perf_counter() - self._worked_s > IDLE_S:
            self.stop()
            return False
        return self._actor is not None or self._num_starts < MAX_STARTS

    def request(self) -> Any:
        """Reference of the request for new samples: the open one, or a new one, to a new sampler where none runs."""
        if self._actor is None:
            here = NodeAffinitySchedulingStrategy(self._node_id, soft=False)
            self._actor = ray.remote(num_cpus=0)(NodeSampler).options(scheduling_strategy=here).remote(self._address)
            self._num_starts, self._num_known, self._began_s = self._num_starts + 1, 0, math.inf
        if self._request is None:
            self._request = self._actor.new_samples.remote(self._num_known)
        return self._request

    def receive(self, started_s: float) -> None:
        """Add the samples of an answer that has come; `started_s` is the start of the block, by the driver's clock."""
        request, self._request = self._request, None
        try:
            new: NewSamples = ray.get(request)
        except RayError:  # the node is gone, the sampler could not start there, or somebody ended it
            self._actor = None
            return
        self.add(new, time.perf_counter(), started_s)

    def add(self, new: NewSamples, now_s: float, started_s: float) -> None:
        """Add new samples, received at `now_s`; `started_s` is the start of the block, both by the driver's clock."""
        if self.timeline is None:
            self.timeline = replace(new.timeline, samples=[])
        known, began_s = self.timeline.samples, now_s - new.age_s
        if began_s < self._began_s - LATE_S:
            if self._num_known:
                late_s = self._began_s - began_s
                known[-self._num_known :] = [replace(sample, t_s=sample.t_s - late_s) for sample in known[-self._num_known :]]
            self._began_s = began_s
        self._num_known += len(new.timeline.samples)
        offset_s = self._began_s - started_s
        known += [replace(sample, t_s=offset_s + sample.t_s) for sample in new.timeline.samples]

    def stop(self) -> None:
        """End the sampler, if there is one."""
        if self._actor is not None:
            with contextlib.suppress(RayError):
                ray.kill(self._actor)
        self._actor = self._request = None
        self._num_starts = 0


def start_sampling(cluster: bool) -> Sampling:
    """A sampler of all nodes where `cluster` is set and Ray is up, else of this machine; enter it to start it.

    Where Ray is up, the samples of this machine are shown as Ray's Prometheus metrics too.
    """
    if not ray.is_initialized():
        return MachineSampler()
    here = ray.util.get_node_ip_address()
    return ClusterSampler() if cluster else MachineSampler(here, on_sample=NodeGauges(here).show)
