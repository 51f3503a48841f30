"""Reading labelled data as `load_task` reads it, but on past what that refuses: those faults become findings.

Columns are chosen in the same way. What is not one text or one label a row is read as far as it makes sense: words with
tags, texts with spans and questions (shapes.py), lists of words as texts, lists of labels, numbers.
"""

import json
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa

from ...data.columns import Columns, Rows, choose, class_names, read_labels, require
from ...data.tasks import RARE, benchmark, find_splits, is_list, separator
from ...errors import InputError
from .findings import Seen, excerpt
from .shapes import as_table, shaped

LabelKind = Literal["classes", "lists", "numbers", "other", "none"]
_NO_LABEL = "(no label)"  # stands in for the label column where there is none
_NUMBER = r"-?\d+(\.\d+)?(e[+-]?\d+)?"
_NO_NUMBER = ("nan", "inf", "-inf")


@dataclass(frozen=True)
class Labels:
    """The labels of N rows. words: [N] one word a row, None where there is none; items: [N] the classes in it.

    spelt: [N] as the file has it, with the blanks around it.
    """

    kind: LabelKind
    words: list[str | None]
    items: list[tuple[str, ...]]
    spelt: list[str | None]

    @property
    def given(self) -> int:
        """Rows that have a label."""
        return len(self.words) - self.words.count(None)


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


def read(
    path: str | Path, *, text_columns: Sequence[str] | None, label_column: str | None, task: str | None = None
) -> Data:
    """Everything that can be read. task: what the labels are for, where they could be more than one thing. InputError:
    nothing there, a column asked for is missing, no column of texts, no such task."""
    named = benchmark(task)
    kind = named.kind if named else task
    if named is not None and kind not in ("ner", "qa"):  # of these two the form of the file tells
        text_columns, label_column = text_columns or named.texts, label_column or named.label
    skipped: list[InputError] = []
    lost: list[InputError] = []
    found = {name: _rows(files, skipped, lost) for name, files in find_splits(Path(path)).items()}
    splits = {name: rows for name, rows in found.items() if rows is not None}
    if not splits:
        raise lost[0]
    plain = {name: Rows(_words_joined(rows.table), rows.files) for name, rows in splits.items()}
    shared = set.intersection(*(set(rows.columns) for rows in splits.values()))
    first = plain.get("train") or next(iter(plain.values()))
    whole = splits.get("train") or next(iter(splits.values()))
    asked = text_columns is not None or label_column is not None
    known = None if asked else shaped(whole, first, shared)
    texts, label, reasons = known or _choose(first, shared, text_columns, label_column)
    parts = {}
    for name, rows in splits.items():
        try:
            for column in texts:
                require(rows, column)
        except InputError as error:
            lost.append(error)
            continue
        columns = tuple(_texts(plain[name].table.column(column)) for column in texts)
        parts[name] = Part(name, rows, columns, _labels(rows, label))
    data = Data(_for_task(parts, kind), texts, label, reasons, tuple(skipped), tuple(lost))
    train = replace(data.train, labels=_judged(data.train.labels))
    return replace(data, parts=data.parts | {train.name: train})


def _for_task(parts: dict[str, Part], kind: str | None) -> dict[str, Part]:
    """Words that hold several labels as lists of them, classes that are numbers as such, where the task says so."""
    if kind not in ("multilabel", "regression"):
        return parts
    first = parts.get("train") or next(iter(parts.values()))
    mark = separator([word for word in first.labels.words if word])
    return {name: replace(part, labels=_meant(part.labels, kind, mark)) for name, part in parts.items()}


def _meant(labels: Labels, kind: str | None, mark: str) -> Labels:
    if labels.kind != "classes":
        return labels
    if kind == "regression" and all(re.fullmatch(_NUMBER, word) for word in labels.words if word is not None):
        return replace(labels, kind="numbers")
    if kind == "multilabel":
        items = [tuple(one.strip() for one in (word or "").split(mark) if one.strip()) for word in labels.words]
        return replace(labels, kind="lists", items=items)
    return labels


def _rows(files: Iterable[Path], skipped: list[InputError], lost: list[InputError]) -> Rows | None:
    """The rows of all files that can be read."""
    tables: dict[Path, pa.Table] = {}
    for file in files:
        bad: list[InputError] = []
        try:
            tables[file] = as_table(file, bad.append)
            skipped += bad
        except InputError as error:
            lost.append(error)
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
            for field in one.schema:
                types.setdefault(field.name, set()).add(field.type)
        mixed = {name for name, seen in types.items() if len(seen) > 1}
        return pa.concat_tables([_as_texts(one, mixed) for one in tables], promote_options="permissive")


