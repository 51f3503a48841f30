"""Reading labelled data as `load_task` reads it, but on past what that refuses: those faults become findings.

Columns are chosen in the same way. What is not one text or one label a row is read as far as it makes sense: words with
tags, texts with spans and questions (shapes.py), lists of words as texts, lists of labels, numbers (labelled.py).
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pyarrow as pa

from ...data.columns import Columns, Rows, choose, is_text, require
from ...data.tasks import benchmark, find_splits, is_list
from ...errors import InputError
from .findings import Seen, excerpt
from .labelled import Form, LabelKind, Labels, judged, labels_of, meant
from .shapes import Asked, as_table, columns_of_words, form_of, shaped
from .written import texts_of

_NO_LABEL = "(no label)"  # stands in for the label column where there is none
_Chosen = tuple[tuple[str, ...], str | None, tuple[str, ...]]  # text columns, label column, reasons


@dataclass(frozen=True)
class Part:
    """One split. texts: for every text column [N], None where missing."""

    name: str
    rows: Rows
    texts: tuple[list[str | None], ...]
    labels: Labels

    def __len__(self) -> int:
        return len(self.labels.words)

    def text(self, row: int) -> str:
        """The text of a row, or its texts in a line."""
        return " | ".join(column[row] or "" for column in self.texts)

    def seen(self, row: int, *, column: int | None = None, at: int = 0) -> Seen:
        """The row as an example: all its texts, or place `at` of one."""
        text = self.text(row) if column is None else self.texts[column][row] or ""
        return Seen(self.rows.place(row), excerpt(text, at=at), self.labels.words[row])


@dataclass(frozen=True)
class Data:
    """All splits, "all" where one file is given. skipped: records left out; lost: files and splits left out."""

    parts: dict[str, Part]
    text_columns: tuple[str, ...]
    label_column: str | None
    reasons: tuple[str, ...]
    skipped: tuple[InputError, ...]
    lost: tuple[InputError, ...]

    @property
    def train(self) -> Part:
        """What is learnt from; where there is no such split, the first."""
        return self.parts.get("train") or next(iter(self.parts.values()))

    @property
    def held_out(self) -> list[Part]:
        """The other splits."""
        return [part for part in self.parts.values() if part is not self.train]

    @property
    def kind(self) -> LabelKind:
        """What the labels to learn are."""
        return self.train.labels.kind

    def __len__(self) -> int:
        return sum(map(len, self.parts.values()))


@dataclass
class _Found:
    """What turns up while files are read. mixed: the fault of a column of mixed values, file by file; spans: names of
    columns that mark spans of texts."""

    skipped: list[InputError] = field(default_factory=list)
    lost: list[InputError] = field(default_factory=list)
    mixed: list[tuple[str, InputError]] = field(default_factory=list)
    spans: set[str] = field(default_factory=set)


def read(
    path: str | Path, *, text_columns: Sequence[str] | None, label_column: str | None, task: str | None = None
) -> Data:
    """Everything that can be read. task: what the labels are for, where they could be more than one thing. InputError:
    nothing there, a column asked for is missing, no column of texts, no such task."""
    asked = _asked(text_columns, label_column, task)
    files = find_splits(Path(path))
    words = columns_of_words(files.get("train") or next(iter(files.values())), asked)
    found = _Found()
    opened = {name: _rows(some, found, asked=asked, words=words) for name, some in files.items()}
    splits = {name: rows for name, rows in opened.items() if rows is not None}
    if not splits:
        raise found.lost[0]
    plain = {name: Rows(_words_joined(rows.table), rows.files) for name, rows in splits.items()}
    first, whole = ((some.get("train") or next(iter(some.values()))) for some in (plain, splits))
    chosen: _Chosen
    if words is not None:
        chosen = words.texts, words.label, words.reasons
    else:
        shared = set.intersection(*(set(rows.columns) for rows in splits.values()))
        known = shaped(whole, first, shared, spans=found.spans, asked=asked)
        chosen = known or _choose(first, shared, asked)
    texts, label, reasons = chosen
    form = form_of(whole, texts, label, spans=found.spans, asked=asked)
    read_labels = _labels(splits, texts, label, form=form, lost=found.lost)
    if not read_labels:
        raise found.lost[0]
    labels, said = meant(read_labels, asked.kind)
    parts = {
        name: Part(name, rows, tuple(texts_of(plain[name].table.column(column)) for column in texts), labels[name])
        for name, rows in splits.items()
        if name in labels
    }
    used = [error for name, error in found.mixed if name in (*texts, label)]
    data = Data(parts, texts, label, (*reasons, *said), (*found.skipped, *used), tuple(found.lost))
    train = replace(data.train, labels=judged(data.train.labels))
    return replace(data, parts=data.parts | {train.name: train})


def _asked(texts: Sequence[str] | None, label: str | None, task: str | None) -> Asked:
    named = benchmark(task)
    if named is None:
        return Asked(tuple(texts or ()) or None, label, task)
    return Asked(tuple(texts or named.texts) or None, label or named.label or None, named.kind)


def _rows(files: Iterable[Path], found: _Found, *, asked: Asked, words: Columns | None) -> Rows | None:
    """The rows of all files that can be read."""
    tables: dict[Path, pa.Table] = {}
    for file in files:
        bad: list[InputError] = []
        mixed: dict[str, InputError] = {}
        try:
            tables[file], spans = as_table(file, bad.append, mixed, asked=asked, words=words)
        except InputError as error:
            found.lost.append(error)
            continue
        found.skipped += bad
        found.mixed += mixed.items()
        found.spans |= {spans} if spans else set()
    if not tables:
        return None
    return Rows(_joined(list(tables.values())), tuple((file, len(read)) for file, read in tables.items()))


def _joined(tables: list[pa.Table]) -> pa.Table:
    """One table; a column that is of another type in each is read as text."""
    try:
        return pa.concat_tables(tables, promote_options="permissive")
    except pa.ArrowException:
        types: dict[str, set[pa.DataType]] = {}
        for one in tables:
            for column in one.schema:
                types.setdefault(column.name, set()).add(column.type)
        mixed = {name for name, seen in types.items() if len(seen) > 1}
        return pa.concat_tables([_as_texts(one, mixed) for one in tables], promote_options="permissive")


def _as_texts(one: pa.Table, names: set[str]) -> pa.Table:
    for place, name in enumerate(one.column_names):
        if name in names:
            one = one.set_column(place, name, pa.array(texts_of(one.column(name)), pa.string()))
    return one


def _words_joined(one: pa.Table) -> pa.Table:
    """Columns that hold lists of words as columns of texts."""
    of_words = {column.name for column in one.schema if is_list(column.type) and is_text(column.type.value_type)}
    return _as_texts(one, of_words)


def _choose(rows: Rows, shared: set[str], asked: Asked) -> _Chosen:
    """The columns; no label column where none was asked for and none can be guessed."""
    try:
        chosen = choose(rows, shared=shared, texts=asked.texts, label=asked.label)
        return chosen.texts, chosen.label, chosen.reasons
    except InputError as error:
        if asked.label is not None:
            raise
        without = Rows(rows.table.append_column(_NO_LABEL, pa.nulls(len(rows.table))), rows.files)
        columns = choose(without, shared=shared, texts=asked.texts, label=_NO_LABEL)
        return columns.texts, None, (columns.reasons[0], error.problem)


def _labels(
    splits: Mapping[str, Rows], texts: Sequence[str], label: str | None, *, form: Form, lost: list[InputError]
) -> dict[str, Labels]:
    """The labels of every split that has the columns of texts, as they are written; the others are lost."""
    made = {}
    for name, rows in splits.items():
        try:
            for column in texts:
                require(rows, column)
        except InputError as error:
            lost.append(error)
        else:
            made[name] = labels_of(rows, label, form=form)
    return made
