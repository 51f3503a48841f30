"""Which columns of a table hold the texts and the labels, and what they say: guessing, reading and refusing.

Names come first (those of the Hugging Face data sets), then types and contents. Whatever is guessed comes with the
reason, to be shown to the person whose data it is. Every refusal is an InputError with file or file:row, and a remedy.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ..errors import InputError

PAIRS = (
    *(("sentence1", "sentence2"), ("premise", "hypothesis"), ("question1", "question2"), ("question", "sentence")),
    *(("text_left", "text_right"), ("text1", "text2"), ("text_a", "text_b"), ("sentence_a", "sentence_b")),
    *(("question", "passage"), ("question", "context"), ("query", "document"), ("query", "passage")),
)
TEXTS = (
    *("text", "sentence", "content", "review", "body", "comment", "message", "document", "tweet", "utterance", "query"),
    *("question", "description", "abstract", "headline", "title"),
)
LABELS = (
    *("label", "labels", "target", "class", "category", "sentiment", "intent", "topic", "gold_label", "y", "rating"),
    *("stars", "score", "answer"),
)
IDS = ("id", "idx", "guid", "uid")
Texts = list[str] | list[tuple[str, str]]
MOST_SCORES = 10  # more different fractional numbers than this are scores, not classes


@dataclass(frozen=True)
class Rows:
    """A table with the files it came from; `place(row)` names a row (from 0) as file:row (from 1).

    faults: of columns that hold no one kind of values; an error only where such a column is needed.
    """

    table: pa.Table
    files: tuple[tuple[Path, int], ...]  # file, number of its rows
    faults: Mapping[str, InputError] = field(default_factory=dict)

    def place(self, row: int) -> str:
        for path, count in self.files:
            if row < count:
                return f"{path}:row {row + 1}"
            row -= count
        raise IndexError(row)

    def check_ids(self, columns: "Columns") -> None:
        """InputError where a column of ids, if it is neither text nor label, says the same of two rows."""
        for name in id_columns(self.columns, columns):
            if not pa.types.is_nested(self.table.schema.field(name).type):
                refuse_twice(name, self.table.column(name).to_pylist(), self.place)

    def has(self, column: str) -> bool:
        """Whether there is such a column."""
        return column in self.columns

    @property
    def name(self) -> str:
        return str(self.files[0][0])

    @property
    def columns(self) -> list[str]:
        return list(self.table.column_names)


@dataclass(frozen=True)
class Columns:
    """The chosen columns: one text column, or two for pairs, and the label; `reasons` are sentences for the reader."""

    texts: tuple[str, ...]
    label: str
    reasons: tuple[str, ...]


def id_columns(names: Sequence[str], columns: Columns) -> list[str]:
    """Those that should hold an id of each row's own."""
    return [name for name in names if name.strip().lower() in IDS and name not in (*columns.texts, columns.label)]


def refuse_twice(column: str, ids: Sequence[Any], place: Callable[[int], str]) -> None:
    """InputError where two rows have the same id: they were copied, or joined by it. Missing ids do not count."""
    seen: dict[Any, int] = {}
    for row, one in enumerate(ids):
        if isinstance(one, str | int | float) and one != "" and seen.setdefault(one, row) != row:
            problem = f"the id {one!r} in column {column!r} stands at {place(seen[one])}, too"
            remedy = "remove one of the rows, or rename the column if it is not the id of a row"
            raise InputError(place(row), problem, remedy)


def choose(rows: Rows, *, shared: set[str], texts: Sequence[str] | None, label: str | None) -> Columns:
    """Take the columns asked for and guess the others. shared: names that all files have; a text is one of them."""
    for name in (*(texts or ()), *((label,) if label else ())):
        require(rows, name)
    label, label_reason = (label, "as asked") if label else _guess_label(rows, set(texts or ()))
    if not texts:
        texts, text_reason = _guess_texts(rows, shared - {label}, label)
    elif len(texts) > 2:
        raise InputError(rows.name, f"{len(texts)} text columns asked for", "give one, or two for sentence pairs")
    elif label in texts:
        raise InputError(rows.name, f"column {label!r} is text and label at once", "name two different columns")
    else:
        text_reason = "as asked"
    for name in (*texts, label):
        require(rows, name)
    kind = "text in column" if len(texts) == 1 else "sentence pairs in columns"
    names = " and ".join(repr(name) for name in texts)
    return Columns(tuple(texts), label, (f"{kind} {names} ({text_reason})", f"labels in {label!r} ({label_reason})"))


