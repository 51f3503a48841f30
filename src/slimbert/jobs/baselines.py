"""What a trained encoder has to beat: the majority class, and TF-IDF with logistic regression.

TF-IDF over words and word pairs with sublinear counts, logistic regression with L2; the only choice, C, is made on the
validation split. Pairs are shown as both texts and as what they share and do not share: with t(x) the TF-IDF row of a
text, [t(a), t(b), t(a) * t(b), |t(a) - t(b)|, cosine]: a linear model cannot compare texts that only stand in a row.
"""

import time
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix, hstack
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]  # comes with scikit-learn

from ..data.metrics import accuracy, score
from ..data.tasks import Split, Task

GRID = (0.3, 1.0, 3.0, 10.0, 30.0, 100.0)  # C, the inverse strength of the L2 penalty
MOST_FEATURES = 200_000  # the most frequent words and word pairs
MOST_ROWS = 20_000  # of train: beyond, C is chosen on this many rows, and only the last fit sees all of them
TOLERANCE = 1e-3  # of the solver


@dataclass(frozen=True)
class Baseline:
    """A baseline on a split. predictions: [N]; score: as data.metrics.score; chosen: what validation decided."""

    name: str
    predictions: NDArray[np.int64]
    score: dict[str, float]
    chosen: dict[str, float]
    seconds: float


def majority(task: Task, *, on: Split | None = None) -> Baseline:
    """Always the most frequent class of train. on: rows to answer, by default the test, else validation."""
    rows = _rows(task, on)
    likely = int(np.bincount(task.train.labels).argmax())
    predictions = np.full(len(rows), likely, dtype=np.int64)
    return Baseline("majority class", predictions, score(rows.labels, predictions, classes=len(task.labels)), {}, 0.0)


def tfidf(task: Task, *, on: Split | None = None, seed: int = 0) -> Baseline:
    """TF-IDF + logistic regression: fit on train, C chosen on validation. on: as for `majority`."""
    began = time.perf_counter()
    rows = _rows(task, on)
    words = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, max_features=MOST_FEATURES, token_pattern=r"\b\w+\b")
    words.fit([text for row in task.train.texts for text in ((row,) if isinstance(row, str) else row)])
    known = _features(words, task.train)
    few = np.sort(np.random.default_rng(seed).permutation(len(task.train))[:MOST_ROWS])
    trial, answers = known[few], task.train.labels[few]
    checked = _features(words, task.validation)
    best, best_model, best_score = GRID[0], None, -1.0
    for strength in GRID:
        model = _fit(trial, answers, strength)
        right = accuracy(task.validation.labels, model.predict(checked))
        if right > best_score:
            best, best_model, best_score = strength, model, right
    if len(few) < len(task.train):
        best_model = _fit(known, task.train.labels, best)
    assert best_model is not None
    predictions = best_model.predict(_features(words, rows)).astype(np.int64)
    scores = score(rows.labels, predictions, classes=len(task.labels))
    chosen = {"C": best, "validation_accuracy": best_score}
    return Baseline("TF-IDF + logistic regression", predictions, scores, chosen, time.perf_counter() - began)


def baselines(task: Task, *, on: Split | None = None) -> list[Baseline]:
    """Both, on the same rows."""
    return [majority(task, on=on), tfidf(task, on=on)]


def _rows(task: Task, on: Split | None) -> Split:
    return on or task.test or task.validation


def _fit(features: Any, labels: NDArray[np.int64], strength: float) -> LogisticRegression:
    with threadpool_limits(1):  # the products are sparse: a second thread only waits, long on busy cores
        return LogisticRegression(C=strength, max_iter=1000, tol=TOLERANCE).fit(features, labels)


def _features(words: TfidfVectorizer, split: Split) -> Any:
    """[N, F] sparse; for pairs [N, 4 F + 1]."""
    if not split.texts or isinstance(split.texts[0], str):
        return words.transform(split.texts)
    first = words.transform([pair[0] for pair in split.texts])
    second = words.transform([pair[1] for pair in split.texts])
    shared = first.multiply(second)
    return hstack([first, second, shared, abs(first - second), csr_matrix(shared.sum(axis=1))], format="csr")
