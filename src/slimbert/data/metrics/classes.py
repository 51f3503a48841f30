"""Scores of a classifier: one class per row, and how sure a share of right answers is.

Wilson's interval for a share p of n: (p + z^2/2n +- z sqrt(p(1-p)/n + z^2/4n^2)) / (1 + z^2/n), Wilson 1927;
two-sided, at 95% unless said. Matthews' correlation for C classes, with t_k rows of class k, p_k answers k, c right
ones of n: (c n - sum t_k p_k) / sqrt((n^2 - sum p_k^2)(n^2 - sum t_k^2)), Gorodkin 2004; for two classes that of
Matthews 1975.
"""

from math import sqrt
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
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


def matthews(labels: Ints, predictions: Ints) -> float:
    """Matthews' correlation, from -1 to 1 (CoLA's score); 0 where all labels or all predictions are of one class."""
    _same_rows(labels, predictions)
    table = confusion(labels, predictions, classes=int(max(labels.max(), predictions.max())) + 1).astype(np.float64)
    there, answered, rows = table.sum(axis=1), table.sum(axis=0), float(len(labels))
    spread = sqrt(rows * rows - float(there @ there)) * sqrt(rows * rows - float(answered @ answered))
    return (float(np.trace(table)) * rows - float(there @ answered)) / spread if spread else 0.0


def confusion(labels: Ints, predictions: Ints, *, classes: int) -> Ints:
    """[C, C]: how many rows of class i (row) were answered j (column)."""
    _same_rows(labels, predictions)
    for name, values in (("labels", labels), ("predictions", predictions)):
        if values.min() < 0 or values.max() >= classes:
            raise ValueError(f"{name} from {values.min()} to {values.max()}: need 0 to {classes - 1}")
    return np.bincount(labels * classes + predictions, minlength=classes * classes).reshape(classes, classes)


def class_scores(labels: Ints, predictions: Ints, *, classes: int) -> dict[str, float]:
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


def f1_of_counts(counts: NDArray[np.int64] | Floats) -> Floats:
    """[..., 3] counts of what is right, answered and there (or any multiple of them) -> [...] F1; 0 for no counts.

    What `entity_counts` and `label_counts` give per row, summed, is the micro F1; as a statistic of `bootstrap_score`
    it gives its interval.
    """
    right, answered, there = np.moveaxis(np.asarray(counts, dtype=np.float64), -1, 0)
    both = np.asarray(answered + there)
    return np.divide(2 * right, both, out=np.zeros_like(both), where=both > 0)


def _same_rows(labels: Ints, predictions: Ints) -> None:
    if len(labels) != len(predictions) or len(labels) == 0:
        raise ValueError(f"{len(labels)} labels and {len(predictions)} predictions: need equally many, at least one")