def class_names(rows: Rows, column: str) -> list[str] | None:
    """The class names that a Hugging Face data set wrote into its parquet file, for a column or for its lists."""
    raw = (rows.table.schema.metadata or {}).get(b"huggingface")
    try:
        feature = json.loads(raw)["info"]["features"][column] if raw else None
    except (ValueError, KeyError, TypeError):  # other writers may use the key as they like: then there are no names
        return None
    while isinstance(feature, dict) and "feature" in feature:
        feature = feature["feature"]
    feature = feature[0] if isinstance(feature, list) and feature else feature
    names = feature.get("names") if isinstance(feature, dict) else None
    return [str(name) for name in names] if isinstance(names, list) else None


def require(rows: Rows, column: str) -> None:
    """InputError unless the table has the column, with values of one kind."""
    if column not in rows.columns:
        there = ", ".join(rows.columns)
        raise InputError(rows.name, f"no column {column!r}", f"name one of its columns: {there}")
    if rows.columns.count(column) > 1:
        raise InputError(rows.name, f"two columns are called {column!r}", "rename one of them")
    if column in rows.faults:
        raise rows.faults[column]


def _guess_label(rows: Rows, taken: set[str]) -> tuple[str, str]:
    by_name = {name.strip().lower(): name for name in reversed(rows.columns) if name not in taken}
    for name in LABELS:
        if name in by_name:
            return by_name[name], "by its name"
    few = [name for name in rows.columns if name not in taken and _repeats(rows.table.column(name))]
    if len(few) == 1 and len(rows.columns) <= 4:  # in a wider table one such column may well be something else
        others = [name for name in rows.columns if name != few[0]]
        if few[0] in read_labels(rows, few[0]) and all(" " in name.strip() for name in others):
            problem = f"the first line holds {few[0]!r}, which is also a value below it: it looks like a row"
            raise InputError(f"{rows.name}:1", problem, "write the names of the columns, such as text,label, above it")
        return few[0], "the only column of few, repeating values"
    if not any(is_text(field.type) for field in rows.table.schema):
        _refuse_objects(rows, rows.columns)
    raise InputError(
        rows.name,
        f"no label column found among {', '.join(rows.columns) or 'no columns at all'}",
        "name it with --label-column (the first line of a .csv holds the names)",
    )


def _refuse_objects(rows: Rows, names: Sequence[str]) -> None:
    """InputError for the first of these columns that holds objects, or lists of them, where a row should be flat."""
    for name in names:
        kind = rows.table.schema.field(name).type
        kind = kind.value_type if pa.types.is_list(kind) or pa.types.is_large_list(kind) else kind
        if pa.types.is_struct(kind) or pa.types.is_map(kind):
            column = rows.table.column(name)
            row = next((number for number, value in enumerate(column) if value.is_valid), 0)
            problem = f"column {name!r} holds an object where a row should be flat: {column[row].as_py()!s:.60}"
            raise InputError(rows.place(row), problem, 'write every row as {"text": "...", "label": "..."}')


