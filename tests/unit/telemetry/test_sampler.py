"""Sampling of this machine. What the operating system tells is put in its place, so that other programs change no result."""

import math
import subprocess
import sys
from itertools import count
from types import SimpleNamespace

import psutil
import pytest

from aria_ray.telemetry import sampler as sampling
from aria_ray.telemetry.sampler import MachineSampler, interval_s, machine_memory_gib, tree_memory_gib
from aria_ray.telemetry.timeline import Usage

MIB = 2**20


@pytest.fixture(autouse=True)
def _asked_only(monkeypatch):
    """No sample but the first, those that are asked for and the last."""
    monkeypatch.setattr(sampling, "INTERVAL_S", 3600.0)
    monkeypatch.setattr(sampling, "MAX_INTERVAL_S", 3600.0)


def sampler(*memory_gib):
    """Reads these one after the other, and at most as many."""
    readings = iter(memory_gib)
    return MachineSampler("a node", lambda: next(readings))


def test_a_sample_is_taken_at_the_beginning_when_asked_for_and_at_the_end():
    with sampler(1.0, 5.0, 2.0) as samples:
        samples.sample_now()
    assert [sample.memory_gib for sample in samples.timeline.samples] == [1.0, 5.0, 2.0]
    moments = [sample.t_s for sample in samples.timeline.samples]
    assert moments == sorted(moments)
    assert samples.peak_memory_gib == 5.0
    assert [timeline.node for timeline in samples.timelines] == ["a node"]


def test_samples_that_are_asked_for_enclose_a_piece_of_work():
    with sampler(9.0, 8.0, 3.0, 7.0) as samples:
        begin_s = samples.sample_now()
        end_s = samples.sample_now()
    assert [gib for _, gib in samples.memory_between(begin_s, end_s)] == [3.0], "only the sample after the work is of its span"
    assert samples.usage_between(begin_s, end_s).peak_memory_gib == 3.0
    assert samples.sample_now() > end_s, "a sampler that has ended keeps nobody waiting"


def test_the_processors_share_is_that_since_the_sample_before(monkeypatch):
    percents = iter([99.0, 25.0, 60.0])  # the first reading is of the time before sampling began
    monkeypatch.setattr(sampling.psutil, "cpu_percent", lambda: next(percents))
    with sampler(1.0, 1.0, 1.0) as samples:
        samples.sample_now()
    assert [sample.cpu_share for sample in samples.timeline.samples] == [None, 0.25, 0.6]
    assert 0.25 <= samples.usage_between(-math.inf, math.inf).cpu_share <= 0.6


def test_the_machines_processors_have_a_share_between_none_and_all():
    with MachineSampler() as samples:
        samples.sample_now()
    assert all(0 <= sample.cpu_share <= 1 for sample in samples.timeline.samples[1:])


def test_nothing_sampled_is_none():
    samples = sampler()
    assert samples.peak_memory_gib is None
    assert samples.usage_between(-math.inf, math.inf) == Usage(None, None, None, None)


def test_each_sample_is_handed_on(monkeypatch):
    monkeypatch.setattr(sampling, "INTERVAL_S", 0.01)
    handed, gibs = [], count()
    with MachineSampler("a node", lambda: float(next(gibs)), handed.append) as samples:
        while len(handed) < 3:
            samples.sample_now()
    assert handed == samples.timeline.samples
    assert [sample.memory_gib for sample in handed] == [float(number) for number in range(len(handed))]


def test_samples_that_cost_much_are_taken_less_often(monkeypatch):
    monkeypatch.setattr(sampling, "INTERVAL_S", 1.0)
    monkeypatch.setattr(sampling, "MAX_INTERVAL_S", 10.0)
    assert [interval_s(cost_s) for cost_s in (0.0, 0.001, 0.1, 5.0)] == [1.0, 1.0, pytest.approx(5.0), 10.0]


@pytest.mark.subprocess
def test_memory_is_that_of_this_process_and_those_below_it():
    before = tree_memory_gib()
    own = b"x" * (300 * MIB)
    with_own = tree_memory_gib()
    assert with_own - before == pytest.approx(300 / 1024, abs=0.05)
    code = f"block = b'x' * (200 * {MIB}); print('there', flush=True); input()"
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout.readline() == "there\n"
        assert tree_memory_gib() - with_own == pytest.approx(200 / 1024, abs=0.05)
        child.communicate("\n")
    assert len(own) == 300 * MIB


def test_a_machines_memory_is_what_is_not_available(monkeypatch):
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(total=8 * 2**30, available=5 * 2**30))
    assert machine_memory_gib() == 3.0
