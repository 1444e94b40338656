"""Which XCD runs which tile, tile by tile, and what each XCD's L2 then fetches.

The count that `kernels.gfx942.workgroups` does for whole runs at once, done here for every single tile. It also covers the
order without renumbering, which no kernel of the project uses. The benchmark shows with it what renumbering saves, and the
tests compare the two counts.
"""

from collections.abc import Sequence

from aria_ray.errors import AriaError
from aria_ray.kernels.gfx942.mfma import BYTES, Tile, residency
from aria_ray.kernels.gfx942.tiles import Gemm
from aria_ray.kernels.gfx942.workgroups import grouped_tile
from aria_ray.machine.specs import Accelerator


def remap_xcd(workgroup: int, num_workgroups: int, num_xcds: int) -> int:
    """Position in the order of tiles that a workgroup takes, so that each XCD has a contiguous run: a bijection.

    The hardware hands workgroup w to XCD w mod `num_xcds`. Where the XCDs do not divide the workgroups, the first XCDs have one
    tile more, as the hardware gives them one workgroup more.

    Raises:
        AriaError: the workgroup is not one of `num_workgroups`.
    """
    if not 0 <= workgroup < num_workgroups or num_xcds < 1:
        raise AriaError(f"workgroup {workgroup} of {num_workgroups} over {num_xcds} dies: it must be one of them, from 0")
    xcd, turn = workgroup % num_xcds, workgroup // num_xcds
    share, longer = divmod(num_workgroups, num_xcds)
    return xcd * share + min(xcd, longer) + turn


def tiles_by_xcd(shape: tuple[int, int], num_xcds: int, *, group_m: int, remap: bool) -> list[list[tuple[int, int]]]:
    """Tiles of each XCD in the order they start; `shape` is the number of rows and columns of tiles."""
    number = shape[0] * shape[1]
    return [
        [
            grouped_tile(remap_xcd(workgroup, number, num_xcds) if remap else workgroup, *shape, group_m)
            for workgroup in range(xcd, number, num_xcds)
        ]
        for xcd in range(num_xcds)
    ]


def l2_fetched_bytes(
    tiles: Sequence[tuple[int, int]], row_bytes: Sequence[int], column_bytes: Sequence[int], *, slots: int, l2_bytes: int
) -> int:
    """Bytes of A and B that one XCD's L2 fetches for its tiles.

    `row_bytes[i]` are those of A that row i of tiles needs, `column_bytes[j]` those of B. `slots` workgroups run on the XCD at
    a time and step through K together, so what several of them need is fetched once. The next `slots` workgroups find nothing
    of it left, unless all that the XCD ever needs fits into its L2.
    """

    def needed(some: Sequence[tuple[int, int]]) -> int:
        rows, columns = ({tile[side] for tile in some} for side in (0, 1))
        return sum(row_bytes[row] for row in rows) + sum(column_bytes[column] for column in columns)

    everything = needed(tiles)
    if everything <= l2_bytes:
        return everything
    return sum(needed(tiles[first : first + slots]) for first in range(0, len(tiles), slots))


def traffic_by_tile(gemm: Gemm, tile: Tile, accelerator: Accelerator, group_m: int, *, remap: bool) -> tuple[int, ...]:
    """Bytes of A and B that each XCD's L2 fetches, its tiles renumbered into a contiguous run or as the hardware deals them."""
    row_bytes, column_bytes = (
        [min(block, size - first) * gemm.k * BYTES[gemm.dtype] for first in range(0, size, block)]
        for size, block in ((gemm.m, tile.block_m), (gemm.n, tile.block_n))
    )
    xcds, l2_bytes = accelerator.xcds, accelerator.l2_bytes
    assert xcds is not None
    assert l2_bytes is not None
    slots = accelerator.compute_units // xcds * residency(tile, gemm.dtype, accelerator).workgroups
    dealt = tiles_by_xcd((len(row_bytes), len(column_bytes)), xcds, group_m=group_m, remap=remap)
    return tuple(l2_fetched_bytes(tiles, row_bytes, column_bytes, slots=slots, l2_bytes=l2_bytes // xcds) for tiles in dealt)
