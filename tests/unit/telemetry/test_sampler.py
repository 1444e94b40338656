"""Sampling sees what this process does."""

import time

import psutil

from aria_ray.telemetry import sampler as sampling
from aria_ray.telemetry.sampler import MachineSampler, machine_memory_gib


def test_memory_and_processor_time_are_seen():
    with MachineSampler() as sampler:
        block = bytearray(200 * 2**20)
        deadline = time.perf_counter() + 2.5
        while time.perf_counter() < deadline:
            block[0] ^= 1
    assert sampler.peak_memory_gib >= 200 / 1024
    assert 0.5 / psutil.cpu_count() < sampler.cpu_share <= 1


def test_memory_taken_between_two_samples_is_seen_at_the_end(monkeypatch):
    monkeypatch.setattr(sampling, "INTERVAL_S", 10.0)
    with MachineSampler() as sampler:
        while not sampler.memory_gib:
            time.sleep(0.01)
        block = b"x" * (300 * 2**20)
    first, last = sampler.memory_gib
    assert last - first > 250 / 1024
    assert len(block) == 300 * 2**20


def test_nothing_sampled_is_none():
    sampler = MachineSampler()
    assert sampler.peak_memory_gib is None
    assert sampler.cpu_share is None
    assert sampler.gpu_share is None


def test_each_sample_is_handed_on(monkeypatch):
    monkeypatch.setattr(sampling, "INTERVAL_S", 0.05)
    shown = []
    with MachineSampler("a node", machine_memory_gib, shown.append) as sampler:
        while len(shown) < 3:
            time.sleep(0.01)
    assert shown == sampler.timeline.samples
    assert shown[0].cpu_share is None
    assert all(0 <= sample.cpu_share <= 1 for sample in shown[1:])
    assert [sample.t_s for sample in shown] == sorted(sampler.t_s)
    assert sampler.timelines[0].node == "a node"


def test_a_machines_memory_is_what_its_processes_take():
    block = b"x" * (400 * 2**20)
    assert 400 / 1024 < machine_memory_gib() < psutil.virtual_memory().total / 2**30
    assert len(block) == 400 * 2**20


def test_a_sample_asked_for_is_taken_before_the_interval_is_over(monkeypatch):
    monkeypatch.setattr(sampling, "INTERVAL_S", 3600.0)
    monkeypatch.setattr(sampling, "MAX_INTERVAL_S", 3600.0)
    with MachineSampler() as sampler:
        begin_s = sampler.sample_now()
        before = len(sampler.timeline.samples)
        end_s = sampler.sample_now()
    assert len(sampler.timeline.samples) == before + 2, "one asked for, one at the end of the block"
    assert len(sampler.memory_between(begin_s, end_s)) == 1, "only the sample after the work is of its span"
    assert sampler.usage_between(begin_s, end_s).peak_memory_gib == sampler.memory_gib[before]
    assert sampler.sample_now() > end_s, "a sampler that has ended keeps nobody waiting"
