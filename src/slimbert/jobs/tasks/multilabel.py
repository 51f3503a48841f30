"""Every label that fits a text or a pair, each with a threshold of its own, chosen on validation."""

import dataclasses
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from ...config import HeadConfig
from ...data.metrics import Measured, label_f1, label_measures, label_scores, thresholds
from ...data.tasks import Split, Task
from ...data.tokenizer import TextTokenizer
from ...train.supervised import Judge, each_label
from ..settings import Settings
from .features import Column, Features
from .kind import Description, Error, Outputs
from .sequences import cut_share, rows_of, sequence_head

if TYPE_CHECKING:
    from ..baselines import Baseline


class Labels(NamedTuple):
    """One text's answer: the labels given, and the probability of every label."""

    text: str | tuple[str, str]
    labels: list[str]
    scores: dict[str, float]


class MultiLabel:
    """A sigmoid for each label."""

    reads_whole = False
    at_random = False

    def __init__(self, tokenizer: TextTokenizer, description: Description, labels: tuple[str, ...]) -> None:
        self.tokenizer, self.description, self.labels = tokenizer, description, labels

    def head(self, train: Split, settings: Settings, *, old: HeadConfig | None, narrows: bool) -> HeadConfig:
        return sequence_head(self.labels, "labels", settings, old=old, narrows=narrows)

    def judge(self, train: Split, settings: Settings) -> Judge:
        if settings.class_weights == "none":
            return each_label
        there = train.labels.sum(axis=0).clip(min=1)
        return partial(each_label, weights=((len(train) - there) / there).tolist())

    def features(self, split: Split, *, labelled: bool) -> Features:
        made = rows_of(self.tokenizer, split.texts, self.description)
        return dataclasses.replace(made, columns={"labels": Column(split.labels)} if labelled else {})

    def cut_share(self, texts: Sequence[Any]) -> float:
        return cut_share(self.tokenizer, texts, self.description.max_len)

    def settled(self, split: Split, features: Features, outputs: Outputs) -> Description:
        chosen = thresholds(split.labels, _shares(outputs))
        return dataclasses.replace(self.description, thresholds=tuple(chosen.tolist()))

    def answers(self, texts: Sequence[Any], features: Features, outputs: Outputs) -> list[Labels]:
        shares = _shares(outputs)
        given = self._given(shares)
        return [
            Labels(
                text,
                self._named(row),
                dict(zip(self.labels, share.tolist(), strict=True)),
            )
            for text, row, share in zip(texts, given, shares, strict=True)
        ]

    def score(self, split: Split, features: Features, outputs: Outputs) -> dict[str, float]:
        return label_scores(split.labels, self._given(_shares(outputs)))

    def by_label(self, split: Split, features: Features, outputs: Outputs) -> list[dict[str, Any]]:
        given, out = self._given(_shares(outputs)), []
        f1 = label_f1(split.labels, given).tolist()
        for name, truth, answer, one in zip(self.labels, split.labels.T, given.T, f1, strict=True):
            rows = int(truth.sum())
            recall = int((truth & answer).sum()) / rows if rows else None
            out.append({"label": name, "rows": rows, "recall": recall, "f1": one})
        return out

    def measured(self, split: Split, features: Features, outputs: Outputs) -> dict[str, Measured]:
        return label_measures(split.labels, self._given(_shares(outputs)))

    def errors(self, split: Split, features: Features, outputs: Outputs) -> list[Error]:
        shares = _shares(outputs)
        given = self._given(shares)
        off = (np.abs(shares - split.labels) * (given != split.labels)).max(axis=1)
        return [
            Error(split.texts[row], self._named(split.labels[row]), self._named(given[row]), float(off[row]))
            for row in np.argsort(-off, kind="stable")
            if off[row] > 0
        ]

    def baselines(self, task: Task, *, table: NDArray[np.float32]) -> "list[Baseline]":
        from ..baselines import frequent_labels, tfidf_labels  # scikit-learn takes a second to load

        return [frequent_labels(task), tfidf_labels(task)]

    def _named(self, there: Any) -> list[str]:
        return [name for name, yes in zip(self.labels, there, strict=True) if yes]

    def _given(self, shares: Any) -> Any:
        return shares >= np.array(self.description.thresholds or 0.5)


def _shares(outputs: Outputs) -> Any:
    """Probabilities [N, C]."""
    return torch.from_numpy(np.array(outputs, dtype=np.float64)).sigmoid().numpy()
