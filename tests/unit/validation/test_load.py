"""Arithmetic of the load measurements, on timings made by hand."""

import pytest

from aria_ray.validation.client import StreamTiming
from aria_ray.validation.load import LoadResult, coefficient_of_variation, window_rates


def timing(start, moments):
    arrivals = tuple((start + moment, count) for count, moment in enumerate(moments, start=1))
    return StreamTiming(start, start + moments[0], start + moments[-1], len(moments), arrivals)


def test_rates_and_waits():
    result = LoadResult((timing(0.0, [0.5, 1.0, 1.5]), timing(0.0, [0.7, 2.0])), (), wall_s=2.0)
    assert result.tokens_per_s == 2.5
    assert result.ttft_ms == pytest.approx(600)


def test_nothing_measured_is_none_and_not_zero():
    empty = LoadResult((), ("HTTP 500",), wall_s=2.0)
    assert empty.tokens_per_s is None
    assert empty.ttft_ms is None
    assert coefficient_of_variation(window_rates(empty, 10)) is None


def test_windows_count_each_token_where_it_came():
    result = LoadResult((timing(100.0, [0.5, 1.5, 1.6, 9.5, 11.0]),), (), wall_s=11.0)
    assert window_rates(result, 10.0) == [1, 2, 0, 0, 0, 0, 0, 0, 0, 1]


def test_variation_leaves_the_ramp_up_out():
    assert coefficient_of_variation([0.0, 10.0, 10.0, 10.0]) == 0.0
    assert coefficient_of_variation([10.0, 8.0, 12.0]) == pytest.approx(0.2828, abs=1e-4)
