"""Intervals: how far a figure may be from the truth that the cases, or the windows, are a sample of."""

import math
import statistics
from collections.abc import Sequence

from scipy import stats

Z_95 = 1.959964
"""Two-sided 95 % quantile of the normal distribution."""


def wilson_interval(successes: int, cases: int) -> tuple[float, float]:
    """95 % score interval of a share (Wilson 1927): stays within 0..1 and holds for small numbers of cases."""
    if cases == 0:
        return (0.0, 1.0)
    z, share = Z_95, successes / cases
    centre = (share + z * z / (2 * cases)) / (1 + z * z / cases)
    half = z * math.sqrt(share * (1 - share) / cases + z * z / (4 * cases * cases)) / (1 + z * z / cases)
    return (max(0.0, centre - half), min(1.0, centre + half))


def paired_difference(ours: Sequence[bool], base: Sequence[bool]) -> tuple[float, float, float]:
    """Share of `ours` less share of `base` over the same cases, with its 95 % interval: (difference, low, high).

    Only the cases that the two decide differently say anything. The interval is Bonett and Price's (2012) adjusted Wald one,
    which adds one such case each way and holds for few cases too.

    Raises:
        ValueError: the two are not of one length, or empty.
    """
    if len(ours) != len(base) or not ours:
        raise ValueError(f"{len(ours)} and {len(base)} cases cannot be paired; both must be of the same cases, one or more")
    gained = sum(mine and not theirs for mine, theirs in zip(ours, base, strict=True))
    lost = sum(theirs and not mine for mine, theirs in zip(ours, base, strict=True))
    cases = len(ours)
    up, down = (gained + 1) / (cases + 2), (lost + 1) / (cases + 2)
    half = Z_95 * math.sqrt((up + down - (up - down) ** 2) / (cases + 2))
    return ((gained - lost) / cases, max(-1.0, up - down - half), min(1.0, up - down + half))


def mean_interval(values: Sequence[float]) -> tuple[float, float] | None:
    """95 % interval of the mean of independent values (Student's t); None for fewer than three."""
    if len(values) < 3:
        return None
    half = float(stats.t.ppf(0.975, len(values) - 1)) * statistics.stdev(values) / math.sqrt(len(values))
    mean = statistics.mean(values)
    return (mean - half, mean + half)


def median_interval(values: Sequence[float]) -> tuple[float, float] | None:
    """95 % interval of the median, of any distribution: two order statistics (sign test); None for fewer than six."""
    if len(values) < 6:
        return None
    ordered = sorted(values)
    below = int(stats.binom.ppf(0.025, len(values), 0.5))
    return (ordered[below - 1], ordered[-below]) if below else (ordered[0], ordered[-1])


def deviation_interval(values: Sequence[float]) -> tuple[float, float] | None:
    """95 % interval of the standard deviation of independent normal values (chi-square); None for fewer than three."""
    if len(values) < 3:
        return None
    degrees, deviation = len(values) - 1, statistics.stdev(values)
    high, low = (math.sqrt(degrees / float(stats.chi2.ppf(side, degrees))) for side in (0.025, 0.975))
    return (deviation * low, deviation * high)


def relative_trend(values: Sequence[float]) -> tuple[float, float, float] | None:
    """How much a straight line through equally spaced values rises from the first to the last, as a share of their mean.

    (rise, low, high), with the 95 % interval of ordinary least squares; None for fewer than four values, or a mean of 0.
    """
    if len(values) < 4 or statistics.mean(values) == 0:
        return None
    fit = stats.linregress(range(len(values)), values)
    span = (len(values) - 1) / statistics.mean(values)
    half = float(stats.t.ppf(0.975, len(values) - 2)) * float(fit.stderr)
    return (float(fit.slope) * span, (float(fit.slope) - half) * span, (float(fit.slope) + half) * span)
