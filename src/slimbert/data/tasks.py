"""A labelled file or folder -> a task: texts (or pairs of texts) with class labels, in train, validation and test.

A file is split 80/10/10, stratified and deterministic; equal texts never stand on two sides. In a folder
`train|validation|test.{parquet,csv,tsv,jsonl,json}` the given splits are kept. Train is learnt from, validation stops
and selects, test gives the printed score; so where only validation is labelled (GLUE), it becomes the test and part of
train becomes the validation. Everything that was chosen is said in `Task.notes`.
"""

import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, cast

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ..errors import InputError
from .columns import Rows, Texts, choose, read_labels, read_texts, require
from .files import SUFFIXES, form, lines
from .readers import table
from .splits import same_texts, stratified

MOST_VALIDATION = 2000  # rows cut from train for validation at most: it is scored again and again while training
RARE = 0.05  # a share of -1 below this, beside the labels 0, 1, ..., means "unlabelled" and not a class
SHOWN = 12  # classes whose counts a note lists


@dataclass(frozen=True)
class Split:
    """Texts (strings, or pairs of strings) and their classes, an index into `Task.labels`: [N] int64."""

    texts: Texts
    labels: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, index: NDArray[np.int64]) -> "Split":
        """The rows with these numbers, in this order."""
        return Split(cast(Texts, [self.texts[i] for i in index]), self.labels[index])


@dataclass(frozen=True)
class Task:
    """What is to be learnt. `labels`: names of the classes; `test` is None only where no share was left for it."""

    kind: Literal["classification", "pair"]
    labels: tuple[str, ...]
    text_columns: tuple[str, ...]
    label_column: str
    train: Split
    validation: Split
    test: Split | None
    notes: tuple[str, ...]
    sha256: str


def load_task(
    path: str | Path,
    *,
    text_columns: Sequence[str] | None = None,
    label_column: str | None = None,
    seed: int = 0,
    fractions: tuple[float, float, float] = (0.8, 0.1, 0.1),
) -> Task:
    """Read and, where needed, split. fractions: shares of train, validation and test; those of a folder are its own.

    InputError: nothing there, a column missing, no row, one class only, a row without text or label, a label that train
    does not have, scores instead of classes, too few rows to split.
    """
    parts = {name: _rows(files) for name, files in find_splits(Path(path)).items()}
    first = parts.get("train") or next(iter(parts.values()))
    shared = set.intersection(*(set(rows.columns) for rows in parts.values()))
    columns = choose(first, shared=shared, texts=text_columns, label=label_column)
    notes = list(columns.reasons)
    named = {
        name: _labels(rows, columns.label, notes, name)
        for name, rows in parts.items()
        if name != "test" or columns.label in rows.columns
    }
    labelled = _labelled(parts, named, notes)
    if "train" not in labelled:
        raise InputError(path, "no labelled split to train on", "add train.parquet, train.csv or train.jsonl")
    labels = _classes(parts["train"], columns.label, named["train"])
    splits = {name: _split(parts[name], columns.texts, named[name], labels) for name in labelled}
    train, validation, test = _arrange(path, splits, seed, fractions, notes)
    counts = Counter(train.labels.tolist())
    few = ", ".join(f"{name} {counts[i]}" for i, name in enumerate(labels[:SHOWN])) + ", ..." * (len(labels) > SHOWN)
    notes.append(f"{len(labels)} classes in train: {few}")
    kind: Literal["classification", "pair"] = "pair" if len(columns.texts) == 2 else "classification"
    sha256 = fingerprint(labels, train, validation, test)
    return Task(kind, labels, columns.texts, columns.label, train, validation, test, tuple(notes), sha256)


def load_split(
    path: str | Path, *, labels: Sequence[str], text_columns: Sequence[str], label_column: str, split: str = "test"
) -> Split:
    """Labelled rows to evaluate a trained model on: a whole file, or one split of a folder. labels: the model's own."""
    found = find_splits(Path(path))
    if Path(path).is_dir() and split not in found:
        raise InputError(path, f"no file for the split {split!r}", f"it has {', '.join(found)}")
    rows = _rows(found.get(split) or next(iter(found.values())))
    named = _labels(rows, label_column, [], split)
    if not any(named):
        raise InputError(rows.name, "no row has a label", "evaluate on another split or file")
    return _split(rows, text_columns, named, tuple(labels))


