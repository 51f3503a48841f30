"""Deterministic stratified splitting of labelled rows, in which rows of one group stay together."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]


def stratified(labels: Ints, fractions: Sequence[float], *, seed: int, groups: Ints | None = None) -> list[Ints]:
    """Row numbers of each part, ascending: every row in exactly one part.

    labels: [N] class of each row. fractions: share of each part, summing to 1; the first gets a group of every class,
    also where its share is too small for that. groups: [N], rows with the same number (equal texts) come to the same
    part; they count as the class of their first row.

    The members of a class, in random order, get ranks (i + 1/2) / n in it; all groups sorted by rank are cut by the
    fractions. So each part has its share of each class up to about one group, and the sizes in sum are as asked.
    """
    groups = np.arange(len(labels)) if groups is None else groups
    _, first, member, size = np.unique(groups, return_index=True, return_inverse=True, return_counts=True)
    rng = np.random.default_rng(seed)
    rank = np.empty(len(first))
    needed = []
    for label in np.unique(labels[first]):
        places = rng.permutation(np.flatnonzero(labels[first] == label))
        rank[places] = (np.arange(len(places)) + 0.5) / len(places)
        needed.append(places[0])
    order = np.lexsort((rng.random(len(rank)), rank))
    middle = (np.cumsum(size[order]) - size[order] / 2) / len(labels)
    bounds = np.cumsum(fractions)[:-1]
    part = np.empty(len(first), dtype=np.int64)
    part[order] = np.searchsorted(bounds, middle, side="right")
    part[needed] = 0
    return [np.flatnonzero(part[member] == number) for number in range(len(fractions))]


def same_texts(texts: Sequence[object]) -> Ints:
    """[N] a number per row, equal where the texts are equal."""
    seen: dict[object, int] = {}
    return np.array([seen.setdefault(text, len(seen)) for text in texts], dtype=np.int64)
