"""Vectors of texts without an encoder: TF-IDF, compared by the cosine."""

import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from sklearn.decomposition import TruncatedSVD

from ...data.tasks import Split, Task
from .baseline import Baseline, scored_rows
from .words import vectorizer

MOST_WIDTH = 512  # of the dense vectors: TF-IDF of more features is projected (latent semantic analysis)


def tfidf_cosine(
    task: Task, *, score: Callable[[Split, Sequence[Any]], dict[str, float]], on: Split | None = None
) -> Baseline:
    """score: of a split, given the vectors [W, D] of each row of texts."""
    began = time.perf_counter()
    rows = scored_rows(task, on)
    words = vectorizer([text for row in task.train.texts for text in row])
    texts = [text for row in rows.texts for text in row]
    found = words.transform(texts)
    if found.shape[1] > MOST_WIDTH:
        known = words.transform([text for row in task.train.texts for text in row])
        width = min(MOST_WIDTH, known.shape[0] - 1, known.shape[1] - 1)
        dense = TruncatedSVD(width, random_state=0).fit(known).transform(found)
    else:
        dense = found.toarray()
    dense /= np.linalg.norm(dense, axis=1, keepdims=True) + 1e-12
    width = len(rows.texts[0])
    vectors = dense.astype(np.float32).reshape(len(rows), width, -1)
    return Baseline("TF-IDF vectors", vectors, score(rows, vectors), {}, time.perf_counter() - began)