def load_texts(path: str | Path, *, text_columns: Sequence[str]) -> Texts:
    """Texts to answer, in order, none dropped: one a line in .txt (blank lines are empty texts), else the columns."""
    if form(path) == ".txt" and Path(path).is_file():
        if len(text_columns) != 1:
            raise InputError(path, "a .txt file cannot hold pairs", f"use .csv with columns {', '.join(text_columns)}")
        return [text for _, text in lines(str(path))]
    return read_texts(_rows([Path(path)]), text_columns, lenient=True)


def fingerprint(labels: Sequence[str], *splits: Split | None) -> str:
    """SHA-256 of the class names, texts and labels, split by split: equal data, equal splits, equal hash."""
    digest = hashlib.sha256(json.dumps(list(labels)).encode())
    for split in splits:
        content = [] if split is None else [split.texts, split.labels.tolist()]
        digest.update(json.dumps(content).encode())
    return digest.hexdigest()


_NAMES = {"train": ("train",), "validation": ("validation", "valid", "val", "dev"), "test": ("test",)}


def find_splits(path: Path) -> dict[str, list[Path]]:
    """Split -> files, in a folder also those in several pieces (train-00000-of-00002.parquet); "all" for one file."""
    if not path.is_dir():
        return {"all": [path]}
    files = sorted(file for file in path.iterdir() if form(file) not in ("", ".txt") and file.is_file())
    found: dict[str, list[Path]] = {}
    for split, names in _NAMES.items():
        pattern = re.compile(rf"({'|'.join(names)})(-\d+-of-\d+)?\.")
        found[split] = [file for file in files if pattern.match(file.name.lower())]
        if len({re.sub(r"\d+", "", file.name) for file in found[split]}) > 1:
            raise InputError(path, f"several files for {split}: {', '.join(f.name for f in found[split])}", "keep one")
    found = {split: matches for split, matches in found.items() if matches}
    if not found:
        there = ", ".join(sorted(entry.name for entry in path.iterdir())[:5]) or "nothing"
        kinds = ", ".join(kind for kind in SUFFIXES if kind != ".txt")
        raise InputError(path, f"no train, validation or test file ({kinds}), but {there}", "name one file or folder")
    return found


def _rows(files: Iterable[Path]) -> Rows:
    tables = {file: table(file) for file in files}
    joined = pa.concat_tables(tables.values(), promote_options="permissive")
    return Rows(joined, tuple((file, len(read)) for file, read in tables.items()))


def _labels(rows: Rows, column: str, notes: list[str], split: str) -> list[str | None]:
    """The label of each row; None for all or for a few where the data says -1 for unlabelled."""
    named = read_labels(rows, column, names=class_names(rows, column))
    there = set(named) - {None}
    missing = named.count("-1")
    whole = {str(number) for number in range(len(there) - 1)}
    if there == {"-1"} or (len(whole) > 1 and there == whole | {"-1"} and missing < RARE * len(named)):
        named = [None if label == "-1" else label for label in named]
    elif None in named and there and class_names(rows, column) is None:
        number = named.index(None)
        raise InputError(rows.place(number), f"no label in column {column!r}", "fill in or remove this row")
    if there and 0 < (count := named.count(None)) < len(named):
        notes.append(f"{count} rows of {split} are unlabelled (-1) and were dropped")
    return named


def class_names(rows: Rows, column: str) -> list[str] | None:
    """The class names that a Hugging Face data set wrote into its parquet file."""
    raw = (rows.table.schema.metadata or {}).get(b"huggingface")
    try:
        names = json.loads(raw)["info"]["features"][column]["names"] if raw else None
    except (ValueError, KeyError, TypeError):  # other writers may use the key as they like: the numbers are names then
        return None
    return [str(name) for name in names] if isinstance(names, list) else None


