"""A tag for every word: entities with their places in the text, parts of speech.

A word is judged at its first piece (Devlin et al. 2018, arXiv:1810.04805, section 5.3), so only these rows leave the
encoder. Long texts are read in overlapping windows, each word in the one with most context. The best legal sequence of
tags is the answer.
"""

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from ...config import HeadConfig
from ...data.alignment import encode_words
from ...data.decode import Entity, entities_in, transitions, viterbi_all
from ...data.metrics import Measured, scores_by_tag, tag_measures, tag_scores, wrong_tags
from ...data.schemes import OUTSIDE
from ...data.tagging import Tagged, joined, of_text, of_words, spread, whole
from ...data.tasks import Split, Task
from ...data.tokenizer import TextTokenizer
from ...model.heads import TokenConfig
from ...model.kept import MULTIPLE
from ...train.supervised import IGNORED, Judge, tags
from ..settings import Settings
from .features import Column, Features
from .kind import Description, Error, Outputs

if TYPE_CHECKING:
    from ..baselines import Baseline

STRIDE = 16  # words that neighbouring windows share; ours, not tuned


class Tags(NamedTuple):
    """One text's entities, text[start:end] being each of them, and the tag of each word."""

    text: str
    entities: list[Entity]
    words: list[tuple[str, str]]


class Tagging:
    """Softmax over the tags of every word."""

    reads_whole = True
    at_random = False

    def __init__(self, tokenizer: TextTokenizer, description: Description, labels: tuple[str, ...]) -> None:
        self.tokenizer, self.description, self.labels = tokenizer, description, labels
        self.allowed = transitions(labels)

    def head(self, train: Split, settings: Settings, *, old: HeadConfig | None, narrows: bool) -> HeadConfig:
        return old if isinstance(old, TokenConfig) and old.labels == self.labels else TokenConfig(labels=self.labels)

    def judge(self, train: Split, settings: Settings) -> Judge:
        if settings.class_weights == "none":
            return tags
        counts = np.bincount(np.concatenate(train.labels), minlength=len(self.labels))
        return partial(tags, weights=(counts.sum() / (len(counts) * counts.clip(min=1))).tolist())

    def features(self, split: Split, *, labelled: bool) -> Features:
        rows = [tagged(text).words for text in split.texts]
        windows = encode_words(self.tokenizer, rows, max_len=self.description.max_len, stride=STRIDE)
        columns = {"select": Column([window.first_pieces for window in windows], 0, MULTIPLE)}
        if labelled:
            each = [self._of_whole(text, tags) for text, tags in zip(split.texts, split.labels, strict=True)]
            owned = [each[window.row][window.owned[0] : window.owned[1]] for window in windows]
            columns["labels"] = Column(owned, IGNORED, MULTIPLE)
        owner = np.array([window.row for window in windows], dtype=np.int64)
        return Features([window.ids for window in windows], None, owner, columns=columns)

    def cut_share(self, texts: Sequence[Any]) -> float:
        return 0.0

    def settled(self, split: Split, features: Features, outputs: Outputs) -> Description:
        return self.description

    def answers(self, texts: Sequence[Any], features: Features, outputs: Outputs) -> list[Tags]:
        found = []
        for text, scores, path in zip(texts, *self._decoded(features, outputs), strict=True):
            one = tagged(text)
            names = [self.labels[tag] for tag in path]
            sure = [float(row[tag]) for row, tag in zip(np.exp(scores), path, strict=True)]
            entities = entities_in(one.text, one.spans, names, sure)
            found.append(Tags(one.text, entities, list(zip(one.words, names, strict=True))))
        return found

    def score(self, split: Split, features: Features, outputs: Outputs) -> dict[str, float]:
        return tag_scores(*self._both(split, features, outputs), names=self.labels)

    def by_label(self, split: Split, features: Features, outputs: Outputs) -> list[dict[str, Any]]:
        found = scores_by_tag(*self._both(split, features, outputs), names=self.labels)
        return [{"label": name, "rows": one.there, "recall": one.recall, "f1": one.f1} for name, one in found.items()]

    def measured(self, split: Split, features: Features, outputs: Outputs) -> dict[str, Measured]:
        return tag_measures(*self._both(split, features, outputs), names=self.labels)

    def errors(self, split: Split, features: Features, outputs: Outputs) -> list[Error]:
        truth, answers = self._both(split, features, outputs)
        wrong = wrong_tags(truth, answers, names=self.labels)
        return [
            Error(split.texts[row].text, " ".join(truth[row]), " ".join(answers[row]), float(wrong[row]))
            for row in np.argsort(-wrong, kind="stable")
            if wrong[row]
        ]

    def baselines(self, task: Task, *, table: NDArray[np.float32]) -> "list[Baseline]":
        from ..baselines import frequent_tags  # scikit-learn takes a second to load

        return [frequent_tags(task)]

    def _decoded(self, features: Features, outputs: Outputs) -> tuple[list[Any], list[Any]]:
        """(log probabilities [W, C], the best legal tags [W]) of each text."""
        first = features.columns["select"].values
        parts: dict[int, list[Any]] = {int(row): [] for row in features.owner}
        for row, pieces, scores in zip(features.owner, first, outputs, strict=True):
            parts[int(row)].append(_log_softmax(scores[: len(pieces)]))
        whole = [np.concatenate(parts[row]) for row in sorted(parts)]
        return whole, viterbi_all(whole, self.allowed)

    def _both(self, split: Split, features: Features, outputs: Outputs) -> tuple[list[list[str]], list[list[str]]]:
        """Tags by name: those that are right, those that were answered."""
        truth = [[self.labels[tag] for tag in row] for row in split.labels]
        found = [[self.labels[tag] for tag in row] for row in self._decoded(features, outputs)[1]]
        return truth, [spread(text, row) for text, row in zip(split.texts, found, strict=True)]

    def _of_whole(self, text: Tagged, tags: Any) -> Any:
        """The numbers of the tags of the words that are read."""
        outside = self.labels.index(OUTSIDE) if OUTSIDE in self.labels else -1
        return np.array(joined(text, tags.tolist(), outside=outside), dtype=np.int64) if text.rests else tags


def tagged(text: Any) -> Tagged:
    """A text, or the words of one, as they are read."""
    if isinstance(text, Tagged):
        return whole(text)
    return of_text(text) if isinstance(text, str) else of_words(text)


def _log_softmax(scores: Any) -> Any:
    return torch.from_numpy(scores.astype(np.float64)).log_softmax(dim=-1).numpy()
