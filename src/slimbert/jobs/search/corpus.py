"""What an index is made of: the documents of a corpus, each with its place and its id, cut into passages if so asked.

Texts are read as `data.readers` reads them; the ids of a table come from a second reader that walks beside the first,
so that neither holds a file in memory.
"""

import itertools
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import pyarrow.parquet as pq

from ...data.files import FAULTS, HUB, expand, first_line, form, stop
from ...data.readers import read
from ...data.records import csv_rows, json_records
from ...data.tokenizer import TextTokenizer
from ...errors import InputError

IDS = ("id", "idx", "_id", "doc_id")  # the first of them that a table has names its rows
PORTION = 256  # documents that are tokenized together
OVERLAP = 4  # neighbouring windows share 1 token in 4: not from a paper; half a window would double the index


class Document(NamedTuple):
    """`number`: from 1, its row in a table, or its place among the documents of a .txt file; `id`: of its row."""

    file: str
    number: int
    id: str | None
    text: str


class Passage(NamedTuple):
    """A document or a window of one; `part`: from 1 where a document has several, else 0."""

    document: Document
    part: int
    text: str


def documents(paths: Iterable[str], *, text_column: str | None) -> Iterator[Document]:
    """All non-blank documents of the files, in order. InputError for a record that cannot be read, with its place."""
    for path in expand(list(paths)):
        named = itertools.chain(_ids(path), itertools.repeat(None))
        for number, (text, name) in enumerate(zip(read(path, text_column, stop), named), 1):
            if text and not text.isspace():
                yield Document(path, number, name, text)


class Passages:
    """Iterate it once; the counts are those up to the passage given last.

    max_len: tokens that the model reads, special ones included. Without `windows` every document is one passage, and
    those that are `long` will be cut by the model.
    """

    def __init__(self, found: Iterable[Document], tokenizer: TextTokenizer, *, max_len: int, windows: bool) -> None:
        self.found, self.tokenizer, self.max_len, self.windows = found, tokenizer, max_len, windows
        self.documents = self.long = self.tokens = 0

    def __iter__(self) -> Iterator[Passage]:
        rest = iter(self.found)
        while portion := list(itertools.islice(rest, PORTION)):
            counts = self.tokenizer.count([document.text for document in portion])
            for document, count in zip(portion, counts.tolist(), strict=True):
                self.documents += 1
                self.tokens += min(count, self.max_len)
                self.long += count > self.max_len
                yield from self._of(document, long=count > self.max_len)

    def _of(self, document: Document, *, long: bool) -> Iterator[Passage]:
        if not (long and self.windows):
            yield Passage(document, 0, document.text)
            return
        for part, (begin, end) in enumerate(windows(document.text, self.tokenizer, self.max_len), 1):
            yield Passage(document, part, document.text[begin:end])


def windows(text: str, tokenizer: TextTokenizer, max_len: int) -> list[tuple[int, int]]:
    """Where overlapping pieces of the text begin and end (in characters), cut between words.

    Each has at most `max_len` tokens, special ones included. Only a word longer than a window is cut inside; encoded
    alone, such a piece may come out longer by some tokens.
    """
    room = max(1, max_len - len(tokenizer.encode([""], max_len)[0]))
    encoded = tokenizer.inner.encode(text, add_special_tokens=False)
    words, places = encoded.word_ids, encoded.offsets
    begins = [i for i in range(len(words)) if i == 0 or words[i] != words[i - 1]]
    pieces: list[tuple[int, int]] = []
    start = 0
    while True:
        end = min(start + room, len(words))
        if end < len(words):
            end = _last(begins, end, above=start) or end
        pieces.append((places[start][0], places[end - 1][1]))
        if end == len(words):
            return pieces
        start = _last(begins, end - room // OVERLAP, above=start) or end


def _last(begins: Sequence[int], limit: int, *, above: int) -> int | None:
    """The last place up to `limit` at which a word begins, if it lies above `above`."""
    found = bisect_right(begins, limit)
    return begins[found - 1] if found and begins[found - 1] > above else None


def _ids(path: str) -> Iterator[str | None]:
    """The id of every row of a table that has one of the columns IDS; nothing for other files."""
    if path.startswith(HUB) or form(path) == ".txt":
        return iter(())
    if form(path) == ".parquet":
        return _parquet_ids(path)
    if form(path) in (".csv", ".tsv"):
        return _csv_ids(path)
    return (_json_id(record) for _, record in json_records(path))


def _id_column(names: Sequence[str]) -> str | None:
    return next((name for name in IDS if name in names), None)


def _csv_ids(path: str) -> Iterator[str | None]:
    rows = csv_rows(path)
    header = next(rows)[1]
    if (name := _id_column(header)) is not None:
        place = header.index(name)
        yield from (row[place] or None for _, row in rows)


def _json_id(record: object) -> str | None:
    if not isinstance(record, dict) or (name := _id_column(list(record))) is None or record[name] is None:
        return None
    return str(record[name])


def _parquet_ids(path: str) -> Iterator[str | None]:
    try:
        with pq.ParquetFile(path) as file:
            if (name := _id_column(file.schema_arrow.names)) is not None:
                for batch in file.iter_batches(batch_size=256, columns=[name], use_threads=False):
                    yield from (None if value is None else str(value) for value in batch.column(0).to_pylist())
    except FAULTS as error:
        problem = f"its ids cannot be read ({first_line(error)})"
        raise InputError(path, problem, "make or fetch the file again") from error
