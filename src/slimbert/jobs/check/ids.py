"""Rows with the id of another row of their split: copied, or joined wrongly."""

from collections.abc import Iterator

import pyarrow as pa

from ...data.columns import Columns, id_columns
from .findings import EXAMPLES, Finding, Seen
from .reading import Data, Part


def ids(data: Data) -> Iterator[Finding]:
    """Of every column of ids that is neither text nor label; ids may come again in another split."""
    columns = Columns(data.text_columns, data.label_column or "", ())
    found = [pair for part in data.parts.values() for pair in _twice(part, columns)]
    if found:
        title = "rows with the id of another row of their split"
        remedy = "Remove one of them, or rename the column if it is not the id of a row."
        examples = tuple(found[:EXAMPLES])
        yield Finding("ids", "warning", title, len(found), len(found) / len(data), remedy, examples, refused=True)


def _twice(part: Part, columns: Columns) -> Iterator[tuple[Seen, Seen]]:
    """(the first row with an id, a later one)."""
    for name in id_columns(part.rows.columns, columns):
        column = part.rows.table.column(name)
        if pa.types.is_nested(column.type):
            continue
        first: dict[object, int] = {}
        for row, one in enumerate(column.to_pylist()):
            if one not in (None, "") and first.setdefault(one, row) != row:
                yield part.seen(first[one]), part.seen(row)
