"""What samples of one machine or of several come to."""

import pytest

from aria_ray.telemetry.gpus import GpuReading
from aria_ray.telemetry.timeline import (
    MAX_MOMENTS,
    Sample,
    Timeline,
    cluster_series,
    in_words,
    machine_series,
    mean_cpu_share,
    mean_gpu_share,
    peak_gpu_memory_gib,
)


def gpu(busy_share, memory_gib=10.0, power_w=400.0):
    return GpuReading(busy_share, memory_gib, power_w, None)


def timeline(node, shares, cores=2, begin_s=0.0, gpus=()):
    """Samples a second apart; `gpus` holds one busy share for each, the same in every sample."""
    samples = [
        Sample(begin_s + index, share, memory_gib=4.0, gpus=tuple(gpu(busy) for busy in gpus))
        for index, share in enumerate(shares)
    ]
    addresses = tuple(f"0000:{0x0C + index:02x}:00" for index in range(len(gpus)))
    return Timeline(node, cores, "amdsmi" if gpus else None, ("AMD Instinct MI300X",) * len(gpus), samples, addresses)


def test_every_core_counts_once():
    assert mean_cpu_share([timeline("a", [None, 1.0, 1.0], cores=6), timeline("b", [None, 0.2], cores=2)]) == pytest.approx(0.8)
    assert mean_cpu_share([timeline("a", [None])]) is None


def test_a_long_time_between_two_samples_counts_as_long():
    samples = [Sample(moment, share, 4.0) for moment, share in ((0.0, None), (1.0, 1.0), (4.0, 0.2))]
    assert mean_cpu_share([Timeline("a", 2, None, (), samples)]) == pytest.approx((1 * 1.0 + 3 * 0.2) / 4)


def test_a_span_leaves_out_what_was_before_and_after():
    one = timeline("a", [0.1, 0.5, 0.7, 0.1])
    assert mean_cpu_share([one], (1.0, 2.0)) == pytest.approx(0.6)
    assert mean_cpu_share([one], (10.0, 20.0)) is None


def test_gpus_that_had_no_part_in_it_do_not_count():
    """However busy they are: somebody else may be at work on them."""
    nodes = [timeline("a", [0.5], gpus=(0.3, 1.0)), timeline("b", [0.5], gpus=(1.0, 0.1))]
    assert mean_gpu_share(nodes) == pytest.approx(0.6)
    assert mean_gpu_share(nodes, only=[("a", "0000:0c:00"), ("b", "0000:0d:00")]) == pytest.approx(0.2)


def test_gpus_that_were_not_found_are_unmeasured():
    node = timeline("a", [0.5], gpus=(0.9, 0.8))
    node.gpu_addresses = ("0000:0c:00", None)
    gpu_of_a = ("a", "0000:0c:00")
    assert mean_gpu_share([node], only=[gpu_of_a]) == 0.9
    assert mean_gpu_share([node], only=[gpu_of_a, ("a", "0000:0d:00")]) is None
    assert mean_gpu_share([node], only=[gpu_of_a, ("b", "0000:0c:00")]) is None
    assert mean_gpu_share([node], only=[gpu_of_a, gpu_of_a]) is None, "two workers on parts of one GPU"
    assert mean_gpu_share([node], only=[]) is None


def test_what_gpus_do_not_tell_is_none_and_no_zero():
    silent = timeline("a", [0.5], gpus=(None,))
    silent.samples = [Sample(0.0, 0.5, 4.0, (GpuReading(None, None, None, None),))]
    assert mean_gpu_share([silent]) is None
    assert peak_gpu_memory_gib([silent]) is None
    assert in_words([silent]) == "cpu 50 %"
    assert machine_series(silent, [])["gpus"][0]["busy_share"] == [None]
    assert mean_gpu_share([silent, timeline("b", [0.5], gpus=(0.8,))]) == pytest.approx(0.8)


def test_the_fullest_gpu_of_all_nodes():
    nodes = [timeline("a", [0.5] * 3, gpus=(0.5,)), timeline("b", [0.5] * 3, gpus=(0.5, 0.5))]
    nodes[1].samples[1] = Sample(1.0, 0.5, 4.0, (gpu(0.5, memory_gib=70.0), gpu(0.5, memory_gib=20.0)))
    assert peak_gpu_memory_gib(nodes) == 70.0
    assert peak_gpu_memory_gib(nodes, (2.0, 3.0)) == 10.0


def test_in_words():
    assert in_words([]) == ""
    assert in_words([timeline("a", [None])]) == ""
    assert in_words([timeline("a", [None, 0.92])]) == "cpu 92 %"
    assert in_words([timeline("a", [0.1], gpus=(0.9,)), timeline("b", [0.3], gpus=(0.7,))]) == "cpu 20 %, gpu 80 %, 400 W"
    gone = timeline("c", [1.0] * 5)
    assert in_words([timeline("a", [0.2] * 60), gone]) == "cpu 20 %"


def test_a_clusters_series_has_every_nodes_column_at_the_same_moments():
    whole, late = timeline("10.0.0.1", [None, *[0.5] * 9], gpus=(0.6,)), timeline("10.0.0.2", [1.0] * 4, cores=6, begin_s=4.0)
    series = cluster_series([whole, late], [(3.0, "training")])
    assert series["t_s"] == [2, 4, 6, 8, 10]
    assert [node["node"] for node in series["nodes"]] == ["10.0.0.1", "10.0.0.2"]
    assert series["nodes"][0]["cpu_share"] == [0.5] * 5
    assert series["nodes"][1]["cpu_share"] == [None, None, 1.0, 1.0, None]  # it joined, and it died
    assert series["cpu_share"] == [0.5, 0.5, 0.875, 0.875, 0.5]
    assert series["memory_gib"] == [4, 4, 8, 8, 4]
    assert series["gpus"] == [
        {
            "node": "10.0.0.1",
            "name": "AMD Instinct MI300X",
            "busy_share": [0.6] * 5,
            "memory_busy_share": [None] * 5,
            "memory_gib": [10.0] * 5,
            "power_w": [400.0] * 5,
        }
    ]
    assert series["marks"] == [[3.0, "training"]]
    assert series["source"] == "psutil, amdsmi"


def test_a_long_runs_series_stays_small_and_keeps_its_mean():
    series = cluster_series([timeline("a", [0.0, 1.0] * 10_000)], [])
    assert len(series["t_s"]) <= MAX_MOMENTS
    assert sum(series["cpu_share"]) / len(series["cpu_share"]) == pytest.approx(0.5, abs=0.01)


def test_a_cluster_of_which_nothing_was_heard():
    assert cluster_series([], [])["t_s"] == []
    assert cluster_series([timeline("a", [None])], [])["cpu_share"] == []
