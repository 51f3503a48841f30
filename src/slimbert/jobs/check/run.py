"""The check of labelled data: does a score trained on it mean what it says? Nothing is changed, nothing is trained."""

import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from ...data.tasks import load_task
from ...data.tokenizer import TextTokenizer
from ...errors import InputError
from .alike import compare
from .findings import SEVERITIES, Finding
from .ids import ids
from .labelled import LabelKind
from .labels import counts, labels
from .leaks import leaks
from .lengths import Lengths, lengths, measured, summary
from .reading import Data, Part, read
from .repeats import conflicts, repeats
from .texts import texts


class SplitFound(NamedTuple):
    """A split ("all" for one file). labels: rows of each label, most first; majority_share: of the first among them."""

    split: str
    rows: int
    labelled: int
    labels: dict[str, int]
    majority_share: float | None
    lengths: Lengths


class Checked(NamedTuple):
    """What the check came to. misleads: whether any finding does; refused: why fine-tuning would not begin: the place,
    the fault and the fix, None where it would; unit: of the lengths, "tokens" or "words"."""

    data: str
    text_columns: tuple[str, ...]
    label_column: str | None
    label_kind: LabelKind
    reasons: tuple[str, ...]
    splits: tuple[SplitFound, ...]
    unit: str
    max_len: int
    findings: tuple[Finding, ...]
    misleads: bool
    refused: str | None
    seconds: float


def check(
    path: str | Path,
    *,
    text_columns: Sequence[str] | None = None,
    label_column: str | None = None,
    task: str | None = None,
    tokenizer: str | Path | None = None,
    max_len: int = 256,
) -> Checked:
    """Look for what would mislead: leakage, repeats, conflicts, labels, broken texts, lengths.

    path: a labelled file, or a folder of splits, as `finetune` takes it. task: as its `kind`, where columns alone do
    not tell: several labels in one word, whole numbers that are scores. tokenizer: a folder that holds one; without it
    words are counted. Faults of rows are findings; InputError is for a path, column, task or tokenizer that is missing.
    """
    began = time.perf_counter()
    if max_len < 1:
        raise InputError("max_len", f"{max_len} is too small", "give 1 or more")
    pieces = None if tokenizer is None else TextTokenizer.load(tokenizer)
    data = read(path, text_columns=text_columns, label_column=label_column, task=task)
    kind, refused = _begun(path, text_columns, label_column, task)
    alike = compare(data)
    unit = "words" if pieces is None else "tokens"
    sizes = {name: measured(part, pieces) for name, part in data.parts.items()}
    found = [
        *_unread(data),
        *leaks(data, alike),
        *conflicts(data, alike),
        *repeats(alike),
        *ids(data),
        *labels(data),
        *texts(data),
        *lengths(data, sizes, kind=kind, unit=unit, max_len=max_len),
    ]
    found.sort(key=lambda finding: SEVERITIES.index(finding.severity))  # stable
    found = [_said(finding, refused) for finding in found]
    return Checked(
        str(path),
        data.text_columns,
        data.label_column,
        data.kind,
        data.reasons,
        tuple(_split(part, data.kind, summary(sizes[name], max_len)) for name, part in data.parts.items()),
        unit,
        max_len,
        tuple(found),
        any(finding.severity == "misleads" for finding in found),
        refused,
        time.perf_counter() - began,
    )


def _begun(
    path: str | Path, text_columns: Sequence[str] | None, label_column: str | None, task: str | None
) -> tuple[str | None, str | None]:
    """(the kind of task, None) where fine-tuning begins, (None, what it says before) where not: its reader is asked."""
    try:
        found = load_task(path, kind=task, text_columns=text_columns, label_column=label_column)
    except InputError as error:
        return None, str(error)
    return found.kind, None


def _said(finding: Finding, refused: str | None) -> Finding:
    """The finding, which says so where fine-tuning refuses its rows; nothing is refused where fine-tuning begins."""
    if not finding.refused or refused is None:
        return finding._replace(refused=False)
    return finding._replace(remedy=f"Fine-tuning refuses this. {finding.remedy}")


def _split(part: Part, kind: LabelKind, sizes: Lengths) -> SplitFound:
    found = dict(counts(part).most_common()) if kind in ("classes", "lists") else {}
    share = max(found.values()) / sum(found.values()) if found else None
    return SplitFound(part.name, len(part), part.labels.given, found, share, sizes)


def _unread(data: Data) -> Iterator[Finding]:
    """Files and records that could not be read."""
    for error in data.lost:
        title = f"not checked, {error.place}: {error.problem}"
        yield Finding("unreadable", "misleads", title, 0, 0.0, f"{error.remedy.capitalize()}.", (), refused=True)
    if data.skipped:
        first = data.skipped[0]
        title = f"records that could not be read as they are, first {first.place}: {first.problem}"
        remedy = f"{first.remedy.capitalize()}; rows are counted without those left out."
        count = len(data.skipped)
        yield Finding("skipped", "warning", title, count, count / (count + len(data)), remedy, (), refused=True)
