"""The vendors' figures agree with each other, and each has a source."""

import dataclasses

import pytest

from aria_ray.errors import AriaError
from aria_ray.machine.peaks import Peaks
from aria_ray.machine.specs import (
    ACCELERATORS,
    H100,
    H200,
    KIB,
    MI300X,
    MI325X,
    NOT_FOUND,
    NOT_THERE,
    accelerator,
    measured_cpu,
)

EVERY = pytest.mark.parametrize("each", ACCELERATORS.values(), ids=ACCELERATORS)


def test_stream_processors_are_those_of_all_compute_units():
    assert MI300X.compute_units * 64 == MI300X.stream_processors == 19_456
    assert MI325X.stream_processors == MI300X.stream_processors
    assert H100.compute_units * 128 == H100.stream_processors == H200.stream_processors


@EVERY
def test_a_peak_is_operations_per_clock_times_compute_units_times_clock(each):
    assert each.flops_per_clock_per_cu
    for name, flops in each.flops_per_clock_per_cu.items():
        assert flops * each.compute_units * each.clock_hz == pytest.approx(each.peak_flops_per_s[name], rel=1e-3)


def test_hoppers_vector_peaks_are_given_at_a_higher_clock():
    # 128 multiply-adds per clock in float32; 256 operations of the tensor cores in float64.
    assert H100.stream_processors * 2 * 1.98e9 == pytest.approx(H100.peak_flops_per_s["fp32"], rel=1e-3)
    assert H100.compute_units * 256 * 1.98e9 == pytest.approx(H100.peak_flops_per_s["fp64"], rel=1e-3)


@EVERY
def test_bandwidth_is_the_bus_times_its_rate(each):
    if each.memory_transfers_per_s is None:
        assert each is MI325X  # the one whose rate no source was found for
        return
    assert each.memory_bus_bits / 8 * each.memory_transfers_per_s == pytest.approx(each.memory_bytes_per_s, rel=0.01)


def test_mi300x_has_128_channels_of_64_bits_and_a_cache_on_each_die():
    assert MI300X.memory_channels * 64 == MI300X.memory_bus_bits
    assert MI300X.memory_channels % (8 * 16) == 0  # eight stacks of sixteen
    assert MI300X.xcds * 4 * KIB * KIB == MI300X.l2_bytes
    assert MI300X.compute_units % MI300X.xcds == 0


@pytest.mark.parametrize(("each", "register_file"), [(MI300X, 512 * KIB), (H100, 256 * KIB)])
def test_registers_fill_the_register_file(each, register_file):
    assert each.simds_per_cu * each.vgprs_per_simd_lane * each.wavefront * 4 == register_file


@EVERY
def test_every_figure_has_a_source_and_what_has_none_says_so(each):
    figures = {field.name for field in dataclasses.fields(each)} - {"name", "kind", "sources"}
    assert figures == set(each.sources)
    for name in figures:
        missing = each.sources[name] in (NOT_FOUND, NOT_THERE)
        assert missing == (getattr(each, name) is None), name


def test_an_accelerator_is_found_in_any_case():
    assert accelerator("Mi300X") is MI300X
    with pytest.raises(AriaError, match="'a100' must be one of mi300x, mi325x, h100, h200, or cpu"):
        accelerator("a100")


def test_the_processor_at_hand_is_what_was_measured():
    cpu = measured_cpu(Peaks(threads=2, gemm_flops_per_s=1.5e11, copy_bytes_per_s=2e10))
    assert (cpu.compute_units, cpu.peak_flops_per_s, cpu.memory_bytes_per_s) == (2, {"fp32": 1.5e11}, 2e10)
    assert cpu.memory_bytes > 0
    assert "measured on this machine with 2 threads" in cpu.sources["peak_flops_per_s"]
