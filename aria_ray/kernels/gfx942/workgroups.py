"""Order in which the tiles of a matrix product run over the dies (XCDs) of an MI300X, and what each XCD's L2 then fetches.

The hardware hands workgroup w to XCD w mod 8, and each XCD has an L2 of its own, of 4 MiB (AMD, workload tuning). So tiles that
follow each other, and share rows of A or columns of B, land on different XCDs. Walked in groups of 8 rows, as is usual, each
XCD gets one row of every group and all columns. The kernel renumbers them (`gemm.tile_of_program`): each XCD gets a contiguous
run of tiles. Walking a run in groups of `group_m` rows keeps it compact, so that it needs few different rows and columns.
"""

from collections.abc import Callable, Sequence
from itertools import accumulate, pairwise


def runs_by_xcd(num_workgroups: int, num_xcds: int) -> list[range]:
    """Positions in the order of tiles that each XCD takes; the first XCDs have one more where they do not divide the tiles."""
    share, longer = divmod(num_workgroups, num_xcds)
    return [range(*ends) for ends in pairwise(xcd * share + min(xcd, longer) for xcd in range(num_xcds + 1))]


def grouped_tile(place: int, tile_rows: int, tile_columns: int, group_m: int) -> tuple[int, int]:
    """Row and column of the tile at a position: down the `group_m` rows of a group, column by column, then the next group."""
    first = place // (group_m * tile_columns) * group_m
    rows = min(group_m, tile_rows - first)
    column, row = divmod(place - first * tile_columns, rows)
    return first + row, column


def run_fetched_bytes(
    places: range, group_m: int, row_bytes: Sequence[int], column_bytes: Sequence[int], *, slots: int, l2_bytes: int
) -> int:
    """Bytes of A and B that one XCD's L2 fetches for a contiguous run of tiles (`runs_by_xcd`).

    `row_bytes[i]` are those of A that row i of tiles needs, `column_bytes[j]` those of B. `slots` workgroups run on the XCD at
    a time and step through K together, so what several of them need is fetched once. The next `slots` workgroups find nothing
    of it left, unless all that the XCD ever needs fits into its L2.

    A part of a run needs neighbouring rows and neighbouring columns, with one exception: within a group of rows the last column
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
    """`needed` gives the bytes of all tiles from one position to another, both included."""
    if not places:
        return 0
    everything = needed(places[0], places[-1])
    if everything <= l2_bytes:
        return everything
    return sum(needed(first, min(first + slots, places.stop) - 1) for first in places[::slots])
