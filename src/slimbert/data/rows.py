"""The rows of a file as Python values, each with its place: for columns that hold lists and objects.

A pyarrow column has one type; a list such as [0, 5, "PER"] has none. So .json and .jsonl are taken record by record, as
they stand, and all other files through `table.table`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import InputError
from .columns import Rows, class_names
from .files import expand, form
from .records import json_records
from .table import table

Record = tuple[str, dict[str, Any]]  # file:line or file:row, value by column


@dataclass(frozen=True)
class Table:
    """records: every row; class_names: those that a Hugging Face data set wrote into its parquet file, by column."""

    name: str
    columns: tuple[str, ...]
    records: Sequence[Record]
    class_names: Mapping[str, Sequence[str]]

    def place(self, row: int) -> str:
        """file:line or file:row of a row (from 0)."""
        return self.records[row][0]

    def require(self, column: str) -> None:
        """InputError unless there is such a column."""
        if column not in self.columns:
            there = ", ".join(self.columns) or "no columns at all"
            raise InputError(self.name, f"no column {column!r}", f"name one of its columns: {there}")

    def holds(self, column: str) -> str:
        """What its first value that is not null is: "str", "list", "int", ...; "" where all are null."""
        values = (record.get(column) for _, record in self.records)
        return next((type(value).__name__ for value in values if value is not None), "")

    def named(self, names: Sequence[str], *, of: str = "", other_than: str | None = None) -> str | None:
        """The column with the first of these names (in small letters) that holds anything, or values of this type."""
        there = {column.strip().lower(): column for column in reversed(self.columns) if column != other_than}
        for name in names:
            if name in there and (found := self.holds(there[name])) and of in ("", found):
                return there[name]
        return None


def read_table(path: str | Path) -> Table:
    """All rows of one file. InputError: it cannot be read, a record is no object, there is no row."""
    if form(path) not in (".json", ".jsonl"):
        made = table(path)
        return table_of(Rows(made, ((Path(path), made.num_rows),)))
    return table_of_records(str(path), list(json_records(expand(path)[0])))


def table_of_records(name: str, records: Sequence[tuple[str, Any]]) -> Table:
    """As `read_table`, of the records of a .json or .jsonl file that were read already."""
    for place, record in records:
        if not isinstance(record, dict):
            problem = f"expected an object, found {type(record).__name__}"
            raise InputError(place, problem, 'write {"column": value, ...}')
    if not records:
        raise InputError(name, "there is no row in it", "check the file")
    columns = dict.fromkeys(column for _, record in records for column in record)
    return Table(name, tuple(columns), records, {})


def table_of(rows: Rows) -> Table:
    """The same rows as Python values."""
    records = [(rows.place(number), record) for number, record in enumerate(rows.table.to_pylist())]
    named = {column: names for column in rows.columns if (names := class_names(rows, column))}
    return Table(rows.name, tuple(rows.columns), records, named)
