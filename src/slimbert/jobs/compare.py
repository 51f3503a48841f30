"""Do two runs differ? Both answer the same labelled rows; the paired bootstrap says how sure the difference is."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ..data.metrics import f1_of_counts, mean, paired_bootstrap
from ..data.tasks import Split
from ..errors import InputError
from .evaluate import labelled_rows
from .predict import Predictor, load


class Compared(NamedTuple):
    """Two runs on the same rows. difference: of the first from the second, with its 95% interval; p: two-sided."""

    first: str
    second: str
    rows: int
    metric: str
    scores: tuple[dict[str, float], dict[str, float]]
    difference: float
    low: float
    high: float
    p: float


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
    """Score both runs and bootstrap the difference, row by row.

    What is compared is the share of right answers (of F1, for entities and answers to questions; of the absolute error,
    its sign turned, for numbers). Raises InputError where the runs do not do the same task.
    """
    runs = [load(name, device=device) for name in (first, second)]
    kinds = [run.kind for run in runs]
    if runs[0].task.kind != runs[1].task.kind or set(kinds[0].labels) != set(kinds[1].labels):
        problem = f"{runs[0].task.kind} with {len(kinds[0].labels)} labels, not as {first}"
        raise InputError(second, problem, "compare runs that were fine-tuned for the same task")
    columns: dict[str, Any] = {"text_columns": text_columns, "label_column": label_column}
    found = [
        _answered(run, labelled_rows(run, name, data, split=split, **columns))
        for run, name in zip(runs, (first, second), strict=True)
    ]
    values = [each for _, _, each in found]
    apart = paired_bootstrap(*values, statistic=f1_of_counts if values[0].ndim == 2 else mean)
    return Compared(
        str(first),
        str(second),
        len(found[0][0]),
        runs[0].task.metric,
        (found[0][1], found[1][1]),
        apart.difference,
        apart.low,
        apart.high,
        apart.p,
    )


def _answered(run: Predictor, rows: Split) -> tuple[Split, dict[str, float], Any]:
    """(the rows, the scores, how well each row was answered)."""
    kind = run.kind
    features = kind.features(rows, labelled=False)
    outputs = run.outputs(features)
    return rows, kind.score(rows, features, outputs), kind.each(rows, features, outputs)
