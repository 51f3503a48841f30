"""Labelled files for the tests of the check: clean rows, to plant mistakes in, written in every form."""

import csv
import io
import json
import random
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

Row = dict[str, Any]


def sentence(seed: object, *, words: int = 12) -> str:
    """Random words: no two such sentences share three in a row."""
    draw = random.Random(str(seed))
    return " ".join(f"w{draw.randrange(5000)}" for _ in range(words))


def clean(count: int = 200, *, seed: object = 0) -> list[Row]:
    """Rows in which nothing is to be found: different texts, two labels evenly."""
    return [{"text": sentence((seed, i)), "label": ("bad", "good")[i % 2]} for i in range(count)]


def clean_pairs(count: int = 200, *, seed: object = 0) -> list[Row]:
    return [
        {"sentence1": sentence((seed, i, 1)), "sentence2": sentence((seed, i, 2)), "label": ("other", "same")[i % 2]}
        for i in range(count)
    ]


def write(path: Path, rows: list[Row], *, mark: bytes = b"", ends: str = "\n", order: int = 1) -> Path:
    """The rows as .csv, .tsv, .jsonl, .json or .parquet; mark: put in front; order -1: the last column first."""
    path.parent.mkdir(parents=True, exist_ok=True)
    names = list(dict.fromkeys(name for row in rows for name in row))[::order]
    rows = [{name: row.get(name) for name in names} for row in rows]
    if path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
        return path
    if path.suffix in (".csv", ".tsv"):
        out = io.StringIO(newline="")
        made = csv.writer(out, delimiter="\t" if path.suffix == ".tsv" else ",", lineterminator=ends)
        made.writerows([names, *(row.values() for row in rows)])
        text = out.getvalue()
    elif path.suffix == ".json":
        text = json.dumps(rows, indent=1).replace("\n", ends)
    else:
        text = "".join(json.dumps(row) + ends for row in rows)
    path.write_bytes(mark + text.encode())
    return path


def folder(path: Path, **splits: list[Row]) -> Path:
    """A folder with one .csv for each split."""
    for name, rows in splits.items():
        write(path / f"{name}.csv", rows)
    return path
