"""Each die gets a contiguous run of tiles, none is left out, and what that saves is a matter of counting."""

import random
from itertools import chain

import pytest
from tile_order import l2_fetched_bytes, remap_xcd, tiles_by_xcd

from aria_ray.errors import AriaError
from aria_ray.kernels.gfx942.workgroups import grouped_tile, run_fetched_bytes, runs_by_xcd

XCDS = 8


@pytest.mark.parametrize("xcds", [1, 3, 8])
def test_renumbering_deals_every_tile_out_once_in_contiguous_runs(xcds):
    for number in [*range(1, 70), 303, 304, 305, 512, 1001, 1792]:
        runs = [[remap_xcd(each, number, xcds) for each in range(xcd, number, xcds)] for xcd in range(xcds)]
        assert list(chain(*runs)) == list(range(number))  # die after die, each in order, without a gap
        assert [list(run) for run in runs_by_xcd(number, xcds)] == runs


def test_ten_workgroups_over_eight_dies():
    # The hardware gives dies 0 and 1 two workgroups each (0 and 8, 1 and 9), the others one.
    assert [remap_xcd(each, 10, XCDS) for each in range(10)] == [0, 2, 4, 5, 6, 7, 8, 9, 1, 3]


@pytest.mark.parametrize(("workgroup", "number"), [(-1, 4), (4, 4), (0, 0)])
def test_a_workgroup_that_is_not_there_is_refused(workgroup, number):
    with pytest.raises(AriaError, match=f"workgroup {workgroup} of {number}"):
        remap_xcd(workgroup, number, XCDS)


def test_groups_go_down_their_rows_first():
    assert [grouped_tile(place, 3, 2, 2) for place in range(6)] == [(0, 0), (1, 0), (0, 1), (1, 1), (2, 0), (2, 1)]


def test_grouping_reaches_every_tile_once():
    for rows in range(1, 12):
        for columns in (1, 2, 5, 9):
            for group in (1, 2, 4, 8, 16):
                tiles = {grouped_tile(place, rows, columns, group) for place in range(rows * columns)}
                assert tiles == {(row, column) for row in range(rows) for column in range(columns)}


def test_every_die_together_has_every_tile():
    for remap in (True, False):
        tiles = chain(*tiles_by_xcd((7, 11), XCDS, group_m=4, remap=remap))
        assert sorted(tiles) == [(row, column) for row in range(7) for column in range(11)]


def test_a_contiguous_square_of_tiles_needs_the_fewest_rows_and_columns():
    # 8 x 8 tiles over 4 dies. Renumbered in groups of 4 rows a die has a square of 4 x 4: 4 rows and 4 columns. As dealt out,
    # die 0 has rows 0 and 4 of all 8 columns.
    rows, columns = [10] * 8, [100] * 8

    def fetched(remap):
        tiles = tiles_by_xcd((8, 8), 4, group_m=4, remap=remap)[0]
        return l2_fetched_bytes(tiles, rows, columns, slots=16, l2_bytes=0)

    assert (fetched(True), fetched(False)) == (4 * 10 + 4 * 100, 2 * 10 + 8 * 100)


def test_what_does_not_fit_is_fetched_again_in_the_next_round():
    tiles = [(0, 0), (1, 0), (0, 1), (1, 1)]
    rows, columns = [1, 2], [10, 20]

    def fetched(slots, l2_bytes):
        return l2_fetched_bytes(tiles, rows, columns, slots=slots, l2_bytes=l2_bytes)

    assert fetched(4, 0) == 33
    assert fetched(2, 32) == (3 + 10) + (3 + 20)
    assert fetched(2, 33) == 33
    assert fetched(1, 0) == 11 + 12 + 21 + 22


@pytest.mark.parametrize("group", [1, 2, 3, 4, 16])
def test_a_run_fetches_what_its_tiles_fetch_one_by_one(group):
    """Every run of every product of up to 7 x 5 tiles, with rows and columns of any size, in one part and in several."""
    draw = random.Random(3)
    for num_rows in range(1, 8):
        for num_columns in range(1, 6):
            rows, columns = ([draw.randrange(1, 1000) for _ in range(number)] for number in (num_rows, num_columns))
            tiles = [grouped_tile(place, num_rows, num_columns, group) for place in range(num_rows * num_columns)]
            for first in range(len(tiles)):
                for end in range(first, len(tiles) + 1):
                    how = {"slots": draw.randrange(1, 8), "l2_bytes": draw.choice((0, 2000))}
                    by_run = run_fetched_bytes(range(first, end), group, rows, columns, **how)
                    assert by_run == l2_fetched_bytes(tiles[first:end], rows, columns, **how)
