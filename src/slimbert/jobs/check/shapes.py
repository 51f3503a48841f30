"""What is no table of one text and one label a row, as a table: words with tags, texts with spans, SQuAD's own JSON."""

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa

from ...data.columns import Rows, choose
from ...data.conll import is_conll
from ...data.files import Bad, form
from ...data.schemes import parts
from ...data.table import table
from ...data.tagging import TAGS, WORDS, read_records, read_tagged
from ...data.tasks import FILE_OF_WORDS, DataFile, is_list, spans_of
from ...errors import InputError

Chosen = tuple[tuple[str, ...], str, tuple[str, ...]]  # text columns, label column, reasons


def as_table(path: Path, bad: Bad) -> pa.Table:
    """The rows of one file: lists of words and tags for a file of words, the types of entities for spans.

    bad: gets what is wrong with a record of a table. InputError: the file, a tag, a span or an answer is wrong.
    """
    file = DataFile(path)
    if is_conll(path) and form(path) != ".txt":
        return _of_words(file)
    if form(path) not in (".json", ".jsonl", ".parquet"):
        return table(path, bad=bad)
    try:
        questions = file.is_squad
        spans = None if questions or not _has_lists(file) else spans_of(file.rows)
    except InputError:  # a broken record: the table says which one, and goes on
        return table(path, bad=bad)
    if questions:
        return _of_questions(file)
    return table(path, bad=bad) if spans is None else _of_spans(file, spans)


def shaped(rows: Rows, plain: Rows, shared: set[str]) -> Chosen | None:
    """The columns of words and tags, of texts and spans, or of questions, contexts and answers, by their names.

    plain: the rows with lists of words as texts; shared: columns that all splits have.
    """
    named = {name.strip().lower(): name for name in reversed(rows.columns) if name in shared}
    lists = {name: column for name, column in named.items() if is_list(rows.table.schema.field(column).type)}
    words = _first(lists, (*WORDS, FILE_OF_WORDS[0]))
    tags = _first({name: column for name, column in lists.items() if column != words}, (*TAGS, FILE_OF_WORDS[1]))
    if words is not None and tags is not None:
        return (words,), tags, (f"words in {words!r}, tags in {tags!r} (by their names)",)
    if {"question", "context", "answers"} <= named.keys():
        texts = named["question"], named["context"]
        return texts, named["answers"], ("questions and contexts, answers (by their names)",)
    spans = _first(lists, ("entities", "spans", "ents", "annotations"))
    if spans is None:
        return None
    found = choose(plain, shared=shared, texts=None, label=spans)
    return found.texts, spans, (found.reasons[0], f"spans in {spans!r} (by its name)")


def _first(columns: dict[str, str], names: Sequence[str]) -> str | None:
    return next((columns[name] for name in names if name in columns), None)


def _has_lists(file: DataFile) -> bool:
    return file.records is not None or any(is_list(kind) for kind in file.columns.schema.types)


def _of_words(file: DataFile) -> pa.Table:
    found, _ = read_tagged(file.path)
    columns = [list(one.words) for one in found], [None if one.tags is None else list(one.tags) for one in found]
    return pa.table(dict(zip(FILE_OF_WORDS, columns, strict=True)))


def _of_questions(file: DataFile) -> pa.Table:
    rows = file.questions().questions
    answers = [{"text": [t for t, _ in one.answers], "answer_start": [n for _, n in one.answers]} for one in rows]
    plain = {name: [getattr(one, name) for one in rows] for name in ("id", "question", "context")}
    return pa.table(plain | {"answers": answers})


def _of_spans(file: DataFile, column: str) -> pa.Table:
    """Spans as the types of what they mark."""
    found, _ = read_records(file.rows, None, column)
    types = [[parts(tag)[1] for tag in one.tags or () if parts(tag)[0] == "B"] for one in found]
    records = [(place, record | {column: some}) for (place, record), some in zip(file.rows.records, types, strict=True)]
    return table(file.path, records=records)
