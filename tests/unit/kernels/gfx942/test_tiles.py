"""Schedules against exhaustive search, predictions against hand calculation and a simulated device, traffic by counting."""

import itertools
import random
from dataclasses import replace

import pytest
from tile_order import traffic_by_tile

from aria_ray.errors import AriaError
from aria_ray.kernels.gfx942.mfma import BYTES, Tile, residency
from aria_ray.kernels.gfx942.tiles import (
    CANDIDATES,
    GROUPS,
    NEARLY,
    Gemm,
    choose_schedule,
    fits,
    l2_traffic,
    predicted_times,
    schedule,
)
from aria_ray.machine.specs import H100, MI300X

DEFAULT_TILE = Tile(128, 128, 64)
# Every tile of these sizes, with and without a pipeline, with either instruction.
SPACE = [
    Tile(*sizes)
    for sizes in itertools.product(
        (16, 32, 64, 128, 256), (16, 32, 64, 128, 256), (16, 32, 64, 128, 256), (4, 8), (1, 2), (16, 32)
    )
]
CASES = [
    *(Gemm(m, n, 4096) for m in (1, 17, 256, 2048) for n in (1000, 4096)),  # skinny, and no multiple of a tile
    *(Gemm(2048, 4096, rank) for rank in (16, 64)),  # a LoRA's second factor
    *(Gemm(2048, rank, 4096) for rank in (16, 64)),  # and its first
    Gemm(1, 1, 1),
    Gemm(4096, 4096, 4096, "fp8"),
]
WITHIN = 1.1


def least_time(gemm):
    return min(predicted_times(gemm, tile, MI300X)["all"] for tile in SPACE if fits(tile, gemm, MI300X))


@pytest.mark.parametrize("gemm", CASES, ids=str)
def test_the_choice_is_as_good_as_exhaustive_search(gemm):
    assert choose_schedule(gemm, MI300X).predicted_s <= NEARLY * least_time(gemm)


def test_the_choice_is_nearly_as_good_for_any_size():
    draw = random.Random(7)
    for _ in range(40):
        m, n, k = (round(2 ** draw.uniform(0, 14)) for _ in range(3))
        gemm = Gemm(m, n, k, draw.choice(sorted(BYTES)))
        assert choose_schedule(gemm, MI300X).predicted_s <= WITHIN * least_time(gemm), gemm


def test_the_candidates_are_part_of_what_is_searched_and_begin_with_the_default():
    assert CANDIDATES[0] == DEFAULT_TILE
    assert set(CANDIDATES) <= set(SPACE)


@pytest.mark.parametrize("n", [4096, 14336, 128256])
def test_the_layers_of_a_llama_in_training_take_the_default_tile(n):
    chosen = choose_schedule(Gemm(2048, n, 4096), MI300X)
    assert (chosen.block_m, chosen.block_n, chosen.block_k, chosen.instruction) == (128, 128, 64, (16, 16, 16))
    assert chosen.bound == "compute"


def test_one_row_takes_no_tile_of_many():
    chosen = choose_schedule(Gemm(1, 14336, 4096), MI300X)
    assert (chosen.block_m, chosen.bound, chosen.predicted_limit) == (16, "memory", "HBM")


def test_a_product_by_hand():
    # 16 x 32 tiles of 128 x 128 over 304 compute units: two turns, as 304 < 512 <= 608. Two workgroups fit at a time by LDS, so
    # one round. At 2,048 operations per clock a tile is 2 x 128 x 128 x 4096 / 2048 = 65,536 clocks; a step of K puts 256 rows
    # of 128 bytes into LDS, and four wavefronts read 128 each: 768 x 128 bytes at 128 per clock.
    gemm, clock = Gemm(2048, 4096, 4096), 2.1e9
    times = predicted_times(gemm, DEFAULT_TILE, MI300X)
    assert times["matrix cores"] == pytest.approx(2 * 65_536 / clock)
    assert times["LDS"] == pytest.approx(2 * 64 * 768 / clock)
    assert times["L2"] == pytest.approx(2 * 256 * 4096 * 2 / (2048 / 38) / clock)
    assert times["HBM"] == pytest.approx((2048 * 4096 + 4096 * 4096 + 2048 * 4096) * 2 / 5.3e12)
    assert times["first loads"] == pytest.approx(900 / clock)
    assert times["next loads"] == pytest.approx(63 * 900 / clock)
    assert times["all"] == pytest.approx((900 + 131_072) / clock)
    chosen = schedule(gemm, DEFAULT_TILE, MI300X)
    assert (chosen.num_workgroups, chosen.workgroups_per_cu, chosen.waves_per_simd) == (512, 2, 2)
    assert chosen.wave_efficiency == chosen.cu_efficiency == pytest.approx(512 / 608)
    assert chosen.flops_per_byte == pytest.approx(2 * 2048 * 4096 * 4096 / (4 * 2048 * 4096 * 2))


