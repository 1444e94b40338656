"""Sampling sees what this process does."""

import time

import psutil

from aria_ray.hardware.telemetry import Sampler


def test_memory_and_processor_time_are_seen():
    with Sampler() as sampler:
        block = bytearray(200 * 2**20)
        deadline = time.perf_counter() + 2.5
        while time.perf_counter() < deadline:
            block[0] ^= 1
    assert sampler.peak_memory_gib >= 200 / 1024
    assert 0.5 / psutil.cpu_count() < sampler.cpu_share <= 1


def test_nothing_sampled_is_none():
    sampler = Sampler()
    assert sampler.peak_memory_gib is None
    assert sampler.cpu_share is None
