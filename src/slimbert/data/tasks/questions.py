"""A question with a context that answers it, or does not. Texts are `squad.Question`, labels its answers."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from ..columns import Columns
from ..splits import same_texts
from ..squad import Question, Questions
from .file import DataFile
from .task import Ints, Split

COLUMNS = Columns(("question", "context"), "answers", ("questions and contexts, answers with their places",))


@dataclass(frozen=True, eq=False)
class QuestionFiles:
    """The files of one split."""

    files: tuple[DataFile, ...]
    columns: tuple[str, ...] = (*COLUMNS.texts, COLUMNS.label)

    @cached_property
    def read(self) -> list[Questions]:
        """What stands in each file."""
        return [file.questions for file in self.files]

    @property
    def name(self) -> str:
        return str(self.files[0].path)

    def check_ids(self, columns: Columns) -> None:
        """Nothing: the ids of questions are checked as they are read."""


class Spans:
    """SQuAD's form in both versions; see data/squad.py."""

    def open(self, files: Sequence[DataFile]) -> QuestionFiles:
        return QuestionFiles(tuple(files))

    def choose(
        self, rows: QuestionFiles, *, shared: set[str], texts: Sequence[str] | None, label: str | None
    ) -> Columns:
        return COLUMNS

    def kind(self, columns: Columns) -> str:
        return "qa"

    def values(self, rows: QuestionFiles, columns: Columns, *, split: str, notes: list[str]) -> list[Any]:
        """The question of each row; None where the file gives no answers at all."""
        notes += [f"{split}: {note}" for read in rows.read for note in read.notes]
        return [one if read.labelled else None for read in rows.read for one in read.questions]

    def unify(self, values: dict[str, list[Any]], notes: list[str]) -> dict[str, list[Any]]:
        return values

    def names(self, rows: QuestionFiles, columns: Columns, values: Sequence[Any]) -> tuple[str, ...]:
        return ()

    def split(self, rows: QuestionFiles, columns: Columns, values: Sequence[Any], names: tuple[str, ...]) -> Split:
        kept = [one for one in values if one is not None]
        return Split([replace(one, answers=()) for one in kept], [one.answers for one in kept])

    def strata(self, split: Split) -> Ints:
        """Answered or not."""
        return np.array([len(answers) > 0 for answers in split.labels], dtype=np.int64)

    def group(self, text: Question) -> Any:
        """Questions on one context stand on one side."""
        return text.context

    def groups(self, split: Split) -> Ints:
        return same_texts([self.group(text) for text in split.texts])

    def metric(self, names: tuple[str, ...]) -> str:
        return "f1"

    def summary(self, split: Split, names: tuple[str, ...]) -> str:
        answered = sum(len(answers) > 0 for answers in split.labels)
        return f"{answered:,} of {len(split):,} questions of train have an answer"
