"""In which order the tiles of a matrix product run over the dies (XCDs) of an MI300X, and what each die's L2 then fetches.

The hardware hands workgroup w to die w mod 8, and each die has an L2 of its own, of 4 MiB (AMD, workload tuning). So tiles that
follow each other, and share rows of A or columns of B, land on different dies; walked in groups of 8 rows, as is usual, each
die gets one row of every group and all columns. Renumbering gives each die a contiguous run of tiles; walking a run in groups
of `group_m` rows keeps it compact, so that it needs few different rows and columns, whatever the shape.
"""

from collections.abc import Callable, Sequence
from itertools import accumulate, pairwise

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


def runs_by_xcd(num_workgroups: int, num_xcds: int) -> list[range]:
    """The places of each die by `remap_xcd`."""
    share, longer = divmod(num_workgroups, num_xcds)
    return [range(*ends) for ends in pairwise(xcd * share + min(xcd, longer) for xcd in range(num_xcds + 1))]


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

    def needed(first: int, last: int) -> int:
        rows, columns = ({tile[side] for tile in tiles[first : last + 1]} for side in (0, 1))
        return sum(row_bytes[row] for row in rows) + sum(column_bytes[column] for column in columns)

    return _fetched_bytes(range(len(tiles)), needed, slots, l2_bytes)


def run_fetched_bytes(
    places: range, group_m: int, row_bytes: Sequence[int], column_bytes: Sequence[int], *, slots: int, l2_bytes: int
) -> int:
    """`l2_fetched_bytes` for the tiles of a contiguous run of places (`runs_by_xcd`), without looking at every tile.

    A part of a run needs neighbouring rows and neighbouring columns, but for one edge: within a group of rows the last column
    may begin again above where the first began, and the next group again at column 0.
    """
    num_rows, num_columns = len(row_bytes), len(column_bytes)
    rows_before, columns_before = (tuple(accumulate(sizes, initial=0)) for sizes in (row_bytes, column_bytes))

    def needed(first: int, last: int) -> int:
        (row, column), (end_row, end_column) = (grouped_tile(each, num_rows, num_columns, group_m) for each in (first, last))
        top, end_top = row - row % group_m, end_row - end_row % group_m
        bottom = min(end_top + group_m, num_rows)
        rows, columns, gap = (top, bottom), (0, num_columns), 0
        if top == end_top:
            columns = column, end_column + 1
            if column == end_column:
                rows = row, end_row + 1
            elif column + 1 == end_column and end_row < row:
                gap = rows_before[row] - rows_before[end_row + 1]
        else:
            rows = row if column + 1 == num_columns else top, bottom if end_column else end_row + 1
            if top + group_m == end_top and end_column < column:
                gap = columns_before[column] - columns_before[end_column + 1]
        return rows_before[rows[1]] - rows_before[rows[0]] + columns_before[columns[1]] - columns_before[columns[0]] - gap

    return _fetched_bytes(places, needed, slots, l2_bytes)


def _fetched_bytes(places: range, needed: Callable[[int, int], int], slots: int, l2_bytes: int) -> int:
    """`needed` are the bytes of all tiles from one place to another, both among them."""
    if not places:
        return 0
    everything = needed(places[0], places[-1])
    if everything <= l2_bytes:
        return everything
    return sum(needed(first, min(first + slots, places.stop) - 1) for first in places[::slots])
