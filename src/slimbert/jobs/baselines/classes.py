"""One class a row: the majority class, and logistic regression on TF-IDF.

L2 penalty; C is chosen on the validation split, and so is the threshold where F1 of the second of two labels counts.
"""

import time
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from ...data.metrics import accuracy, scores_with, threshold_of_second
from ...data.tasks import Task
from .baseline import Baseline, scored_rows
from .words import features, vectorizer

GRID = (0.3, 1.0, 3.0, 10.0, 30.0, 100.0)  # C, the inverse strength of the L2 penalty
MOST_ROWS = 20_000  # of train: beyond, C is chosen on this many rows, and only the last fit sees all of them
TOLERANCE = 1e-3  # of the solver


def majority(task: Task) -> Baseline:
    """Always the most frequent class of train."""
    rows = scored_rows(task)
    likely = int(np.bincount(task.train.labels).argmax())
    predictions = np.full(len(rows), likely, dtype=np.int64)
    return Baseline(
        "majority class",
        predictions,
        scores_with(task.metric, rows.labels, predictions, classes=len(task.labels)),
        {},
        0.0,
    )


def tfidf(task: Task, *, seed: int = 0) -> Baseline:
    """TF-IDF + logistic regression: fit on train, C and a threshold chosen on validation."""
    began = time.perf_counter()
    rows = scored_rows(task)
    words = vectorizer(task.train.texts, classes=len(task.labels))
    known = features(words, task.train.texts)
    few = np.sort(np.random.default_rng(seed).permutation(len(task.train))[:MOST_ROWS])
    trial, answers = known[few], task.train.labels[few]
    checked = features(words, task.validation.texts)
    best, best_model, best_score = GRID[0], None, -1.0
    for strength in GRID:
        model = fit(trial, answers, strength)
        right = accuracy(task.validation.labels, model.predict(checked))
        if right > best_score:
            best, best_model, best_score = strength, model, right
    if len(few) < len(task.train):
        best_model = fit(known, task.train.labels, best)
    assert best_model is not None
    predictions, threshold = answered(best_model, checked, features(words, rows.texts), task)
    chosen = {"C": best, "validation_accuracy": best_score} | threshold
    scores = scores_with(task.metric, rows.labels, predictions, classes=len(task.labels))
    return Baseline("TF-IDF + logistic regression", predictions, scores, chosen, time.perf_counter() - began)


def answered(
    model: LogisticRegression, checked: Any, asked: Any, task: Task
) -> tuple[NDArray[np.int64], dict[str, float]]:
    """(the label of each row of `asked`, the threshold as a setting that was chosen).

    As the encoder's answers: the most probable label; where F1 of the second of two labels counts, that one from a
    probability on that `checked`, the rows of validation, choose.
    """
    limit = threshold_of_second(task.metric, task.validation.labels, model.predict_proba(checked))
    if limit is None:
        return model.predict(asked).astype(np.int64), {}
    return (model.predict_proba(asked)[:, 1] >= limit).astype(np.int64), {"threshold": limit}


def fit(rows: Any, labels: NDArray[Any], strength: float) -> LogisticRegression:
    """Logistic regression with the inverse strength of its L2 penalty."""
    with threadpool_limits(1):  # the products are sparse: a second thread only waits, long on busy cores
        return LogisticRegression(C=strength, max_iter=1000, tol=TOLERANCE).fit(rows, labels)
