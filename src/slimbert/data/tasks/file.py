"""A file of labelled data, read once, whatever is asked of it: while a task is guessed it is asked in several ways."""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import pyarrow as pa

from ...errors import InputError
from ..columns import Rows
from ..conll import is_conll
from ..files import expand, first_line, form
from ..records import json_records
from ..rows import Table, table_of, table_of_records
from ..squad import FIELDS, Fields, Questions, is_squad, read_questions, read_rows
from ..table import table

NESTED = (".json", ".jsonl")  # forms whose records may hold lists and objects of any shape


class DataFile:
    """One file. Everything is read when it is first asked for, and kept.

    texts: columns that hold texts, also where all of them are numbers. `faults`: of columns that have no one type.
    """

    def __init__(self, path: Path, *, texts: Sequence[str] = ()) -> None:
        self.path = path
        self.texts = texts
        self.faults: dict[str, InputError] = {}

    @cached_property
    def records(self) -> Sequence[tuple[str, Any]] | None:
        """(file:line, value) of every record of a .json or .jsonl file; None for other forms."""
        return list(json_records(expand(self.path)[0])) if form(self.path) in NESTED else None

    @cached_property
    def columns(self) -> pa.Table:
        """The rows as named columns; those with faults as texts."""
        return table(self.path, texts=self.texts, records=self.records, faults=self.faults)

    @cached_property
    def rows(self) -> Table:
        """The rows as Python values."""
        if self.records is not None:
            return table_of_records(str(self.path), self.records)
        return table_of(open_table([self]))

    def questions(self, fields: Fields = FIELDS) -> Questions:
        """The rows as questions with contexts; fields: the names of their columns."""
        if self.records is None:
            return read_rows(self.rows, fields)
        return read_questions(self.path, records=self.records, fields=fields)

    @property
    def has_lines_of_words(self) -> bool:
        return is_conll(self.path)

    @property
    def is_squad(self) -> bool:
        """Whether it is SQuAD's own JSON."""
        return form(self.path) == ".json" and self.records is not None and is_squad(self.records)


def open_table(files: Sequence[DataFile]) -> Rows:
    """Tables as labelled data: the rows of one split, whose files follow one another."""
    try:
        joined = pa.concat_tables([file.columns for file in files], promote_options="permissive")
    except pa.ArrowException as error:
        problem = f"its columns do not fit those of {files[0].path} ({first_line(error)})"
        raise InputError(files[-1].path, problem, "write one kind of value in all files of a split") from error
    faults = {name: fault for file in reversed(files) for name, fault in file.faults.items()}
    return Rows(joined, tuple((file.path, len(file.columns)) for file in files), faults)