def _as_texts(one: pa.Table, names: set[str]) -> pa.Table:
    for place, name in enumerate(one.column_names):
        if name in names:
            one = one.set_column(place, name, pa.array(_texts(one.column(name)), pa.string()))
    return one


def _words_joined(one: pa.Table) -> pa.Table:
    """Columns that hold lists of words as columns of texts."""
    return _as_texts(one, {field.name for field in one.schema if is_list(field.type) and _is_text(field.type)})


def _is_text(kind: pa.DataType) -> bool:
    """Texts, or lists of texts."""
    kind = kind.value_type if is_list(kind) or pa.types.is_dictionary(kind) else kind
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def _texts(column: pa.ChunkedArray) -> list[str | None]:
    return [value if value is None or isinstance(value, str) else _written(value) for value in column.to_pylist()]


def _written(value: Any) -> str:
    if isinstance(value, list):
        return " ".join(_written(one) for one in value if one is not None)
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return f"{value:.6g}"
    return json.dumps(value, ensure_ascii=False, default=str) if isinstance(value, dict) else str(value)


def _choose(
    rows: Rows, shared: set[str], texts: Sequence[str] | None, label: str | None
) -> tuple[tuple[str, ...], str | None, tuple[str, ...]]:
    """Text columns, label column, reasons; no label column where none was asked for and none can be guessed."""
    try:
        chosen = choose(rows, shared=shared, texts=texts, label=label)
        return chosen.texts, chosen.label, chosen.reasons
    except InputError as error:
        if label is not None:
            raise
        without = Rows(rows.table.append_column(_NO_LABEL, pa.nulls(len(rows.table))), rows.files)
        columns: Columns = choose(without, shared=shared, texts=texts, label=_NO_LABEL)
        return columns.texts, None, (columns.reasons[0], error.problem)


def _labels(rows: Rows, column: str | None) -> Labels:
    if column is None or column not in rows.columns:
        nothing: list[str | None] = [None] * len(rows.table)
        return Labels("none", nothing, [()] * len(nothing), nothing)
    values = rows.table.column(column)
    kind: LabelKind = "classes"
    if is_list(values.type):
        names = class_names(rows, column) or ()
        items = [tuple(_named(one, names) for one in value or () if one is not None) for value in values.to_pylist()]
        words = [" ".join(some) or None for some in items]
        return Labels("lists", words, items, words)
    try:
        words = _known(read_labels(rows, column, names=class_names(rows, column)))
    except InputError:
        kind = "numbers" if pa.types.is_floating(values.type) else "other"
        words = [None if text in _NO_NUMBER else text for text in _texts(values)]
    spelt = _texts(values) if _is_text(values.type) else words
    return Labels(kind, words, [() if word is None else (word,) for word in words], spelt)


def _named(value: Any, names: Sequence[str]) -> str:
    """An item of a list of labels: the name behind a number, where the file has names."""
    return names[value] if isinstance(value, int) and 0 <= value < len(names) else _written(value)


def _known(words: list[str | None]) -> list[str | None]:
    """None for -1 where `load_task` takes it for "unlabelled": everywhere, or rarely beside 0, 1, ..."""
    there = set(words) - {None}
    whole = {str(number) for number in range(len(there) - 1)}
    rare = len(whole) > 1 and there == whole | {"-1"} and words.count("-1") < RARE * len(words)
    return [None if word == "-1" else word for word in words] if rare or there == {"-1"} else words


def _judged(labels: Labels) -> Labels:
    """Labels that hardly repeat are no classes: numbers, or something else. (By the same limit `load_task` refuses.)"""
    different = Counter(labels.words)
    different.pop(None, None)
    if labels.kind != "classes" or len(different) <= max(2, labels.given / 2):
        return labels
    numbers = all(re.fullmatch(_NUMBER, word) for word in different if word is not None)
    return replace(labels, kind="numbers" if numbers else "other")


def number_of(word: str | None) -> float:
    """A label that is a number; nan where it is none."""
    return float(word) if word is not None and re.fullmatch(_NUMBER, word) else float("nan")
