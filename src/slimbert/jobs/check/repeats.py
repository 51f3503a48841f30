"""Texts that stand more than once within a split, and texts that stand with two labels."""

import itertools
from collections.abc import Iterator

import numpy as np

from ...data.duplicates import ALIKE
from .alike import Alike, Ints, anchors
from .findings import EXAMPLES, Finding, Severity
from .labelled import number_of
from .reading import Data

REPEATED = 0.1  # of a split: then its score and its loss are noticeably those of the repeated rows
CONFLICT = 0.05  # of labelled rows: no model can be right on both of two labels, so 2.5 points and more are lost
APART = 0.1  # of the range of labels that are numbers: people who score the same text twice differ by less, mostly


def repeats(found: Alike) -> Iterator[Finding]:
    """Rows that repeat an earlier row of their split, exactly or nearly."""
    exact = [_again(found.exact, found.of(part)) for part in found.parts]
    single = [np.setdiff1d(found.of(part), two[1]) for part, two in zip(found.parts, exact)]
    near = [_again(found.near, rows) for rows in single]
    remedy = "Keep one of each, unless their number means something."
    yield from _within(found, exact, Finding("duplicates", "note", "exact repeats in a split", 0, 0.0, remedy, ()))
    remedy = "Look whether they say something of their own."
    if len(found.parts) == 1:
        remedy = "Give train and test files that keep them together: a split by chance may not."
    yield from _within(found, near, Finding("near_duplicates", "note", "near repeats in a split", 0, 0.0, remedy, ()))


def _again(values: Ints, rows: Ints) -> Ints:
    """[2, M] (first, later) of those rows whose values are equal."""
    first = rows[anchors(values[rows])]
    later = first != rows
    return np.stack([first[later], rows[later]])


def _within(found: Alike, pairs: list[Ints], finding: Finding) -> Iterator[Finding]:
    """The finding with these pairs of each split; those that only links have brought together are no examples."""
    counts = [two.shape[1] for two in pairs]
    if not any(counts):
        return
    most = max(count / len(part) for count, part in zip(counts, found.parts))
    severity: Severity = "warning" if most > REPEATED else "note"
    near = (two for two in np.concatenate(pairs, axis=1).T.tolist() if found.similarity(*two) >= ALIKE)
    examples = tuple(found.pair(*two) for two in itertools.islice(near, EXAMPLES))
    share = sum(counts) / len(found.part)
    yield finding._replace(severity=severity, rows=sum(counts), share=share, examples=examples)


def conflicts(data: Data, found: Alike) -> Iterator[Finding]:
    """Rows whose text also stands with another label, in any split. Case makes no difference between labels here."""
    words = [word for part in found.parts for word in part.labels.words]
    rows = np.array([i for i, word in enumerate(words) if word is not None and not found.blank[i]], dtype=np.int64)
    if not len(rows):
        return
    first = anchors(found.exact[rows])
    if data.kind == "numbers":
        values = np.array([number_of(words[i]) for i in rows])
        finite = values[np.isfinite(values)]
        other = np.abs(values - values[first]) > APART * (np.ptp(finite) if len(finite) else 0.0)
    else:
        items = [some for part in found.parts for some in part.labels.items]
        number: dict[tuple[str, ...], int] = {}
        labels = np.array([number.setdefault(tuple(map(str.casefold, items[i])), len(number)) for i in rows])
        other = labels != labels[first]
    if not other.any():
        return
    count = int(np.isin(first, first[other]).sum())
    share = count / len(rows)
    severity: Severity = "note" if data.kind == "other" else "misleads" if share > CONFLICT else "warning"
    _, once = np.unique(first[other], return_index=True)
    pairs = np.stack([rows[first[other]], rows[other]]).T[once[:EXAMPLES]].tolist()
    remedy = "Decide on one label each, or remove them."
    examples = tuple(found.pair(*two) for two in pairs)
    yield Finding("conflicts", severity, "equal texts with different labels", count, share, remedy, examples)
