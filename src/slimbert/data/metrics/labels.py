"""Scores where a row may carry several labels, or none: bool [N, C], true where a label is there, or answered.

F1 of a label = 2 right / (answered + there). Micro F1 sums the three counts over labels first; macro F1 is the mean of
the labels' F1. Thresholds turn probabilities into answers: label c is answered where probability[c] >= threshold[c].
"""

import numpy as np
from numpy.typing import NDArray

from .classes import Floats, Ints, f1_of_counts, wilson
from .seeds import bootstrap_score

Bools = NDArray[np.bool_]

MIDDLE = 0.5  # the threshold of a label about which validation says nothing


def label_f1(labels: Bools, answers: Bools) -> Floats:
    """[C] F1 of each label; 0 where it is neither there nor answered."""
    return f1_of_counts(_counts(labels, answers, axis=0))


def label_counts(labels: Bools, answers: Bools) -> Ints:
    """[N, 3] per row: labels right, answered, there. `f1_of_counts` of their sums is the micro F1."""
    return _counts(labels, answers, axis=1)


def micro_label_f1(labels: Bools, answers: Bools) -> float:
    """F1 over all labels of all rows together."""
    return float(f1_of_counts(label_counts(labels, answers).sum(axis=0)))


def macro_label_f1(labels: Bools, answers: Bools) -> float:
    """Mean of the F1 of every label that is there or answered; 0 where none is."""
    counts = _counts(labels, answers, axis=0)
    seen = counts[:, 1:].any(axis=1)
    return float(f1_of_counts(counts[seen]).mean()) if seen.any() else 0.0


def exact_share(labels: Bools, answers: Bools) -> float:
    """Share of rows of which every label is answered right (subset accuracy)."""
    _same_shape(labels, answers)
    return float(np.mean((labels == answers).all(axis=1)))


def label_scores(labels: Bools, answers: Bools) -> dict[str, float]:
    """What is reported of a run: rows, micro F1 with its bootstrap interval, macro F1, and the exact share with
    Wilson's interval."""
    exact = exact_share(labels, answers)
    low, high = wilson(round(exact * len(labels)), len(labels))
    ends = bootstrap_score(label_counts(labels, answers), f1_of_counts)
    scores: dict[str, float] = {"rows": len(labels), "micro_f1": micro_label_f1(labels, answers)}
    scores |= {"micro_f1_low": ends[0], "micro_f1_high": ends[1], "macro_f1": macro_label_f1(labels, answers)}
    return scores | {"exact": exact, "exact_low": low, "exact_high": high}


def thresholds(labels: Bools, probabilities: NDArray[np.floating]) -> Floats:
    """[C] the threshold of each label with the highest F1 on these rows, which should be those of validation.

    Every cut between two different probabilities of a label is tried, in O(N log N). Of the best cuts the one nearest
    to 0.5 is taken (of two equally near the higher); the threshold is 0.5 where that lies in the cut, else the middle
    between the probabilities on both sides. A label that is in no row keeps 0.5.
    """
    _same_shape(labels, probabilities)
    if not np.isfinite(probabilities).all():
        raise ValueError("probabilities that are no numbers (nan or infinite)")
    columns = zip(labels.T, probabilities.T.astype(np.float64))
    return np.array([_threshold(there, column) for there, column in columns])


def threshold_of_second(metric: str, labels: Ints, probabilities: NDArray[np.floating]) -> float | None:
    """From which probability on the second of two classes is best given where its F1 is the metric; None elsewhere.

    labels: [N] of validation; probabilities: [N, C].
    """
    if metric != "f1" or probabilities.shape[1] != 2:
        return None
    return float(thresholds(labels[:, None] == 1, probabilities[:, 1:])[0])


def _threshold(there: Bools, probabilities: Floats) -> float:
    if not there.any():
        return MIDDLE
    order = np.argsort(-probabilities, kind="stable")
    ranked = probabilities[order]
    last = np.flatnonzero(np.append(ranked[1:] != ranked[:-1], True))  # of equal ones: either all or none are answered
    f1 = 2 * np.cumsum(there[order])[last] / (last + 1 + np.count_nonzero(there))
    upper = ranked[last]  # a cut answers from here on, and not below or at `lower`
    lower = np.append(upper[1:], min(0.0, upper[-1]))
    inside = (lower < MIDDLE) & (upper >= MIDDLE)
    away = np.where(inside, -1.0, np.maximum(lower - MIDDLE, MIDDLE - upper))
    best = int(np.argmin(np.where(f1 == f1.max(), away, np.inf)))
    if inside[best]:
        return MIDDLE
    middle = (lower[best] + upper[best]) / 2
    return float(middle if middle > lower[best] else upper[best])  # neighbouring floats have no middle


def _counts(labels: Bools, answers: Bools, *, axis: int) -> Ints:
    """[N or C, 3]: right, answered, there, summed over the axis."""
    _same_shape(labels, answers)
    return np.stack([np.count_nonzero(one, axis=axis) for one in (labels & answers, answers, labels)], axis=1)


def _same_shape(labels: Bools, others: NDArray[np.generic]) -> None:
    if labels.ndim != 2 or labels.shape != others.shape or 0 in labels.shape:
        raise ValueError(f"labels {list(labels.shape)} beside {list(others.shape)}: need [N, C] twice, not empty")
