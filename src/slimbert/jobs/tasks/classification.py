"""One class for a text or a pair."""

import dataclasses
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...config import HeadConfig
from ...data.metrics import Measured, class_measures, f1, scores_with
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
    """One text's answer: the best label, its probability, and that of every label."""

    text: str | tuple[str, str]
    label: str
    score: float
    scores: dict[str, float]


class Classification:
    """Softmax over the labels."""

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
        return self.description

    def answers(self, texts: Sequence[Any], features: Features, outputs: Outputs) -> list[Prediction]:
        return [self._answer(text, _softmax(row)) for text, row in zip(texts, outputs, strict=True)]

    def score(self, split: Split, features: Features, outputs: Outputs) -> dict[str, float]:
        return scores_with(self.description.metric, split.labels, _best(outputs), classes=len(self.labels))

    def by_label(self, split: Split, features: Features, outputs: Outputs) -> list[dict[str, Any]]:
        answers, out = _best(outputs), []
        for i, name in enumerate(self.labels):
            there = split.labels == i
            recall = float((answers[there] == i).mean()) if there.any() else None
            fared = f1(split.labels, answers, positive=i)
            out.append({"label": name, "rows": int(there.sum()), "recall": recall, "f1": fared})
        return out

    def measured(self, split: Split, features: Features, outputs: Outputs) -> dict[str, Measured]:
        size, metric = len(self.labels), self.description.metric
        return class_measures(split.labels, _best(outputs), classes=size, metric=metric)

    def errors(self, split: Split, features: Features, outputs: Outputs) -> list[Error]:
        found = []
        for text, label, row in zip(split.texts, split.labels, outputs, strict=True):
            shares = _softmax(row)
            if (best := int(shares.argmax())) != label:
                found.append(Error(text, self.labels[label], self.labels[best], float(shares[best] - shares[label])))
        return sorted(found, key=lambda error: -error.wrongness)

    def baselines(self, task: Task, *, table: NDArray[np.float32]) -> "list[Baseline]":
        from ..baselines import baselines  # scikit-learn takes a second to load

        return baselines(task)

    def _answer(self, text: Any, shares: Any) -> Prediction:
        best = int(shares.argmax())
        each = dict(zip(self.labels, shares.tolist(), strict=True))
        return Prediction(text, self.labels[best], float(shares[best]), each)


def _best(outputs: Outputs) -> Ints:
    return np.array([row.argmax() for row in outputs], dtype=np.int64)


def _softmax(row: Any) -> Any:
    raised = np.exp(row.astype(np.float64) - row.max())
    return raised / raised.sum()
