"""Scores as functions of rows, so that two runs that answered the same rows can be compared by any of them.

Most scores are functions of the means of a few numbers per row: accuracy of one, F1 of three counts, Matthews' of
2 C + 1 shares. Correlations are not; they are taken of the drawn rows anew.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .answers import answer_rows
from .classes import Floats, Ints, class_scores, f1_of_counts
from .entities import entity_counts
from .labels import Bools, label_counts
from .regression import pearson, spearman
from .seeds import Paired, bootstrap_score, mean, paired_bootstrap, paired_of
from .tags import has_entities, right_words

MOST_BY_ROWS = 2000  # draws where every draw sorts all rows


class Measured(NamedTuple):
    """How a run answered each row, rows [N, K], and its score: of the means of drawn rows, [draws, K] -> [draws], or,
    `by_rows`, of the drawn rows themselves, [N, K] -> float."""

    rows: Floats
    score: Callable[[Floats], Any]
    by_rows: bool = False

    def value(self) -> float:
        """The score on all rows."""
        return float(self.score(self.rows) if self.by_rows else self.score(self.rows.mean(axis=0)[None])[0])


def differ(first: Measured, second: Measured, *, draws: int = 10_000, seed: int = 0) -> Paired:
    """The paired bootstrap of one score of two runs on the same rows; see `paired_bootstrap`."""
    if not first.by_rows:
        return paired_bootstrap(first.rows, second.rows, statistic=first.score, draws=draws, seed=seed)
    if first.rows.shape != second.rows.shape:
        shapes = f"{list(first.rows.shape)} and {list(second.rows.shape)}"
        raise ValueError(f"values {shapes}: need those of the same rows")
    rng, count = np.random.default_rng(seed), len(first.rows)

    def apart(index: Ints) -> float:
        return float(first.score(first.rows[index]) - second.score(second.rows[index]))

    drawn = np.array([apart(rng.integers(count, size=count)) for _ in range(min(draws, MOST_BY_ROWS))])
    return paired_of(apart(np.arange(count)), drawn)


def class_measures(labels: Ints, predictions: Ints, *, classes: int, metric: str = "accuracy") -> dict[str, Measured]:
    """Accuracy, of two classes the F1 of the second, and Matthews' correlation where it is the metric."""
    right = labels == predictions
    found = {"accuracy": _plain(right)}
    if metric == "matthews":
        shares = [right[:, None], _one_hot(labels, classes), _one_hot(predictions, classes)]
        found["matthews"] = Measured(np.concatenate(shares, axis=1).astype(np.float64), _matthews)
    if classes == 2:
        there, answered = labels == 1, predictions == 1
        counts = np.stack([there & answered, answered, there], axis=1)
        found["f1"] = Measured(counts.astype(np.float64), f1_of_counts)
    return found


def scores_with(metric: str, labels: Ints, predictions: Ints, *, classes: int) -> dict[str, float]:
    """As `class_scores`, with the score called `metric` where it is not among them, and its interval."""
    scores = class_scores(labels, predictions, classes=classes)
    if metric == "accuracy":
        return scores
    measured = class_measures(labels, predictions, classes=classes, metric=metric)[metric]
    low, high = bootstrap_score(measured.rows, measured.score)
    return scores | {metric: measured.value(), f"{metric}_low": low, f"{metric}_high": high}


def label_measures(labels: Bools, answers: Bools) -> dict[str, Measured]:
    """Micro F1, and the share of rows of which every label is right."""
    counts = label_counts(labels, answers).astype(np.float64)
    return {"micro_f1": Measured(counts, f1_of_counts), "exact": _plain((labels == answers).all(axis=1))}


def number_measures(truth: Floats, answers: Floats) -> dict[str, Measured]:
    """Both correlations, and both errors, of which less is better."""
    both = np.stack([truth, answers], axis=1).astype(np.float64)
    off = np.abs(both[:, 0] - both[:, 1])
    return {
        "spearman": Measured(both, lambda rows: spearman(rows[:, 0], rows[:, 1]), by_rows=True),
        "pearson": Measured(both, lambda rows: pearson(rows[:, 0], rows[:, 1]), by_rows=True),
        "rmse": Measured(off[:, None] ** 2, lambda means: np.sqrt(means[:, 0])),
        "mae": _plain(off),
    }


def tag_measures(
    truth: Sequence[Sequence[str]], answers: Sequence[Sequence[str]], *, names: Sequence[str]
) -> dict[str, Measured]:
    """Entity F1 where the tags are of entities, and the share of right words. names: as of `tag_scores`."""
    words = Measured(right_words(truth, answers), lambda means: means[:, 0] / means[:, 1].clip(min=1e-12))
    if not has_entities(names):
        return {"word_accuracy": words}
    counts = entity_counts(truth, answers).astype(np.float64)
    return {"f1": Measured(counts, f1_of_counts), "word_accuracy": words}


def answer_measures(truth: Sequence[Sequence[str]], answers: Sequence[str]) -> dict[str, Measured]:
    """F1 of words and exact match, as SQuAD counts them."""
    rows = answer_rows(truth, answers)
    return {"f1": _plain(rows.f1), "exact": _plain(rows.exact)}


def rank_measures(places: Ints, *, top: int) -> dict[str, Measured]:
    """Of the places [N] at which the right text stands, from 1: MRR@top, recall@1, recall@top."""
    reciprocal = np.where(places <= top, 1 / places, 0.0)
    return {"mrr": _plain(reciprocal), "recall_1": _plain(places == 1), f"recall_{top}": _plain(places <= top)}


def _plain(values: NDArray[Any]) -> Measured:
    """A score that is the mean of one number per row."""
    return Measured(values.astype(np.float64)[:, None], mean)


def _one_hot(values: Ints, classes: int) -> Bools:
    return np.arange(classes) == values[:, None]


def _matthews(means: Floats) -> Floats:
    """[draws, 1 + 2 C] shares of what is right, of each class that is there, of each that is answered -> [draws]."""
    classes = means.shape[1] // 2
    right, there, answered = means[:, 0], means[:, 1 : classes + 1], means[:, classes + 1 :]
    room = (1 - (there**2).sum(axis=1)) * (1 - (answered**2).sum(axis=1))
    spread = np.sqrt(room.clip(min=0))
    some = spread > 1e-9  # below: all of one class, but for rounding
    return np.divide(right - (there * answered).sum(axis=1), spread, out=np.zeros_like(right), where=some)
