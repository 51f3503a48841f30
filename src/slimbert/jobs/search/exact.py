"""Exact nearest neighbours: the product of the queries with blocks of all vectors, and the best so far.

One pass over the memory-mapped vectors answers all queries; beyond the vectors' own pages the memory does not grow with
their number. Equal scores: the lower number first.
"""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

Numbers = NDArray[np.int64]
Scores = NDArray[np.float32]
Ranked = tuple[Numbers, Scores]  # of one query: [k] numbers of passages and their scores, the best first

BLOCK = 1 << 14  # vectors in one product
QUERIES = 256  # queries in one product: a block of scores then takes 16 MiB


def nearest(vectors: NDArray[np.float32], queries: NDArray[np.float32], *, top: int) -> list[Ranked]:
    """vectors: [N, dim], queries: [Q, dim] -> for each query the `top` (or all N) largest dot products."""
    found: list[Ranked] = [(np.zeros(0, np.int64), np.zeros(0, np.float32)) for _ in queries]
    for first in range(0, len(vectors), BLOCK):
        block = np.asarray(vectors[first : first + BLOCK])
        for begin in range(0, len(queries), QUERIES):
            for place, row in enumerate(_product(queries[begin : begin + QUERIES], block), begin):
                found[place] = _merged(found[place], first, row, top)
    return found


def _product(queries: NDArray[np.float32], block: NDArray[np.float32]) -> NDArray[np.float32]:
    """[Q, dim], [N, dim] -> [Q, N]. By torch: the threads of numpy are others, and go on waiting for more work while
    the encoder reads the next query. (A query took 40 ms, and takes 15 without them.)"""
    first, second = (torch.from_numpy(np.require(one, requirements="W")) for one in (queries, block))
    made: NDArray[np.float32] = (first @ second.T).numpy()
    return made


def _merged(before: Ranked, first: int, row: Scores, top: int) -> Ranked:
    """The best of those before and of a row of scores that begins with the passage `first`.

    Numbers of the row are higher than all before, so an equal score does not displace one of them.
    """
    numbers, scores = before
    if len(numbers) == top:
        places = np.flatnonzero(row > scores[-1])
        places = places[best(row[places], top)]
    else:
        places = best(row, top)
    joined = np.concatenate([scores, row[places]])
    order = np.argsort(-joined, kind="stable")[:top]
    return np.concatenate([numbers, first + places])[order], joined[order]


def best(scores: NDArray[Any], top: int) -> Numbers:
    """Places of the `top` largest of scores [n], the largest first; of equal ones the first places."""
    places = np.arange(len(scores))
    if len(scores) > top:
        least = np.partition(scores, len(scores) - top)[len(scores) - top]
        above, equal = np.flatnonzero(scores > least), np.flatnonzero(scores == least)
        places = np.sort(np.concatenate([above, equal[: top - len(above)]]))
    return places[np.argsort(-scores[places], kind="stable")]
