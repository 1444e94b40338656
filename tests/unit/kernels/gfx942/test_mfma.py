"""LDS, registers and occupancy of a tile: by hand, and against what the compiler allocates for gfx942."""

import math
import re

import pytest

from aria_ray.errors import AriaError
from aria_ray.kernels.gfx942.mfma import INSTRUCTION_K, MAX_WAVES_PER_SIMD, VGPR_BLOCK, Tile, residency
from aria_ray.kernels.gfx942.tiles import KPACK
from aria_ray.machine.specs import H100, MI300X

DEFAULT_TILE = Tile(128, 128, 64)
VGPRS = 512


@pytest.mark.parametrize(
    ("tile", "warps", "warp_tile"),
    [
        (Tile(128, 128, 64), (2, 2), (64, 64)),
        (Tile(256, 256, 64, 8), (2, 4), (128, 64)),
        (Tile(16, 128, 64), (1, 4), (16, 32)),
        (Tile(128, 16, 64), (4, 1), (32, 16)),
        (Tile(16, 16, 64), (2, 2), (16, 16)),  # all four multiply the same 16 x 16
        (Tile(64, 64, 64, instruction_size=32), (2, 2), (32, 32)),
    ],
)
def test_wavefronts_share_the_tile_out(tile, warps, warp_tile):
    assert (tile.warps, tile.warp_tile) == (warps, warp_tile)


def test_the_default_tile_by_hand():
    # One step of K in LDS: (128 + 128) rows x 64 x 2 bytes. A wavefront has 64 x 64 sums over 64 lanes, and (64 + 64) x 64
    # factors of 2 bytes.
    assert DEFAULT_TILE.lds_bytes("bf16") == 32 * 1024
    assert DEFAULT_TILE.lds_bytes("fp8") == 16 * 1024
    assert DEFAULT_TILE.accumulator_vgprs == 64
    assert DEFAULT_TILE.operand_vgprs("bf16") == 64
    held = residency(DEFAULT_TILE, "bf16", MI300X)
    assert (held.workgroups, held.waves_per_simd, held.limited_by) == (2, 2, "LDS")


@pytest.mark.parametrize(
    ("tile", "workgroups", "limited_by"),
    [
        (Tile(256, 256, 64, 8), 1, "LDS"),  # exactly the 64 KiB that there are
        (Tile(256, 256, 128, 8), 0, "LDS"),
        (Tile(128, 128, 32), 3, "registers"),  # 136 of 512
        (Tile(16, 16, 16), 8, "wavefronts"),
    ],
)
def test_what_keeps_a_compute_unit_from_holding_more(tile, workgroups, limited_by):
    held = residency(tile, "bf16", MI300X)
    assert (held.workgroups, held.limited_by) == (workgroups, limited_by)


def test_what_is_held_fits_and_one_more_would_not():
    lds, simds = MI300X.lds_bytes_per_cu, MI300X.simds_per_cu
    for tile in (Tile(m, n, k, w) for m in (16, 64, 256) for n in (32, 128) for k in (16, 64, 256) for w in (4, 8)):
        held = residency(tile, "bf16", MI300X).workgroups

        def fits(workgroups, tile=tile):
            waves = workgroups * tile.num_warps / simds
            return (
                waves <= MAX_WAVES_PER_SIMD
                and waves * tile.vgprs("bf16") <= VGPRS
                and workgroups * tile.lds_bytes("bf16") <= lds
            )

        assert fits(held)
        assert not fits(held + 1)


def test_other_matrix_cores_are_refused():
    with pytest.raises(AriaError, match="H100: tile schedules are for the matrix cores of gfx942"):
        residency(DEFAULT_TILE, "bf16", H100)


@pytest.mark.triton
@pytest.mark.parametrize(
    ("tile", "dtype"),
    [
        (DEFAULT_TILE, "bf16"),
        (DEFAULT_TILE, "fp8"),
        (Tile(128, 256, 64, 8), "bf16"),
        (Tile(64, 64, 128), "bf16"),
        (Tile(16, 64, 128), "bf16"),
        (Tile(64, 64, 32), "bf16"),
    ],
)
def test_the_compiler_allocates_for_gfx942_what_is_predicted(tile, dtype):
    assembly, lds_bytes = compiled(tile, dtype)
    assert lds_bytes == tile.lds_bytes(dtype)
    assert noted("vgpr_count", assembly) == pytest.approx(tile.vgprs(dtype), rel=0.1)
    assert noted("vgpr_spill_count", assembly) == 0
    size = tile.instruction_size
    kind = {"bf16": "bf16", "fp8": "fp8_fp8"}[dtype]
    assert set(re.findall(r"v_mfma_\w+", assembly)) == {f"v_mfma_f32_{size}x{size}x{INSTRUCTION_K[dtype][size]}_{kind}"}


@pytest.mark.triton
def test_wavefronts_that_registers_hold_are_what_the_compiler_notes():
    for tile in (DEFAULT_TILE, Tile(128, 128, 32), Tile(64, 64, 128), Tile(64, 64, 32)):
        assembly, _ = compiled(tile, "bf16")
        blocks = math.ceil(noted("vgpr_count", assembly) / VGPR_BLOCK)
        assert int(re.search(r"; Occupancy: (\d+)", assembly)[1]) == min(MAX_WAVES_PER_SIMD, VGPRS // (blocks * VGPR_BLOCK))


def noted(name, assembly):
    """A figure of the kernel's metadata."""
    return int(re.search(rf"\.{name}:\s+(\d+)", assembly)[1])


def compiled(tile, dtype):
    """Assembly and bytes of LDS of C = A B^T, in whole tiles, as Triton makes them for gfx942 without a GPU."""
    triton = pytest.importorskip("triton")
    import triton.language as tl
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    def product(starts, depth, pitches, BLOCK_M, BLOCK_N, BLOCK_K):
        rows = tl.program_id(0) * BLOCK_M + tl.arange(0, BLOCK_M)
        columns = tl.program_id(1) * BLOCK_N + tl.arange(0, BLOCK_N)
        inner = tl.arange(0, BLOCK_K)
        a = starts[0] + rows[:, None] * pitches[0] + inner[None, :]
        b = starts[1] + inner[:, None] + columns[None, :] * pitches[1]
        sums = tl.zeros((BLOCK_M, BLOCK_N), dtype=tl.float32)
        for _ in range(0, tl.cdiv(depth, BLOCK_K)):
            sums = tl.dot(tl.load(a), tl.load(b), sums)
            a += BLOCK_K
            b += BLOCK_K
        tl.store(starts[2] + rows[:, None] * pitches[2] + columns[None, :], sums.to(tl.bfloat16))

    factor = {"bf16": "*bf16", "fp8": "*fp8e4b8"}[dtype]
    types = {"starts": (factor, factor, "*bf16"), "depth": "i32", "pitches": ("i32",) * 3}
    sizes = {"BLOCK_M": tile.block_m, "BLOCK_N": tile.block_n, "BLOCK_K": tile.block_k}
    places = [(0, 0), (0, 1), (0, 2), (1,), (2, 0), (2, 1), (2, 2)]
    source = ASTSource(
        triton.jit(product),
        types | dict.fromkeys(sizes, "constexpr"),
        sizes,
        {place: [["tt.divisibility", 16]] for place in places},
    )
    options = {"num_warps": tile.num_warps, "num_stages": tile.num_stages, "matrix_instr_nonkdim": tile.instruction_size}
    kernel = triton.compile(source, target=GPUTarget("hip", "gfx942", 64), options=options | {"kpack": KPACK[dtype]})
    return kernel.asm["amdgcn"], kernel.metadata.shared
