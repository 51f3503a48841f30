"""Commands of search: index, search."""

import enum
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from . import options as o
from . import output

if TYPE_CHECKING:
    from rich.console import Group

    from ..jobs.search.ask import Answered
    from ..jobs.search.build import Indexed
    from ..jobs.search.index import Hit

app = typer.Typer()
SHOWN = 3  # lines of a hit's text that a person sees


class Method(enum.StrEnum):
    """How `search` finds."""

    vectors = "vectors"
    bm25 = "bm25"
    hybrid = "hybrid"
    approximate = "approximate"
    static = "static"


@app.command()
def index(
    model: o.Model,
    corpus: o.Corpus,
    out: o.Out,
    text_column: o.TextColumn = None,
    batch: o.Batch = 32,
    windows: Annotated[
        bool, typer.Option("--windows", help="Split documents that are too long for the model; else they are cut.")
    ] = False,
    approximate: Annotated[
        bool, typer.Option("--approximate", help="Also build a graph for approximate search (extra search-ann).")
    ] = False,
    device: o.Device = None,
    threads: o.Threads = None,
    json: o.Json = False,
) -> None:
    """Index a corpus for search: vectors, and words.

    Each row of a table is a document, with its id, idx, _id or doc_id; a .txt file has one behind each blank line.
    Started again after an interruption, it goes on where it was.
    """
    from ..jobs.search.build import index as job

    with output.results(json) as show:
        made = job(
            model,
            corpus,
            out=out,
            text_column=text_column,
            batch_size=batch,
            windows=windows,
            approximate=approximate,
            device=device,
        )
        show(made, indexed(made), output.following(("search", made.folder, "your question")))


@app.command()
def search(
    index: Annotated[Path, typer.Argument(metavar="INDEX", help="Folder that `index` wrote.")],
    query: Annotated[str | None, typer.Argument(metavar="QUERY", help="In quotes.", show_default=False)] = None,
    top: Annotated[int, typer.Option("--top", min=1, metavar="K", help="Hits of each query.")] = 10,
    file: Annotated[
        Path | None, typer.Option("--file", metavar="FILE", help="Queries: .txt with one a line, or a table.")
    ] = None,
    text_column: o.TextColumn = None,
    method: Annotated[Method, typer.Option("--method", help="How to find.")] = Method.vectors,
    rerank: Annotated[
        Path | None, typer.Option("--rerank", metavar="RUN", help="A run of pairs that scores the first hits anew.")
    ] = None,
    rerank_top: Annotated[int, typer.Option("--rerank-top", min=1, metavar="N", help="Hits that it reads.")] = 50,
    rerank_label: Annotated[
        str | None, typer.Option("--rerank-label", metavar="NAME", help="Its label for a hit; of two, the last.")
    ] = None,
    verify: Annotated[bool, typer.Option(help="Hash every file of the index before it is used.")] = True,
    device: o.Device = None,
    threads: o.Threads = None,
    json: o.Json = False,
) -> None:
    """Search an index for one query, or for a file of them."""
    from ..jobs.search.ask import Rerank
    from ..jobs.search.ask import ask as job

    second = Rerank(rerank, rerank_top, rerank_label) if rerank else None
    with output.results(json) as show:
        made = job(
            index,
            query,
            file=file,
            text_column=text_column,
            top=top,
            method=method.value,
            rerank=second,
            verify=verify,
            device=device,
        )
        show(made, *answered(made))


def indexed(made: "Indexed") -> "Group":
    """What `index` made of a corpus."""
    share = output.share(made.long / made.documents)
    done = "split into windows" if made.windows else "cut there; --windows splits them"
    values = {
        "index": made.folder,
        "documents": output.count(made.documents),
        "passages": output.count(made.passages),
        "vectors": f"{made.dim} numbers each, {output.bytes_of(4 * made.dim * made.passages)}",
        "longer than the model reads": f"{share} (over {made.max_len} tokens)" + (f", {done}" if made.long else ""),
        "approximate search": "yes" if made.approximate else "no (--approximate)",
        "size": f"{output.bytes_of(made.bytes)}, {output.bytes_of(made.model_bytes)} of it the model",
        "time": output.clock(made.seconds),
    }
    return output.pairs("", values)


def answered(made: "Answered") -> list[str]:
    """The hits of every query, the best first."""
    how = made.method + (f", re-ranked by {made.rerank} ({made.label})" if made.rerank else "")
    shown = []
    for query, hits, words in made.found:
        shown.append(f"{query}\n" if hits else f"{query}\n  nothing found\n")
        shown += [_shown(rank, hit, word) for rank, (hit, word) in enumerate(zip(hits, words, strict=True), 1)]
    beside = "bm25 N: it is N-th by BM25 (-: not in its first 100)"
    return [*shown, f"{how}; {made.passages:,} passages; {output.clock(made.seconds)}", beside]


def _shown(rank: int, hit: "Hit", bm25: int | None) -> str:
    text = textwrap.wrap(hit.text, 74, max_lines=SHOWN, placeholder=" ...")
    head = f"{rank:>3}  {hit.score:.4f}  {hit.place}  id {hit.id}  bm25 {bm25 or '-'}"
    return "\n".join([head, *(f"     {line}" for line in text), ""])
