"""Scores of ranked documents: recall@k, MRR@k and nDCG@k, per query and on average.

    recall@k   relevant ones among the first k / all relevant ones
    MRR@k      mean of 1 / rank of the first relevant one, 0 where it is not among the first k
    DCG@k      sum over ranks i = 1..k of gain_i / log2(i + 1)         Jarvelin & Kekalainen 2002
               with "exponential" gains: (2^gain_i - 1) / log2(i + 1)  Burges et al. 2005
    nDCG@k     DCG@k / DCG@k of the best possible ranking

As ranx counts them (Bassani 2022). A query without relevant documents scores 0 everywhere; leave it out if it should
not count.
"""

from collections.abc import Collection, Hashable, Mapping, Sequence
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .classes import Floats, Ints

Ranked = Sequence[Sequence[Hashable]]  # per query its documents, the best first
Relevant = Sequence[Mapping[Hashable, float] | Collection[Hashable]]  # per query document -> gain, or those of gain 1

Gain = Literal["linear", "exponential"]
CUTOFFS = (1, 10, 100)


class _Query(NamedTuple):
    found: list[float]  # gain at each of the first k ranks, 0 for documents that are not relevant
    best: list[float]  # the positive gains, the highest first


def recall_at(ranked: Ranked, relevant: Relevant, *, k: int) -> Floats:
    """[Q] share of the relevant documents that stand among the first k."""
    queries = _queries(ranked, relevant, k)
    return np.array([_divided(sum(gain > 0 for gain in query.found), len(query.best)) for query in queries])


def reciprocal_rank_at(ranked: Ranked, relevant: Relevant, *, k: int) -> Floats:
    """[Q] 1 / rank of the first relevant document, 0 if none stands among the first k. Its mean is MRR@k."""
    ranks = ([rank for rank, gain in enumerate(q.found, 1) if gain] for q in _queries(ranked, relevant, k))
    return np.array([1 / rank[0] if rank else 0.0 for rank in ranks])


def ndcg_at(ranked: Ranked, relevant: Relevant, *, k: int, gain: Gain = "linear") -> Floats:
    """[Q] discounted gain of the first k documents, as a share of the best that is possible."""
    if gain not in ("linear", "exponential"):
        raise ValueError(f"unknown gain {gain!r}: known are linear, exponential")
    queries = _queries(ranked, relevant, k)
    return np.array([_divided(_dcg(query.found, gain), _dcg(query.best[:k], gain)) for query in queries])


def ranking_scores(ranked: Ranked, relevant: Relevant, *, cutoffs: Sequence[int] = CUTOFFS) -> dict[str, float]:
    """What is reported of a run: queries, and for each k the means recall@k, mrr@k and ndcg@k (linear gains).

    ranked: per query its documents, the best first, each at most once; relevant: per query, in the same order, the
    set of the relevant ones, or a mapping to gains >= 0. A ranking shorter than k counts as one with nothing relevant
    behind it.
    """
    scores: dict[str, float] = {"queries": len(ranked)}
    for k in cutoffs:
        scores[f"recall@{k}"] = float(recall_at(ranked, relevant, k=k).mean())
        scores[f"mrr@{k}"] = float(reciprocal_rank_at(ranked, relevant, k=k).mean())
        scores[f"ndcg@{k}"] = float(ndcg_at(ranked, relevant, k=k).mean())
    return scores


def ranks(scores: NDArray[np.floating], right: Ints) -> Ints:
    """[Q] the place, from 1, of document right[q] by the scores [Q, D]; among equal scores the worst place."""
    own = np.take_along_axis(scores, right[:, None], axis=1)
    return (scores >= own).sum(axis=1)


def _queries(ranked: Ranked, relevant: Relevant, k: int) -> list[_Query]:
    if len(ranked) != len(relevant) or len(ranked) == 0:
        raise ValueError(f"{len(ranked)} rankings, {len(relevant)} queries with truth: need equally many, at least one")
    if k < 1:
        raise ValueError(f"k = {k}: need at least 1")
    return [_query(number, *pair, k) for number, pair in enumerate(zip(ranked, relevant))]


def _query(
    number: int, ranked: Sequence[Hashable], relevant: Mapping[Hashable, float] | Collection[Hashable], k: int
) -> _Query:
    if isinstance(ranked, str) or isinstance(relevant, str):
        raise ValueError(f"query {number}: one text where a collection of documents is needed")
    if len(set(ranked)) < len(ranked):
        raise ValueError(f"query {number}: a document is ranked twice")
    gains = relevant if isinstance(relevant, Mapping) else dict.fromkeys(relevant, 1.0)
    if any(not 0 <= gain < np.inf for gain in gains.values()):
        raise ValueError(f"query {number}: gains must be 0 or more, and finite")
    best = sorted((float(gain) for gain in gains.values() if gain > 0), reverse=True)
    return _Query([float(gains.get(document, 0.0)) for document in ranked[:k]], best)


def _dcg(gains: Sequence[float], gain: Gain) -> float:
    values = np.array(gains)
    values = values if gain == "linear" else np.exp2(values) - 1
    return float(np.sum(values / np.log2(np.arange(len(gains)) + 2)))


def _divided(above: float, below: float) -> float:
    return above / below if below else 0.0
