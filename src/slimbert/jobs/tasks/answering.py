"""Answers cut out of a context: two scores for every piece, the best span over all windows of the context.

Devlin et al. 2018, arXiv:1810.04805, sections 4.2 and 4.3. Only the context and the first piece, which stands for no
answer, leave the encoder. Where training has questions without an answer, an answer is withheld if no answer scores
better by more than a threshold, chosen on validation.
"""

import dataclasses
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from ...config import HeadConfig
from ...data.contexts import PairWindow, encode_with_offsets
from ...data.decode import Answer, answer_of
from ...data.metrics import (
    Measured,
    answer_measures,
    answer_rows,
    best_threshold,
    squad_scores,
    withhold,
)
from ...data.squad import Question
from ...data.tasks import Split, Task
from ...data.tokenizer import TextTokenizer
from ...model.heads import SpanConfig
from ...model.kept import MULTIPLE
from ...train.supervised import Judge, span
from ..settings import Settings
from .features import Column, Features
from .kind import Description, Error, Outputs

if TYPE_CHECKING:
    from ..baselines import Baseline

OVERLAP = 0.33  # of max_len, shared by neighbouring windows: 128 of 384 in the code of Devlin et al.


class Found(NamedTuple):
    """One question's answer, context[start:end]; "" where it is withheld. score: how probable that is."""

    question: str
    answer: str
    start: int
    end: int
    score: float


class Chosen(NamedTuple):
    """The best span of a text, its probability, and that of no answer."""

    best: Answer
    sure: float
    none: float


class Answering:
    """Cross-entropy of start and end."""

    reads_whole = True
    at_random = False

    def __init__(self, tokenizer: TextTokenizer, description: Description, labels: tuple[str, ...]) -> None:
        self.tokenizer, self.description, self.labels = tokenizer, description, labels

    def head(self, train: Split, settings: Settings, *, old: HeadConfig | None, narrows: bool) -> HeadConfig:
        return old if isinstance(old, SpanConfig) else SpanConfig()

    def judge(self, train: Split, settings: Settings) -> Judge:
        return span

    def features(self, split: Split, *, labelled: bool) -> Features:
        windows = self._windows(split.texts)
        kept = [_kept(window) for window in windows]
        columns = {
            "select": Column(kept, 0, MULTIPLE),
            "context": Column([np.ones_like(places) for places in kept], 0, MULTIPLE),
        }
        if labelled:
            places = [
                np.searchsorted(rows, _place(window, split.labels[window.row]))
                for window, rows in zip(windows, kept, strict=True)
            ]
            columns |= {
                "start": Column(np.array([start for start, _ in places])),
                "end": Column(np.array([end for _, end in places])),
            }
        owner = np.array([window.row for window in windows], dtype=np.int64)
        ids, types = [window.ids for window in windows], [window.types for window in windows]
        return Features(ids, types, owner, columns=columns, source=windows)

    def cut_share(self, texts: Sequence[Any]) -> float:
        return 0.0

    def settled(self, split: Split, features: Features, outputs: Outputs) -> Description:
        """With a threshold, where there are questions without an answer."""
        if all(split.labels):
            return self.description
        found = self._best(split.texts, features, outputs)
        texts = [one.best.text for one in found]
        rows = answer_rows(_texts(split.labels), texts)
        chosen = best_threshold(
            rows.f1, _nulls(found), answered=np.array([bool(text) for text in texts]), answerable=rows.answerable
        )
        return dataclasses.replace(self.description, thresholds=(chosen.threshold,))

    def answers(self, texts: Sequence[Any], features: Features, outputs: Outputs) -> list[Found]:
        found = self._best(texts, features, outputs)
        made = []
        for text, one, given in zip(texts, found, self._given(found), strict=True):
            start, end = (one.best.start, one.best.end) if given else (0, 0)
            made.append(Found(_question(text).question, given, start, end, one.sure if given else one.none))
        return made

    def score(self, split: Split, features: Features, outputs: Outputs) -> dict[str, float]:
        given, truth = self._given(self._best(split.texts, features, outputs)), _texts(split.labels)
        return {name: value for name, value in squad_scores(truth, given).items() if not name.endswith("_rows")}

    def by_label(self, split: Split, features: Features, outputs: Outputs) -> list[dict[str, Any]]:
        return []

    def measured(self, split: Split, features: Features, outputs: Outputs) -> dict[str, Measured]:
        return answer_measures(_texts(split.labels), self._given(self._best(split.texts, features, outputs)))

    def errors(self, split: Split, features: Features, outputs: Outputs) -> list[Error]:
        given = self._given(self._best(split.texts, features, outputs))
        rows = answer_rows(_texts(split.labels), given)
        return [
            Error(split.texts[row].question, [text for text, _ in split.labels[row]], given[row], 1 - rows.f1[row])
            for row in np.argsort(rows.f1, kind="stable")
            if rows.f1[row] < 1
        ]

    def baselines(self, task: Task, *, table: NDArray[np.float32]) -> "list[Baseline]":
        from ..baselines import whole_sentences  # scikit-learn takes a second to load

        return [whole_sentences(task)]

    def _windows(self, texts: Sequence[Any]) -> list[PairWindow]:
        max_len = self.description.max_len
        pairs = [(one.question, one.context) for one in map(_question, texts)]
        return encode_with_offsets(self.tokenizer, pairs, max_len=max_len, stride=int(OVERLAP * max_len))

    def _best(self, texts: Sequence[Any], features: Features, outputs: Outputs) -> list[Chosen]:
        windows: dict[int, list[tuple[PairWindow, Any]]] = {row: [] for row in range(len(texts))}
        for window, scores in zip(features.source, outputs, strict=True):
            windows[window.row].append((window, _at_places(window, scores)))
        made = []
        for row, text in enumerate(texts):
            parts = [window for window, _ in windows[row]]
            starts, ends = ([scores[:, side] for _, scores in windows[row]] for side in (0, 1))
            best = answer_of(_question(text).context, parts, starts, ends)
            total = _total(parts, starts, ends)
            made.append(Chosen(best, math.exp(best.score - total), math.exp(best.null_score - total)))
        return made

    def _given(self, found: Sequence[Chosen]) -> list[str]:
        texts = [one.best.text for one in found]
        if self.description.thresholds is None:
            return texts
        return withhold(texts, _nulls(found), threshold=self.description.thresholds[0])


