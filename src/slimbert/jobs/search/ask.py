"""One search as a job: a folder and queries in, hits out."""

import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, cast

from ...data.files import form, lines
from ...data.readers import text_column_of
from ...data.table import table
from ...data.tasks import load_texts
from ...errors import InputError
from ...train.progress import Progress
from .index import Hit, Index, Method, open_index
from .rerank import Reranker

QUERIES = ("query", "question")  # columns that a file of queries has, before the usual names of a text column
PORTION, RERANKED = 256, 16  # queries that are searched for together, without and with a re-ranker
BESIDE = 100  # hits of BM25 among which those of another method are looked up


class Found(NamedTuple):
    """A query and its hits, the best first. bm25: for each hit its rank by BM25, from 1; None beyond `BESIDE`."""

    query: str
    hits: list[Hit]
    bm25: list[int | None]


class Rerank(NamedTuple):
    """A run of pairs that scores the first `top` hits of a query anew, by the probability of `label` (None: the last of
    two)."""

    run: str | Path
    top: int = 50
    label: str | None = None


class Answered(NamedTuple):
    """What a search found. seconds: for all queries, loading the models included, opening the index not."""

    folder: str
    passages: int
    method: str
    rerank: str | None
    label: str | None
    seconds: float
    found: list[Found]


def ask(
    folder: str | Path,
    query: str | None = None,
    *,
    file: str | Path | None = None,
    text_column: str | None = None,
    top: int = 10,
    method: str = "vectors",
    rerank: Rerank | None = None,
    verify: bool = True,
    device: str | None = None,
    quiet: bool = False,
) -> Answered:
    """The hits of one query, or of every query of a file (one a line in .txt, else `text_column`)."""
    queries = list(_queries(query, file, text_column))
    index = open_index(folder, verify=verify, device=device)
    model = None if rerank is None else Reranker(rerank.run, label=rerank.label, depth=rerank.top, device=device)
    began, size = time.perf_counter(), PORTION if model is None else RERANKED
    found: list[Found] = []
    with Progress(len(queries), unit="query", enabled=not quiet and len(queries) > size) as progress:
        for first in range(0, len(queries), size):
            some = queries[first : first + size]
            hits = index.search(some, top=top, method=cast(Method, method), rerank=model)
            found += map(Found, some, hits, _beside(index, some, hits))
            progress.update(len(found))
    spent = time.perf_counter() - began
    judge, label = (model.run, model.label) if model else (None, None)
    return Answered(str(folder), len(index), method, judge, label, spent, found)


def _beside(index: Index, queries: Sequence[str], hits: Sequence[Sequence[Hit]]) -> Iterator[list[int | None]]:
    """For the hits of each query, where BM25 has them."""
    for mine, theirs in zip(hits, index.search(queries, top=BESIDE, method="bm25"), strict=True):
        ranks = {hit.place: rank for rank, hit in enumerate(theirs, 1)}
        yield [ranks.get(hit.place) for hit in mine]


def _queries(query: str | None, file: str | Path | None, column: str | None) -> Iterator[str]:
    """Those given, blank lines left out. Raises InputError where they come from two places, or from none."""
    if (query is None) == (file is None):
        problem = "neither is given" if file is None else "both are given"
        raise InputError("QUERY, --file", problem, "write a query in quotes, or --file queries.txt")
    if query is not None:
        if not query.strip():
            raise InputError("QUERY", "it is empty", "give words to search for")
        yield query
        return
    assert file is not None
    if not Path(file).is_file():
        raise InputError(file, "no such file", "check the path")
    found = [text for text in _texts(Path(file), column) if text.strip()]
    if not found:
        raise InputError(file, "there is no query in it", "write one query a line")
    yield from found


def _texts(file: Path, column: str | None) -> list[str]:
    if form(file) == ".txt":
        return [text for _, text in lines(str(file))]
    names = table(file).column_names
    usual = next((name for name in QUERIES if name in names), None)
    chosen = text_column_of(names, column or usual, str(file))
    return [str(text) for text in load_texts(file, text_columns=[chosen])]
