"""The kinds of task by name."""

from dataclasses import replace
from typing import Any

from ...data.tasks import Task
from ...data.tokenizer import TextTokenizer
from ...errors import InputError
from ..settings import Settings
from .answering import Answering
from .classification import Classification
from .embedding import Embedding
from .kind import Description, Kind
from .multilabel import MultiLabel
from .regression import Regression
from .sequences import chosen_windows
from .tagging import Tagging

KINDS: dict[str, type[Kind]] = {
    "classification": Classification,
    "pair": Classification,
    "multilabel": MultiLabel,
    "regression": Regression,
    "ner": Tagging,
    "qa": Answering,
    "embedding": Embedding,
}


def kind_of(tokenizer: TextTokenizer, description: Description, labels: tuple[str, ...]) -> Kind:
    """The kind that a description names. Raises InputError on a name that this version does not know."""
    if description.kind not in KINDS:
        raise InputError("config.json: task.kind", f"{description.kind!r} is unknown", f"known are {', '.join(KINDS)}")
    return KINDS[description.kind](tokenizer, description, labels)


def kind_for(task: Task, tokenizer: TextTokenizer, settings: Settings, *, max_len: int) -> tuple[Kind, float]:
    """(the kind that learns a task, the share of its training texts that are longer than `max_len`)."""
    description = Description(
        kind=task.kind,
        text_columns=task.text_columns[:2],  # a negative is learnt from, and not read afterwards
        label_column=task.label_column,
        max_len=max_len,
        metric=task.metric,
        names=task.labels if task.kind == "embedding" else (),
    )
    made = kind_of(tokenizer, description, task.labels)
    share = made.cut_share(task.train.texts)
    whole = made.reads_whole or made.at_random or len(task.text_columns) == 2  # vectors and pairs are cut
    windows: Any = "cut" if whole else chosen_windows(settings, share)
    return kind_of(tokenizer, replace(description, windows=windows), task.labels), share


def about_length(kind: Kind, share: float) -> str:
    """What becomes of texts that are longer than `max_len`, of which there are `share` in train."""
    max_len, windows = kind.description.max_len, kind.description.windows
    if kind.reads_whole:
        return f"what is longer than {max_len} tokens is read in overlapping windows"
    done = "were cut" if windows == "cut" else f"are read in overlapping windows ({windows} of their answers)"
    return f"{share:.1%} of the training texts are longer than {max_len} tokens and {done}"
