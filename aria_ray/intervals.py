"""95 % confidence intervals of what is measured on a sample of cases, requests or time windows."""

import math
import statistics
from collections import defaultdict
from collections.abc import Hashable, Sequence

from scipy import stats

Z_95 = 1.959964
"""Two-sided 95 % quantile of the normal distribution."""


def wilson_interval(successes: int, cases: int) -> tuple[float, float]:
    """Score interval of a share (Wilson 1927): stays within 0 to 1 and holds for few cases. No case at all gives (0, 1)."""
    if cases == 0:
        return (0.0, 1.0)
    interval = stats.binomtest(successes, cases).proportion_ci(method="wilson")
    return (float(interval.low), float(interval.high))


def clustered_wilson_interval(successes: Sequence[bool], clusters: Sequence[Hashable]) -> tuple[float, float]:
    """Score interval of a share whose cases come in clusters, such as several wordings of one request.

    Wilson's interval for the effective number of cases (`_effective_cases`), as Franco, Little, Louis and Slud (2019) recommend
    for shares in cluster samples: unlike a bootstrap's, it does not shrink to a point where all cases are right. With one case
    in each cluster it is `wilson_interval`.

    Raises:
        ValueError: `successes` and `clusters` differ in length, or are empty.
    """
    cases, share = _effective_cases(successes, clusters), sum(successes) / len(successes)
    centre = (share + Z_95**2 / (2 * cases)) / (1 + Z_95**2 / cases)
    half = Z_95 / (1 + Z_95**2 / cases) * math.sqrt(share * (1 - share) / cases + Z_95**2 / (4 * cases**2))
    # Rounding leaves 1e-17 where none is right.
    return (max(0.0, centre - half) if share > 0 else 0.0, min(1.0, centre + half) if share < 1 else 1.0)


def paired_difference(
    ours: Sequence[bool], base: Sequence[bool], clusters: Sequence[Hashable] | None = None
) -> tuple[float, float, float]:
    """Share of `ours` minus share of `base` over the same cases, with its interval: (difference, low, high).

    Adjusted Wald interval for paired shares (Bonett and Price 2012). It uses the cases where the two disagree and adds one
    disagreement in each direction, so it holds for few cases too. scipy has no interval for a paired difference of shares.
    Cases that come in `clusters` count as their effective number (`_effective_cases`).

    Raises:
        ValueError: `ours`, `base` and `clusters` differ in length, or are empty.
    """
    if len(ours) != len(base) or not ours:
        raise ValueError(f"{len(ours)} and {len(base)} cases cannot be paired; give the same cases twice, at least one")
    gained = sum(mine and not theirs for mine, theirs in zip(ours, base, strict=True))
    lost = sum(theirs and not mine for mine, theirs in zip(ours, base, strict=True))
    cases: float = len(ours)
    difference = (gained - lost) / cases
    if clusters is not None:
        cases = _effective_cases([mine - theirs for mine, theirs in zip(ours, base, strict=True)], clusters)
    up, down = (cases * number / len(ours) for number in (gained, lost))
    up, down = (up + 1) / (cases + 2), (down + 1) / (cases + 2)
    half = Z_95 * math.sqrt((up + down - (up - down) ** 2) / (cases + 2))
    return (difference, max(-1.0, up - down - half), min(1.0, up - down + half))


def _effective_cases(values: Sequence[float], clusters: Sequence[Hashable]) -> float:
    """Number of independent cases whose mean is known as well as that of these, between the clusters' number and the cases'.

    The number of cases by the design effect (Kish 1965): the variance of the mean of clusters by that of independent cases.
    Where that cannot be told, because all values are equal, a cluster counts as one case.
    """
    if len(values) != len(clusters) or not values:
        raise ValueError(f"{len(values)} cases and {len(clusters)} clusters cannot be paired; give each case its cluster")
    cases, mean = len(values), statistics.fmean(values)
    residuals: dict[Hashable, float] = defaultdict(float)
    for value, cluster in zip(values, clusters, strict=True):
        residuals[cluster] += value - mean
    number = len(residuals)
    within = sum((value - mean) ** 2 for value in values)
    if number == 1 or within == 0:
        return number
    between = sum(residual**2 for residual in residuals.values()) * number / (number - 1)
    # Above the number of cases, or infinite, where the clusters are more alike than chance would make them.
    return min(cases, max(number, cases * (within * cases / (cases - 1)) / between)) if between > 0 else cases


def mean_interval(values: Sequence[float]) -> tuple[float, float] | None:
    """Interval of the mean of independent values (Student's t), in their unit; None for fewer than three."""
    if len(values) < 3:
        return None
    # Scaled here: with a `scale` of 0, which equal values have, scipy gives NaN.
    low, high = stats.t.interval(0.95, len(values) - 1)
    mean, error = statistics.mean(values), float(stats.sem(values))
    return (mean + float(low) * error, mean + float(high) * error)


def median_interval(values: Sequence[float]) -> tuple[float, float] | None:
    """Interval of the median of any distribution, in the values' unit; None for fewer than six, which are too few.

    Its ends are two of the values (order statistics, by the sign test).
    """
    if len(values) < 6:
        return None
    interval = stats.quantile_test(values).confidence_interval(0.95)
    return (float(interval.low), float(interval.high))


def deviation_interval(values: Sequence[float]) -> tuple[float, float] | None:
    """Interval of the standard deviation of independent normal values (chi-square); None for fewer than three."""
    if len(values) < 3:
        return None
    degrees, deviation = len(values) - 1, statistics.stdev(values)
    high, low = (math.sqrt(degrees / float(stats.chi2.ppf(side, degrees))) for side in (0.025, 0.975))
    return (deviation * low, deviation * high)


def relative_trend(values: Sequence[float]) -> tuple[float, float, float] | None:
    """Rise of a straight line through equally spaced values, from the first to the last, as a share of their mean.

    Ordinary least squares: (rise, low, high). None for fewer than four values, or a mean of 0.
    """
    if len(values) < 4 or statistics.mean(values) == 0:
        return None
    fit = stats.linregress(range(len(values)), values)
    span = (len(values) - 1) / statistics.mean(values)
    half = float(stats.t.ppf(0.975, len(values) - 2)) * float(fit.stderr)
    return (float(fit.slope) * span, (float(fit.slope) - half) * span, (float(fit.slope) + half) * span)
