"""An index that is asked: exact vectors, BM25, both fused, or an approximate graph; a re-ranker on top where given.

Beside them, as the least that an encoder has to beat, the mean of its static token embeddings (`static`).
"""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, NamedTuple, cast, get_args

import numpy as np
from numpy.typing import NDArray

from ...errors import InputError
from ..predict import Predictor
from ..static import static_vectors, token_table
from . import store
from .bm25 import Bm25
from .encoder import copied
from .exact import Ranked, nearest
from .fuse import fuse
from .graph import Graph
from .rerank import Reranker

Method = Literal["vectors", "bm25", "hybrid", "approximate", "static"]
METHODS: tuple[Method, ...] = get_args(Method)
FUSED = 100  # hits of each ranking that `hybrid` fuses, at least: not from the paper, which fuses runs of 1,000


class Hit(NamedTuple):
    """A passage that was found.

    score: the cosine for vectors and static, the sum of word weights for bm25, of 1 / (60 + rank) for hybrid; the
    label's probability after re-ranking. id: of the row, or the number of the document in the corpus, from 1.
    """

    text: str
    score: float
    place: str
    id: str


class Index:
    """Use `open_index`. Each thing is loaded when it is first needed: bm25 asks for no model."""

    def __init__(self, folder: Path, manifest: dict[str, Any], *, device: str | None) -> None:
        self.folder, self.manifest, self._device = folder, manifest, device
        self.texts = store.Texts(folder)

    def __len__(self) -> int:
        return int(self.manifest["count"])

    @property
    def dim(self) -> int:
        return int(self.manifest["dim"])

    @cached_property
    def predictor(self) -> Predictor:
        """The encoder that made the vectors, from the folder of the index."""
        return copied(self.folder / store.MODEL, self.manifest, device=self._device)

    @cached_property
    def vectors(self) -> NDArray[np.float32]:
        """[N, dim], each of length 1, mapped into memory."""
        return cast(NDArray[np.float32], store.mapped(self.folder / store.VECTORS))

    @cached_property
    def bm25(self) -> Bm25:
        return Bm25(self.folder / store.WORDS)

    @cached_property
    def static(self) -> NDArray[np.float32]:
        """[N, W] the mean of the static token embeddings of each passage; made when first asked for, kept in memory."""
        return self._static([one.text for one in self.texts])

    @cached_property
    def graph(self) -> Graph:
        if not self.manifest["approximate"]:
            remedy = "build it: the same `slimbert index` again, with --approximate"
            raise InputError(self.folder, "it has no graph for approximate search", remedy)
        return Graph(self.folder / store.GRAPH, self.vectors)

    def search(
        self, queries: Sequence[str], *, top: int = 10, method: Method = "vectors", rerank: Reranker | None = None
    ) -> list[list[Hit]]:
        """For each query its hits, the best first: `top` of them, or all there are; bm25 finds only shared words.

        rerank: scores the first hits anew, `rerank.depth` of them, and at least `top`. Equal scores: the passage that
        comes first in the corpus. InputError for a blank query and an unknown method.
        """
        _check(queries, top=top, method=method)
        found = self.ranked(queries, top=max(top, rerank.depth) if rerank else top, method=method)
        hits = [[self._hit(number, score) for number, score in zip(*one, strict=True)] for one in found]
        if rerank is None:
            return hits
        order = rerank.order(queries, [[hit.text for hit in one] for one in hits])
        return [
            [one[place]._replace(score=score) for place, score in best[:top]]
            for one, best in zip(hits, order, strict=True)
        ]

    def ranked(self, queries: Sequence[str], *, top: int, method: Method) -> list[Ranked]:
        """For each query the numbers of passages, from 0, and their scores."""
        if method == "bm25":
            return self.bm25.search(queries, top=top)
        if method == "hybrid":
            depth = max(top, FUSED)
            both = zip(self._nearest(queries, depth), self.bm25.search(queries, top=depth), strict=True)
            return [fuse([one[0], other[0]], top=top) for one, other in both]
        if method == "approximate":
            return self.graph.search(self.predictor.embed(queries, normalise=True), top=top)
        if method == "static":
            return nearest(self.static, self._static(queries), top=top)
        return self._nearest(queries, top)

    def _static(self, texts: Sequence[str]) -> NDArray[np.float32]:
        reader = self.predictor
        return static_vectors(token_table(reader.model), reader.tokenizer, texts, max_len=reader.task.max_len)

    def _nearest(self, queries: Sequence[str], top: int) -> list[Ranked]:
        return nearest(self.vectors, self.predictor.embed(queries, normalise=True), top=top)

    def _hit(self, number: int, score: float) -> Hit:
        found = self.texts[int(number)]
        return Hit(found.text, float(score), found.place, found.id)


def open_index(folder: str | Path, *, verify: bool = True, device: str | None = None) -> Index:
    """The index of a folder that `index` made.

    Sizes are always compared with the manifest; `verify` also hashes every file (about 1 GB/s). InputError names what
    is missing, damaged, or of another version.
    """
    path = Path(folder)
    return Index(path, store.read_manifest(path, verify=verify), device=device)


def _check(queries: Sequence[str], *, top: int, method: str) -> None:
    if isinstance(queries, str):
        raise InputError("queries", "one string instead of a list", "write search([query])")
    for place, query in enumerate(queries):
        if not isinstance(query, str) or not query.strip():
            raise InputError(f"queries[{place}]", f"{query!r:.80} is no query", "give words to search for")
    if top < 1:
        raise InputError("top", f"{top} hits", "ask for 1 or more")
    if method not in METHODS:
        raise InputError("method", f"no method {method!r}", f"choose one of {', '.join(METHODS)}")
