"""How sure a score is: over seeds, over rows, and of the difference of two runs.

Over seeds: Student's t. Over rows the bootstrap: of the N rows, N are drawn with replacement, the score is taken of
what was drawn, and this again and again. The middle 95% of these scores are the percentile interval, Efron &
Tibshirani 1993 (An Introduction to the Bootstrap), section 13.3. Rows must be independent: with several rows of one
document it is narrow.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .classes import Floats, Interval

# a score as a function of the means of per-row numbers: [draws, K] -> [draws]
Statistic = Callable[[Floats], Floats]

CHUNK = 1 << 21  # numbers drawn at a time: 16 MB
FEW = 0.1  # share of different rows up to which counting them is faster than drawing: measured for one number a row
ROUNDING = 1e-12  # a difference below is 0: sums in another order differ by less


@dataclass(frozen=True)
class Seeds:
    """Scores of several seeds: mean, standard deviation (n - 1) and the t-interval of the mean; nan for one seed."""

    mean: float
    deviation: float
    low: float
    high: float


def over_seeds(scores: Sequence[float], *, confidence: float = 0.95) -> Seeds:
    """Mean, deviation and interval of independent runs; with 3 seeds the interval is wide: t is 4.3 there."""
    from scipy.stats import t

    values = np.asarray(scores, dtype=np.float64)
    mean = float(values.mean())
    if len(values) < 2:
        return Seeds(mean, float("nan"), float("nan"), float("nan"))
    deviation = float(values.std(ddof=1))
    reach = float(t.ppf((1 + confidence) / 2, len(values) - 1)) * deviation / len(values) ** 0.5
    return Seeds(mean, deviation, mean - reach, mean + reach)


def mean(means: Floats) -> Floats:
    """[draws, 1] -> [draws]: the statistic of a score that is a plain mean of per-row values."""
    if means.shape[1] != 1:
        raise ValueError(f"{means.shape[1]} numbers per row: say which statistic of them")
    return means[:, 0]


def bootstrap_interval(values: ArrayLike, *, confidence: float = 0.95, draws: int = 10_000, seed: int = 0) -> Interval:
    """Percentile interval of the mean of per-row values [N], such as answer F1 or recall@k per query."""
    return bootstrap_score(values, mean, confidence=confidence, draws=draws, seed=seed)


def bootstrap_score(
    rows: ArrayLike, statistic: Statistic, *, confidence: float = 0.95, draws: int = 10_000, seed: int = 0
) -> Interval:
    """Percentile interval of a score that is a function of the means of per-row numbers.

    rows: [N] or [N, K], for instance the counts of each sentence; statistic: such as `f1_of_counts`. It gets means
    where it may expect sums, which is the same to every ratio of counts.
    """
    return _middle(statistic(_means(_table(rows), draws, seed)), confidence)


def bootstrap_statistic(
    arrays: Sequence[NDArray[Any]],
    statistic: Callable[..., float],
    *,
    confidence: float = 0.95,
    draws: int = 2000,
    seed: int = 0,
) -> Interval:
    """Percentile interval of any score: `statistic(*arrays)` of the drawn rows, called once per draw.

    arrays: [N, ...] each, with the same rows. For scores that are no function of means (Spearman, macro F1); slower
    than `bootstrap_score`, hence the fewer draws. With labels and the answers of two runs it may be a difference of
    scores.
    """
    rows = len(arrays[0])
    if rows == 0 or any(len(array) != rows for array in arrays):
        raise ValueError(f"arrays of {[len(array) for array in arrays]} rows: need equally many, at least one")
    rng = np.random.default_rng(seed)
    drawn = (rng.integers(rows, size=rows) for _ in range(draws))
    return _middle(np.array([statistic(*(array[index] for array in arrays)) for index in drawn]), confidence)


@dataclass(frozen=True)
class Paired:
    """Score of the first run minus that of the second; its interval; two-sided p of no difference."""

    difference: float
    low: float
    high: float
    p: float


def paired_bootstrap(
    a: ArrayLike,
    b: ArrayLike,
    *,
    statistic: Statistic = mean,
    confidence: float = 0.95,
    draws: int = 10_000,
    seed: int = 0,
) -> Paired:
    """Do two runs differ, that answered the same rows? The same rows are drawn for both.

    a, b: [N] or [N, K] per-row values of each run, row by row; statistic: as for `bootstrap_score`. With d the
    difference and d* those of the draws:

        interval = percentiles of d*            Efron & Tibshirani 1993, section 13.3
        p = 2 (1 + min(#{d* <= 0}, #{d* >= 0})) / (draws + 1), at most 1

    which is the level at which the interval begins to reach 0 (section 15.4); the 1s keep it above 0, since the data as
    they are count as a draw (Davison & Hinkley 1997, Bootstrap Methods, section 4.2).
    """
    first, second = _table(a), _table(b)
    if first.shape != second.shape:
        raise ValueError(f"values {list(first.shape)} and {list(second.shape)}: need those of the same rows")
    width = first.shape[1]
    both = np.concatenate([first, second], axis=1)

    def apart(means: Floats) -> Floats:
        differences = statistic(means[:, :width]) - statistic(means[:, width:])
        return np.where(np.abs(differences) < ROUNDING, 0.0, differences)

    return paired_of(float(apart(both.mean(axis=0)[None])[0]), apart(_means(both, draws, seed)), confidence=confidence)


def paired_of(difference: float, drawn: Floats, *, confidence: float = 0.95) -> Paired:
    """The verdict on a difference by those of the draws [draws], as `paired_bootstrap` gives it."""
    tail = min(int(np.count_nonzero(drawn <= 0)), int(np.count_nonzero(drawn >= 0)))
    low, high = _middle(drawn, confidence)
    return Paired(difference, low, high, min(1.0, 2 * (1 + tail) / (len(drawn) + 1)))


def _table(values: ArrayLike) -> Floats:
    """[N] or [N, K] -> [N, K] float64, checked."""
    table = np.asarray(values, dtype=np.float64)
    table = table[:, None] if table.ndim == 1 else table
    if table.ndim != 2 or 0 in table.shape or not np.isfinite(table).all():
        raise ValueError(f"values of shape {list(np.shape(values))}: need finite ones, [N] or [N, K], at least one row")
    return table


def _means(rows: Floats, draws: int, seed: int) -> Floats:
    """[N, K] -> [draws, K]: means over N rows drawn with replacement.

    Where few rows differ (right or wrong, few entities a sentence) it is drawn how often each different row comes,
    which is multinomial: the same distribution for less work.
    """
    rng = np.random.default_rng(seed)
    different, times = np.unique(rows, axis=0, return_counts=True)
    count = len(rows)
    if len(different) <= FEW * count:
        sizes = _pieces(draws, len(different))
        sums = [rng.multinomial(count, times / count, size=size) @ different for size in sizes]
    else:
        drawn = (rng.integers(count, size=(size, count)) for size in _pieces(draws, count))
        sums = [np.stack([column[index].sum(axis=1) for column in rows.T.copy()], axis=1) for index in drawn]
    return np.concatenate(sums) / count


def _pieces(draws: int, numbers: int) -> Iterator[int]:
    """Sizes that sum to `draws`, each of at most CHUNK numbers where one draw needs `numbers`."""
    most = max(1, CHUNK // numbers)
    yield from (min(most, draws - done) for done in range(0, draws, most))


def _middle(scores: Floats, confidence: float) -> Interval:
    low, high = np.quantile(scores, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)
