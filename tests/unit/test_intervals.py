"""Intervals, against values from the literature and against simulation."""

import random
import statistics

import pytest

from aria_ray.intervals import (
    clustered_wilson_interval,
    mean_interval,
    median_interval,
    paired_difference,
    relative_trend,
    wilson_interval,
)


def test_wilson_interval():
    # Agresti and Coull 1998 give 0 of 10 and 5 of 10.
    assert wilson_interval(0, 10) == pytest.approx((0.0, 0.2775), abs=1e-3)
    assert wilson_interval(5, 10) == pytest.approx((0.2366, 0.7634), abs=1e-3)
    assert wilson_interval(0, 0) == (0.0, 1.0)


def test_mean_interval():
    # The t quantile for 4 degrees of freedom is 2.776 in every table; 1 to 5 have a standard error of sqrt(2.5 / 5).
    assert mean_interval([1, 2, 3, 4, 5]) == pytest.approx((3 - 2.776 * 0.5**0.5, 3 + 2.776 * 0.5**0.5), abs=1e-3)
    assert mean_interval([7.0, 7.0, 7.0]) == (7.0, 7.0)


@pytest.mark.parametrize(("count", "low", "high"), [(6, 1, 6), (10, 2, 9), (20, 6, 15), (50, 18, 33), (100, 40, 61)])
def test_median_interval(count, low, high):
    # Ranks of the 95 % interval of the sign test, as statistical tables give them.
    values = list(range(1, count + 1))
    random.Random(0).shuffle(values)
    assert median_interval(values) == (low, high)


def covered(draw, interval, truth, repeats=400):
    """How often the interval of a fresh sample holds the truth."""
    intervals = [interval(draw(random.Random(seed))) for seed in range(repeats)]
    return statistics.mean(low <= truth <= high for low, high in intervals)


def test_the_paired_interval_holds_the_truth_nineteen_times_in_twenty():
    def draw(rng):
        base = [rng.random() < 0.5 for _ in range(60)]
        return [item if rng.random() < 0.7 else rng.random() < 0.8 for item in base], base

    # Ours: a base answer stays with 0.7, else it is right with 0.8, so 0.35 + 0.24 = 0.59 against 0.5.
    share = covered(draw, lambda pair: paired_difference(*pair)[1:], 0.09)
    assert 0.92 < share < 0.99


def test_pairs_that_agree_leave_little_doubt_and_others_more():
    same = [True] * 50 + [False] * 50
    value, low, high = paired_difference(same, same)
    assert (value, low, high) == (0, pytest.approx(-0.0272, abs=1e-3), pytest.approx(0.0272, abs=1e-3))
    with pytest.raises(ValueError, match="2 and 1 cases"):
        paired_difference([True, False], [True])


@pytest.mark.parametrize(("interval", "truth"), [(mean_interval, 10.0), (median_interval, 10.0)])
def test_the_intervals_of_mean_and_median_hold_the_truth(interval, truth):
    share = covered(lambda rng: [rng.gauss(10, 3) for _ in range(20)], interval, truth)
    assert 0.92 < share < 0.99


def test_few_values_have_no_interval():
    assert mean_interval([1.0, 2.0]) is None
    assert median_interval([1.0, 2.0, 3.0, 4.0, 5.0]) is None
    assert relative_trend([1.0, 2.0, 3.0]) is None
    assert relative_trend([0.0] * 5) is None


def test_a_trend_is_the_rise_over_the_whole_time():
    # From 90 to 110: a fifth of the mean of 100.
    rise, low, high = relative_trend([90.0, 95.0, 100.0, 105.0, 110.0])
    assert (rise, low, high) == (pytest.approx(0.2), pytest.approx(0.2), pytest.approx(0.2))
    share = covered(
        lambda rng: [100 - index + rng.gauss(0, 5) for index in range(20)], lambda v: relative_trend(v)[1:], -19 / 90.5
    )
    assert 0.9 < share <= 1


def test_cases_in_clusters_of_one_are_independent_ones():
    right = [True] * 14 + [False] * 6
    assert clustered_wilson_interval(right, range(20)) == pytest.approx(wilson_interval(14, 20), abs=1e-5)
    base = [index % 3 == 0 for index in range(20)]
    assert paired_difference(right, base, range(20)) == pytest.approx(paired_difference(right, base))


def test_copies_of_a_case_add_nothing():
    right = [True] * 14 + [False] * 6
    copies, clusters = right * 5, list(range(20)) * 5
    assert clustered_wilson_interval(copies, clusters) == pytest.approx(wilson_interval(14, 20), abs=1e-2)
    base = [index % 3 == 0 for index in range(20)]
    assert paired_difference(copies, base * 5, clusters) == pytest.approx(paired_difference(right, base), abs=2e-2)


def test_clusters_that_are_all_right_count_as_one_case_each():
    assert clustered_wilson_interval([True] * 50, list(range(10)) * 5) == pytest.approx(wilson_interval(10, 10), abs=1e-5)
    for cases in range(1, 30):
        assert clustered_wilson_interval([False] * cases, range(cases))[0] == 0.0
        assert clustered_wilson_interval([True] * cases, range(cases))[1] == 1.0
    assert clustered_wilson_interval([True] * 5, ["the same"] * 5) == pytest.approx(wilson_interval(1, 1), abs=1e-5)
    with pytest.raises(ValueError, match="2 cases and 1 clusters"):
        clustered_wilson_interval([True, False], [1])


def test_the_clustered_interval_holds_the_truth_where_the_plain_one_does_not():
    def draw(rng):
        """Thirty requests in four wordings: right in all of them, or in none, with 0.6; else each by itself."""
        whole = [rng.random() < 0.6 for _ in range(30)]
        return [
            (cluster, each if rng.random() < 0.9 else rng.random() < 0.6)
            for cluster, each in enumerate(whole)
            for _ in range(4)
        ]

    def clustered(cases):
        return clustered_wilson_interval([right for _, right in cases], [cluster for cluster, _ in cases])

    assert 0.92 < covered(draw, clustered, 0.6) < 0.99
    assert covered(draw, lambda cases: wilson_interval(sum(right for _, right in cases), len(cases)), 0.6) < 0.85
