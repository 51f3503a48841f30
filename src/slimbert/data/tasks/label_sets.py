"""Several labels a row, or none: topics, tags of articles, toxic in more than one way."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from ...errors import InputError
from ..columns import Columns, Rows, choose, class_names, is_text, plain, read_texts, require
from ..splits import same_texts
from .classes import SHOWN, refuse_other_case, unknown
from .file import DataFile, open_table
from .task import Ints, Split

SEPARATORS = ("|", ";", ",")  # of a set written as one word; the first that occurs in the column counts


class LabelSets:
    """Labels are lists of words or numbers, or one word with separators ("sports|politics"); an empty one is a set."""

    def __init__(self) -> None:
        self.known: Sequence[str] = ()  # the labels of a trained model; all words are among them by the right separator
        self.mark: str | None = None  # of the first split that is read: it decides for all

    def open(self, files: Sequence[DataFile]) -> Rows:
        return open_table(files)

    def choose(self, rows: Rows, *, shared: set[str], texts: Sequence[str] | None, label: str | None) -> Columns:
        return choose(rows, shared=shared, texts=texts, label=label)

    def kind(self, columns: Columns) -> str:
        return "multilabel"

    def values(self, rows: Rows, columns: Columns, *, split: str, notes: list[str]) -> list[Any]:
        """A frozenset of words for each row; None for all where no row has any."""
        require(rows, columns.label)
        column = plain(rows.table.column(columns.label))
        names = class_names(rows, columns.label)
        written = column.to_pylist()
        if all(value is None for value in written):
            return list(written)
        if None in written:
            problem, remedy = f"no labels in column {columns.label!r}", "write an empty list or text where none fits"
            raise InputError(rows.place(written.index(None)), problem, remedy)
        if is_list(column.type):
            made = [_words(value, names) for value in written]
        elif is_text(column.type):
            self.mark = self.mark or separator(written, known=self.known)
            made = [_words(value.split(self.mark), None) for value in written]
        elif self.known and pa.types.is_integer(column.type):  # one label a row, each a number
            made = [_words([value], names) for value in written]
        else:
            problem = f"column {columns.label!r} holds {column.type}, not several labels a row"
            raise InputError(rows.name, problem, "give lists, or words with | between them")
        for row, found in enumerate(made):
            if any(word.lower() == "nan" for word in found):
                raise InputError(rows.place(row), f"nan in column {columns.label!r} is no label", "remove it")
        return made

    def unify(self, values: dict[str, list[Any]], notes: list[str]) -> dict[str, list[Any]]:
        return values

    def names(self, rows: Rows, columns: Columns, values: Sequence[Any]) -> tuple[str, ...]:
        there = {name for value in values if value for name in value}
        if not there:
            raise InputError(rows.name, f"no row has a label in {columns.label!r}", "check the label column")
        named = ((row, name) for row, value in enumerate(values) for name in sorted(value or ()))
        refuse_other_case(named, rows.place)
        known = class_names(rows, columns.label)
        return tuple(name for name in known if name in there) if known else tuple(sorted(there))

    def split(self, rows: Rows, columns: Columns, values: Sequence[Any], names: tuple[str, ...]) -> Split:
        number = {name: i for i, name in enumerate(names)}
        kept = [row for row, value in enumerate(values) if value is not None]
        labels = np.zeros((len(kept), len(names)), dtype=np.bool_)
        for place, row in enumerate(kept):
            for name in values[row]:
                if name not in number:
                    raise unknown(rows.place(row), name, names)
                labels[place, number[name]] = True
        texts = read_texts(rows, columns.texts)
        return Split([texts[row] for row in kept], labels)

    def strata(self, split: Split) -> Ints:
        """The rarest label of each row, so that rare ones are dealt out first; one more class for the empty sets."""
        order = np.argsort(split.labels.sum(axis=0), kind="stable")
        ranked = split.labels[:, order]
        return np.where(ranked.any(axis=1), order[ranked.argmax(axis=1)], len(order)).astype(np.int64)

    def group(self, text: Any) -> Any:
        return text

    def groups(self, split: Split) -> Ints:
        return same_texts([self.group(text) for text in split.texts])

    def metric(self, names: tuple[str, ...]) -> str:
        return "micro_f1"

    def summary(self, split: Split, names: tuple[str, ...]) -> str:
        counts = Counter(dict(enumerate(split.labels.sum(axis=0).tolist())))
        few = ", ".join(f"{name} {counts[i]}" for i, name in enumerate(names[:SHOWN]))
        each = split.labels.sum(axis=1)
        several = f"{each.mean():.2g} a row, none on {int((each == 0).sum())} rows"
        return f"{len(names)} labels in train, {several}: {few}" + ", ..." * (len(names) > SHOWN)


def separator(written: Sequence[str], *, known: Sequence[str] = ()) -> str:
    """What stands between the labels of a row: the first of SEPARATORS that occurs; of those by which all words are
    `known`, if there are any."""
    there = [mark for mark in SEPARATORS if any(mark in value for value in written)]
    others = [mark for mark in SEPARATORS if mark not in there]
    for mark in (*there, *others) if known else ():
        if all(word in known for value in written for word in _words(value.split(mark), None)):
            return mark
    return (there or others)[0]


def is_list(kind: pa.DataType) -> bool:
    """Whether a column holds a list in each row."""
    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind))


def _words(value: Sequence[Any], names: Sequence[str] | None) -> frozenset[str]:
    there = [word for word in value if word is not None and str(word).strip()]
    if names:
        there = [names[word] if isinstance(word, int) and 0 <= word < len(names) else word for word in there]
    return frozenset(str(word).strip() for word in there)
