"""A labelled file as a table of named columns: .jsonl, .json, .csv, .tsv, .parquet, each also with .gz or .zst behind.

Every fault is an InputError with file:line (file and row where the format has no lines).
"""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ..errors import InputError
from .files import FAULTS, Bad, expand, first_line, form, stop
from .readers import text_column_of
from .records import csv_rows, json_records

_WHOLE = r"^-?(0|[1-9]\d{0,17})$"
_DECIMAL = r"^-?(0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?$"


def table(
    path: str | Path,
    *,
    columns: Sequence[str] | None = None,
    texts: Sequence[str] = (),
    records: Iterable[tuple[str, Any]] | None = None,
    bad: Bad = stop,
    faults: dict[str, InputError] | None = None,
) -> pa.Table:
    """All rows of one file as named columns; whole-number and decimal columns of a csv become int64 and float64.

    columns: only these; InputError with the names there are when one is missing, or when there is no row at all.
    texts: columns whose numbers stay as they are written, or become texts again.
    records: of a .json or .jsonl file, with their places, where they were read already.
    bad: gets what is wrong with a record, which is then left out.
    faults: gets the fault of each column of mixed values, which is then read as texts; None: `bad` gets it.
    """
    expand(path)
    place = str(path)
    if form(place) == ".txt":
        raise InputError(place, "a .txt file has no columns", "use .csv, .jsonl, .json or .parquet")
    if form(place) == ".parquet":
        try:
            names = pq.read_schema(place).names
            _check_names(names, columns, place)
            made = pq.read_table(place, columns=None if columns is None else list(columns))
            made.validate(full=True)
        except FAULTS as error:
            if isinstance(error, InputError):
                raise
            problem = f"broken parquet file ({first_line(error)})"
            raise InputError(place, problem, "make or fetch it again") from error
    elif form(place) in (".csv", ".tsv"):
        made = _csv_table(place, columns, texts, bad)
    else:
        mixed: dict[str, InputError] = {}
        made = _json_table(place, json_records(place, bad) if records is None else records, columns, bad, mixed)
        if faults is not None:
            faults |= mixed
        else:
            for fault in mixed.values():
                bad(fault)
    if made.num_rows == 0:
        raise InputError(place, "there is no row in it", "check the file")
    for name in texts:
        if name in made.column_names and _is_number(made.schema.field(name).type):
            made = made.set_column(made.column_names.index(name), name, made.column(name).cast(pa.string()))
    return made


def _is_number(kind: pa.DataType) -> bool:
    return pa.types.is_integer(kind) or pa.types.is_floating(kind)


def _check_names(names: Sequence[str], wanted: Sequence[str] | None, place: str) -> None:
    for name in wanted or ():
        text_column_of(names, name, place)
    for name in wanted or names:
        if list(names).count(name) > 1:
            raise InputError(place, f"two columns are called {name!r}", "rename one")


def _csv_table(path: str, columns: Sequence[str] | None, texts: Sequence[str], bad: Bad) -> pa.Table:
    rows = csv_rows(path, bad)
    header = next(rows, (path, list[str]()))[1]  # none where the file is empty and `bad` does not raise
    _check_names(header, columns, f"{path}:1")
    chosen = [header.index(name) for name in columns or header]
    body = [[row[i] for i in chosen] for _, row in rows]
    found = {header[i]: pa.array([row[n] for row in body], pa.string()) for n, i in enumerate(chosen)}
    return pa.table({name: column if name in texts else _numbers(column) for name, column in found.items()})


def _numbers(strings: pa.Array) -> pa.Array:
    """int64 or float64 if every text is a number as one writes it ("7", "0.5", but not "007" or "nan"), else string."""
    for kind, pattern in ((pa.int64(), _WHOLE), (pa.float64(), _DECIMAL)):
        if pc.all(pc.match_substring_regex(strings, pattern)).as_py():
            return pc.cast(strings, kind)
    return strings


def _json_table(
    path: str,
    records: Iterable[tuple[str, Any]],
    columns: Sequence[str] | None,
    bad: Bad,
    mixed: dict[str, InputError],
) -> pa.Table:
    rows: list[tuple[str, dict[str, Any]]] = []
    names: dict[str, None] = {}
    for place, record in records:
        if not isinstance(record, dict):
            bad(InputError(place, f"expected an object, found {type(record).__name__}", 'write {"column": value, ...}'))
            continue
        rows.append((place, record))
        names.update(dict.fromkeys(record))
    if rows:
        _check_names(list(names), columns, path)
    return pa.table({name: _json_column(name, rows, mixed) for name in columns or names})


def _json_column(name: str, rows: Sequence[tuple[str, dict[str, Any]]], mixed: dict[str, InputError]) -> pa.Array:
    values = [record.get(name) for _, record in rows]
    try:
        return pa.array(values)
    except FAULTS as error:
        row = _first_unlike(values)
        mixed[name] = _fault(name, rows[row][0], values[: row + 1], error)
        return pa.array([_as_text(value) for value in values], pa.string())


def _first_unlike(values: Sequence[Any]) -> int:
    """The row up to which, and with which no more, the values of a column can be held."""
    held, row = 0, len(values) - 1
    while held < row:
        middle = (held + row) // 2
        try:
            pa.array(values[: middle + 1])
            held = middle + 1
        except FAULTS:
            row = middle
    return row


def _fault(name: str, place: str, values: Sequence[Any], error: BaseException) -> InputError:
    """What is wrong with the last of the values: it cannot be held, or is not what those before it are."""
    try:
        pa.array(values[-1:])
    except FAULTS as own:
        return InputError(place, f"{name!r} cannot be read ({first_line(own)})", "correct the value")
    kinds = dict.fromkeys(type(value).__name__ for value in values if value is not None)
    here, before = type(values[-1]).__name__, next(iter(kinds))
    problem = f"{name!r} is {here} here and {before} before" if here != before else f"{name!r} holds other values here"
    return InputError(place, f"{problem} ({first_line(error)})", "write one kind of value")


def _as_text(value: Any) -> str | None:
    if value is None:
        return None
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text.encode(errors="replace").decode()  # half a surrogate pair becomes "?"
