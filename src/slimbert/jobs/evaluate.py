"""Evaluating a run as one job: a trained model and labelled data in, scores with intervals out."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from ..data.tasks import Split, count_trained_on, load_split
from ..errors import InputError
from .depth import AskedDepth
from .predict import Predictor, load


class Label(NamedTuple):
    """How one label fared: rows that carry it (of tags: entities, or words), the share of them found, and its F1."""

    label: str
    rows: int
    recall: float | None
    f1: float


class Reached(NamedTuple):
    """How deep an evaluation went; `macs_share`: of the multiply-adds of the full depth, those that were executed."""

    depth: str
    guaranteed: bool
    mean_depth: float
    macs_share: float


class Evaluated(NamedTuple):
    """What an evaluation came to; `score` as the kind of task gives it, `metric` the most important of them.

    trained_on: rows whose texts the run was trained on; None where the run does not say.
    """

    run: str
    data: str
    split: str | None
    metric: str
    score: dict[str, float]
    labels: tuple[Label, ...]
    trained_on: int | None
    seconds: float
    reached: Reached | None = None  # where the model can stop early


def evaluate(
    run: str | Path,
    data: str | Path,
    *,
    split: str = "test",
    text_columns: Sequence[str] | None = None,
    label_column: str | None = None,
    device: str | None = None,
    depth: AskedDepth | str | None = None,
) -> Evaluated:
    """Score `run` on a labelled file, or on one split of a folder.

    The columns are those the run was trained with unless given. Raises InputError on a model without labels, a missing
    file or column, or a label that the model does not know. depth: as in `load`.
    """
    predictor = load(run, device=device, depth=depth)
    rows = labelled_rows(predictor, run, data, split=split, text_columns=text_columns, label_column=label_column)
    began = time.perf_counter()
    kind = predictor.kind
    features = kind.features(rows, labelled=False)
    ran = None if predictor.depth is None else predictor.ran(features, predictor.depth)
    outputs = predictor.outputs(features) if ran is None else ran.outputs
    each = tuple(Label(**one) for one in kind.by_label(rows, features, outputs))
    scores = kind.score(rows, features, outputs)
    named = split if Path(data).is_dir() else None
    known = count_trained_on(rows.texts, run)
    spent = time.perf_counter() - began
    metric, reached = predictor.task.metric, None
    if ran is not None and predictor.depth is not None:
        share = ran.macs / ran.full_macs
        reached = Reached(predictor.depth.said, predictor.depth.guaranteed, float(ran.depth.mean()), share)
    return Evaluated(str(run), str(data), named, metric, scores, each, known, spent, reached)


def labelled_rows(
    predictor: Predictor,
    run: str | Path,
    data: str | Path,
    *,
    split: str,
    text_columns: Sequence[str] | None,
    label_column: str | None,
) -> Split:
    """Rows of `data` with the labels that the predictor of `run` knows, by its columns unless others are given."""
    kind, task = predictor.kind, predictor.task
    if not predictor.described and not (text_columns and label_column):
        raise InputError(run, "it does not say which columns it reads", "give --text-column and --label-column")
    return load_split(
        data,
        labels=kind.labels,
        text_columns=tuple(text_columns or task.text_columns),
        label_column=label_column or task.label_column,
        split=split,
        kind=task.kind,
    )
