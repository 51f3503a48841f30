"""The optimiser and the course of its learning rate.

AdamW: Loshchilov and Hutter 2017, arXiv:1711.05101. Biases, norms and single rows are not decayed, as in BERT's code.
Rates that fall with the depth: Howard and Ruder 2018, arXiv:1801.06146, section 3.2; by a factor for each layer, as in
the published code of ELECTRA and ConvBERT.
"""

import dataclasses
import math
from typing import Any, Literal

import torch
from torch import nn

from ..errors import InputError
from ..model.encoder import Encoder, EncoderConfig
from .objectives import Objective

Course = Literal["linear", "cosine", "trapezoidal", "constant"]
Rise = Literal["linear", "square_root"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class OptimConfig:
    """`warmup`: share of the run in which the rate rises from 0; `cooldown`: share in which a trapezoid falls to 0.

    `rise`: how it rises; by the square root of the share as in the LAMB recipes of GroupBERT's authors.
    `layer_decay`: factor on the rate of each layer, from the head down; 1: one rate for all.
    """

    lr: float = 1e-3
    betas: tuple[float, float] = (0.9, 0.98)
    eps: float = 1e-6
    weight_decay: float = 0.01
    layer_decay: float = 1.0
    clip: float | None = 1.0
    course: Course = "trapezoidal"
    warmup: float = 0.06
    rise: Rise = "linear"
    cooldown: float = 0.3

    def check(self, path: str) -> None:
        if not self.lr > 0 or not math.isfinite(self.lr):
            raise InputError(f"{path}.lr", f"{self.lr} is not a learning rate", "give a positive number")
        if not all(0 <= beta < 1 for beta in self.betas):
            raise InputError(f"{path}.betas", f"{list(self.betas)}", "give two numbers from 0 to below 1")
        if not self.eps > 0:
            raise InputError(f"{path}.eps", f"{self.eps} is not positive", "give a small number, such as 1.0e-6")
        if not 0 <= self.weight_decay < math.inf:
            raise InputError(f"{path}.weight_decay", f"{self.weight_decay} is no decay", "give 0 or more, e.g. 0.01")
        if not 0 < self.layer_decay <= 1:
            raise InputError(f"{path}.layer_decay", f"{self.layer_decay} is no factor", "give above 0 to 1, e.g. 0.8")
        for name in ("warmup", "cooldown"):
            if not 0 <= getattr(self, name) <= 1:
                raise InputError(f"{path}.{name}", f"{getattr(self, name)} is not a share", "give 0 to 1")
        if self.clip is not None and not self.clip > 0:
            raise InputError(f"{path}.clip", f"{self.clip} is no norm to clip at", "give a positive number, or null")


def adamw(module: nn.Module, config: OptimConfig) -> torch.optim.AdamW:
    """AdamW over what `module` trains, fused where torch has a fused kernel.

    A group's `factor` is what `train` multiplies the rate of an update with: that of a layer, or what an objective asks
    for some of its parameters (`Objective.rates`).
    """
    depth = factors(module, config.layer_decay)
    if isinstance(module, Objective):
        depth |= module.rates()
    trained = [p for p in module.parameters() if p.requires_grad]
    groups: list[dict[str, Any]] = []
    for factor in sorted({1.0, *depth.values()}, reverse=True):
        own: dict[str, Any] = {"lr": config.lr * factor, "factor": factor}
        some = [p for p in trained if depth.get(p, 1.0) == factor]
        groups += [
            own | {"params": [p for p in some if p.dim() > 1], "weight_decay": config.weight_decay},
            own | {"params": [p for p in some if p.dim() <= 1], "weight_decay": 0.0},
        ]
    return torch.optim.AdamW(groups, lr=config.lr, betas=config.betas, eps=config.eps, fused=True)


def factors(module: nn.Module, decay: float) -> dict[nn.Parameter, float]:
    """decay^(N + 2 - depth) of every parameter of an encoder of N layers; all others, such as a head, count 1.

    The depth is 0 for the embedding with its projection, i for the i-th layer from 1 on (`layer_numbers`), N + 1 for a
    final norm: the published code of ELECTRA and ConvBERT, where the head stands two steps above the last layer. What
    two encoders share counts as in the first.
    """
    found: dict[nn.Parameter, float] = {}
    for encoder in (part for part in module.modules() if isinstance(part, Encoder)):
        numbers = layer_numbers(encoder.config)
        top = max(numbers)
        parts = [(0, encoder.embedding), *zip(numbers, encoder.layers, strict=True)]
        parts += [] if encoder.norm is None else [(top + 1, encoder.norm)]
        for depth, part in parts:
            for parameter in part.parameters():
                found.setdefault(parameter, decay ** (top + 2 - depth))
    return found


def layer_numbers(config: EncoderConfig) -> list[int]:
    """The number of every entry of `layers`, from 1 on; a narrowing has that of the layer before it.

    What a narrowing divides is one layer: `11{cgsg},cg:sg` has 12, and so has `2{sf},10{s}:10{f}`, whose i-th s and f
    belong together. Divided are the entries behind the narrowing, and as many before it, where each pair of them has
    the mixers of a layer further down; or, where none is further down, has none in common.
    """
    kinds = [sorted(mixer.kind for mixer in getattr(step, "mix", ())) for step in config.layers]
    numbers = [sum(map(bool, kinds[: i + 1])) for i in range(len(kinds))]
    place = kinds.index([]) if [] in kinds else len(kinds)
    behind = kinds[place + 1 :]
    halves, whole = kinds[max(0, place - len(behind)) : place], kinds[: max(0, place - len(behind))]
    alike = len(halves) == len(behind) > 0 and all(pair == (halves[0], behind[0]) for pair in zip(halves, behind))
    if alike and (sorted(halves[0] + behind[0]) in whole if whole else not {*halves[0]} & {*behind[0]}):
        numbers[place + 1 :] = [number - len(behind) for number in numbers[place + 1 :]]
    return numbers


def rate(config: OptimConfig, share: float) -> float:
    """The learning rate when `share` (0..1) of the run's budget is spent."""
    share = min(max(share, 0.0), 1.0)
    if share < config.warmup:
        risen = share / config.warmup
        return config.lr * (math.sqrt(risen) if config.rise == "square_root" else risen)
    if config.course == "constant":
        return config.lr
    if config.course == "trapezoidal":
        return config.lr * min(1.0, (1 - share) / config.cooldown) if config.cooldown else config.lr
    left = (1 - share) / (1 - config.warmup) if config.warmup < 1 else 0.0
    return config.lr * (left if config.course == "linear" else 0.5 * (1 - math.cos(math.pi * left)))
