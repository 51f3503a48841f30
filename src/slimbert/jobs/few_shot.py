"""A few labelled rows of each class: what fine-tuning makes of them, beside the encoder as it is with logistic
regression on its vectors."""

import time
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from ..data.metrics import accuracy, scores_with
from ..data.tasks import Split, Task, fingerprint
from ..data.tokenizer import TextTokenizer
from ..errors import InputError
from ..model import Model
from ..model.transform import headless
from .baselines import Baseline
from .baselines.baseline import scored_rows
from .baselines.classes import GRID, answered, fit
from .predict import Predictor
from .tasks import Description

Ints = NDArray[np.int64]
FROZEN = "frozen encoder + logistic regression"


def few(task: Task, count: int, *, seed: int) -> Task:
    """The task with `count` rows of each class to train on, drawn by `seed`, and as many to validate on.

    Raises InputError where a class has fewer, or where the labels are not classes.
    """
    if count < 1:
        raise InputError("--few-shot", f"{count} rows of each class", "give 1 or more")
    if task.kind not in ("classification", "pair"):
        raise InputError("--few-shot", f"the task is {task.kind}", "it draws rows of each class: use it with classes")
    draw = np.random.default_rng([seed, count])
    train = _drawn(task.train, task.labels, count, draw)
    held = _drawn(task.validation, task.labels, count, draw)
    short = [name for i, name in enumerate(task.labels) if (task.train.labels[train] == i).sum() < count]
    if short:
        raise InputError("--few-shot", f"{count} rows of each class, {short[0]!r} has fewer", "ask for fewer")
    made = replace(task, train=task.train.take(train), validation=task.validation.take(held))
    said = f"few-shot: {count} rows of each class drawn from train, as many from validation, seed {seed}"
    sha256 = fingerprint(made.labels, made.train, made.validation, made.test)
    return replace(made, notes=(*task.notes, said), sha256=sha256)


def frozen(model: Model, tokenizer: TextTokenizer, task: Task, *, max_len: int, device: str | None) -> Baseline:
    """Logistic regression on the encoder's mean-pooled vectors, C chosen on validation; the encoder learns nothing."""
    began = time.perf_counter()
    rows = scored_rows(task)
    description = Description(text_columns=task.text_columns, max_len=max_len)
    predictor = Predictor(headless(model), tokenizer, task=description, device=device)
    known, checked, asked = (predictor.embed(part.texts) for part in (task.train, task.validation, rows))
    middle, spread = known.mean(axis=0), known.std(axis=0) + 1e-6
    known, checked, asked = ((part - middle) / spread for part in (known, checked, asked))
    trials = [fit(known, task.train.labels, strength / known.shape[1]) for strength in GRID]
    right = [accuracy(task.validation.labels, trial.predict(checked)) for trial in trials]
    best = int(np.argmax(right))
    answers, threshold = answered(trials[best], checked, asked, task)
    scores = scores_with(task.metric, rows.labels, answers, classes=len(task.labels))
    chosen = {"C": GRID[best] / known.shape[1], "validation_accuracy": right[best]} | threshold
    return Baseline(FROZEN, answers, scores, chosen, time.perf_counter() - began)


def _drawn(split: Split, names: tuple[str, ...], count: int, draw: np.random.Generator) -> Ints:
    """The numbers of at most `count` rows of each class."""
    chosen = [draw.permutation(np.flatnonzero(split.labels == number))[:count] for number in range(len(names))]
    return np.sort(np.concatenate(chosen))