def _repeats(column: pa.ChunkedArray) -> bool:
    """At most 100 different values, each standing for 4 rows or more on average: looks like classes."""
    if not (is_text(column.type) or pa.types.is_integer(column.type) or pa.types.is_boolean(column.type)):
        return False
    return 2 <= pc.count_distinct(column).as_py() <= min(100, len(column) // 4)


def _guess_texts(rows: Rows, among: set[str], label: str) -> tuple[tuple[str, ...], str]:
    usable = [n for n in rows.columns if n in among and n != label and is_text(rows.table.schema.field(n).type)]
    by_name = {name.strip().lower(): name for name in reversed(usable)}
    for first, second in PAIRS:
        if first in by_name and second in by_name:
            return (by_name[first], by_name[second]), "by their names"
    unused = [name for name in usable if name != label]
    for name in TEXTS:
        if name in by_name:
            others = [other for other in unused if other != by_name[name]]
            return (by_name[name],), "by its name" + (f"; not used: {', '.join(others)}" if others else "")
    if not usable:
        _refuse_objects(rows, [name for name in rows.columns if name != label])
        alone = [n for n in rows.columns if n not in among and n != label and is_text(rows.table.schema.field(n).type)]
        problem = f"no text column among {', '.join(rows.columns)}"
        if alone:
            problem = f"no text column that every file has: {', '.join(alone)} stands here only"
        raise InputError(rows.name, problem, "name it with --text-column, the same in all files")
    length = {name: pc.mean(pc.utf8_length(plain(rows.table.column(name)))).as_py() or 0.0 for name in usable}
    best = max(usable, key=length.__getitem__)
    return (best,), "the only column of text" if len(usable) == 1 else "the longest texts on average"


def is_text(kind: pa.DataType) -> bool:
    """Whether values of this type are texts, in any of Arrow's forms."""
    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    return any((pa.types.is_string(kind), pa.types.is_large_string(kind), pa.types.is_string_view(kind)))


def plain(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """A dictionary-encoded column as its values."""
    return column.cast(column.type.value_type) if pa.types.is_dictionary(column.type) else column


def read_texts(rows: Rows, columns: Sequence[str], *, lenient: bool = False) -> Texts:
    """The texts, or pairs for two columns. Missing ones are errors; empty ones too, unless `lenient`."""
    read = []
    for name in columns:
        require(rows, name)
        column = rows.table.column(name)
        if not is_text(column.type):
            _refuse_objects(rows, [name])
            raise InputError(rows.name, f"column {name!r} holds {column.type}, not text", "choose with --text-column")
        texts: list[str | None] = column.to_pylist()
        for number, text in enumerate(texts):
            if text is None or not (lenient or text.strip()):
                what = "no text" if text is None else "empty text"
                raise InputError(rows.place(number), f"{what} in column {name!r}", "fill in or remove this row")
        read.append([text for text in texts if text is not None])
    return read[0] if len(read) == 1 else list(zip(read[0], read[1], strict=True))


def read_labels(rows: Rows, column: str, *, names: Sequence[str] | None = None) -> list[str | None]:
    """The label of each row as a word; None where there is none. names: those that stand behind the numbers.

    Whole numbers become "0", "1", ... also where they were read as 0.0, 1.0; booleans "false" and "true".
    """
    require(rows, column)
    values = plain(rows.table.column(column))
    kind = values.type
    if pa.types.is_boolean(kind):
        return [None if value is None else str(value).lower() for value in values.to_pylist()]
    if pa.types.is_integer(kind):
        return [_named(value, names) for value in values.to_pylist()]
    if is_text(kind):
        return [_word(value) for value in values.to_pylist()]
    if pa.types.is_floating(kind):
        return _whole(rows, column, values.cast(pa.float64()).to_numpy())
    if pa.types.is_null(kind):
        return [None] * len(values)
    _refuse_objects(rows, [column])
    raise InputError(rows.name, f"column {column!r} holds {kind}, not one label a row", "choose with --label-column")


def _word(value: str | None) -> str | None:
    """A label as it is written; None where there is none, or where a program wrote that a number is missing."""
    word = (value or "").strip()
    return None if word.lower() in ("", "nan") else word


def _named(value: int | None, names: Sequence[str] | None) -> str | None:
    if value is None or (names and value == -1):  # Hugging Face: -1 where a class label is not known
        return None
    return names[value] if names and 0 <= value < len(names) else str(value)


def _whole(rows: Rows, column: str, values: np.ndarray) -> list[str | None]:
    known = values[np.isfinite(values)]
    if (known == np.round(known)).all():
        return [str(int(value)) if np.isfinite(value) else None for value in values]
    different = np.unique(known)
    if len(different) > MOST_SCORES:
        problem = (
            f"column {column!r} holds {len(different)} different numbers such as {known[0]:.6g}: scores, not classes"
        )
        raise InputError(rows.name, problem, "choose another with --label-column, or turn the scores into classes")
    return [f"{value:.6g}" if np.isfinite(value) else None for value in values]
