"""In which order the tiles of a matrix product run over the dies (XCDs) of an MI300X, and what each die's L2 then fetches.

The hardware hands workgroup w to die w mod 8, and each die has an L2 of its own, of 4 MiB (AMD, workload tuning). So tiles that
follow each other, and share rows of A or columns of B, land on different dies; walked in groups of 8 rows, as is usual, each
die gets one row of every group and all columns. Renumbering gives each die a contiguous run of tiles; walking a run in groups
of `group_m` rows keeps it compact, so that it needs few different rows and columns, whatever the shape.
"""

from collections.abc import Sequence

from aria_ray.errors import AriaError


def remap_xcd(workgroup: int, num_workgroups: int, num_xcds: int) -> int:
    """The place in the order of tiles that a workgroup takes, so that each die has a contiguous run: a bijection.

    Where the number is no multiple of the dies, the first dies have one more, as they get one workgroup more from the hardware.

    Raises:
        AriaError: no such workgroup.
    """
    if not 0 <= workgroup < num_workgroups or num_xcds < 1:
        raise AriaError(f"workgroup {workgroup} of {num_workgroups} over {num_xcds} dies: it must be one of them, from 0")
    xcd, turn = workgroup % num_xcds, workgroup // num_xcds
    share, longer = divmod(num_workgroups, num_xcds)
    return xcd * share + min(xcd, longer) + turn


def grouped_tile(place: int, tile_rows: int, tile_columns: int, group_m: int) -> tuple[int, int]:
    """Row and column of the tile at a place: down the `group_m` rows of a group, column by column, then the next group."""
    first = place // (group_m * tile_columns) * group_m
    rows = min(group_m, tile_rows - first)
    column, row = divmod(place - first * tile_columns, rows)
    return first + row, column


def tiles_by_xcd(shape: tuple[int, int], num_xcds: int, *, group_m: int, remap: bool) -> list[list[tuple[int, int]]]:
    """The tiles of each die, in the order they start, of a product with that many rows and columns of tiles."""
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
    """Bytes of A and B that one die's L2 fetches for its tiles.

    `row_bytes[i]` are those of A that row i of tiles needs, `column_bytes[j]` those of B. `slots` workgroups run on the die at
    a time and step through K together, so what several of them need is fetched once; the next so many find nothing of it left,
    unless all that the die ever needs fits into its L2.
    """

    def needed(part: Sequence[tuple[int, int]]) -> int:
        rows, columns = {row for row, _ in part}, {column for _, column in part}
        return sum(row_bytes[row] for row in rows) + sum(column_bytes[column] for column in columns)

    everything = needed(tiles)
    if everything <= l2_bytes:
        return everything
    return sum(needed(tiles[first : first + slots]) for first in range(0, len(tiles), slots))
