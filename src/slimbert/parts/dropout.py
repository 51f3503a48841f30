"""Dropout: every value is zeroed with probability `rate`, the others are scaled so that the mean stays.

Srivastava et al. 2014, JMLR 15. torch draws one random number per value, in one thread on most CPUs, and these draws
are a tenth of a fine-tuning step. Here each 64-bit number of torch's generator decides about four values.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

_STEPS = 2**16  # a rate is rounded to a multiple of 1 / 2^16


def dropout(x: Tensor, rate: float) -> Tensor:
    """x of any shape with a share `rate` of its values zeroed; seeded by torch's global generator."""
    dropped = round(rate * _STEPS)
    if x.device.type != "cpu" or torch.compiler.is_compiling() or dropped == _STEPS:
        return functional.dropout(x, rate)
    if not dropped:
        return x
    words = torch.empty(-(-x.numel() // 4), dtype=torch.int64).random_(-(2**63), None)
    draws = words.view(torch.int16)[: x.numel()].view(x.shape)  # uniform in [-2^15, 2^15)
    return x * ((draws >= dropped - _STEPS // 2) * (_STEPS / (_STEPS - dropped))).to(x.dtype)


class Dropout(nn.Dropout):
    """`dropout` while training, nothing else."""

    def forward(self, x: Tensor) -> Tensor:
        return dropout(x, self.p) if self.training and self.p else x
