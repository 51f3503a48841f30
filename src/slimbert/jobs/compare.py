"""Do two runs differ? Both answer the same labelled rows; the paired bootstrap says how sure the difference is.

The scores compared are those of the task, its own metric first: F1 of a label, Matthews' correlation, Spearman's,
entity F1, F1 of words and exact match, MRR and recall. See data/metrics/measures.py.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from ..data.metrics import Measured, differ
from ..data.tasks import Split
from ..errors import InputError
from .evaluate import labelled_rows
from .predict import Predictor, load


class Difference(NamedTuple):
    """One score of two runs. difference: of the first minus the second, with its 95% interval; p: two-sided."""

    metric: str
    first: float
    second: float
    difference: float
    low: float
    high: float
    p: float


class Compared(NamedTuple):
    """Two runs on the same rows. difference, low, high, p: of `metric`, the task's own score; `differences`: of this
    and of the others that the task has. scores: all of each run."""

    first: str
    second: str
    rows: int
    metric: str
    scores: tuple[dict[str, float], dict[str, float]]
    difference: float
    low: float
    high: float
    p: float
    differences: tuple[Difference, ...]


def compare(
    first: str | Path,
    second: str | Path,
    data: str | Path,
    *,
    split: str = "test",
    text_columns: Sequence[str] | None = None,
    label_column: str | None = None,
    device: str | None = None,
) -> Compared:
    """Score both runs and bootstrap the differences of their scores, row by row.

    Raises InputError where the runs do not do the same task.
    """
    runs = [load(name, device=device) for name in (first, second)]
    labels = [run.kind.labels for run in runs]
    if runs[0].task.kind != runs[1].task.kind or labels[0] != labels[1]:
        problem = f"{runs[1].task.kind} with {len(labels[1])} labels, not as {first}"
        raise InputError(second, problem, "compare runs that were fine-tuned for the same task")
    metric = runs[0].task.metric
    runs[1].task = replace(runs[1].task, metric=metric)  # it may have been trained under a benchmark's name
    columns: dict[str, Any] = {"text_columns": text_columns, "label_column": label_column}
    found = [
        _answered(run, labelled_rows(run, name, data, split=split, **columns))
        for run, name in zip(runs, (first, second), strict=True)
    ]
    apart = _differences(found[0][2], found[1][2], metric)
    own, rows, scores = apart[0], len(found[0][0]), (found[0][1], found[1][1])
    return Compared(str(first), str(second), rows, metric, scores, own.difference, own.low, own.high, own.p, apart)


def _answered(run: Predictor, rows: Split) -> tuple[Split, dict[str, float], dict[str, Measured]]:
    """(the rows, the scores, the scores as functions of rows)."""
    kind = run.kind
    features = kind.features(rows, labelled=False)
    outputs = run.outputs(features)
    return rows, kind.score(rows, features, outputs), kind.measured(rows, features, outputs)


def _differences(first: Mapping[str, Measured], second: Mapping[str, Measured], metric: str) -> tuple[Difference, ...]:
    """Of every score, the metric first."""
    made = []
    for name in sorted(first, key=lambda name: name != metric):
        one, other = first[name], second[name]
        apart = differ(one, other)
        made.append(Difference(name, one.value(), other.value(), apart.difference, apart.low, apart.high, apart.p))
    return tuple(made)
