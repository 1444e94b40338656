"""Samplers on the nodes of a real Ray cluster: one node is there from the start, one joins, and is taken away again."""

import contextlib
import time

import httpx
import psutil
import pytest
import ray
from ray.cluster_utils import Cluster

from aria_ray.telemetry import cluster as cluster_telemetry
from aria_ray.telemetry.cluster import ClusterSampler, NodeGauges, start_sampling
from aria_ray.telemetry.gpus import GpuReading
from aria_ray.telemetry.sampler import MachineSampler
from aria_ray.telemetry.timeline import Sample

pytestmark = pytest.mark.ray

TIMEOUT_S = 60


@ray.remote(num_cpus=1, resources={"work": 1})
class Work:
    """Takes the core of the node that has work to give."""

    def here(self):
        """The address by which a training worker names its node."""
        return ray.util.get_node_ip_address()


def wait_until(true, what):
    deadline = time.monotonic() + TIMEOUT_S
    while not true():
        assert time.monotonic() < deadline, what
        time.sleep(0.2)


@pytest.fixture(scope="module")
def cluster():
    """One node of one core, and a driver in this process."""
    with pytest.MonkeyPatch.context() as environment:
        for name, value in (("RAY_AUTH_MODE", "disabled"), ("RAY_USAGE_STATS_ENABLED", "0")):
            environment.setenv(name, value)
        made = Cluster()
        made.add_node(num_cpus=1, include_dashboard=False)
        ray.init(made.address, log_to_driver=False, logging_level="ERROR")
        try:
            yield made
        finally:
            ray.shutdown()
            made.shutdown()


def metrics_of_the_head():
    """What Prometheus would get: the values of our gauges, by name and labels."""
    (head,) = (node for node in ray.nodes() if node["Alive"])
    url = f"http://{head['NodeManagerAddress']}:{head['MetricsExportPort']}/metrics"
    lines = httpx.get(url, trust_env=False).text.splitlines()
    return dict(line.rsplit(" ", 1) for line in lines if line.startswith("ray_aria_"))


def test_every_node_is_sampled_as_long_as_it_lives(cluster):
    with start_sampling(cluster=True) as sampler:
        assert isinstance(sampler, ClusterSampler)
        wait_until(lambda: len(sampler.timelines) == 1, "the head's sampler says nothing")
        joined = cluster.add_node(num_cpus=1, resources={"work": 1})
        worker = Work.remote()
        wait_until(lambda: len(sampler.timelines) == 2, "the sampler of the node that joined says nothing")
        head, other = sampler.timelines
        wait_until(lambda: len(other.samples) >= 3, "samples of the node that joined end")
        cluster.remove_node(joined)
        del worker
        at_removal = len(head.samples)
        wait_until(lambda: len(head.samples) >= at_removal + 6, "samples of the node that is left end")
        kept = list(other.samples)
        wait_until(metrics_of_the_head, "no gauge of ours at the head's port for metrics")
        shown = metrics_of_the_head()
        under_load = sampler.usage_between(sampler.started_s, time.perf_counter())

    assert len(kept) >= 3
    assert kept == other.samples, "the dead node's samples stay, and no more come"
    for timeline in (head, other):
        moments = [sample.t_s for sample in timeline.samples]
        assert moments == sorted(moments)
        assert moments[0] > 0
        assert all(sample.memory_gib > 0 for sample in timeline.samples)
        assert any((sample.cpu_share or 0) > 0 for sample in timeline.samples)
    assert head.samples[0].t_s < other.samples[0].t_s < other.samples[-1].t_s < head.samples[-1].t_s
    assert {name.partition("{")[0] for name in shown} >= {"ray_aria_cpu_busy_share", "ray_aria_memory_gib"}
    assert 0 < under_load.cpu_share <= 1
    assert under_load.gpu_share is None or head.gpu_names

    series = sampler.series([(0.0, "start")])
    first, second = series["nodes"]
    assert first["cpu_share"][-1] is not None
    assert second["memory_gib"][0] is None
    assert second["memory_gib"][-1] is None
    assert any(value is not None for value in second["memory_gib"])


def samplers():
    """The processes of samplers on the nodes of the cluster, which are all below this process."""
    found = []
    for each in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):  # it has ended, or is a zombie
            found += [each] if any("NodeSampler" in word for word in each.cmdline()) else []
    return found


def test_a_node_without_work_is_left_so_that_it_can_be_given_back(cluster, monkeypatch):
    monkeypatch.setattr(cluster_telemetry, "IDLE_S", 1.0)
    joined = cluster.add_node(num_cpus=1, resources={"work": 1})
    with start_sampling(cluster=True) as sampler:
        wait_until(lambda: sampler.timelines, "the head's sampler says nothing")
        time.sleep(2 * cluster_telemetry.GATHER_S)
        assert len(samplers()) == len(sampler.timelines) == 1, "a node that never had work is sampled"
        worker = Work.remote()
        address = ray.get(worker.here.remote())
        wait_until(lambda: len(sampler.timelines) == 2, "the node at work is not sampled")
        assert sampler.timelines[1].node == address
        ray.kill(worker)
        wait_until(lambda: len(samplers()) == 1, "the node is at rest, and its sampler stays")
        known = len(sampler.timelines[1].samples)
        worker = Work.remote()
        ray.get(worker.here.remote())
        wait_until(lambda: len(sampler.timelines[1].samples) > known, "the node is at work again, and is not sampled")
        ray.kill(worker)
    moments = [sample.t_s for sample in sampler.timelines[1].samples]
    assert moments == sorted(moments)
    cluster.remove_node(joined)


@pytest.mark.usefixtures("cluster")
def test_samplers_go_when_the_block_ends():
    with start_sampling(cluster=True) as sampler:
        wait_until(lambda: sampler.timelines, "the head's sampler says nothing")
        assert len(samplers()) == 1
    wait_until(lambda: not samplers(), "a sampler outlives its block")


@pytest.mark.usefixtures("cluster")
def test_on_one_machine_the_driver_shows_its_own_samples():
    with start_sampling(cluster=False) as sampler:
        assert isinstance(sampler, MachineSampler)
        assert sampler.timeline.node == ray.util.get_node_ip_address()
        wait_until(lambda: len(sampler.timeline.samples) >= 2, "no samples")
    gauges = NodeGauges("a laptop")
    gauges.show(Sample(0.0, 0.25, 3.5, (GpuReading(0.5, 17.0, None, None),)))

    def shown():
        return {
            name.partition("{")[0]: float(value) for name, value in metrics_of_the_head().items() if 'node="a laptop"' in name
        }

    wait_until(shown, "the driver's gauges are not at the head's port")
    assert shown() == {
        "ray_aria_cpu_busy_share": 0.25,
        "ray_aria_memory_gib": 3.5,
        "ray_aria_gpu_busy_share": 0.5,
        "ray_aria_gpu_memory_gib": 17.0,
    }, "what a GPU does not tell is no gauge"
