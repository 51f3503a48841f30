"""Scores of numbers: how well answers follow the truth (Pearson, Spearman), and how far they are off.

Pearson's r = sum (x - mean x)(y - mean y) / sqrt(sum (x - mean x)^2 sum (y - mean y)^2); Spearman's is that of the
ranks, where equal values share the mean of their ranks. If one side is constant, there is nothing to follow: 0, not
nan.

Their intervals are Fisher's (1921): with z = atanh r, the ends are tanh(z +- 1.96 sqrt(v / (N - 3))), where v = 1 for
Pearson's and v = 1 + r^2 / 2 for Spearman's (Bonett & Wright 2000, Psychometrika 65, 23-28).
"""

from math import atanh, sqrt, tanh
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike

from .classes import Floats, Interval


def pearson(truth: ArrayLike, answers: ArrayLike) -> float:
    """Pearson's correlation, from -1 to 1; 0.0 where truth or answers are constant."""
    x, y = _pair(truth, answers)
    if (x == x[0]).all() or (y == y[0]).all():
        return 0.0
    x, y = _centred(x), _centred(y)
    return float(np.clip(x @ y / np.sqrt((x @ x) * (y @ y)), -1.0, 1.0))


def spearman(truth: ArrayLike, answers: ArrayLike) -> float:
    """Spearman's correlation of ranks, from -1 to 1; 0.0 where truth or answers are constant."""
    x, y = _pair(truth, answers)
    return pearson(_ranks(x), _ranks(y))


def rmse(truth: ArrayLike, answers: ArrayLike) -> float:
    """Root of the mean squared error, in the unit of the truth."""
    x, y = _pair(truth, answers)
    return float(np.sqrt(np.mean((x - y) ** 2)))


def mae(truth: ArrayLike, answers: ArrayLike) -> float:
    """Mean absolute error, in the unit of the truth."""
    x, y = _pair(truth, answers)
    return float(np.mean(np.abs(x - y)))


def correlation_interval(r: float, rows: int, *, ranked: bool = False, confidence: float = 0.95) -> Interval:
    """Fisher's interval of a correlation over `rows` rows, `ranked`: of Spearman's. Less than 4 rows say nothing."""
    if rows < 4:
        return -1.0, 1.0
    if abs(r) >= 1:
        return r, r
    variance = (1 + r * r / 2 if ranked else 1.0) / (rows - 3)
    reach = NormalDist().inv_cdf((1 + confidence) / 2) * sqrt(variance)
    return tanh(atanh(r) - reach), tanh(atanh(r) + reach)


def regression_scores(truth: ArrayLike, answers: ArrayLike) -> dict[str, float]:
    """What is reported of a run: rows, both correlations with their intervals (none where one side is constant), both
    errors."""
    x, y = _pair(truth, answers)
    scores: dict[str, float] = {"rows": len(x)}
    follows = bool((x != x[0]).any() and (y != y[0]).any())
    for score in (pearson, spearman):
        name, value = score.__name__, score(x, y)
        scores[name] = value
        if follows:
            ends = correlation_interval(value, len(x), ranked=score is spearman)
            scores[f"{name}_low"], scores[f"{name}_high"] = ends
    return scores | {"rmse": rmse(x, y), "mae": mae(x, y)}


def _centred(values: Floats) -> Floats:
    """Minus their mean, and scaled to at most 1, so that squares neither overflow nor vanish."""
    values = values - values.mean()
    return values / np.abs(values).max()


def _ranks(values: Floats) -> Floats:
    """[N] ranks from 1; equal values share their mean rank."""
    _, place, times = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(times) - (times - 1) / 2)[place]


def _pair(truth: ArrayLike, answers: ArrayLike) -> tuple[Floats, Floats]:
    x, y = np.asarray(truth, dtype=np.float64), np.asarray(answers, dtype=np.float64)
    if x.ndim != 1 or x.shape != y.shape or len(x) == 0:
        raise ValueError(f"truth {list(x.shape)} and answers {list(y.shape)}: need [N] twice, at least one row")
    if not (np.isfinite(x).all() and np.isfinite(y).all()):
        raise ValueError("truth or answers that are no numbers (nan or infinite)")
    return x, y
