"""One number for a text or a pair: ratings, similarities, ordinal labels taken as numbers.

The head knows mean and deviation of the training labels, so that any unit is learnt alike.
"""

import dataclasses
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...config import HeadConfig
from ...data.metrics import Measured, number_measures, regression_scores
from ...data.tasks import Split, Task
from ...data.tokenizer import TextTokenizer
from ...train.supervised import Judge, number
from ..settings import Settings
from .features import Column, Features
from .kind import Description, Error, Outputs
from .sequences import cut_share, rows_of, sequence_head

if TYPE_CHECKING:
    from ..baselines import Baseline


class Estimate(NamedTuple):
    """One text's number."""

    text: str | tuple[str, str]
    value: float


class Regression:
    """Mean squared error in units of the labels' deviation."""

    reads_whole = False
    at_random = False

    def __init__(self, tokenizer: TextTokenizer, description: Description, labels: tuple[str, ...]) -> None:
        self.tokenizer, self.description, self.labels = tokenizer, description, labels

    def head(self, train: Split, settings: Settings, *, old: HeadConfig | None, narrows: bool) -> HeadConfig:
        """One that is there keeps its weights, which know no unit; mean and deviation are those of these labels."""
        made = sequence_head(self.labels, "number", settings, old=old, narrows=narrows)
        return dataclasses.replace(made, mean=float(train.labels.mean()), deviation=_deviation(train))

    def judge(self, train: Split, settings: Settings) -> Judge:
        return partial(number, deviation=_deviation(train))

    def features(self, split: Split, *, labelled: bool) -> Features:
        made = rows_of(self.tokenizer, split.texts, self.description)
        columns = {"labels": Column(split.labels.astype(np.float32))} if labelled else {}
        return dataclasses.replace(made, columns=columns)

    def cut_share(self, texts: Sequence[Any]) -> float:
        return cut_share(self.tokenizer, texts, self.description.max_len)

    def settled(self, split: Split, features: Features, outputs: Outputs) -> Description:
        return self.description

    def answers(self, texts: Sequence[Any], features: Features, outputs: Outputs) -> list[Estimate]:
        return [Estimate(text, float(row[0])) for text, row in zip(texts, outputs, strict=True)]

    def score(self, split: Split, features: Features, outputs: Outputs) -> dict[str, float]:
        return regression_scores(split.labels, _values(outputs))

    def by_label(self, split: Split, features: Features, outputs: Outputs) -> list[dict[str, Any]]:
        return []

    def measured(self, split: Split, features: Features, outputs: Outputs) -> dict[str, Measured]:
        return number_measures(split.labels, _values(outputs))

    def errors(self, split: Split, features: Features, outputs: Outputs) -> list[Error]:
        values = _values(outputs)
        off = np.abs(values - split.labels)
        return [
            Error(split.texts[row], float(split.labels[row]), float(values[row]), float(off[row]))
            for row in np.argsort(-off, kind="stable")
            if off[row] > 0
        ]

    def baselines(self, task: Task, *, table: NDArray[np.float32]) -> "list[Baseline]":
        from ..baselines import mean_number, tfidf_ridge  # scikit-learn takes a second to load

        return [mean_number(task), tfidf_ridge(task)]


def _values(outputs: Outputs) -> NDArray[np.float64]:
    return np.array([row[0] for row in outputs], dtype=np.float64)


def _deviation(train: Split) -> float:
    return float(train.labels.std()) or 1.0
