"""One number a row: the mean, and ridge regression on TF-IDF, its penalty chosen on the validation split."""

import time

import numpy as np
from sklearn.linear_model import Ridge

from ...data.metrics import regression_scores, rmse
from ...data.tasks import Task
from .baseline import Baseline, scored_rows
from .words import features, vectorizer

GRID = (0.1, 0.3, 1.0, 3.0, 10.0, 30.0)  # strength of the L2 penalty


def mean_number(task: Task) -> Baseline:
    """Always the mean of train."""
    rows = scored_rows(task)
    predictions = np.full(len(rows), task.train.labels.mean())
    return Baseline("mean of train", predictions, regression_scores(rows.labels, predictions), {}, 0.0)


def tfidf_ridge(task: Task) -> Baseline:
    """TF-IDF + ridge regression: fit on train, the penalty chosen on validation by its error."""
    began = time.perf_counter()
    rows = scored_rows(task)
    words = vectorizer(task.train.texts)
    known, checked = features(words, task.train.texts), features(words, task.validation.texts)
    trials = [Ridge(alpha=strength, solver="lsqr").fit(known, task.train.labels) for strength in GRID]
    errors = [rmse(task.validation.labels, model.predict(checked)) for model in trials]
    best = int(np.argmin(errors))
    predictions = trials[best].predict(features(words, rows.texts))
    chosen = {"alpha": GRID[best], "validation_rmse": errors[best]}
    scores = regression_scores(rows.labels, predictions)
    return Baseline("TF-IDF + ridge regression", predictions, scores, chosen, time.perf_counter() - began)
