"""A task: rows of texts with labels in train, validation and test, and what every kind of task has of its own.

| kind | a text | the labels of a split |
| --- | --- | --- |
| classification | str | [N] int64, numbers into `Task.labels` |
| pair | (str, str) | the same |
| multilabel | str or pair | [N, C] bool |
| regression | str or pair | [N] float64 |
| ner | tagging.Tagged | list of [W] int64, numbers into `Task.labels`, one for each word |
| embedding | (str, str, ...) | [N] float64, 0 to 1, or int64: the number of the second text |
| qa | squad.Question | list of ((text, start), ...), the answers |
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ..columns import Columns
from .file import DataFile

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Split:
    """Texts and their labels, as many of both; what each of them is depends on the kind of task."""

    texts: Sequence[Any]
    labels: Any

    def __len__(self) -> int:
        return len(self.texts)

    def take(self, index: Ints) -> "Split":
        """The rows with these numbers, in this order."""
        whole = isinstance(self.labels, np.ndarray)
        labels = self.labels[index] if whole else [self.labels[i] for i in index]
        return Split([self.texts[i] for i in index], labels)


@dataclass(frozen=True)
class Task:
    """What is to be learnt. `labels`: names of classes or tags; `test` is None only where no share was left for it.

    `metric`: the score by which validation selects, of those that the kind of task has; higher is better.
    """

    kind: str
    labels: tuple[str, ...]
    text_columns: tuple[str, ...]
    label_column: str
    train: Split
    validation: Split
    test: Split | None
    notes: tuple[str, ...]
    sha256: str
    metric: str = "accuracy"


class Shape(Protocol):
    """How the rows of a table become labelled texts. `values` are labels as they were written, None where unlabelled.

    Raises InputError, with file and row and a remedy, on what is no label of this shape.
    """

    def open(self, files: Sequence[DataFile]) -> Any:
        """The rows of one split: what has `name`, `columns`, `has`, `check_ids` and all that the others need."""

    def choose(self, rows: Any, *, shared: set[str], texts: Sequence[str] | None, label: str | None) -> Columns:
        """The columns asked for, the others guessed; shared: names that the files of all splits have."""

    def kind(self, columns: Columns) -> str:
        """The kind of task that these columns make."""

    def values(self, rows: Any, columns: Columns, *, split: str, notes: list[str]) -> list[Any]:
        """The label of each row, or None."""

    def unify(self, values: dict[str, list[Any]], notes: list[str]) -> dict[str, list[Any]]:
        """The values of all splits, written alike."""

    def names(self, rows: Any, columns: Columns, values: Sequence[Any]) -> tuple[str, ...]:
        """The names of what is to be told apart, from the values of train; none where labels are numbers."""

    def split(self, rows: Any, columns: Columns, values: Sequence[Any], names: tuple[str, ...]) -> Split:
        """The labelled rows."""

    def strata(self, split: Split) -> Ints:
        """[N] a class of each row, whose shares stay the same when rows are split."""

    def group(self, text: Any) -> Any:
        """What of a text may not stand on two sides of a split."""

    def groups(self, split: Split) -> Ints:
        """[N] a number of each row, equal for rows that must stay on one side."""

    def metric(self, names: tuple[str, ...]) -> str:
        """The score by which validation selects, where no benchmark has its own."""

    def summary(self, split: Split, names: tuple[str, ...]) -> str:
        """A sentence on the labels of train."""


def fingerprint(labels: Sequence[str], *splits: Split | None) -> str:
    """SHA-256 of the label names, texts and labels, split by split: equal data, equal splits, equal hash."""
    digest = hashlib.sha256(json.dumps(list(labels)).encode())
    for split in splits:
        content = [] if split is None else [split.texts, split.labels]
        digest.update(json.dumps(content, default=_plain).encode())
    return digest.hexdigest()


def _plain(value: Any) -> Any:
    """Arrays as lists, dataclasses as their fields, but not where they were read."""
    if isinstance(value, np.ndarray):
        return value.tolist()
    return {name: field for name, field in vars(value).items() if name != "place"}
