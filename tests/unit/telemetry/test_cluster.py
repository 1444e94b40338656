"""The driver's part of cluster telemetry; samplers on real nodes are in tests/integration/telemetry_cases.py."""

import math

import pytest

from aria_ray.telemetry import cluster
from aria_ray.telemetry.cluster import MAX_STARTS, NewSamples, _Node, start_sampling
from aria_ray.telemetry.gpus import GpuReading
from aria_ray.telemetry.sampler import MachineSampler
from aria_ray.telemetry.timeline import Sample, Timeline, Usage

STARTED_S = 1000.0
"""When the driver began, by its clock."""


def news(age_s, *moments):
    """Answer of a sampler `age_s` after it started, with samples at these moments of its own clock."""
    return NewSamples(age_s, Timeline("10.0.0.1", 2, None, (), [Sample(moment, 0.5, 4.0) for moment in moments]))


def times(node):
    return [sample.t_s for sample in node.timeline.samples]


@pytest.fixture
def node():
    return _Node("ab" * 28, "10.0.0.1")


def test_samples_get_the_drivers_clock(node):
    node.add(news(3.0, 0.0, 1.0, 2.0), STARTED_S + 10, STARTED_S)
    node.add(news(5.0, 3.0, 4.0), STARTED_S + 12, STARTED_S)
    assert times(node) == [7, 8, 9, 10, 11]
    assert (node.timeline.node, node.timeline.cores) == ("10.0.0.1", 2)


def test_an_answer_heard_late_is_put_right_by_one_that_is_not(node):
    """The sampler began at 1007; its first two answers lay for a round, the third was heard at once, the fourth late again."""
    node.add(news(1.0, 0.0), STARTED_S + 10, STARTED_S)
    node.add(news(4.0, 1.0, 2.0), STARTED_S + 13, STARTED_S)
    assert times(node) == [9, 10, 11]
    node.add(news(6.0, 3.0), STARTED_S + 13, STARTED_S)
    assert times(node) == [7, 8, 9, 10]
    node.add(news(7.0, 4.0), STARTED_S + 16, STARTED_S)
    assert times(node) == [7, 8, 9, 10, 11]


def test_a_new_sampler_does_not_move_what_the_one_before_told(node, monkeypatch):
    node.add(news(2.0, 0.0, 1.0), STARTED_S + 10, STARTED_S)
    monkeypatch.setattr(cluster.ray, "remote", lambda **_: lambda _class: FakeActorClass())
    node.request()
    node.add(news(1.0, 0.0), STARTED_S + 40, STARTED_S)
    node.add(news(5.0, 1.0), STARTED_S + 42, STARTED_S)
    assert times(node) == [8, 9, 37, 38]


class FakeActorClass:
    """Class of an actor that never answers: there is no cluster here."""

    def options(self, scheduling_strategy):
        assert not scheduling_strategy.soft
        return self

    def remote(self, *_arguments):
        return self

    @property
    def new_samples(self):
        return self


def test_samplers_that_keep_dying_are_not_started_again_and_the_last_round_starts_none(node, monkeypatch):
    monkeypatch.setattr(cluster.ray, "remote", lambda **_: lambda _class: FakeActorClass())
    monkeypatch.setattr(cluster.ray, "get", fail_as_a_dead_actor)
    for _ in range(MAX_STARTS):
        assert node.should_be_sampled(is_idle=False)
        node.request()
        assert not node.has_answered, "it has not answered yet"
        node.add(news(1.0, 0.0), STARTED_S + 10, STARTED_S)
        assert node.has_answered
        node.receive(STARTED_S)
        assert not node.has_answered, "it died"
    assert not node.should_be_sampled(is_idle=False)
    assert len(times(node)) == MAX_STARTS, "what it told stays"


def fail_as_a_dead_actor(_question):
    raise cluster.RayError


def test_a_node_that_never_had_work_is_not_sampled(node):
    assert not node.should_be_sampled(is_idle=True)
    assert node.should_be_sampled(is_idle=False)
    assert node.should_be_sampled(is_idle=True), "its work has just ended"


def test_without_ray_this_process_samples_its_machine():
    assert isinstance(start_sampling(cluster=True), MachineSampler)


def test_usage_is_of_the_span_and_of_the_gpus_named():
    sampler = MachineSampler()
    samples = [
        Sample(moment, share, 3 + moment / 2, (GpuReading(share, 10 * moment, None, None), GpuReading(1.0, 1.0, None, None)))
        for moment, share in ((1.0, 0.1), (2.0, 0.5), (3.0, 0.7), (4.0, 0.1))
    ]
    sampler.timeline = Timeline("here", 2, "NVML", ("H100",) * 2, samples, ("0000:1b:00", "0000:1c:00"))
    span = sampler.started_s + 1.5, sampler.started_s + 3.5
    usage = sampler.usage_between(*span, gpus=[("here", "0000:1b:00")])
    assert usage == Usage(pytest.approx(0.6), pytest.approx(0.6), peak_memory_gib=4.5, peak_gpu_memory_gib=30.0)
    assert sampler.usage_between(*span).gpu_share == pytest.approx(0.8)
    assert sampler.usage_between(*span, gpus=[("there", "0000:1b:00")]).gpu_share is None
    assert sampler.usage_between(math.inf, math.inf) == Usage(None, None, None, None)
    assert sampler.memory_between(*span) == [(2.0, 4.0), (3.0, 4.5)]
    assert sampler.peak_memory_gib == 5.0
