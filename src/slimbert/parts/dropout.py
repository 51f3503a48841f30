"""Dropout: every value is zeroed with probability `rate`, the others are scaled so that the mean stays.

Srivastava et al. 2014, JMLR 15. On a CPU torch draws one number per value, in one thread on most processors, and makes
a mask of bool, with which products are slow. Here a generator of numpy, seeded by torch's, draws 64 bits for four
values, and the mask is of bytes.
"""

import torch
from numpy.random import SFC64
from torch import Tensor, nn
from torch.nn import functional

_STEPS = 2**16  # a rate is rounded to a multiple of 1 / 2^16


def dropout(x: Tensor, rate: float) -> Tensor:
    """x of any shape with a share `rate` of its values zeroed; seeded by torch's global generator."""
    if x.device.type != "cpu" or torch.compiler.is_compiling() or rate == 1:
        return functional.dropout(x, rate)
    if not _steps(rate):
        return x
    return (x * draw(torch.empty(x.shape, dtype=torch.uint8), rate)).mul_(scale(rate))


def draw(out: Tensor, rate: float) -> Tensor:
    """Fills `out`, bytes of any shape on the CPU, with 0 where a value is zeroed at a rate below 1, and else 1."""
    seed = int(torch.randint(2**63 - 1, ()))
    words = torch.from_numpy(SFC64(seed).random_raw(-(-out.numel() // 4)).view("int16"))  # uniform in [-2^15, 2^15)
    return torch.ge(words[: out.numel()].view(out.shape), _steps(rate) - _STEPS // 2, out=out)


def scale(rate: float) -> float:
    """What a value that is kept is multiplied with, at a rate below 1."""
    return _STEPS / (_STEPS - _steps(rate))


def _steps(rate: float) -> int:
    return min(round(rate * _STEPS), _STEPS - 1)


class Dropout(nn.Dropout):
    """`dropout` while training, nothing else."""

    def forward(self, x: Tensor) -> Tensor:
        return dropout(x, self.p) if self.training and self.p else x
