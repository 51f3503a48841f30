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
from ...data.metrics import bootstrap_interval, regression_scores
from ...data.tasks import Split, Task
from ...data.tokenizer import TextTokenizer
from ...model.heads import EmbedConfig
from ...train.contrast import in_batch, scored
from ...train.supervised import Judge
from ..settings import Settings
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
        return Features(ids, None, owner, together=True, grouped="texts", columns=columns)

    def cut_share(self, texts: Sequence[Any]) -> float:
        return cut_share(self.tokenizer, [text for row in texts for text in row], self.description.max_len)

    def settled(self, split: Split, features: Features, outputs: Outputs) -> Description:
        return self.description

    def answers(self, texts: Sequence[Any], features: Features, outputs: Outputs) -> list[Similarity]:
        return [Similarity(text, float(row[0] @ row[1])) for text, row in zip(texts, outputs, strict=True)]

    def score(self, split: Split, features: Features, outputs: Outputs) -> dict[str, float]:
        if self.labels:
            return regression_scores(split.labels, np.array([row[0] @ row[1] for row in outputs]))
        return rank_scores(_ranks(split, outputs))

    def by_label(self, split: Split, features: Features, outputs: Outputs) -> list[dict[str, Any]]:
        return []

    def each(self, split: Split, features: Features, outputs: Outputs) -> NDArray[np.float64]:
        if self.labels:
            return -np.abs(np.array([row[0] @ row[1] for row in outputs]) - split.labels)
        return _reciprocal(_ranks(split, outputs))

    def errors(self, split: Split, features: Features, outputs: Outputs) -> list[Error]:
        if self.labels:
            off = -self.each(split, features, outputs)
            values = [float(row[0] @ row[1]) for row in outputs]
            rows = np.argsort(-off, kind="stable")
            return [Error(split.texts[i], float(split.labels[i]), values[i], float(off[i])) for i in rows]
        ranks = _ranks(split, outputs)
        rows = np.argsort(-ranks, kind="stable")
        return [
            Error(split.texts[i][0], split.texts[i][1], f"at place {ranks[i]}", float(ranks[i]))
            for i in rows
            if ranks[i] > 1
        ]

    def baselines(self, task: Task) -> "list[Baseline]":
        from ..baselines import tfidf_cosine  # scikit-learn takes a second to load

        return [tfidf_cosine(task, score=self._scored)]

    def _scored(self, split: Split, vectors: Outputs) -> dict[str, float]:
        return self.score(split, Features([], None, np.zeros(0, np.int64)), vectors)


def rank_scores(ranks: NDArray[np.int64]) -> dict[str, float]:
    """Of the places [N] at which the right texts stand, from 1: MRR@10 with its interval, recall@1, recall@10."""
    values = _reciprocal(ranks)
    low, high = bootstrap_interval(values)
    main = {"rows": len(ranks), "mrr": float(values.mean()), "mrr_low": low, "mrr_high": high}
    return {**main, "recall_1": float((ranks == 1).mean()), "recall_10": float((ranks <= TOP).mean())}


def _reciprocal(ranks: NDArray[np.int64]) -> NDArray[np.float64]:
    return np.where(ranks <= TOP, 1 / ranks, 0.0)


def _ranks(split: Split, outputs: Outputs) -> NDArray[np.int64]:
    """[N] the place of each anchor's positive among all different second texts of the split; of equals the worst."""
    anchors = np.stack([row[0] for row in outputs])
    _, first = np.unique(split.labels, return_index=True)
    number = np.searchsorted(split.labels[first], split.labels)
    others = np.stack([outputs[place][1] for place in first])
    ranks = np.empty(len(anchors), dtype=np.int64)
    for start in range(0, len(anchors), 512):
        scores = anchors[start : start + 512] @ others.T
        own = np.take_along_axis(scores, number[start : start + 512, None], axis=1)
        ranks[start : start + 512] = (scores >= own).sum(axis=1)
    return ranks
