"""What is no table of one text and one label a row, as a table: words with tags, texts with spans, SQuAD's own JSON."""

from collections.abc import Sequence, Set
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from ...data.columns import Columns, Rows, choose
from ...data.files import Bad, form
from ...data.schemes import parts
from ...data.table import table
from ...data.tagging import TAGS, WORDS, read_records
from ...data.tasks import FILE_OF_WORDS, KINDS, DataFile, is_list, spans_of
from ...errors import InputError
from .labelled import Form


@dataclass(frozen=True)
class Asked:
    """What the person said: columns of texts, the column of labels, the kind of task; None where nothing was said."""

    texts: tuple[str, ...] | None
    label: str | None
    kind: str | None

    def may_be(self, kind: str) -> bool:
        """Whether that kind was asked for, or none."""
        return self.kind in (None, kind)


def columns_of_words(files: Sequence[Path], asked: Asked) -> Columns | None:
    """Of files with a word a line the columns, as fine-tuning chooses them; None for other files."""
    opened = [DataFile(file) for file in files]
    if not opened[0].has_lines_of_words:
        return None
    tags = KINDS["ner"]()
    return tags.choose(tags.open(opened), shared=set(), texts=asked.texts, label=asked.label)


def as_table(
    path: Path, bad: Bad, mixed: dict[str, InputError], *, asked: Asked, words: Columns | None
) -> tuple[pa.Table, str | None]:
    """(the rows of one file, its column of spans): lists of words and tags for a file of words, the types of entities
    for spans.

    bad: gets what is wrong with a record of a table; mixed: the fault of each column of mixed values. words: the
    columns of a file of words. InputError: the file, a word, a span or an answer is wrong.
    """
    file = DataFile(path)
    if file.has_lines_of_words:
        return _of_words(file, words or Columns(FILE_OF_WORDS[:1], FILE_OF_WORDS[1], ())), None
    if form(path) not in (".json", ".jsonl", ".parquet"):
        return table(path, bad=bad, faults=mixed), None
    try:
        questions = file.is_squad
        spans = spans_of(file.rows, asked.label) if asked.may_be("ner") and not questions and _has_lists(file) else None
    except InputError:  # a broken record: the table says which one, and goes on
        return table(path, bad=bad, faults=mixed), None
    if questions:
        return _of_questions(file), None
    return (table(path, bad=bad, faults=mixed) if spans is None else _of_spans(file, spans, mixed, asked)), spans


def shaped(
    rows: Rows, plain: Rows, shared: set[str], *, spans: Set[str], asked: Asked
) -> tuple[tuple[str, ...], str, tuple[str, ...]] | None:
    """Text columns, label column, reasons, by their names: of words and tags, of questions, contexts and answers, or of
    texts and spans; None where a column of labels is asked for, or there is nothing of this.

    plain: the rows with lists of words as texts; shared: columns that all splits have; spans: those that mark spans.
    """
    if asked.label is not None:
        return None
    named = {name.strip().lower(): name for name in reversed(rows.columns) if name in shared}
    lists = {name: column for name, column in named.items() if is_list(rows.table.schema.field(column).type)}
    words = _first(lists, WORDS)
    tags = _first({name: column for name, column in lists.items() if column != words}, TAGS)
    if asked.texts is None and asked.may_be("ner") and words is not None and tags is not None:
        return (words,), tags, (f"words in {words!r}, tags in {tags!r} (by their names)",)
    if asked.texts is None and asked.may_be("qa") and {"question", "context", "answers"} <= named.keys():
        texts = named["question"], named["context"]
        return texts, named["answers"], ("questions and contexts, answers (by their names)",)
    marked = next((name for name in rows.columns if name in spans & shared), None)
    if marked is None:
        return None
    found = choose(plain, shared=shared, texts=asked.texts, label=marked)
    return found.texts, marked, (found.reasons[0], f"spans in {marked!r} (by its name)")


def form_of(rows: Rows, texts: Sequence[str], label: str | None, *, spans: Set[str], asked: Asked) -> Form:
    """What a row of train has: one label, a set of labels, tags of words, or types of spans."""
    if label is None or label not in rows.columns or not is_list(rows.table.schema.field(label).type):
        return "one"
    if label in spans:
        return "spans"
    of_words = len(texts) == 1 and is_list(rows.table.schema.field(texts[0]).type)
    return "tags" if of_words and asked.may_be("ner") else "set"


def _first(columns: dict[str, str], names: Sequence[str]) -> str | None:
    return next((columns[name] for name in names if name in columns), None)


def _has_lists(file: DataFile) -> bool:
    return file.records is not None or any(is_list(kind) for kind in file.columns.schema.types)


def _of_words(file: DataFile, columns: Columns) -> pa.Table:
    found = KINDS["ner"]().open([file]).read(columns, labelled=True)
    words = [list(one.words) for one in found]
    tags = pa.array([None if one.tags is None else list(one.tags) for one in found], pa.list_(pa.string()))
    return pa.table({columns.texts[0]: words, columns.label: tags})


def _of_questions(file: DataFile) -> pa.Table:
    rows = file.questions().questions
    answers = [{"text": [t for t, _ in one.answers], "answer_start": [n for _, n in one.answers]} for one in rows]
    plain = {name: [getattr(one, name) for one in rows] for name in ("id", "question", "context")}
    return pa.table(plain | {"answers": answers})


def _of_spans(file: DataFile, column: str, mixed: dict[str, InputError], asked: Asked) -> pa.Table:
    """Spans as the types of what they mark."""
    found, _ = read_records(file.rows, asked.texts[0] if asked.texts else None, column)
    types = [[parts(tag)[1] for tag in one.tags or () if parts(tag)[0] == "B"] for one in found]
    made = file.columns
    mixed |= {name: fault for name, fault in file.faults.items() if name != column}
    return made.set_column(made.column_names.index(column), column, pa.array(types, pa.list_(pa.string())))
