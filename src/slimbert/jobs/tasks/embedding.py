"""Vectors of texts: near where texts belong together. Also for search, see jobs/search.

Batches are drawn at random, for the other texts of a batch are the negatives. They may be larger than memory: the rows
are encoded in chunks, and for the backward pass each chunk is computed again (as in Gao et al. 2021, arXiv:2101.06983,
"gradient cache"; here by activation checkpointing, which is the same computation).
"""

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...config import HeadConfig
from ...data.metrics import Measured, bootstrap_interval, number_measures, rank_measures, regression_scores
from ...data.tasks import Split, Task
from ...data.tasks.pairs import Candidates, anchors, negatives
from ...data.tokenizer import TextTokenizer
from ...model.heads import EmbedConfig
from ...train.contrast import in_batch, scored
from ...train.supervised import Judge
from ..search.bm25 import installed
from ..settings import Settings
from ..static import static_vectors
from .features import Column, Features
from .kind import Description, Error, Outputs
from .sequences import cut_share, pool_of

if TYPE_CHECKING:
    from ..baselines import Baseline

TOP = 10  # places of the ranking that count


class Similarity(NamedTuple):
    """The cosine of the vectors of two texts."""

    text: tuple[str, str]
    similarity: float


class Embedding:
    """In-batch negatives, or the cosine against scores where the pairs have some."""

    reads_whole = False
    at_random = True

    def __init__(self, tokenizer: TextTokenizer, description: Description, labels: tuple[str, ...]) -> None:
        self.tokenizer, self.description, self.labels = tokenizer, description, labels

    def head(self, train: Split, settings: Settings, *, old: HeadConfig | None, narrows: bool) -> HeadConfig:
        return EmbedConfig(pool=pool_of(settings, narrows=narrows), normalise=True)

    def judge(self, train: Split, settings: Settings) -> Judge:
        widths = settings.widths
        return partial(scored, widths=widths) if self.labels else partial(
            in_batch, temperature=settings.temperature, widths=widths
        )  # fmt: skip

    def features(self, split: Split, *, labelled: bool) -> Features:
        """A unit is a row of texts that belong together."""
        ids = self.tokenizer.encode([text for row in split.texts for text in row], self.description.max_len)
        owner = np.repeat(np.arange(len(split.texts)), [len(row) for row in split.texts])
        labels = split.labels.astype(np.float32) if labelled and self.labels else split.labels
        columns = {"labels": Column(labels)} if labelled else {}
        if labelled and not self.labels:
            columns["anchors"] = Column(anchors(split))
            if len(split.texts[0]) > 2:
                columns["negatives"] = Column(negatives(split))
        return Features(ids, None, owner, together=True, grouped="texts", columns=columns)

    def cut_share(self, texts: Sequence[Any]) -> float:
        return cut_share(self.tokenizer, [text for row in texts for text in row], self.description.max_len)

    def settled(self, split: Split, features: Features, outputs: Outputs) -> Description:
        return self.description

    def answers(self, texts: Sequence[Any], features: Features, outputs: Outputs) -> list[Similarity]:
        return [Similarity(text, float(row[0] @ row[1])) for text, row in zip(texts, outputs, strict=True)]

    def score(self, split: Split, features: Features, outputs: Outputs) -> dict[str, float]:
        if self.labels:
            return regression_scores(split.labels, _cosines(outputs))
        return rank_scores(_ranks(split, outputs))

    def by_label(self, split: Split, features: Features, outputs: Outputs) -> list[dict[str, Any]]:
        return []

    def measured(self, split: Split, features: Features, outputs: Outputs) -> dict[str, Measured]:
        if self.labels:
            return number_measures(split.labels, _cosines(outputs))
        return rank_measures(_ranks(split, outputs), top=TOP)

    def errors(self, split: Split, features: Features, outputs: Outputs) -> list[Error]:
        if self.labels:
            values = _cosines(outputs)
            off = np.abs(values - split.labels)
            return [
                Error(split.texts[i], float(split.labels[i]), float(values[i]), float(off[i]))
                for i in np.argsort(-off, kind="stable")
                if off[i] > 0
            ]
        places = _ranks(split, outputs)
        rows = np.argsort(-places, kind="stable")
        return [
            Error(split.texts[i][0], split.texts[i][1], f"at place {places[i]}", float(places[i]))
            for i in rows
            if places[i] > 1
        ]

    def baselines(self, task: Task, *, table: NDArray[np.float32]) -> "list[Baseline]":
        from ..baselines import bm25_ranking, static_cosine, tfidf_cosine  # scikit-learn takes a second to load

        read = partial(static_vectors, table, self.tokenizer, max_len=self.description.max_len)
        vectors = [tfidf_cosine(task, score=self._scored), static_cosine(task, read, score=self._scored)]
        ranked = [bm25_ranking(task, score=rank_scores)] if installed() and not self.labels else []
        return [*ranked, *vectors]

    def _scored(self, split: Split, vectors: Outputs) -> dict[str, float]:
        return self.score(split, Features([], None, np.zeros(0, np.int64)), vectors)


def rank_scores(places: NDArray[np.int64]) -> dict[str, float]:
    """Of the places [N] at which the right texts stand, from 1: MRR@10 with its interval, recall@1, recall@10."""
    found = rank_measures(places, top=TOP)
    low, high = bootstrap_interval(found["mrr"].rows)
    scores = {name: one.value() for name, one in found.items()}
    return {"rows": len(places), "mrr": scores.pop("mrr"), "mrr_low": low, "mrr_high": high, **scores}


def _cosines(outputs: Outputs) -> NDArray[np.float64]:
    """[N] of the two vectors of each row."""
    return np.array([row[0] @ row[1] for row in outputs], dtype=np.float64)


def _ranks(split: Split, outputs: Outputs) -> NDArray[np.int64]:
    """[N] the place of each anchor's positive among all different second texts of the split; of equals the worst."""
    asked, among = np.stack([row[0] for row in outputs]), Candidates.of(split)
    others = np.stack([outputs[place][1] for place in among.first])
    parts = [among.places(asked[start : start + 512] @ others.T, start) for start in range(0, len(asked), 512)]
    return np.concatenate(parts)
