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
    records: Iterable[tuple[str, Any]] | None = None,
    bad: Bad = stop,
) -> pa.Table:
    """All rows of one file as named columns; whole-number and decimal columns of a csv become int64 and float64.

    columns: only these; InputError with the names there are when one is missing, or when there is no row at all.
    records: of a .json or .jsonl file, with their places, where they were read already.
    bad: gets what is wrong with a record, which is then left out, or with mixed values, which are then read as texts.
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
        made = _csv_table(place, columns, bad)
    else:
        made = _json_table(place, json_records(place, bad) if records is None else records, columns, bad)
    if made.num_rows == 0:
        raise InputError(place, "there is no row in it", "check the file")
    return made


def _check_names(names: Sequence[str], wanted: Sequence[str] | None, place: str) -> None:
    for name in wanted or ():
        text_column_of(names, name, place)
    for name in wanted or names:
        if list(names).count(name) > 1:
            raise InputError(place, f"two columns are called {name!r}", "rename one")


def _csv_table(path: str, columns: Sequence[str] | None, bad: Bad) -> pa.Table:
    rows = csv_rows(path, bad)
    header = next(rows, (path, list[str]()))[1]  # none where the file is empty and `bad` does not raise
    _check_names(header, columns, f"{path}:1")
    chosen = [header.index(name) for name in columns or header]
    body = [[row[i] for i in chosen] for _, row in rows]
    return pa.table({header[i]: _numbers([row[n] for row in body]) for n, i in enumerate(chosen)})


def _numbers(texts: list[str]) -> pa.Array:
    """int64 or float64 if every text is a number as one writes it ("7", "0.5", but not "007" or "nan"), else string."""
    strings = pa.array(texts, pa.string())
    for kind, pattern in ((pa.int64(), _WHOLE), (pa.float64(), _DECIMAL)):
        if pc.all(pc.match_substring_regex(strings, pattern)).as_py():
            return pc.cast(strings, kind)
    return strings


def _json_table(path: str, records: Iterable[tuple[str, Any]], columns: Sequence[str] | None, bad: Bad) -> pa.Table:
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
    return pa.table({name: _json_column(name, rows, bad) for name in columns or names})


def _json_column(name: str, rows: Sequence[tuple[str, dict[str, Any]]], bad: Bad) -> pa.Array:
    try:
        return pa.array([record.get(name) for _, record in rows])
    except FAULTS as error:
        bad(_fault(name, rows, error))
        return pa.array([_as_text(record.get(name)) for _, record in rows], pa.string())


def _fault(name: str, rows: Sequence[tuple[str, dict[str, Any]]], error: BaseException) -> InputError:
    """The first row that is not what the first row is, or cannot be held at all."""
    kinds: dict[type, str] = {}
    for place, record in rows:
        try:
            pa.array([record.get(name)])
        except FAULTS as own:
            return InputError(place, f"{name!r} cannot be read ({first_line(own)})", "correct the value")
        if record.get(name) is not None:
            kinds.setdefault(type(record[name]), place)
    other = list(kinds.items())[-1]
    problem = f"{name!r} is {other[0].__name__} here and {next(iter(kinds)).__name__} before"
    return InputError(other[1], f"{problem} ({first_line(error)})", "write one kind of value")


def _as_text(value: Any) -> str | None:
    if value is None:
        return None
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text.encode(errors="replace").decode()  # half a surrogate pair becomes "?"
