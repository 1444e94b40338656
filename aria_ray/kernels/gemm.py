"""Triton kernel of a matrix product with a low-rank product added in its epilogue, for gfx942 and sm_90.

M, N = rows and columns of the result, K = inner size of the large product, R = inner size of the low-rank product (the rank)
"""

import triton
import triton.language as tl


@triton.jit  # type: ignore[untyped-decorator]  # Triton has no types
def tile_of_program(
    program: tl.tensor, num_tiles_m: tl.tensor, num_tiles_n: tl.tensor, GROUP_M: tl.constexpr, NUM_XCDS: tl.constexpr
) -> tuple[tl.tensor, tl.tensor]:
    """Row and column of the tile that a program computes.

    The hardware deals workgroups out to the XCDs in turn (workgroup w to XCD w mod 8), and each XCD has an L2 cache of its own.
    Tiles are renumbered so that each XCD gets a run of neighbours. Within a run, `GROUP_M` rows of tiles are walked column by
    column, so that the tiles resident at a time share rows of one operand and columns of the other.
    """
    num_tiles = num_tiles_m * num_tiles_n
    xcd = program % NUM_XCDS
    each, longer = num_tiles // NUM_XCDS, num_tiles % NUM_XCDS  # the first `longer` runs have one tile more
    tile = xcd * each + tl.minimum(xcd, longer) + program // NUM_XCDS
    group_tiles = GROUP_M * num_tiles_n
    first_m = tile // group_tiles * GROUP_M
    group_m = tl.minimum(num_tiles_m - first_m, GROUP_M)
    return first_m + tile % group_tiles % group_m, tile % group_tiles // group_m


@triton.jit  # type: ignore[untyped-decorator]  # as above
def _added(left: tl.tensor, right: tl.tensor, total: tl.tensor, WIDEN: tl.constexpr) -> tl.tensor:
    """`total` + `left` `right`, accumulated in float32."""
    if WIDEN:
        left, right = left.to(tl.float32), right.to(tl.float32)
    return tl.dot(left, right, total, input_precision="ieee")


@triton.jit  # type: ignore[untyped-decorator]  # as above
def low_rank_gemm_kernel(  # noqa: PLR0913, PLR0917  # no structures: a tensor is a pointer and its strides
    left: tl.tensor,
    right: tl.tensor,
    thin: tl.tensor,
    factor: tl.tensor,
    out: tl.tensor,
    scale: tl.tensor,
    m: tl.tensor,
    n: tl.tensor,
    k: tl.tensor,
    left_m: tl.tensor,
    left_k: tl.tensor,
    right_k: tl.tensor,
    right_n: tl.tensor,
    factor_r: tl.tensor,
    factor_n: tl.tensor,
    RANK: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_K: tl.constexpr,
    BLOCK_R: tl.constexpr,
    GROUP_M: tl.constexpr,
    NUM_XCDS: tl.constexpr,
    WHOLE_K: tl.constexpr,
    WIDEN: tl.constexpr,
) -> None:
    """out (M, N) = left (M, K) right (K, N) + scale thin (M, R) factor (R, N); `thin` and `out` are contiguous.

    Offsets have 32 bits: no tensor may span more than 2^31 elements. Rows and columns beyond the edge wrap around when they are
    read, and are not written. `WHOLE_K`: BLOCK_K divides K. `WIDEN`: factors are converted to float32 first.
    """
    # On AMD the compiler uses buffer loads, with shorter addresses, where it knows that offsets are not negative.
    tl.assume(left_m >= 0)
    tl.assume(left_k >= 0)
    tl.assume(right_k >= 0)
    tl.assume(right_n >= 0)
    tl.assume(factor_r >= 0)
    tl.assume(factor_n >= 0)
    tile_m, tile_n = tile_of_program(tl.program_id(0), tl.cdiv(m, BLOCK_M), tl.cdiv(n, BLOCK_N), GROUP_M, NUM_XCDS)
    tl.assume(tile_m >= 0)
    tl.assume(tile_n >= 0)
    rows = (tile_m * BLOCK_M + tl.arange(0, BLOCK_M)) % m
    columns = (tile_n * BLOCK_N + tl.arange(0, BLOCK_N)) % n
    inner = tl.arange(0, BLOCK_K)
    left_tile = left + rows[:, None] * left_m + inner[None, :] * left_k  # (BLOCK_M, BLOCK_K)
    right_tile = right + inner[:, None] * right_k + columns[None, :] * right_n  # (BLOCK_K, BLOCK_N)
    total = tl.zeros((BLOCK_M, BLOCK_N), dtype=tl.float32)
    for start in range(0, k, BLOCK_K):
        if WHOLE_K:
            some_left, some_right = tl.load(left_tile), tl.load(right_tile)
        else:
            some_left = tl.load(left_tile, mask=inner[None, :] < k - start, other=0.0)
            some_right = tl.load(right_tile, mask=inner[:, None] < k - start, other=0.0)
        total = _added(some_left, some_right, total, WIDEN)
        left_tile += BLOCK_K * left_k
        right_tile += BLOCK_K * right_k
    # The accumulator is still in registers: the low-rank product costs R / K of the large one, and no pass over memory.
    ranks = tl.arange(0, BLOCK_R)
    for start in range(0, RANK, BLOCK_R):
        known = start + ranks < RANK
        some_thin = tl.load(thin + rows[:, None] * RANK + (start + ranks)[None, :], mask=known[None, :], other=0.0)
        some_factor = tl.load(
            factor + (start + ranks)[:, None] * factor_r + columns[None, :] * factor_n, mask=known[:, None], other=0.0
        )
        # Scaled before the product: scaling after it needs a second accumulator, with as many registers as the first.
        some_thin = (some_thin.to(tl.float32) * scale).to(thin.dtype.element_ty)
        total = _added(some_thin, some_factor, total, WIDEN)
    rows = tile_m * BLOCK_M + tl.arange(0, BLOCK_M)
    columns = tile_n * BLOCK_N + tl.arange(0, BLOCK_N)
    inside = (rows[:, None] < m) & (columns[None, :] < n)
    tl.store(out + rows[:, None] * n + columns[None, :], total.to(out.dtype.element_ty), mask=inside)
