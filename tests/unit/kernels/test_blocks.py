"""Which tiles the kernel takes on which device."""

import pytest

from aria_ray.kernels.blocks import blocks_for, known_device
from aria_ray.kernels.gfx942.tiles import Gemm, choose_schedule
from aria_ray.machine.specs import H100, MI300X


def test_gfx942_takes_the_schedule():
    blocks, schedule = blocks_for(2048, 1024, 4096, "bf16", MI300X), choose_schedule(Gemm(2048, 1024, 4096), MI300X)
    assert (blocks.block_m, blocks.block_n, blocks.block_k) == (schedule.block_m, schedule.block_n, schedule.block_k)
    assert (blocks.group_m, blocks.num_xcds) == (schedule.group_m, 8)
    assert blocks.options["matrix_instr_nonkdim"] == schedule.instruction[0]


def test_hopper_takes_the_wide_tile_where_there_are_enough():
    assert blocks_for(2048, 4096, 4096, "bf16", H100).block_n == 256  # 256 tiles for 132 multiprocessors
    assert blocks_for(2048, 1024, 4096, "bf16", H100).block_n == 128  # 64 would leave half of them idle
    assert set(blocks_for(2048, 1024, 4096, "bf16", H100).options) == {"num_warps", "num_stages"}


@pytest.mark.parametrize(("rank", "block_r"), [(1, 16), (16, 16), (17, 32), (64, 64), (200, 64)])
def test_the_rank_is_taken_in_powers_of_two_up_to_a_step(rank, block_r):
    constants = blocks_for(2048, 4096, 4096, "bf16", MI300X).constants(rank, 4096)
    assert (constants["RANK"], constants["BLOCK_R"], constants["BLOCK_K"]) == (rank, block_r, 64)


def test_the_inner_size_is_whole_where_the_step_divides_it():
    blocks = blocks_for(2048, 4096, 4096, "bf16", MI300X)
    assert [blocks.constants(16, k)["WHOLE_K"] for k in (4096, 4100)] == [True, False]


@pytest.mark.parametrize(("units", "xcds"), [(304, 8), (228, 6), (38, 1), (20, 1)])
def test_a_part_of_an_mi300_has_fewer_dies(units, xcds):
    device = known_device("gfx942", units)
    assert (device.xcds, device.compute_units) == (xcds, units)
    assert blocks_for(2048, 4096, 4096, "bf16", device).num_xcds == xcds


@pytest.mark.parametrize("target", ["gfx90a", "sm_80"])
def test_what_is_not_known_takes_what_fits_anywhere(target):
    device = known_device(target, 108)
    assert device.xcds is None
    blocks = blocks_for(2048, 4096, 4096, "bf16", device)
    assert (blocks.block_m + blocks.block_n) * blocks.block_k * 2 * blocks.num_stages <= 64 * 1024
    assert set(blocks.options) == {"num_warps", "num_stages"}
