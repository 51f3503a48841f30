"""Scores of rankings, as ranx counts them: recall@k, reciprocal rank, nDCG with binary relevance; means over queries.

ranked: for each query the ids found, the best first, each once; relevant: for each query the ids that are right, at
least one.
"""

import math
from collections.abc import Iterable, Sequence, Set


def recall(ranked: Sequence[Sequence[str]], relevant: Sequence[Set[str]], *, k: int) -> float:
    """Share of the relevant ids that stand among the first k."""
    return _mean(len(right & set(found[:k])) / len(right) for found, right in zip(ranked, relevant, strict=True))


def mrr(ranked: Sequence[Sequence[str]], relevant: Sequence[Set[str]], *, k: int) -> float:
    """1 / rank of the first relevant id; 0 where none stands among the first k."""
    return _mean(
        next((1 / rank for rank, name in enumerate(found[:k], 1) if name in right), 0.0)
        for found, right in zip(ranked, relevant, strict=True)
    )


def ndcg(ranked: Sequence[Sequence[str]], relevant: Sequence[Set[str]], *, k: int) -> float:
    """Sum of 1 / log2(rank + 1) over the relevant ids among the first k, over that of the best possible order."""
    return _mean(
        sum(_gain(rank) for rank, name in enumerate(found[:k], 1) if name in right)
        / sum(_gain(rank) for rank in range(1, min(k, len(right)) + 1))
        for found, right in zip(ranked, relevant, strict=True)
    )


def _gain(rank: int) -> float:
    return 1 / math.log2(rank + 1)


def _mean(values: Iterable[float]) -> float:
    listed = list(values)
    return sum(listed) / len(listed)
