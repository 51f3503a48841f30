"""Scores of numbers: how well answers follow the truth (Pearson, Spearman), and how far they are off.

Pearson's r = sum (x - mean x)(y - mean y) / sqrt(sum (x - mean x)^2 sum (y - mean y)^2); Spearman's is that of the
ranks, where equal values share the mean of their ranks. If one side is constant, there is nothing to follow: 0, not
nan.
"""

import numpy as np
from numpy.typing import ArrayLike

from .classes import Floats


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


def regression_scores(truth: ArrayLike, answers: ArrayLike) -> dict[str, float]:
    """What is reported of a run: rows and the four scores above."""
    scores = {score.__name__: score(truth, answers) for score in (pearson, spearman, rmse, mae)}
    return {"rows": len(np.asarray(truth)), **scores}


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
