"""A question with a context that answers it, or does not. Texts are `squad.Question`, labels its answers."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ...errors import InputError
from ..columns import Columns
from ..splits import same_texts
from ..squad import FIELDS, Fields, Question
from .file import DataFile
from .task import Ints, Split

COLUMNS = Columns(FIELDS[:2], FIELDS.answers, ("questions and contexts, answers with their places",))


@dataclass(frozen=True, eq=False)
class QuestionFiles:
    """The files of one split."""

    files: tuple[DataFile, ...]

    @property
    def columns(self) -> list[str]:
        return list(FIELDS if self.files[0].is_squad else self.files[0].rows.columns)

    def has(self, column: str) -> bool:
        """True: whether there are answers is found out as they are read."""
        return True

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
        if not texts and not label:
            return COLUMNS
        if rows.files[0].is_squad:
            remedy = "leave out --text-column and --label-column: SQuAD's form has names of its own"
            raise InputError(rows.name, "no columns to choose from", remedy)
        if texts and len(texts) != 2:
            problem = f"{len(texts)} text columns asked for"
            raise InputError(rows.name, problem, "give --text-column twice: of the questions, then of the contexts")
        (question, context), answers = texts or COLUMNS.texts, label or COLUMNS.label
        said = f"questions in {question!r}, contexts in {context!r}, answers in {answers!r} (as asked)"
        return Columns((question, context), answers, (said,))

    def kind(self, columns: Columns) -> str:
        return "qa"

    def values(self, rows: QuestionFiles, columns: Columns, *, split: str, notes: list[str]) -> list[Any]:
        """The question of each row; None where the file gives no answers at all."""
        question, context = columns.texts
        found = [file.questions(Fields(question, context, columns.label)) for file in rows.files]
        notes += [f"{split}: {note}" for read in found for note in read.notes]
        return [one if read.labelled else None for read in found for one in read.questions]

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