def test_what_cannot_overlap_is_added_up():
    gemm = Gemm(2048, 4096, 4096)
    lonely = predicted_times(gemm, Tile(64, 128, 128), MI300X)  # 48 KiB of LDS: one workgroup, one wavefront on each SIMD unit
    assert lonely["all"] == pytest.approx(lonely["first loads"] + lonely["matrix cores"] + lonely["LDS"])
    single = predicted_times(gemm, replace(DEFAULT_TILE, num_stages=1), MI300X)
    assert single["all"] == pytest.approx(single["first loads"] + single["matrix cores"] + single["next loads"])


def test_efficiencies_are_those_of_a_device_that_is_filled_round_by_round():
    for workgroups in [*range(1, 40), 304, 305, 608, 609, 1792]:
        gemm = Gemm(128 * workgroups, 128, 64)
        chosen = schedule(gemm, DEFAULT_TILE, MI300X)
        for per_cu, efficiency in ((chosen.workgroups_per_cu, chosen.wave_efficiency), (1, chosen.cu_efficiency)):
            waiting, places = workgroups, 0
            while waiting > 0:
                waiting, places = waiting - 304 * per_cu, places + 304 * per_cu
            assert efficiency == pytest.approx(workgroups / places)


def test_more_work_never_takes_less_time():
    for tile in CANDIDATES:
        if not fits(tile, Gemm(256, 256, 1), MI300X):
            continue
        times = [predicted_times(Gemm(256, 256, k), tile, MI300X)["all"] for k in (1, 16, 17, 64, 1000, 4096)]
        assert times == sorted(times)


def test_a_step_shallower_than_the_instruction_does_not_fit():
    assert fits(Tile(64, 64, 16), Gemm(64, 64, 64), MI300X)
    assert not fits(Tile(64, 64, 16), Gemm(64, 64, 64, "fp8"), MI300X)  # its instruction takes 32


@pytest.mark.parametrize(
    ("gemm", "over_usual", "over_best"),
    [
        # Where the columns of tiles are a multiple of the dies, as 32, dealing them out in groups of 2 rows is as good.
        (Gemm(2048, 4096, 4096), 2, 1),
        (Gemm(2048, 14336, 4096), 4, 1.1),
        (Gemm(2000, 4200, 4096), 2, 2),
    ],
    ids=str,
)
def test_renumbering_saves_l2_traffic(gemm, over_usual, over_best):
    dealt = {group: sum(traffic_by_tile(gemm, DEFAULT_TILE, MI300X, group, remap=False)) for group in GROUPS}
    renumbered = {group: sum(l2_traffic(gemm, DEFAULT_TILE, MI300X, group)) for group in GROUPS}
    chosen = renumbered[choose_schedule(gemm, MI300X).group_m]
    assert chosen == min(renumbered.values())
    assert dealt[8] >= over_usual * chosen  # groups of 8, usual in Triton, give each of 8 dies one row of every group
    assert min(dealt.values()) >= over_best * chosen


def test_no_die_fetches_more_than_all_its_workgroups_read_and_all_fetch_everything():
    gemm = Gemm(1000, 3000, 512)
    held = residency(DEFAULT_TILE, gemm.dtype, MI300X)
    assert held.workgroups == 2
    for group, remap in itertools.product(GROUPS, (True, False)):
        fetched = traffic_by_tile(gemm, DEFAULT_TILE, MI300X, group, remap=remap)
        assert len(fetched) == 8
        assert sum(fetched) >= (gemm.m + gemm.n) * gemm.k * 2
        assert max(fetched) <= 24 * (128 + 128) * gemm.k * 2  # 8 x 24 tiles, 24 to each die


@pytest.mark.parametrize("gemm", [*CASES, Gemm(2000, 14336, 4096), Gemm(5000, 1000, 512)], ids=str)
def test_what_renumbered_tiles_fetch_is_what_they_fetch_one_by_one(gemm):
    for group in GROUPS:
        by_tile = traffic_by_tile(gemm, DEFAULT_TILE, MI300X, group, remap=True)
        assert l2_traffic(gemm, DEFAULT_TILE, MI300X, group) == by_tile


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Gemm(1, 1, 1, "tf32"), "matrix product in tf32"),
        (lambda: Gemm(1, 0, 1), "matrix product 1 x 0 x 1"),
        (lambda: choose_schedule(Gemm(1, 1, 1), H100), "H100: tile schedules are for the matrix cores of gfx942"),
    ],
)
def test_what_has_no_schedule_is_refused(make, message):
    with pytest.raises(AriaError, match=message):
        make()
