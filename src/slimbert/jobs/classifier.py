"""The classifier that fine-tuning starts from: its settings, its head, its learning rate."""

import dataclasses
from typing import Any

from ..errors import InputError
from ..model import Model, fresh, with_dropout
from ..model.heads import PoolerConfig, SequenceConfig
from ..parts.activation import Activation
from ..train.recipe import CoreChoice, Precision


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings:
    """What `--set` changes. `lr` None: by the encoder's width. `epochs` is raised until `min_updates` are made."""

    epochs: int = 3
    min_updates: int = 150
    batch_size: int = 32
    lr: float | None = None
    warmup: float = 0.1
    weight_decay: float = 0.01
    dropout: float = 0.1
    max_len: int = 256
    pool: str | None = None
    hidden: Activation | None = None
    patience: int = 4
    evaluations: int = 10
    precision: Precision = "auto"
    core: CoreChoice = "auto"
    seed: int = 0

    def check(self) -> None:
        for name in ("epochs", "batch_size", "max_len", "patience", "evaluations"):
            if getattr(self, name) < (4 if name == "max_len" else 1):
                raise InputError(f"--set {name}", f"{getattr(self, name)} is too small", "give a larger number")
        if not 0 <= self.dropout < 1:
            raise InputError("--set dropout", f"{self.dropout} is not a rate", "give 0 to below 1")
        if self.pool not in (None, "cls", "mean"):
            raise InputError("--set pool", f"{self.pool!r} is not a pooling", "give cls or mean")
        if self.lr is not None and not self.lr > 0:
            raise InputError("--set lr", f"{self.lr} is not a learning rate", "give a positive number")
        if not 0 <= self.warmup <= 1:
            raise InputError("--set warmup", f"{self.warmup} is not a share", "give 0 to 1")
        if self.seed < 0:
            raise InputError("--set seed", f"{self.seed} is negative", "give 0 or more")


def classifier(model: Model, labels: tuple[str, ...], settings: Settings) -> Model:
    """A model with the encoder of `model`, the dropout of the settings, and a head for the task's labels.

    A head that already has these labels is kept; a fresh one takes the mean of the tokens (the first token where the
    encoder narrows), and starts from BERT's pooler where `hidden` is tanh and there is one.
    """
    if settings.pool == "mean" and model.encoder.narrows:
        raise InputError("--set pool", "mean, but this encoder narrows to the first token", "leave it out, or give cls")
    old = model.config.head
    keep = isinstance(old, SequenceConfig) and old.labels == labels
    pool: Any = settings.pool or ("cls" if model.encoder.narrows else "mean")
    head: SequenceConfig = (
        old
        if isinstance(old, SequenceConfig) and keep
        else SequenceConfig(labels=labels, pool=pool, hidden=settings.hidden)
    )
    config = with_dropout(dataclasses.replace(model.config, head=head), settings.dropout)
    made = fresh(config, settings.seed)
    made.encoder.load_state_dict(model.encoder.state_dict())
    pooler = isinstance(old, PoolerConfig) and head.hidden == "tanh"
    if (keep or pooler) and made.head is not None and model.head is not None:
        made.head.load_state_dict({**made.head.state_dict(), **model.head.state_dict()})
    return made


def default_lr(dim: int) -> float:
    """5e-5 from a width of 512 on, 1e-4 from 384; below 0.0512 / width (2e-4 at 256, 8e-4 at 64). Ours; docs/log.md."""
    return 5e-5 if dim >= 512 else 1e-4 if dim >= 384 else 0.0512 / dim
