"""Several labels a row: those that most rows carry, and one logistic regression on TF-IDF for each label.

Thresholds are chosen on the validation split, as the encoder's are.
"""

import time
from typing import Any

import numpy as np

from ...data.metrics import label_scores, thresholds
from ...data.tasks import Task
from .baseline import Baseline, scored_rows
from .classes import fit
from .words import features, vectorizer

STRENGTH = 10.0  # C of every label's regression: with thresholds to choose, the penalty matters little


def frequent_labels(task: Task) -> Baseline:
    """Always the labels that at least half of train carries, and where there is none, the most frequent one."""
    rows = scored_rows(task)
    share = task.train.labels.mean(axis=0)
    given = share >= min(0.5, share.max())
    predictions = np.tile(given, (len(rows), 1))
    return Baseline("most frequent labels", predictions, label_scores(rows.labels, predictions), {}, 0.0)


def tfidf_labels(task: Task) -> Baseline:
    """TF-IDF + one logistic regression for each label."""
    began = time.perf_counter()
    rows = scored_rows(task)
    words = vectorizer(task.train.texts)
    known = features(words, task.train.texts)
    checked, asked = features(words, task.validation.texts), features(words, rows.texts)
    shares = [_shares(known, truth, (checked, asked)) for truth in task.train.labels.T]
    limits = thresholds(task.validation.labels, np.stack([share for share, _ in shares], axis=1))
    predictions = np.stack([share for _, share in shares], axis=1) >= limits
    scores = label_scores(rows.labels, predictions)
    return Baseline("TF-IDF + logistic regression", predictions, scores, {}, time.perf_counter() - began)


def _shares(known: Any, truth: Any, asked: tuple[Any, ...]) -> list[Any]:
    """The probability of one label for each of `asked`; a label on every row or on none has just that."""
    if truth.all() or not truth.any():
        return [np.full(rows.shape[0], float(truth[0])) for rows in asked]
    model = fit(known, truth, STRENGTH)
    return [model.predict_proba(rows)[:, 1] for rows in asked]
