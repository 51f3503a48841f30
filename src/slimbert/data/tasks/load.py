"""A labelled file or folder -> a task: texts with labels, in train, validation and test.

A file is split 80/10/10, stratified and deterministic; equal texts never stand on two sides. In a folder
`train|validation|test.{parquet,csv,tsv,jsonl,json}` the given splits are kept. Train is learnt from, validation stops
and selects, test gives the printed score; so where only validation is labelled (GLUE), it becomes the test and part of
train becomes the validation. Everything that was chosen is said in `Task.notes`.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import InputError
from ..columns import LABELS, MOST_SCORES, Columns, read_texts
from ..files import form, lines
from ..rows import Table
from ..splits import stratified
from ..tagging import SPANS, TAGS, WORDS
from .classes import SHOWN, Classes
from .file import DataFile, open_table
from .folder import find_split, find_splits, left_out
from .label_sets import LabelSets, is_list
from .named import NAMED, Named
from .numbers import Numbers, is_numbers
from .pairs import UNSCORED, Pairs, looks_paired
from .questions import Spans
from .tags import Tags, read_words
from .task import Shape, Split, Task, fingerprint

MOST_VALIDATION = 2000  # rows cut from train for validation at most: it is scored again and again while training
KINDS: dict[str, type[Shape]] = {
    "classification": Classes,
    "pair": Classes,
    "multilabel": LabelSets,
    "regression": Numbers,
    "ner": Tags,
    "qa": Spans,
    "embedding": Pairs,
}


def load_task(
    path: str | Path,
    *,
    kind: str | None = None,
    text_columns: Sequence[str] | None = None,
    label_column: str | None = None,
    seed: int = 0,
    fractions: tuple[float, float, float] = (0.8, 0.1, 0.1),
) -> Task:
    """Read and, where needed, split. kind: one of KINDS, or a benchmark of NAMED with its columns; None: guessed from
    the columns. fractions: shares of train, validation and test; those of a folder are its own.

    InputError: nothing there, a column missing, no row, a row without text or label, one class only, a label that train
    does not have, a label that is none of its kind, too few rows to split.
    """
    named, asked = benchmark(kind), kind
    if named is not None:
        kind, text_columns, label_column = named.kind, text_columns or named.texts, label_column or named.label or None
    files = {name: [DataFile(file) for file in some] for name, some in find_splits(Path(path)).items()}
    shape, why = (KINDS[kind](), "as asked") if kind else _guessed(files, text_columns, label_column)
    parts = {name: shape.open(some) for name, some in files.items()}
    first = parts.get("train") or next(iter(parts.values()))
    shared = set.intersection(*(set(rows.columns) for rows in parts.values()))
    columns = shape.choose(first, shared=shared, texts=text_columns, label=label_column)
    for rows in parts.values():
        rows.check_ids(columns)
    found = shape.kind(columns)
    if kind not in (None, found):
        problem = f"--task {kind} was asked for, the data looks like {found}: text in {', '.join(columns.texts)}"
        raise InputError(first.name, problem, "name the text columns with --text-column")
    notes = [f"task: {found} ({why})", *columns.reasons, *left_out(Path(path))]
    values = {
        name: shape.values(rows, columns, split=name, notes=notes)
        for name, rows in parts.items()
        if name != "test" or columns.label == UNSCORED or rows.has(columns.label)
    }
    values = shape.unify(values, notes)
    labelled = _labelled(parts, values, notes)
    if "train" not in labelled:
        raise InputError(path, "no labelled split to train on", "add train.parquet, train.csv or train.jsonl")
    if sum(value is not None for value in values["train"]) == 1:
        raise InputError(parts["train"].name, "one row only: nothing can be learnt from it", "label at least 10 rows")
    labels = shape.names(parts["train"], columns, values["train"])
    splits = {name: shape.split(parts[name], columns, values[name], labels) for name in labelled}
    train, validation, test = _arrange(path, shape, splits, seed, fractions, notes)
    notes.append(shape.summary(train, labels))
    sha256 = fingerprint(labels, train, validation, test)
    metric = named.metric if named else shape.metric(labels)
    if metric == "f1" and found in ("classification", "pair"):
        if len(labels) != 2:
            raise InputError(f"--task {asked}", f"it has two labels, the data {len(labels)}", f"give --task {found}")
        notes.append(f"F1 is that of the label {labels[1]!r}")
    if metric == "f1" and shape.metric(labels) == "word_accuracy":
        problem = f"the tags are {', '.join(labels[:SHOWN])}: classes of words, which have no F1 of entities"
        raise InputError(f"--task {asked}", problem, f"write them as B-PER, I-PER, O, or give --task {found}")
    return Task(
        found, labels, columns.texts, columns.label, train, validation, test, tuple(notes), sha256, metric
    )  # fmt: skip


def load_split(
    path: str | Path,
    *,
    labels: Sequence[str],
    text_columns: Sequence[str],
    label_column: str,
    split: str = "test",
    kind: str = "classification",
) -> Split:
    """Labelled rows to evaluate a trained model on: a whole file, or one split of a folder (or any file's name there).

    labels: the model's own; rows that say -1 where it has no such class are unlabelled, and left out.
    """
    files = find_split(Path(path), split)
    shape: Shape = KINDS[kind]()
    if isinstance(shape, Classes | LabelSets):
        shape.known = labels
    rows = shape.open([DataFile(file, texts=text_columns) for file in files])
    columns = Columns(tuple(text_columns), label_column, ())
    rows.check_ids(columns)
    values = shape.unify({split: shape.values(rows, columns, split=split, notes=[])}, [])[split]
    if all(value is None for value in values):
        raise InputError(rows.name, "no row has a label", "evaluate on another split or file")
    return shape.split(rows, columns, values, tuple(labels))


def load_texts(path: str | Path, *, text_columns: Sequence[str], kind: str = "classification") -> Sequence[Any]:
    """Texts to answer, in order, none dropped: one a line in .txt (blank lines are empty texts), else the columns.

    For tags also files of words and lists of words (tagging.Tagged), for questions also SQuAD's own JSON.
    """
    if form(path) == ".txt" and Path(path).is_file():
        if len(text_columns) != 1:
            raise InputError(path, "a .txt file cannot hold pairs", f"use .csv with columns {', '.join(text_columns)}")
        return [text for _, text in lines(str(path))]
    file = DataFile(Path(path), texts=text_columns)
    if kind == "ner" and (file.has_lines_of_words or file.rows.holds(text_columns[0]) == "list"):
        return read_words(file, text_columns[0])
    if kind == "qa" and file.is_squad:
        return [(one.question, one.context) for one in file.questions().questions]
    return read_texts(open_table([file]), text_columns, lenient=True)


def benchmark(task: str | None) -> Named | None:
    """The benchmark that --task names; None for a kind of task or nothing. InputError: there is no such task."""
    if task is not None and task not in {*KINDS, *NAMED}:
        raise InputError(f"--task {task}", "no such task", f"choose one of {', '.join([*KINDS, *NAMED])}")
    return NAMED.get(task or "")


def _guessed(files: dict[str, list[DataFile]], texts: Sequence[str] | None, label: str | None) -> tuple[Shape, str]:
    """The shape of the labels, and why it was taken."""
    file = (files.get("train") or next(iter(files.values())))[0]
    if file.has_lines_of_words:
        return Tags(), "a word a line"
    if file.is_squad:
        return Spans(), "the form of SQuAD"
    rows = None if file.records is not None else open_table([file])
    if (rows is None or any(is_list(kind) for kind in rows.table.schema.types)) and _are_tags(file.rows, texts, label):
        return Tags(), "a tag for every word, or spans of texts"
    rows = rows or open_table([file])
    names = {name.strip().lower() for name in rows.columns}
    if {"question", "context"} <= names and names & {"answers", "answer", "answer_text"} and label is None:
        return Spans(), "questions, contexts and answers"
    if label is None and not names & set(LABELS) and looks_paired(rows.columns):
        return Pairs(), "texts that belong together, and no label"
    columns = Classes().choose(rows, shared=set(rows.columns), texts=texts, label=label)
    if is_list(rows.table.schema.field(columns.label).type):
        return LabelSets(), f"{columns.label!r} holds several labels a row"
    if is_numbers(rows, columns.label, most=MOST_SCORES):
        return Numbers(), f"{columns.label!r} holds fractional numbers"
    return Classes(), f"{'two text columns' if len(columns.texts) == 2 else 'one text column'}, one label a row"


def _are_tags(table: Table, texts: Sequence[str] | None, label: str | None) -> bool:
    """Lists of words beside a list of tags, or texts beside a list of spans."""
    words = texts[0] if texts else table.named(WORDS, of="list")
    if words is not None and table.holds(words) == "list":
        tags = label or table.named(TAGS, of="list", other_than=words)
        return tags is not None and table.holds(tags) == "list"
    return spans_of(table, label) is not None


def spans_of(table: Table, label: str | None = None) -> str | None:
    """The column (`label`, or by its name) that marks spans of texts; None where there is none."""
    spans = label or table.named(SPANS, of="list")
    if spans is None:
        return None
    lists = (record[spans] for _, record in table.records if isinstance(record.get(spans), list) and record[spans])
    return spans if isinstance(next(lists, [None])[0], list | dict) else None


def _labelled(parts: dict[str, Any], values: dict[str, list[Any]], notes: list[str]) -> list[str]:
    """The splits that have labels; a note for those that have none. One file counts as train."""
    for name in parts:
        if name not in values or all(value is None for value in values[name]):
            if name in ("train", "all"):
                raise InputError(parts[name].name, "no row has a label", "check the label column")
            notes.append(f"{name} has no labels and was dropped")
    if "all" in parts:
        parts["train"], values["train"] = parts.pop("all"), values.pop("all")
    return [name for name in parts if any(value is not None for value in values.get(name, ()))]


def _arrange(
    path: str | Path,
    shape: Shape,
    splits: dict[str, Split],
    seed: int,
    fractions: tuple[float, float, float],
    notes: list[str],
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
        train, validation, rest = _cut(path, shape, train, share + np.array([excess, -excess, 0]), seed, notes)
        test = test or (rest if len(rest) else None)
    notes.append(f"rows: {len(train)} train, {len(validation)} validation, {len(test) if test else 0} test")
    sides = [{shape.group(text) for text in part.texts} for part in (train, test) if part is not None]
    if test is not None and (both := len(set.intersection(*sides))):
        notes.append(f"{both} texts of the test also stand in train")
    return train, validation, test


def _cut(
    path: str | Path, shape: Shape, train: Split, shares: NDArray[np.float64], seed: int, notes: list[str]
) -> list[Split]:
    groups = shape.groups(train)
    repeated = len(groups) - len(np.unique(groups))
    strata = shape.strata(train)
    rows = stratified(strata, shares.tolist(), seed=seed, groups=groups)
    if any(len(part) == 0 for part, share in zip(rows, shares, strict=True) if share > 0):
        alike = len(train) - repeated
        problem, remedy = f"{len(train)} rows ({alike} different texts) are too few to split", "label at least 10 rows"
        if len(train) >= 10:
            problem = f"its {len(train)} rows share {alike} different texts or contexts, each of which stays whole"
            remedy = "give train, validation and test files, or rows on more texts"
        raise InputError(path, problem, remedy)
    if len(np.unique(strata[rows[0]])) < len(np.unique(strata)):
        problem = "equal texts carry different labels, so that a class has no example of its own left to learn from"
        raise InputError(path, problem, "correct the labels, or give train, validation and test files")
    given = [name for name, part in zip(("validation", "test"), rows[1:], strict=True) if len(part)]
    kept = f"; equal texts ({repeated} repeats) on one side" if repeated else ""
    notes.append(f"{' and '.join(given)} cut from the given rows, stratified, seed {seed}{kept}")
    return [train.take(part) for part in rows]
