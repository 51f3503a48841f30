"""Evaluating a run as one job: a trained classifier and labelled data in, scores with intervals out."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ..data.metrics import f1, score
from ..data.tasks import load_split
from ..errors import InputError
from ..model.heads import SequenceConfig
from .predict import load


class Label(NamedTuple):
    """How one label fared: rows that carry it, the share of them found, and its F1."""

    label: str
    rows: int
    recall: float | None
    f1: float


class Evaluated(NamedTuple):
    """What an evaluation came to; `score` as data.metrics.score gives it."""

    run: str
    data: str
    split: str | None
    score: dict[str, float]
    labels: tuple[Label, ...]
    seconds: float


def evaluate(
    run: str | Path,
    data: str | Path,
    *,
    split: str = "test",
    text_columns: Sequence[str] | None = None,
    label_column: str | None = None,
    device: str | None = None,
) -> Evaluated:
    """Score `run` on a labelled file, or on one split of a folder.

    The columns are those the run was trained with unless given. Raises InputError on a model without labels, a missing
    file or column, or a label that the model does not know.
    """
    predictor = load(run, device=device)
    head = predictor.model.config.head
    if not isinstance(head, SequenceConfig):
        raise InputError(run, "the model has no labels", "fine-tune it first: slimbert finetune")
    texts = text_columns or predictor.task.get("text_columns")
    label = label_column or predictor.task.get("label_column")
    if not texts or not label:
        raise InputError(run, "it does not say which columns it reads", "give --text-column and --label-column")
    rows = load_split(data, labels=head.labels, text_columns=tuple(texts), label_column=label, split=split)
    began = time.perf_counter()
    logits = predictor.logits(*predictor.encode(rows.texts))
    answers = logits.argmax(dim=1).numpy()
    each = tuple(
        Label(
            name, int((rows.labels == i).sum()), _recall(rows.labels, answers, i), f1(rows.labels, answers, positive=i)
        )
        for i, name in enumerate(head.labels)
    )
    scores = score(rows.labels, answers, classes=len(head.labels))
    named = split if Path(data).is_dir() else None
    return Evaluated(str(run), str(data), named, scores, each, time.perf_counter() - began)


def _recall(labels: np.ndarray, answers: np.ndarray, number: int) -> float | None:
    there = labels == number
    return float((answers[there] == number).mean()) if there.any() else None
