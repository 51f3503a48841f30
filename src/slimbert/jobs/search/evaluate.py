"""How good an index is: queries with known answers, each method side by side, with its time."""

import time
from collections.abc import Sequence, Set
from typing import NamedTuple

from ...data.metrics import ndcg_at, recall_at, reciprocal_rank_at
from ...errors import InputError
from .index import Index, Method
from .rerank import Reranker


class Scored(NamedTuple):
    """One method: means over the queries, and milliseconds per query (all asked at once, encoding them included)."""

    method: str
    mrr_10: float
    recall_1: float
    recall_10: float
    recall_100: float
    ndcg_10: float
    milliseconds: float


def evaluate(
    index: Index,
    queries: Sequence[str],
    relevant: Sequence[Set[str]],
    *,
    methods: Sequence[Method] = ("vectors", "bm25", "hybrid", "static"),
    top: int = 100,
    rerank: Reranker | None = None,
) -> list[Scored]:
    """MRR@10, recall@1, @10 and @100, nDCG@10 of every method, and of every method but `static` re-ranked where
    `rerank` is given.

    relevant: for each query the ids of its documents, at least one. Of several passages of a document the best counts.
    top: hits that are looked at; below 100 recall@100 sees no more.
    """
    if len(queries) != len(relevant) or not queries:
        problem = f"{len(queries)} queries and {len(relevant)} sets of ids"
        raise InputError("evaluate", problem, "give equally many, and at least one")
    for place, right in enumerate(relevant):
        if isinstance(right, str) or not right or not all(isinstance(name, str) for name in right):
            remedy = "name one or more, each as a text; leave out queries without an answer"
            raise InputError(f"relevant[{place}]", f"{right!r:.80} is no set of ids", remedy)
    rows = []
    rerankers: list[Reranker | None] = [None] if rerank is None else [None, rerank]
    for reranker in rerankers:
        for method in methods:
            if reranker is not None and method == "static":
                continue  # a baseline
            index.search(queries[:1], top=top, method=method, rerank=reranker)  # what is loaded first is not timed
            began = time.perf_counter()
            found = index.search(queries, top=top, method=method, rerank=reranker)
            spent = 1000 * (time.perf_counter() - began) / len(queries)
            ranked = [list(dict.fromkeys(hit.id for hit in hits)) for hits in found]
            rows.append(_scored(method + ", re-ranked" * (reranker is not None), ranked, relevant, spent))
    return rows


def _scored(method: str, ranked: list[list[str]], relevant: Sequence[Set[str]], spent: float) -> Scored:
    one, ten, hundred = (float(recall_at(ranked, relevant, k=k).mean()) for k in (1, 10, 100))
    first, gain = (float(score(ranked, relevant, k=10).mean()) for score in (reciprocal_rank_at, ndcg_at))
    return Scored(method, first, one, ten, hundred, gain, spent)
