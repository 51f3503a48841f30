"""What a kind of task is to the jobs, and what of it is kept in a run."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from ...config import HeadConfig
from ...data.metrics import Measured
from ...data.tasks import Split, Task
from ...data.tokenizer import TextTokenizer
from ...train.supervised import Judge, Windows
from ..settings import Settings
from .features import Features

if TYPE_CHECKING:
    from ..baselines import Baseline

Outputs = Sequence[NDArray[np.float32]]  # what the model says of each unit of the features


@dataclass(frozen=True, kw_only=True)
class Description:
    """What a trained model reads and answers; it stands in config.json under `task`.

    `names`: of the labels, where the head has none. `thresholds`: of several labels, from which probability on each is
    given; of two labels judged by F1, from which the second is; of answers, above which null score they are withheld.
    `windows`: what becomes of long texts.
    """

    kind: str = "classification"
    text_columns: tuple[str, ...] = ("text",)
    label_column: str = "label"
    max_len: int = 512
    metric: str = "accuracy"
    names: tuple[str, ...] = ()
    windows: Literal["cut", "mean", "max"] = "cut"
    thresholds: tuple[float, ...] | None = None

    @classmethod
    def read(cls, data: dict[str, Any]) -> "Description":
        """From config.json; what it lacks has its default."""
        known: dict[str, Any] = {
            name: tuple(data[name]) if isinstance(data[name], list) else data[name]
            for name in cls.__dataclass_fields__
            if name in data
        }
        return cls(**known)

    def plain(self) -> dict[str, Any]:
        """Ready for JSON."""
        return asdict(self)

    @property
    def merge(self) -> Windows:
        """How the answers of a text's windows become one."""
        return "mean" if self.windows == "cut" else self.windows


class Error(NamedTuple):
    """A text that was answered wrong. wrongness: how sure the wrong answer was, or how far off."""

    text: Any
    label: Any
    answer: Any
    wrongness: float


class Kind(Protocol):
    """A kind of task, for one tokenizer, one description and the names of its labels."""

    description: Description
    labels: tuple[str, ...]
    reads_whole: bool  # texts of any length, in windows of its own
    at_random: bool  # batches are drawn at random, not by length

    def __init__(self, tokenizer: TextTokenizer, description: Description, labels: tuple[str, ...]) -> None: ...

    def head(self, train: Split, settings: Settings, *, old: HeadConfig | None, narrows: bool) -> HeadConfig:
        """The head to train; `old`, the one that the model has, where it fits. narrows: the encoder narrows."""

    def judge(self, train: Split, settings: Settings) -> Judge:
        """The loss."""

    def features(self, split: Split, *, labelled: bool) -> Features:
        """Rows of tokens; with the labels as columns where `labelled`."""

    def cut_share(self, texts: Sequence[Any]) -> float:
        """The share of texts of which something would not be read if they were cut at `max_len`."""

    def settled(self, split: Split, features: Features, outputs: Outputs) -> Description:
        """The description, with what validation decides (thresholds)."""

    def answers(self, texts: Sequence[Any], features: Features, outputs: Outputs) -> list[Any]:
        """One answer for each text, in order: NamedTuples, ready for JSON."""

    def score(self, split: Split, features: Features, outputs: Outputs) -> dict[str, float]:
        """`rows`, then the scores, the most important first, `NAME_low` and `NAME_high` where there is an interval."""

    def by_label(self, split: Split, features: Features, outputs: Outputs) -> list[dict[str, Any]]:
        """label, rows (of tags: entities, or words), recall, f1 of each label; empty where there are none."""

    def measured(self, split: Split, features: Features, outputs: Outputs) -> dict[str, Measured]:
        """Scores as functions of rows, the metric among them: what two runs are compared by."""

    def errors(self, split: Split, features: Features, outputs: Outputs) -> list[Error]:
        """The texts that were answered wrong, the worst first."""

    def baselines(self, task: Task, *, table: NDArray[np.float32]) -> "list[Baseline]":
        """What needs no encoder, on the same rows as the printed score. table: [V, W] the token embeddings of the
        encoder as it came."""
