"""Heads over the trace: an answer after every trace point of the encoder, for models that may stop early.

dact: units with a halting value, whose answers accumulate (model/halting.py); DACT-BERT, Eyzaguirre et al. 2021,
arXiv:2109.11745. exits: a classifier per point and nothing else; DeeBERT, Xin et al. 2020, arXiv:2004.12993, and PABEE,
Zhou et al. 2020, arXiv:2006.04152.
"""

import math
from collections.abc import Sequence
from typing import Annotated, Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from ..config import Between, Count, Share, Size, kind
from ..errors import InputError
from ..parts.activation import Activation, activation
from ..parts.dropout import Dropout
from ..state import State
from .halting import Range, mixture, values
from .heads import Answers, Pool, check_labels, pooled

Positive = Annotated[float, Between(1e-6, 1)]


class UnitAnswer(NamedTuple):
    """What one unit says: logits [B, C] ([B, W, C] of tags), and log h [B] where it halts."""

    logits: Tensor
    log_h: Tensor | None


class UnitAnswers(NamedTuple):
    """What all units say: N logits, log h [B, N] where they halt, and the answer of the whole [B, ..., C]."""

    logits: tuple[Tensor, ...]
    log_h: Tensor | None
    answer: Tensor


@kind("dact", role="head")
class DactConfig:
    """`units`: one per trace point of the encoder. A `number` lies between `low` and `high`; `tags` are one answer per
    token, with one halting value per text. `bias` is the halting bias at the start (3: h = 0.95, nearly full depth),
    `h_max` what h can be at most: below 1 the safe rules stop earlier, and late units count for less.
    """

    labels: tuple[str, ...]
    units: Count
    answer: Answers = "class"
    pool: Pool = "cls"
    width: Size = 0  # of a unit's hidden layer; 0: the encoder's
    act: Activation = "relu"
    dropout: Share = 0.1
    shared: bool = False
    bias: float = 3.0
    h_max: Positive = 1.0
    low: float = 0.0
    high: float = 1.0

    def check(self, path: str) -> None:
        check_labels(self.labels, self.answer, path)
        if not self.low < self.high:
            raise InputError(
                f"{path}.high", f"{self.high} is not above low, {self.low}", "give the range of the labels"
            )

    def fits(self, encoder: Any, path: str) -> None:
        check_units(self, encoder, path)

    def build(self, dim: int, *, vocab: int, width: int) -> "Dact":
        return Dact(self, dim)


@kind("exits", role="head")
class ExitsConfig:
    """`units`: one per trace point of the encoder, the last one is the full depth."""

    labels: tuple[str, ...]
    units: Count
    answer: Answers = "class"
    pool: Pool = "cls"
    width: Size = 0
    act: Activation = "tanh"
    dropout: Share = 0.1
    low: float = 0.0
    high: float = 1.0

    def check(self, path: str) -> None:
        check_labels(self.labels, self.answer, path)

    def fits(self, encoder: Any, path: str) -> None:
        check_units(self, encoder, path)

    def build(self, dim: int, *, vocab: int, width: int) -> "Exits":
        return Exits(self, dim)


EarlyConfig = DactConfig | ExitsConfig  # heads that answer after every trace point


def check_units(config: Any, encoder: Any, path: str) -> None:
    """Raise InputError where there is not one unit for each trace point."""
    points = encoder.points()
    if config.units != points:
        problem = f"{config.units} units, the encoder has {points} trace points"
        raise InputError(f"{path}.units", problem, f"give {points}: one after each layer")


class Unit(nn.Module):
    """Rows [B, K, dim] -> an answer, and a halting value of the text: act(trunk c) under two linear maps.

    dim * width + width * (C + 1) multiply-adds per row. The halting value is read at the first row.
    """

    def __init__(self, config: EarlyConfig, dim: int) -> None:
        super().__init__()
        width = config.width or dim
        self.first_bias = getattr(config, "bias", 0.0)
        self.halts = isinstance(config, DactConfig)
        self.trunk = nn.Linear(dim, width)
        self.act = activation(config.act)
        self.dropout = Dropout(config.dropout)
        self.classes = nn.Linear(width, len(config.labels))
        if self.halts:
            self.halt = nn.Linear(width, 1, bias=False)
            self.halt_bias = nn.Parameter(torch.empty(1))

    def reset_parameters(self) -> None:
        nn.init.constant_(self.halt_bias, self.first_bias)

    def forward(self, x: Tensor, gate: Tensor) -> tuple[Tensor, Tensor | None]:
        """(logits of x [..., dim], z [B] read from gate [B, dim])."""
        if not self.halts:
            return self.classes(self.dropout(self.act(self.trunk(x)))), None
        hidden = self.act(self.trunk(self.dropout(x)))
        first = hidden if x is gate else self.act(self.trunk(self.dropout(gate)))
        return self.classes(hidden), (self.halt(first) + self.halt_bias).squeeze(-1)


class Exits(nn.Module):
    """The states at all trace points -> the answer of the last unit [B, C], or [B, W, C] of tags."""

    trace = "rows"

    def __init__(self, config: Any, dim: int) -> None:
        super().__init__()
        self.config, self.pool = config, config.pool
        self.detached = False  # in training: whether halting values leave the encoder alone
        self.span = Range(config.low, config.high)
        count = 1 if getattr(config, "shared", False) else config.units
        self.units = nn.ModuleList(Unit(config, dim) for _ in range(count))

    def forward(self, trace: Sequence[State]) -> Tensor:
        return self.unit_answers(trace).answer

    def unit_answers(self, trace: Sequence[State]) -> UnitAnswers:
        """What the units say of the states at all trace points, and what it comes to."""
        each = [self.unit_answer(n, state) for n, state in enumerate(trace)]
        logits = tuple(one.logits for one in each)
        halts = [one.log_h for one in each if one.log_h is not None]
        log_h = torch.stack(halts, dim=1) if halts else None
        return UnitAnswers(logits, log_h, self.whole(logits, log_h))

    def unit_answer(self, n: int, state: State) -> UnitAnswer:
        """What unit n (from 0) says of the state at its trace point."""
        first = x = pooled(state, self.pool)
        if self.detached:
            first = first.detach()
        if self.config.answer == "tags":  # the first of the chosen rows is there for the halting value
            x = state.x if state.index is None else state.x[:, 1:]
        logits, z = self.units[min(n, len(self.units) - 1)](x, first)
        if z is None:
            return UnitAnswer(logits, None)
        return UnitAnswer(logits, functional.logsigmoid(z.float()) + math.log(self.config.h_max))

    def value(self, logits: Tensor) -> Tensor:
        """y of logits."""
        return values(logits, self.config.answer, self.span)

    def whole(self, logits: tuple[Tensor, ...], log_h: Tensor | None) -> Tensor:
        """What the head answers in full depth."""
        if self.config.answer in ("class", "tags", "labels"):
            return logits[-1]
        return self.value(logits[-1])


class Dact(Exits):
    """The states at all trace points -> the accumulated answer: log a_N [B, C], logits of labels, or a number."""

    def whole(self, logits: tuple[Tensor, ...], log_h: Tensor | None) -> Tensor:
        assert log_h is not None
        return mixture(logits, log_h, self.config.answer, self.span)
