"""Which rows are equal, and which nearly.

Equal means equal character by character. Near means that the word triples have a similarity of at least ALIKE
(`data.duplicates`), so also: equal but for case and punctuation. Pairs are compared text by text; near: in any order.
"""

import re
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ...data.duplicates import clusters, similarity
from .findings import Seen
from .reading import Data, Part

HALF = 1000  # characters: of a text twice as long only both ends are compared with others, to save time

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Alike:
    """Which of all N rows are equal: those with the same number in `exact` [N], and nearly in `near` [N].

    part, row: [N] number of the split, place in it. ids: [N, columns] number of each text. blank: [N] rows without any
    text, which are compared with none; empty: the numbers of texts without any.
    """

    parts: list[Part]
    part: Ints
    row: Ints
    ids: Ints
    exact: Ints
    near: Ints
    blank: NDArray[np.bool_]
    empty: Ints

    def of(self, part: Part) -> Ints:
        """The numbers of a split's rows that have text."""
        return np.flatnonzero((self.part == self.parts.index(part)) & ~self.blank)

    def seen(self, row: int, *, at: int = 0) -> Seen:
        """Row of all rows as an example."""
        return self.parts[self.part[row]].seen(int(self.row[row]), at=at)

    def pair(self, one: int, other: int) -> tuple[Seen, Seen]:
        """Two rows as an example, around the first place at which they differ."""
        mine, theirs = (self.parts[self.part[i]].text(int(self.row[i])) for i in (one, other))
        ends = min(len(mine), len(theirs))
        at = 0 if mine == theirs else next((i for i in range(ends) if mine[i] != theirs[i]), ends)
        return self.seen(one, at=at), self.seen(other, at=at)

    def similarity(self, one: int, other: int) -> float:
        """Of two rows in fact: a cluster follows links, so that its ends may differ. Of a pair the lesser counts."""
        mine, theirs = ([column[self.row[i]] or "" for column in self.parts[self.part[i]].texts] for i in (one, other))
        orders = (theirs, theirs[::-1])[: len(theirs)]
        return max(min(_similarity(a, b) for a, b in zip(mine, order)) for order in orders)


def compare(data: Data) -> Alike:
    """Number all texts and all rows."""
    parts = list(data.parts.values())
    number: dict[str, int] = {}
    columns = [
        [number.setdefault(text or "", len(number)) for part in parts for text in part.texts[column]]
        for column in range(len(data.text_columns))
    ]
    ids = np.array(columns, dtype=np.int64).T
    distinct = list(number)
    empty = np.array([not text.strip() for text in distinct])
    blank = np.logical_and.reduce(empty[ids], axis=1)
    sizes = [len(part) for part in parts]
    part = np.repeat(np.arange(len(parts)), sizes)
    row = np.concatenate([np.arange(size) for size in sizes])
    near = _numbered(np.sort(_clustered(distinct)[ids]))
    return Alike(parts, part, row, ids, _numbered(ids), near, blank, np.flatnonzero(empty))


def _numbered(rows: Ints) -> Ints:
    """[N, columns] -> [N]: a number per row, equal for equal rows."""
    return np.unique(rows, axis=0, return_inverse=True)[1].ravel()


def _clustered(texts: list[str]) -> Ints:
    """[N] a number per text, equal for near ones; texts without words are near to none."""
    near = np.arange(len(texts))
    worded = np.array([place for place, text in enumerate(texts) if re.search(r"\w", text)], dtype=np.int64)
    near[worded] = worded[clusters([_ends(texts[place]) for place in worded])]
    return near


def _ends(text: str) -> str:
    return text if len(text) <= 2 * HALF else f"{text[:HALF]} {text[-HALF:]}"


def _similarity(one: str, other: str) -> float:
    return 1.0 if one == other else similarity(_ends(one), _ends(other))


def anchors(values: Ints) -> Ints:
    """[N] the place of the first that is equal."""
    _, first, member = np.unique(values, return_index=True, return_inverse=True)
    return first[member.ravel()]
