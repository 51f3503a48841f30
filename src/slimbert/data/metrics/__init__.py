"""Scores of a classifier, and how sure they are.

Wilson's interval for a share p of n:  (p + z^2/2n +- z sqrt(p(1-p)/n + z^2/4n^2)) / (1 + z^2/n), Wilson 1927.
Over seeds: Student's t. Both are two-sided, at 95% unless said.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Interval = tuple[float, float]


def accuracy(labels: Ints, predictions: Ints) -> float:
    """Share of rows answered right."""
    _same_rows(labels, predictions)
    return float(np.mean(labels == predictions))


def f1(labels: Ints, predictions: Ints, *, positive: int = 1) -> float:
    """F1 of one class; 0 where it is neither present nor predicted."""
    _same_rows(labels, predictions)
    right = int(np.count_nonzero((labels == positive) & (predictions == positive)))
    both = int(np.count_nonzero(labels == positive) + np.count_nonzero(predictions == positive))
    return 2 * right / both if both else 0.0


def macro_f1(labels: Ints, predictions: Ints) -> float:
    """Mean of the F1 of every class that is present or predicted."""
    _same_rows(labels, predictions)
    size = int(max(labels.max(), predictions.max())) + 1
    right = np.bincount(labels[labels == predictions], minlength=size)
    both = np.bincount(labels, minlength=size) + np.bincount(predictions, minlength=size)
    return float(np.mean(2 * right[both > 0] / both[both > 0]))


def score(labels: Ints, predictions: Ints, *, classes: int) -> dict[str, float]:
    """What is reported of a run: rows, accuracy with Wilson's interval, macro F1; for two classes F1 of the second."""
    low, high = wilson(int(np.count_nonzero(labels == predictions)), len(labels))
    scores = {"accuracy": accuracy(labels, predictions), "accuracy_low": low, "accuracy_high": high}
    scores["macro_f1"] = macro_f1(labels, predictions)
    if classes == 2:
        scores["f1"] = f1(labels, predictions)
    return {"rows": len(labels), **scores}


def wilson(right: int, rows: int, *, confidence: float = 0.95) -> Interval:
    """Interval of a share, here of right answers; good also near 0 and 1 and for few rows."""
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    share = right / rows
    middle = share + z * z / (2 * rows)
    reach = z * np.sqrt(share * (1 - share) / rows + z * z / (4 * rows * rows))
    below = 1 + z * z / rows
    return max(0.0, float(middle - reach) / below), min(1.0, float(middle + reach) / below)


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


def _same_rows(labels: Ints, predictions: Ints) -> None:
    if len(labels) != len(predictions) or len(labels) == 0:
        raise ValueError(f"{len(labels)} labels and {len(predictions)} predictions: need equally many, at least one")
