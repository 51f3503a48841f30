"""One class a row: classification of texts and of pairs."""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any, cast

import numpy as np

from ...errors import InputError
from ..columns import Columns, Rows, choose, class_names, read_labels, read_texts
from ..splits import same_texts
from .file import DataFile, open_table
from .task import Ints, Split

RARE = 0.05  # a share of -1 below this, beside the labels 0, 1, ..., means "unlabelled" and not a class
SHOWN = 12  # classes whose counts a note lists


class Classes:
    """Labels are words; whole numbers and booleans become words, those of Hugging Face data sets their names."""

    def __init__(self) -> None:
        self.known: Sequence[str] = ()  # the classes of a trained model; else those of train count

    def open(self, files: Sequence[DataFile]) -> Rows:
        return open_table(files)

    def choose(self, rows: Rows, *, shared: set[str], texts: Sequence[str] | None, label: str | None) -> Columns:
        return choose(rows, shared=shared, texts=texts, label=label)

    def kind(self, columns: Columns) -> str:
        return "pair" if len(columns.texts) == 2 else "classification"

    def values(self, rows: Rows, columns: Columns, *, split: str, notes: list[str]) -> list[Any]:
        """The label of each row; None where the data set has names for the labels and says -1."""
        column = columns.label
        named = read_labels(rows, column, names=class_names(rows, column))
        if None in named and any(named) and class_names(rows, column) is None:
            number = named.index(None)
            raise InputError(rows.place(number), f"no label in column {column!r}", "fill in or remove this row")
        return named

    def unify(self, values: dict[str, list[Any]], notes: list[str]) -> dict[str, list[Any]]:
        """-1 is a class where train, or the model, has it as one; else a row that says so is unlabelled."""
        learnt = values.get("train") or values.get("all") or []
        if not ("-1" in self.known if self.known else _is_class(learnt)):
            values = {split: [None if name == "-1" else name for name in some] for split, some in values.items()}
        for split, some in values.items():
            if 0 < (count := some.count(None)) < len(some):
                notes.append(f"{count} rows of {split} are unlabelled (-1) and were dropped")
        return values

    def names(self, rows: Rows, columns: Columns, values: Sequence[Any]) -> tuple[str, ...]:
        there = {name for name in values if name is not None}
        if len(there) < 2:
            problem = f"one class only: every row has {columns.label!r} = {next(iter(there))!r}"
            raise InputError(rows.name, problem, "training needs two or more; check the label column")
        if len(there) > max(2, len(values) / 2):
            many = f"column {columns.label!r} has {len(there)} different values in {len(values)} rows"
            raise InputError(rows.name, f"{many}: texts or numbers, not classes", "choose another with --label-column")
        refuse_other_case(((row, name) for row, name in enumerate(values) if name is not None), rows.place)
        if names := class_names(rows, columns.label):
            return tuple(name for name in names if name in there)
        numbers = all(re.fullmatch(r"-?\d+", name) for name in there)
        return tuple(sorted(there, key=(lambda name: (int(name), name)) if numbers else None))

    def split(self, rows: Rows, columns: Columns, values: Sequence[Any], names: tuple[str, ...]) -> Split:
        number = {name: i for i, name in enumerate(names)}
        kept = [row for row, name in enumerate(values) if name is not None]
        for row in kept:
            if values[row] not in number:
                raise unknown(rows.place(row), values[row], names)
        texts = read_texts(rows, columns.texts)
        classes = np.array([number[values[row]] for row in kept], dtype=np.int64)
        return Split([texts[row] for row in kept], classes)

    def strata(self, split: Split) -> Ints:
        return cast(Ints, split.labels)

    def group(self, text: Any) -> Any:
        return text

    def groups(self, split: Split) -> Ints:
        return same_texts([self.group(text) for text in split.texts])

    def metric(self, names: tuple[str, ...]) -> str:
        return "accuracy"

    def summary(self, split: Split, names: tuple[str, ...]) -> str:
        counts = Counter(split.labels.tolist())
        few = ", ".join(f"{name} {counts[i]}" for i, name in enumerate(names[:SHOWN]))
        return f"{len(names)} classes in train: {few}" + ", ..." * (len(names) > SHOWN)


def _is_class(named: Sequence[str | None]) -> bool:
    """Whether -1 is a label among these, and not what a few unlabelled rows say beside 0, 1, ..."""
    there = set(named) - {None}
    numbers = {str(number) for number in range(len(there) - 1)}
    few = len(numbers) > 1 and there == numbers | {"-1"} and named.count("-1") < RARE * len(named)
    return "-1" in there and there != {"-1"} and not few


def refuse_other_case(named: Iterable[tuple[int, str]], place: Callable[[int], str]) -> None:
    """InputError for the first of (row, label) that differs from one before only in case."""
    written: dict[str, str] = {}
    for row, name in named:
        if (before := written.setdefault(name.casefold(), name)) != name:
            problem = f"label {name!r}, and {before!r} before: they differ only in case"
            raise InputError(place(row), problem, "write a label one way")


def unknown(place: str, name: str, names: Sequence[str], *, what: str = "") -> InputError:
    """A label that is none of those to learn, with the one that was probably meant, or all."""
    meant = next((known for known in names if known.casefold() == name.casefold()), None)
    listed = ", ".join(names[:SHOWN]) + ", ..." * (len(names) > SHOWN)
    remedy = (
        f"the labels to learn are {listed}" if meant is None else f"write {meant!r}, as the labels to learn have it"
    )
    return InputError(place, f"unknown {what or f'label {name!r}'}", remedy)