def _question(text: Any) -> Question:
    return text if isinstance(text, Question) else Question("", text[0], text[1], ())


def _kept(window: PairWindow) -> NDArray[np.intp]:
    """Where an answer may begin and end: the first piece, which stands for no answer, and the context."""
    inside = window.context_mask.copy()
    inside[0] = True
    return np.flatnonzero(inside)


def _at_places(window: PairWindow, scores: NDArray[np.float32]) -> NDArray[np.float64]:
    """Scores [K, 2] of the kept rows, at their places in the window: [S, 2], -inf elsewhere."""
    places = _kept(window)
    whole = np.full((len(window.ids), scores.shape[1]), -np.inf)
    whole[places] = scores[: len(places)]
    return whole


def _place(window: PairWindow, answers: Sequence[tuple[str, int]]) -> tuple[int, int]:
    """The pieces of the first answer; the first piece twice where the window does not hold it."""
    text, start = answers[0] if answers else ("", 0)
    found = window.locate(start, start + len(text)) if answers else None
    return found or (0, 0)


def _nulls(found: Sequence[Chosen]) -> NDArray[np.float64]:
    return np.array([one.null_score - max(one.score, -1e9) for one in (chosen.best for chosen in found)])


def _texts(labels: Sequence[Sequence[tuple[str, int]]]) -> list[list[str]]:
    return [[text for text, _ in answers] for answers in labels]


def _total(
    windows: Sequence[PairWindow], starts: Sequence[NDArray[np.float64]], ends: Sequence[NDArray[np.float64]]
) -> float:
    """log of the sum of exp over all pairs of a start and an end: those of the context, and the one for no answer, of
    the window where it scores least, as in `answer_of`. The other windows only say that the answer is elsewhere."""
    least = min(range(len(windows)), key=lambda window: starts[window][0] + ends[window][0])
    inside = [np.flatnonzero(one.context_mask) for one in windows]
    return sum(
        _log_sum(np.concatenate([side[least][:1], *(one[places] for one, places in zip(side, inside, strict=True))]))
        for side in (starts, ends)
    )


def _log_sum(whole: NDArray[np.float64]) -> float:
    """log of the sum of exp over all of them."""
    return float(torch.from_numpy(whole).logsumexp(dim=0))
