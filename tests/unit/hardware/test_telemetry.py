"""Sampling sees what this process does."""

import time

import psutil

from aria_ray.hardware import telemetry
from aria_ray.hardware.telemetry import Sampler


def test_memory_and_processor_time_are_seen():
    with Sampler() as sampler:
        block = bytearray(200 * 2**20)
        deadline = time.perf_counter() + 2.5
        while time.perf_counter() < deadline:
            block[0] ^= 1
    assert sampler.peak_memory_gib >= 200 / 1024
    assert 0.5 / psutil.cpu_count() < sampler.cpu_share <= 1


def test_memory_taken_between_two_samples_is_seen_at_the_end(monkeypatch):
    monkeypatch.setattr(telemetry, "INTERVAL_S", 10.0)
    with Sampler() as sampler:
        while not sampler.memory_gib:
            time.sleep(0.01)
        block = b"x" * (300 * 2**20)
    first, last = sampler.memory_gib
    assert last - first > 250 / 1024
    assert len(block) == 300 * 2**20


def test_nothing_sampled_is_none():
    sampler = Sampler()
    assert sampler.peak_memory_gib is None
    assert sampler.cpu_share is None
