"""From the head of a task to one that can stop early."""

import dataclasses
from typing import Any, cast

import torch

from ...config import HeadConfig
from ...data.tasks import Split
from ...errors import InputError
from ...model import Model, ModelConfig, with_dropout
from ...model.exits import DactConfig, EarlyConfig, ExitsConfig
from ...model.heads import Answers, SequenceConfig, TokenConfig
from ...train.halting import HaltingConfig

WIDER = 0.05  # of the range of the training labels, on both sides: a sigmoid never reaches its ends


def adaptive_head(head: HeadConfig, points: int, train: Split, halting: HaltingConfig) -> EarlyConfig:
    """The head that answers what `head` answers, at each of `points` trace points.

    Raises InputError where the task has no adaptive form.
    """
    rest: dict[str, Any] = {"dropout": 0.1, "units": points, "width": halting.width}
    if isinstance(head, TokenConfig):
        answer: Answers = "tags"
    elif isinstance(head, SequenceConfig):
        answer = head.answer
        rest |= {"pool": head.pool} | ({"act": head.hidden} if head.hidden else {})
        if answer == "number":
            low, high = float(train.labels.min()), float(train.labels.max())
            edge = WIDER * (high - low) or 1.0
            rest |= {"low": low - edge, "high": high + edge}
    else:
        problem = f"a head of kind {getattr(head, 'kind', 'none')} cannot stop early"
        raise InputError("--set halting", problem, "it is for classes, labels, numbers and tags")
    if halting.method == "dact":
        rest |= {"shared": halting.shared, "bias": halting.bias, "h_max": halting.h_max}
        return DactConfig(labels=head.labels, answer=answer, **rest)
    return ExitsConfig(labels=head.labels, answer=answer, **rest)


def check_frozen(before: ModelConfig, after: EarlyConfig) -> None:
    """Raise InputError where the encoder cannot stay as it is: it was not fine-tuned for these labels, or there is
    nothing before its last unit."""
    if getattr(before.head, "labels", None) != after.labels:
        problem = "entropy leaves the encoder as it is, and this one was not fine-tuned for these labels"
        raise InputError("--set halting.method", problem, "fine-tune it first without halting, and name that run")
    if after.units < 2:
        problem = "entropy with one trace point: nothing can stop before the end"
        raise InputError("--set halting.method", problem, "take an encoder of two layers or more")


def taught(before: ModelConfig, after: HeadConfig) -> bool:
    """Whether the last unit of the head `after` starts from what is there: from units, or from a classifier like it."""
    old: Any = before.head
    if not isinstance(after, EarlyConfig):
        return False
    if isinstance(old, EarlyConfig):
        return bool(with_dropout(old, 0.0) == with_dropout(after, 0.0))
    if not isinstance(old, SequenceConfig) or old.answer == "number" or after.width not in (0, before.encoder.dim):
        return False
    return (old.labels, old.answer, old.pool, old.hidden) == (after.labels, after.answer, after.pool, after.act)


@torch.no_grad()
def warm_start(model: Model, old: Model) -> bool:
    """Give the last unit the classifier of `old`, where it answers the same; whether it did."""
    if not isinstance(old.config.head, SequenceConfig) or not taught(old.config, model.config.head):
        return False
    head, given = cast(Any, model.head), cast(Any, old.head)
    head.units[-1].trunk.load_state_dict(given.dense.state_dict())
    head.units[-1].classes.load_state_dict(given.classes.state_dict())
    return True


def without_windows(settings: Any) -> Any:
    """Settings in which long texts are cut: the answers of windows are merged, and no bound holds for a merged one."""
    if settings.windows in ("mean", "max"):
        raise InputError("--set windows", f"{settings.windows} with adaptive depth", "give cut: each text is one row")
    return dataclasses.replace(settings, windows="cut")
