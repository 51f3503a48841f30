"""Documents from files: .txt, .jsonl, .json, .csv, .tsv, .parquet, each also with .gz or .zst behind.

`documents` streams texts and holds one block of a file in memory; for labelled files see `table.py`. Every fault is an
InputError with file:line (file and row where the format has no lines).
"""

import difflib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from ..errors import InputError
from .columns import is_text
from .files import FAULTS, HUB, Bad, broken, expand, first_line, form, lines, stop
from .records import csv_rows, json_records

LONGEST_DOCUMENT = 1 << 20  # characters of a .txt document without a blank line; then the next line starts a new one
TEXT_COLUMNS = ("text", "content", "document", "body", "article", "sentence", "review", "abstract", "docstring")


def documents(
    paths: str | Path | Iterable[str | Path],
    *,
    text_column: str | None = None,
    skip_bad: bool = False,
    on_bad: Bad | None = None,
) -> Iterator[str]:
    """All non-blank texts of the files, in order.

    paths: files, folders, patterns, `hub:owner/name`. text_column: of csv, json and parquet; None: `text`, or the usual
    names, or the only column of texts. .txt: blank lines separate documents. skip_bad: a record that cannot be read is
    left out and given to `on_bad` as the InputError that would otherwise be raised.
    """
    bad: Bad = stop
    if skip_bad:
        bad = on_bad or (lambda _: None)
    for path in expand(paths):
        yield from (text for text in read(path, text_column, bad) if text and not text.isspace())


def read(path: str, text_column: str | None, bad: Bad) -> Iterator[str]:
    """The texts of one file (or Hub data set), blank ones included."""
    if path.startswith(HUB):
        return _hub(path, text_column, bad)
    if form(path) == ".txt":
        return _paragraphs(path, bad)
    if form(path) == ".parquet":
        return _parquet_texts(path, text_column, bad)
    if form(path) in (".csv", ".tsv"):
        return _csv_texts(path, text_column, bad)
    return _json_texts(path, text_column, bad)


def text_column_of(columns: Sequence[str], wanted: str | None, place: str) -> str:
    """The column to read; InputError with the names there are when it is missing or cannot be guessed."""
    if wanted is None:
        usual = [name for name in TEXT_COLUMNS if name in columns] or (list(columns) if len(columns) == 1 else [])
        if usual:
            return usual[0]
        raise InputError(place, f"which column is the text? there are {_named(columns)}", "choose by --text-column")
    if wanted not in columns:
        raise InputError(place, f"no column {wanted!r}; there are {_named(columns)}", _near(wanted, columns))
    return wanted


def _named(columns: Sequence[str]) -> str:
    return ", ".join(map(repr, columns)) if columns else "none"


def _near(wanted: str, columns: Sequence[str]) -> str:
    near = difflib.get_close_matches(wanted, columns, n=1)
    return f"did you mean {near[0]!r}?" if near else "choose one of them"


def _paragraphs(path: str, bad: Bad) -> Iterator[str]:
    held: list[str] = []
    size = 0
    for _, line in lines(path, bad):
        if line and not line.isspace():
            held.append(line)
            size += len(line)
            if size < LONGEST_DOCUMENT:
                continue
        if held:
            yield "\n".join(held)
            held, size = [], 0
    if held:
        yield "\n".join(held)


def _json_texts(path: str, text_column: str | None, bad: Bad) -> Iterator[str]:
    column = text_column
    for place, record in json_records(path, bad):
        if isinstance(record, str):
            text: Any = record
        elif isinstance(record, dict):
            try:
                column = column or text_column_of([key for key, v in record.items() if isinstance(v, str)], None, place)
                text = record[text_column_of(list(record), column, place)]
            except InputError as error:
                bad(error)
                continue
        else:
            text = record
        if text is None or _is_text(text, place, bad):
            yield text or ""


def _is_text(text: Any, place: str, bad: Bad) -> bool:
    if not isinstance(text, str):
        bad(
            InputError(
                place, f"expected a text, found {type(text).__name__} {str(text)[:40]!r}", "quote it or remove it"
            )
        )
        return False
    if problem := broken(text):
        bad(InputError(place, problem, "write the whole character"))
        return False
    return True


def _csv_texts(path: str, text_column: str | None, bad: Bad) -> Iterator[str]:
    rows = csv_rows(path, bad)
    for _, header in rows:  # the first; none where the file is empty and skipped
        column = header.index(text_column_of(header, text_column, f"{path}:1"))
        yield from (row[column] for _, row in rows)


def _parquet_texts(path: str, text_column: str | None, bad: Bad) -> Iterator[str]:
    number = 0
    try:
        with pq.ParquetFile(path) as file:
            schema = file.schema_arrow
            texts = [field.name for field in schema if is_text(field.type)]
            column = text_column_of(texts if text_column is None else schema.names, text_column, path)
            if not is_text(schema.field(column).type):
                raise InputError(
                    path, f"column {column!r} holds {schema.field(column).type}", f"texts: {_named(texts)}"
                )
            for batch in file.iter_batches(batch_size=256, columns=[column], use_threads=False):
                for value in batch.column(0):
                    number += 1
                    yield from _parquet_text(value, f"{path} row {number}", bad)
    except FAULTS as error:
        if isinstance(error, InputError):
            raise
        rest = "the rest of this file is lost; make or fetch it again"
        bad(InputError(f"{path} row {number + 1}", f"broken parquet file ({first_line(error)})", rest))


def _parquet_text(value: pa.Scalar, place: str, bad: Bad) -> Iterator[str]:
    try:
        text = value.as_py()
    except UnicodeDecodeError as error:
        bad(InputError(place, f"not UTF-8 ({error.reason})", "write the column as UTF-8 text"))
        return
    yield text or ""


def _hub(name: str, text_column: str | None, bad: Bad) -> Iterator[str]:
    """`hub:owner/name` or `hub:owner/name:configuration`, its train split, streamed by the `datasets` library."""
    try:
        from datasets import load_dataset
    except ImportError as error:
        raise InputError(name, "reading from the Hub needs an extra", "pip install 'slimbert[hub]'") from error
    repository, _, configuration = name.removeprefix(HUB).partition(":")
    column = text_column
    try:
        rows = load_dataset(repository, configuration or None, split="train", streaming=True)
        for number, row in enumerate(rows, 1):
            column = column or text_column_of([key for key, v in row.items() if isinstance(v, str)], None, name)
            text = row[text_column_of(list(row), column, name)]
            if text is None or _is_text(text, f"{name} row {number}", bad):
                yield text or ""
    except InputError:
        raise
    except Exception as error:  # the library raises whatever its backends raise
        raise InputError(name, f"cannot be read ({first_line(error)})", "check the name and the network") from error
