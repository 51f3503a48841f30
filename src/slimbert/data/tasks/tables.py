"""Tables as labelled data: one row, one text or pair, one label."""

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa

from ..columns import Rows
from ..readers import table


def open_table(files: Sequence[Path]) -> Rows:
    """The rows of one split, whose files follow one another."""
    tables = {file: table(file) for file in files}
    joined = pa.concat_tables(tables.values(), promote_options="permissive")
    return Rows(joined, tuple((file, len(read)) for file, read in tables.items()))