def _labelled(parts: dict[str, Rows], named: dict[str, list[str | None]], notes: list[str]) -> list[str]:
    """The splits that have labels; a note for those that have none. One file counts as train."""
    for name in parts:
        if name not in named or not any(named[name]):
            if name in ("train", "all"):
                raise InputError(parts[name].name, "no row has a label", "check the label column")
            notes.append(f"{name} has no labels and was dropped")
    if "all" in parts:
        parts["train"], named["train"] = parts.pop("all"), named.pop("all")
    return [name for name in parts if any(named.get(name, ()))]


def _classes(rows: Rows, column: str, named: Sequence[str | None]) -> tuple[str, ...]:
    there = {name for name in named if name is not None}
    if len(there) < 2:
        problem = f"one class only: every row has {column!r} = {next(iter(there))!r}"
        raise InputError(rows.name, problem, "training needs two or more; check the label column")
    if len(there) > max(2, len(named) / 2):
        problem = (
            f"column {column!r} has {len(there)} different values in {len(named)} rows: texts or numbers, not classes"
        )
        raise InputError(rows.name, problem, "choose another with --label-column")
    if names := class_names(rows, column):
        return tuple(name for name in names if name in there)
    numbers = all(re.fullmatch(r"-?\d+", name) for name in there)
    return tuple(sorted(there, key=(lambda name: (int(name), name)) if numbers else None))


def _split(rows: Rows, columns: Sequence[str], named: Sequence[str | None], labels: tuple[str, ...]) -> Split:
    number = {name: i for i, name in enumerate(labels)}
    kept = [row for row, name in enumerate(named) if name is not None]
    for row in kept:
        if named[row] not in number:
            known = ", ".join(labels[:SHOWN])
            raise InputError(rows.place(row), f"unknown label {named[row]!r}", f"the labels to learn are {known}")
    for column in columns:
        require(rows, column)
    texts = read_texts(rows, columns)
    classes = np.array([number[name] for name in named if name is not None], dtype=np.int64)
    return Split(cast(Texts, [texts[row] for row in kept]), classes)


def _arrange(
    path: str | Path, splits: dict[str, Split], seed: int, fractions: tuple[float, float, float], notes: list[str]
) -> tuple[Split, Split, Split | None]:
    """Train, validation and test out of the splits there are; what is missing is cut from train."""
    train, validation, test = splits["train"], splits.get("validation"), splits.get("test")
    if test is None and validation is not None:
        test, validation = validation, None
        notes.append("only validation is labelled besides train: it is the test here (printed score)")
    if validation is None:
        share = np.array([fractions[0], fractions[1], 0 if test else fractions[2]])
        share /= share.sum()
        excess = max(0.0, share[1] - MOST_VALIDATION / len(train))
        train, validation, rest = _cut(path, train, share + np.array([excess, -excess, 0]), seed, notes)
        test = test or (rest if len(rest) else None)
    notes.append(f"rows: {len(train)} train, {len(validation)} validation, {len(test) if test else 0} test")
    if test is not None and (both := len(set(train.texts) & set(test.texts))):
        notes.append(f"{both} texts of the test also stand in train")
    return train, validation, test


def _cut(path: str | Path, train: Split, shares: NDArray[np.float64], seed: int, notes: list[str]) -> list[Split]:
    groups = same_texts(train.texts)
    repeated = len(groups) - len(np.unique(groups))
    rows = stratified(train.labels, shares.tolist(), seed=seed, groups=groups)
    if any(len(part) == 0 for part, share in zip(rows, shares, strict=True) if share > 0):
        problem = f"{len(train)} rows ({len(train) - repeated} different texts) are too few to split"
        raise InputError(path, problem, "label at least 10 rows")
    if len(np.unique(train.labels[rows[0]])) < len(np.unique(train.labels)):
        problem = "equal texts carry different labels, so that a class has no example of its own left to learn from"
        raise InputError(path, problem, "correct the labels, or give train, validation and test files")
    given = [name for name, part in zip(("validation", "test"), rows[1:], strict=True) if len(part)]
    kept = f"; equal texts ({repeated} repeats) on one side" if repeated else ""
    notes.append(f"{' and '.join(given)} cut from the given rows, stratified, seed {seed}{kept}")
    return [train.take(part) for part in rows]
