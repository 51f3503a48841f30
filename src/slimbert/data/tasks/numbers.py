"""One number a row: scores, ratings, similarities (regression)."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from ...errors import InputError
from ..columns import Columns, Rows, choose, plain, read_texts, require
from ..splits import same_texts
from .file import DataFile, open_table
from .task import Ints, Split

BINS = 10  # strata: rows are split so that low, middle and high numbers stand on every side


class Numbers:
    """Labels are finite numbers; words that are numbers ("3.5") count, nothing else does."""

    def open(self, files: Sequence[DataFile]) -> Rows:
        return open_table(files)

    def choose(self, rows: Rows, *, shared: set[str], texts: Sequence[str] | None, label: str | None) -> Columns:
        return choose(rows, shared=shared, texts=texts, label=label)

    def kind(self, columns: Columns) -> str:
        return "regression"

    def values(self, rows: Rows, columns: Columns, *, split: str, notes: list[str]) -> list[Any]:
        require(rows, columns.label)
        column = plain(rows.table.column(columns.label))
        written = column.to_pylist()
        if all(value is None for value in written) or {str(value) for value in written} in ({"-1"}, {"-1.0"}):
            return [None] * len(written)  # as GLUE hides the labels of its tests
        return [_number(rows, columns.label, row, value) for row, value in enumerate(written)]

    def unify(self, values: dict[str, list[Any]], notes: list[str]) -> dict[str, list[Any]]:
        return values

    def names(self, rows: Rows, columns: Columns, values: Sequence[Any]) -> tuple[str, ...]:
        if len(set(values)) < 2:
            problem = f"one number only: every row has {columns.label!r} = {values[0]!r}"
            raise InputError(rows.name, problem, "training needs numbers that differ; check the label column")
        return (columns.label,)

    def split(self, rows: Rows, columns: Columns, values: Sequence[Any], names: tuple[str, ...]) -> Split:
        return Split(read_texts(rows, columns.texts), np.array(values, dtype=np.float64))

    def strata(self, split: Split) -> Ints:
        edges = np.unique(np.quantile(split.labels, np.linspace(0, 1, BINS + 1)[1:-1]))
        return np.searchsorted(edges, split.labels, side="right").astype(np.int64)

    def group(self, text: Any) -> Any:
        return text

    def groups(self, split: Split) -> Ints:
        return same_texts([self.group(text) for text in split.texts])

    def metric(self, names: tuple[str, ...]) -> str:
        return "spearman"

    def summary(self, split: Split, names: tuple[str, ...]) -> str:
        low, middle, high = np.quantile(split.labels, (0, 0.5, 1))
        return f"numbers in train: {low:.4g} to {high:.4g}, median {middle:.4g}"


def is_numbers(rows: Rows, column: str, *, most: int) -> bool:
    """Whether a column holds fractional numbers, more than `most` different ones: scores, not classes."""
    kind = rows.table.schema.field(column).type
    if not pa.types.is_floating(kind):
        return False
    values = rows.table.column(column).cast(pa.float64()).to_numpy()
    known = np.unique(values[np.isfinite(values)])
    return len(known) > most and bool((known != np.round(known)).any())


def _number(rows: Rows, column: str, row: int, value: Any) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = float("nan")
    if not np.isfinite(number):
        problem = f"no number in column {column!r}" if value in (None, "") else f"{value!r} in {column!r} is no number"
        raise InputError(rows.place(row), problem, "fill in or remove this row")
    return number
