"""Texts that belong together found without an encoder: TF-IDF, static token embeddings, BM25.

TF-IDF and static embeddings are vectors and compared by the cosine. BM25 ranks the second texts for the first ones, so
it is for pairs without scores; it is that of search (jobs/search/bm25.py) and needs the same extra.
"""

import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.decomposition import TruncatedSVD

from ...data.tasks import Split, Task
from ...data.tasks.pairs import UNSCORED, Candidates
from ..search.bm25 import counted, installed, word_scores
from .baseline import Baseline, scored_rows
from .words import vectorizer

MOST_WIDTH = 512  # of the dense vectors: TF-IDF of more features is projected (latent semantic analysis)
Scored = Callable[[Split, Any], dict[str, float]]  # of a split, given the vectors [W, D] of each row


def tfidf_cosine(task: Task, *, score: Scored) -> Baseline:
    """TF-IDF vectors, its words those of train."""
    began = time.perf_counter()
    rows = scored_rows(task)
    words = vectorizer([text for row in task.train.texts for text in row])
    found = words.transform(_flat(rows))
    if found.shape[1] > MOST_WIDTH:
        known = words.transform(_flat(task.train))
        width = min(MOST_WIDTH, known.shape[0] - 1, known.shape[1] - 1)
        dense = TruncatedSVD(width, random_state=0).fit(known).transform(found)
    else:
        dense = found.toarray()
    dense /= np.linalg.norm(dense, axis=1, keepdims=True) + 1e-12
    vectors = _by_row(rows, dense)
    return Baseline("TF-IDF vectors", vectors, score(rows, vectors), {}, time.perf_counter() - began)


def static_cosine(task: Task, read: Callable[[Sequence[str]], NDArray[np.float32]], *, score: Scored) -> Baseline:
    """read: texts -> [N, W], the mean of static token embeddings (jobs/static.py). Nothing is learnt."""
    began = time.perf_counter()
    rows = scored_rows(task)
    vectors = _by_row(rows, read(_flat(rows)))
    return Baseline("mean of static token embeddings", vectors, score(rows, vectors), {}, time.perf_counter() - began)


def bm25_ranking(task: Task, *, score: Callable[[NDArray[np.int64]], dict[str, float]]) -> Baseline:
    """The first text of a row as a query for its second among all different ones of the split, whole texts.

    score: of the places [N] at which the right texts stand, from 1.
    """
    began = time.perf_counter()
    rows = scored_rows(task)
    among = Candidates.of(rows)
    index = counted([rows.texts[place][1] for place in among.first])
    places = np.concatenate([among.places(word_scores(index, row[0])[None], i) for i, row in enumerate(rows.texts)])
    return Baseline("BM25", places, score(places), {}, time.perf_counter() - began)


def missing(task: Task) -> tuple[str, ...]:
    """What is said where a baseline is left out because its library is not installed."""
    ranked = task.kind == "embedding" and task.label_column == UNSCORED
    left_out = 'BM25 is not among the baselines: it needs pip install "slimbert[search]"'
    return (left_out,) if ranked and not installed() else ()


def _flat(rows: Split) -> list[str]:
    return [text for row in rows.texts for text in row]


def _by_row(rows: Split, vectors: NDArray[Any]) -> NDArray[np.float32]:
    """[N, texts of a row, D]."""
    return vectors.astype(np.float32).reshape(len(rows), len(rows.texts[0]), -1)
