"""Values of any kind as texts."""

import json
from typing import Any

import pyarrow as pa


def texts_of(column: pa.ChunkedArray) -> list[str | None]:
    """The values of a column as texts, None where missing."""
    return [value if value is None or isinstance(value, str) else written(value) for value in column.to_pylist()]


def written(value: Any) -> str:
    """A value as one would write it; of a list its items, with blanks between them."""
    if isinstance(value, str):
        return value
    if isinstance(value, list):
        return " ".join(written(one) for one in value if one is not None)
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return f"{value:.6g}"
    return json.dumps(value, ensure_ascii=False, default=str) if isinstance(value, dict) else str(value)
