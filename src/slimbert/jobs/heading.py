"""The model that fine-tuning starts from: a pretrained encoder under the head of a task."""

import dataclasses
from typing import Any

from ..config import HeadConfig
from ..model import Model, fresh, with_dropout
from ..model.exits import EarlyConfig
from ..model.heads import PoolerConfig, SequenceConfig
from .depth import warm_start


def with_head(model: Model, head: HeadConfig, *, dropout: float, seed: int) -> Model:
    """A model with the encoder of `model`, this head, and every dropout set to `dropout`.

    A head that is there already, but for its dropout and the unit of its number, is kept; one whose hidden layer is
    BERT's pooler starts from it.
    """
    config = with_dropout(dataclasses.replace(model.config, head=head), dropout)
    made = fresh(config, seed)
    made.encoder.load_state_dict(model.encoder.state_dict())
    old: Any = model.config.head
    same = old is not None and _in_unit_of(config.head, with_dropout(old, dropout)) == config.head
    pooler = isinstance(old, PoolerConfig) and isinstance(head, SequenceConfig) and head.hidden == "tanh"
    if isinstance(head, EarlyConfig) and not same:
        warm_start(made, model)
    if (same or pooler) and made.head is not None and model.head is not None:
        made.head.load_state_dict({**made.head.state_dict(), **model.head.state_dict()})
    return made


def _in_unit_of(head: Any, old: Any) -> Any:
    """`old` with mean and deviation of `head`: the weights of numbers know neither."""
    both = isinstance(old, SequenceConfig) and isinstance(head, SequenceConfig)
    return dataclasses.replace(old, mean=head.mean, deviation=head.deviation) if both else old
