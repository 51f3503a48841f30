"""What `slimbert finetune --set` changes."""

import dataclasses
from typing import Literal

from ..errors import InputError
from ..parts.activation import Activation
from ..parts.core import CoreName
from ..train.chunked import CHUNK
from ..train.halting import HaltingConfig
from ..train.recipe import Precision


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings:
    """`epochs` is raised until `min_updates` updates are made. `lr` None: by the encoder's width. `warmup`: share of
    the run in which the rate rises. `layer_decay`: factor on the rate of each layer, from the head down. `dropout`: of
    encoder and head. `evaluations`: validations in a run; `patience`: so many in a row without a better score end it.

    `windows`: what becomes of texts longer than `max_len`: cut, or read in overlapping windows whose answers are
    averaged (mean) or of which the largest counts (max); auto: mean where more than 5% of the training texts would be
    cut. `class_weights` balanced: each class counts as much as any other. `pool`: cls or mean, what of the tokens the
    head reads; None: the mean, or cls where the encoder narrows. `hidden`: activation of a layer before the answers;
    None: as in the head that is there, else no such layer.

    `temperature`, `widths`: of vectors, see train/contrast.py. `chunk`: tokens that are encoded at a time where a text
    has several rows, see train/chunked.py. `halting`: how a model learns to stop early; None: it does not.
    `precision`, `core`: see train/engine.py.
    """

    epochs: int = 3
    min_updates: int = 150
    batch_size: int = 32
    lr: float | None = None
    warmup: float = 0.1
    weight_decay: float = 0.01
    layer_decay: float = 1.0
    dropout: float = 0.1
    max_len: int = 256
    windows: Literal["auto", "cut", "mean", "max"] = "auto"
    class_weights: Literal["none", "balanced"] = "none"
    temperature: float = 0.05
    widths: tuple[int, ...] = ()
    chunk: int = CHUNK
    pool: str | None = None
    hidden: Activation | None = None
    patience: int = 4
    evaluations: int = 10
    halting: HaltingConfig | None = None
    precision: Precision = "auto"
    core: CoreName = "sdpa"
    seed: int = 0

    def check(self) -> None:
        for name in ("epochs", "batch_size", "max_len", "patience", "evaluations"):
            if getattr(self, name) < (4 if name == "max_len" else 1):
                raise InputError(f"--set {name}", f"{getattr(self, name)} is too small", "give a larger number")
        if not self.temperature > 0:
            raise InputError("--set temperature", f"{self.temperature} is no temperature", "give a positive number")
        if any(width < 1 for width in self.widths):
            raise InputError("--set widths", "a number below 1", "give widths such as [64,128]")
        if self.chunk < (least := min(self.max_len, CHUNK)):
            problem = f"{self.chunk} tokens, a row may have {self.max_len} (max_len)"
            raise InputError("--set chunk", problem, f"give {least} or more; it was {CHUNK}")
        if not 0 <= self.dropout < 1:
            raise InputError("--set dropout", f"{self.dropout} is not a rate", "give 0 to below 1")
        if self.pool not in (None, "cls", "mean"):
            raise InputError("--set pool", f"{self.pool!r} is not a pooling", "give cls or mean")
        if self.lr is not None and not 0 < self.lr < float("inf"):
            raise InputError("--set lr", f"{self.lr} is not a learning rate", "give a positive number")
        if not 0 <= self.weight_decay < float("inf"):
            raise InputError("--set weight_decay", f"{self.weight_decay} is no decay", "give 0 or more, e.g. 0.01")
        if not 0 <= self.warmup <= 1:
            raise InputError("--set warmup", f"{self.warmup} is not a share", "give 0 to 1")
        if not 0 < self.layer_decay <= 1:
            raise InputError("--set layer_decay", f"{self.layer_decay} is no factor", "give above 0 to 1, e.g. 0.8")
        if self.seed < 0:
            raise InputError("--set seed", f"{self.seed} is negative", "give 0 or more")
        if self.halting is not None:
            self.halting.check()

    def check_widths(self, dim: int) -> None:
        """Raises InputError where vectors of `dim` numbers have no such beginnings."""
        if wide := [width for width in self.widths if width > dim]:
            problem = f"{wide[0]}, the vectors of this encoder have {dim} numbers"
            raise InputError("--set widths", problem, f"give widths up to {dim}")


def default_lr(dim: int) -> float:
    """5e-5 from a width of 512 on, 1e-4 from 384; below 0.0512 / width (2e-4 at 256, 8e-4 at 64). Ours; docs/log.md."""
    return 5e-5 if dim >= 512 else 1e-4 if dim >= 384 else 0.0512 / dim


def every(settings: Settings, *, updates: int, validation: int) -> int:
    """After how many updates to validate, on `validation` rows: `evaluations` times in a run, but at most so often (3
    times at least) that it takes a quarter of the training: a row that is scored costs a third of one that is learnt.
    """
    affordable = int(0.25 * 3 * updates * settings.batch_size / validation)
    return max(1, updates // min(settings.evaluations, max(3, affordable)))
