"""One class for a text or a pair."""

import dataclasses
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from ...config import HeadConfig
from ...data.metrics import Measured, class_measures, f1, scores_with, threshold_of_second
from ...data.tasks import Split, Task
from ...data.tokenizer import TextTokenizer
from ...train.supervised import Judge, one_class
from ..settings import Settings
from .features import Column, Features, Ints
from .kind import Description, Error, Outputs
from .sequences import cut_share, rows_of, sequence_head

if TYPE_CHECKING:
    from ..baselines import Baseline


class Prediction(NamedTuple):
    """One text's answer: its label, the probability of it, and that of every label."""

    text: str | tuple[str, str]
    label: str
    score: float
    scores: dict[str, float]


class Classification:
    """Softmax over labels. The most probable one is given; where F1 of the second of two labels is what counts, that
    from a probability on that validation chooses (Lipton et al. 2014, arXiv:1402.1892).
    """

    reads_whole = False
    at_random = False

    def __init__(self, tokenizer: TextTokenizer, description: Description, labels: tuple[str, ...]) -> None:
        self.tokenizer, self.description, self.labels = tokenizer, description, labels

    def head(self, train: Split, settings: Settings, *, old: HeadConfig | None, narrows: bool) -> HeadConfig:
        return sequence_head(self.labels, "class", settings, old=old, narrows=narrows)

    def judge(self, train: Split, settings: Settings) -> Judge:
        if settings.class_weights == "none":
            return one_class
        counts = np.bincount(train.labels, minlength=len(self.labels))
        return partial(one_class, weights=(len(train) / (len(counts) * counts.clip(min=1))).tolist())

    def features(self, split: Split, *, labelled: bool) -> Features:
        made = rows_of(self.tokenizer, split.texts, self.description)
        return dataclasses.replace(made, columns={"labels": Column(split.labels)} if labelled else {})

    def cut_share(self, texts: Sequence[Any]) -> float:
        return cut_share(self.tokenizer, texts, self.description.max_len)

    def settled(self, split: Split, features: Features, outputs: Outputs) -> Description:
        limit = threshold_of_second(self.description.metric, split.labels, self._shares(outputs))
        return dataclasses.replace(self.description, thresholds=None if limit is None else (limit,))

    def answers(self, texts: Sequence[Any], features: Features, outputs: Outputs) -> list[Prediction]:
        shares = self._shares(outputs)
        return [
            Prediction(text, self.labels[label], float(row[label]), dict(zip(self.labels, row.tolist(), strict=True)))
            for text, label, row in zip(texts, self._given(outputs), shares, strict=True)
        ]

    def score(self, split: Split, features: Features, outputs: Outputs) -> dict[str, float]:
        return scores_with(self.description.metric, split.labels, self._given(outputs), classes=len(self.labels))

    def by_label(self, split: Split, features: Features, outputs: Outputs) -> list[dict[str, Any]]:
        answers, out = self._given(outputs), []
        for i, name in enumerate(self.labels):
            there = split.labels == i
            recall = float((answers[there] == i).mean()) if there.any() else None
            fared = f1(split.labels, answers, positive=i)
            out.append({"label": name, "rows": int(there.sum()), "recall": recall, "f1": fared})
        return out

    def measured(self, split: Split, features: Features, outputs: Outputs) -> dict[str, Measured]:
        size, metric = len(self.labels), self.description.metric
        return class_measures(split.labels, self._given(outputs), classes=size, metric=metric)

    def errors(self, split: Split, features: Features, outputs: Outputs) -> list[Error]:
        found = []
        shares, given = self._shares(outputs), self._given(outputs)
        for text, right, label, row in zip(split.texts, split.labels, given, shares, strict=True):
            if label != right:
                found.append(Error(text, self.labels[right], self.labels[label], abs(float(row[label] - row[right]))))
        return sorted(found, key=lambda error: -error.wrongness)

    def baselines(self, task: Task, *, table: NDArray[np.float32]) -> "list[Baseline]":
        from ..baselines import majority, tfidf  # scikit-learn takes a second to load

        return [majority(task), tfidf(task)]

    def _given(self, outputs: Outputs) -> Ints:
        """[N] the label of each text."""
        shares = self._shares(outputs)
        if self.description.thresholds is None:
            return shares.argmax(axis=1)
        return (shares[:, 1] >= self.description.thresholds[0]).astype(np.int64)

    def _shares(self, outputs: Outputs) -> NDArray[np.float64]:
        """Probabilities [N, C]."""
        found = np.array(outputs, dtype=np.float64).reshape(-1, len(self.labels))
        return torch.from_numpy(found).softmax(dim=1).numpy()
