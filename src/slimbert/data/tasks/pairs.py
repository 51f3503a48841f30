"""Texts that belong together, for vectors: pairs, pairs with texts that do not belong (hard negatives), scored pairs.

Texts are tuples (anchor, positive, negative ...); labels are the scores [N], scaled to 0 to 1 by those of train, or
the number of the positive text [N], equal for equal texts, so that none counts as its own negative.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...errors import InputError
from ..columns import LABELS, PAIRS, Columns, Rows, choose, read_texts
from ..metrics import ranks
from ..splits import same_texts
from .file import DataFile, open_table
from .numbers import Numbers
from .task import Ints, Split

TELLING = (  # names that mean it, where no label stands beside them
    *(("anchor", "positive", "negative"), ("query", "positive", "negative"), ("question", "positive", "negative")),
    *(("anchor", "positive"), ("query", "positive"), ("query", "passage"), ("query", "document")),
)
NAMES = (  # names that are taken where vectors are asked for
    *(*TELLING, ("query", "answer"), ("question", "answer"), ("question", "context"), ("question", "passage")),
    *(("title", "body"), ("title", "text"), *PAIRS),
)
SCORES = ("label", "labels", "gold_label", "target", "y", "score", "similarity")  # say how alike two texts are
UNSCORED = ""  # the label column of pairs without scores


class Pairs:
    """Two text columns or more; a column of numbers makes them scored pairs."""

    def open(self, files: Sequence[DataFile]) -> Rows:
        return open_table(files)

    def choose(self, rows: Rows, *, shared: set[str], texts: Sequence[str] | None, label: str | None) -> Columns:
        others = [name for name in rows.columns if name not in (texts or ())]
        chosen = tuple(texts or _names(shared) or ())
        score = label
        if label is None and len(texts or ()) <= 2:  # a score is one of two texts
            score = next((name for name in others if name.strip().lower() in SCORES), None)
        if label or not (score or chosen):
            return _scored(rows, label, shared=shared, texts=texts)
        if score:
            found = _scored(rows, score, shared=shared, texts=texts)
            return replace(found, reasons=(found.reasons[0], f"scores in {score!r} (by its name)"))
        if len(chosen) < 2:
            raise InputError(rows.name, "one text column, vectors need pairs", "give --text-column twice")
        why = "as asked" if texts else "by their names"
        unused = [name for name in others if name not in chosen and name.strip().lower() in LABELS]
        why += f"; not used: {', '.join(unused)}" * bool(unused)
        return Columns(chosen, UNSCORED, (f"texts that belong together in {' and '.join(chosen[:2])} ({why})",))

    def kind(self, columns: Columns) -> str:
        return "embedding"

    def values(self, rows: Rows, columns: Columns, *, split: str, notes: list[str]) -> list[Any]:
        if columns.label == UNSCORED:
            return [()] * len(rows.table)
        return Numbers().values(rows, columns, split=split, notes=notes)

    def unify(self, values: dict[str, list[Any]], notes: list[str]) -> dict[str, list[Any]]:
        return values

    def names(self, rows: Rows, columns: Columns, values: Sequence[Any]) -> tuple[str, ...]:
        """Of scored pairs the least and the greatest score of train, in words."""
        if columns.label == UNSCORED:
            return ()
        Numbers().names(rows, columns, values)
        return repr(float(min(values))), repr(float(max(values)))

    def split(self, rows: Rows, columns: Columns, values: Sequence[Any], names: tuple[str, ...]) -> Split:
        columns_of = [read_texts(rows, (name,)) for name in columns.texts]
        texts = list(zip(*columns_of, strict=True))
        if names:
            low, high = map(float, names)
            return Split(texts, (np.array(values, dtype=np.float64) - low) / (high - low))
        return Split(texts, same_texts([row[1] for row in texts]))

    def strata(self, split: Split) -> Ints:
        return np.zeros(len(split), dtype=np.int64)

    def group(self, text: Any) -> Any:
        """Pairs with one positive text stand on one side."""
        return text[1]

    def groups(self, split: Split) -> Ints:
        """Pairs that share a first or a second text, also over other pairs; of scored pairs only equal ones."""
        if split.labels.dtype == np.float64:
            return same_texts(split.texts)
        from scipy.sparse import coo_matrix
        from scipy.sparse.csgraph import connected_components

        first = anchors(split)
        second = same_texts([row[1] for row in split.texts]) + len(split)
        edges = coo_matrix((np.ones(len(split)), (first, second)), shape=(2 * len(split),) * 2)
        return connected_components(edges, directed=False)[1][first].astype(np.int64)

    def metric(self, names: tuple[str, ...]) -> str:
        return "spearman" if names else "mrr"

    def summary(self, split: Split, names: tuple[str, ...]) -> str:
        if names:
            return f"{len(split):,} pairs in train, scores {names[0]} to {names[1]}"
        return f"{len(split):,} pairs in train, {len(np.unique(split.labels)):,} different second texts"


class Candidates(NamedTuple):
    """The different second texts of pairs without scores, among which the own of each row is to be found.

    first: [T] the row in which each first stands; own: [N] which of them is that of each row; also: [N] lists of those
    that stand beside the same first text in other rows, and so are right, too.
    """

    first: Ints
    own: Ints
    also: list[Ints]

    @classmethod
    def of(cls, split: Split) -> "Candidates":
        _, first, own = np.unique(split.labels, return_index=True, return_inverse=True)
        right: dict[int, set[int]] = defaultdict(set)
        rows = list(zip(anchors(split).tolist(), own.tolist(), strict=True))
        for anchor, place in rows:
            right[anchor].add(place)
        also = [np.array(sorted(right[anchor] - {place}), dtype=np.int64) for anchor, place in rows]
        return cls(first.astype(np.int64), own.astype(np.int64), also)

    def places(self, scores: NDArray[np.floating], start: int) -> Ints:
        """[Q] from 1: where the own text of the rows from `start` on stands by their scores [Q, T], the others that are
        right left out."""
        counted = scores.copy()
        for row, also in zip(counted, self.also[start:]):
            row[also] = -np.inf
        return ranks(counted, self.own[start : start + len(scores)])


def _scored(rows: Rows, score: str | None, *, shared: set[str], texts: Sequence[str] | None) -> Columns:
    """Two texts and the column that says how alike they are; None: guessed."""
    named = None if texts else _names(shared - {score}, (*PAIRS, *NAMES))
    if named and len(named) > 2:
        problem = f"{', '.join(named)} beside scores in {score!r}: a score is one of two texts"
        raise InputError(rows.name, problem, "name two with --text-column, or all of them to leave the scores out")
    found = choose(rows, shared=shared, texts=texts or named, label=score)
    if len(found.texts) != 2:
        raise InputError(rows.name, "one text column, vectors need pairs", "give --text-column twice")
    if named is None:
        return found
    said = f"sentence pairs in columns {named[0]!r} and {named[1]!r} (by their names)"
    return replace(found, reasons=(said, *found.reasons[1:]))


def anchors(split: Split) -> Ints:
    """[N] a number of each first text, equal for equal ones."""
    return same_texts([row[0] for row in split.texts])


def negatives(split: Split) -> Ints:
    """[N, W - 2] of the texts behind the second, in pairs without scores: the number in `split.labels` of a row whose
    second text is equal, -1 where there is none."""
    number = {row[1]: int(one) for row, one in zip(split.texts, split.labels, strict=True)}
    return np.array([[number.get(text, -1) for text in row[2:]] for row in split.texts], dtype=np.int64)


def looks_paired(columns: Sequence[str]) -> bool:
    """Whether the names of the columns say that texts belong together, and none looks like a label."""
    return _names(set(columns), TELLING) is not None


def _names(columns: set[str], known: Sequence[tuple[str, ...]] = NAMES) -> tuple[str, ...] | None:
    by_name = {name.strip().lower(): name for name in sorted(columns, reverse=True)}
    for names in known:
        if all(name in by_name for name in names):
            return tuple(by_name[name] for name in names)
    return None
