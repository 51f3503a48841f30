"""Leakage: rows of one split that are known from another, exactly, nearly, or with one text of a pair."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from ...data.duplicates import ALIKE
from .alike import Alike, Ints
from .findings import EXAMPLES, Finding
from .reading import Data, Part

LEAK = 0.01  # of held-out rows: more shifts a score by more than 1 point, about what one compares models by
VERY_NEAR = 0.8  # similarity: a word was added, or one of thirty changed; such rows count as leaked, too
CANDIDATES = 20  # rows of its cluster that a row is compared with, word triple by word triple


def leaks(data: Data, found: Alike) -> Iterator[Finding]:
    """What every split has in common with those before it: train with validation and test, validation with test."""
    parts = [data.train, *data.held_out]
    for place, later in enumerate(parts):
        scored = later.labels.given > 0 or data.train.labels.given == 0
        for earlier in parts[:place]:
            for finding in _between(found, earlier, later):
                kept = finding if scored else finding._replace(remedy="Nothing is scored on these rows.")
                yield kept if scored else kept._replace(severity="note")


def _between(found: Alike, earlier: Part, later: Part) -> Iterator[Finding]:
    old, new = found.of(earlier), found.of(later)
    same = np.isin(found.exact[new], found.exact[old])
    exact = new[same]
    near = new[~same & np.isin(found.near[new], found.near[old])]
    nearest, similarity = _nearest(found, old, near)
    very = int((similarity >= VERY_NEAR).sum())
    best = np.argsort(-similarity, kind="stable")[: int((similarity >= ALIKE).sum())]
    near, nearest = near[best], nearest[best]
    most = LEAK * len(later)
    if len(exact):
        title = f"{later.name} rows that stand in {earlier.name}"
        made = Finding("leakage", "misleads" if len(exact) > most else "warning", title, 0, 0.0, "", ())
        made = made._replace(remedy="Take them out of one of the two, best out of the first.")
        yield _with(made, found, _partners(found.exact, old, exact), exact, later)
    if len(near):
        title = f"{later.name} rows that nearly stand in {earlier.name}"
        made = Finding("near_leakage", "warning" if len(near) > most else "note", title, 0, 0.0, "", ())
        if len(exact) + very > most and very:
            made = made._replace(severity="misleads")
        made = made._replace(remedy=f"Look at the examples; all but equal: {very:,}.")
        yield _with(made, found, nearest, near, later)
    if found.ids.shape[1] > 1:
        yield from _sides(found, old, np.setdiff1d(new, np.concatenate([exact, near])), earlier, later)


def _with(finding: Finding, found: Alike, twins: Ints, rows: Ints, later: Part) -> Finding:
    """The finding with these rows; examples are the first, each with its twin."""
    examples = tuple(found.pair(*two) for two in np.stack([twins, rows]).T[:EXAMPLES].tolist())
    return finding._replace(rows=len(rows), share=len(rows) / len(later), examples=examples)


def _partners(values: Ints, old: Ints, new: Ints) -> Ints:
    """[M] for each new row the first old row of equal value; there must be one."""
    order = old[np.argsort(values[old], kind="stable")]
    return order[np.searchsorted(values[order], values[new])]


def _nearest(found: Alike, old: Ints, new: Ints) -> tuple[Ints, NDArray[np.float64]]:
    """[M] for each new row an old row of its cluster that it is near to, and their similarity in fact."""
    order = old[np.argsort(found.near[old], kind="stable")]
    starts, ends = (np.searchsorted(found.near[order], found.near[new], side=side) for side in ("left", "right"))
    nearest, best = np.zeros(len(new), dtype=np.int64), np.zeros(len(new))
    for place, (row, start, end) in enumerate(zip(new.tolist(), starts.tolist(), ends.tolist())):
        for member in order[start : min(end, start + CANDIDATES)].tolist():
            similarity = found.similarity(row, member)
            if similarity > best[place]:
                nearest[place], best[place] = member, similarity
            if similarity >= VERY_NEAR:
                break
    return nearest, best


def _sides(found: Alike, old: Ints, new: Ints, earlier: Part, later: Part) -> Iterator[Finding]:
    """New pairs of which one text is known: what was learnt of it may be of use, or mislead."""
    texts = np.setdiff1d(found.ids[old], found.empty)
    rows = new[np.isin(found.ids[new], texts).any(axis=1)]
    if len(rows):
        title = f"{later.name} pairs with one text in {earlier.name}"
        remedy = "Fair if the pairs to come will be made of known texts, too."
        examples = tuple((found.seen(int(i)),) for i in rows[:EXAMPLES])
        yield Finding("known_sides", "note", title, len(rows), len(rows) / len(later), remedy, examples)
