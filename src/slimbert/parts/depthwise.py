"""Depthwise convolution over the tokens: every channel is convolved with one kernel of its own.

y[t, c] = sum_j weight[c, j] x[t + j - side, c],    j = 0 .. k - 1,  side = (k - 1) / 2

Chollet 2016, arXiv:1610.02357. Fresh weights are normal, cut at two standard deviations of 1 / k: ConvBERT's published
code (Jiang et al. 2020, arXiv:2008.02496); a standard deviation of 0.02 would let next to nothing through.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from .taps import together


class Depthwise(nn.Module):
    """[B, S, dim] -> [B, S, dim]; kernel * dim multiply-adds per token."""

    def __init__(self, dim: int, kernel: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(dim, 1, kernel))

    def forward(self, x: Tensor, segments: Tensor | None = None) -> Tensor:
        """segments [B, S]: a document reads nothing of its neighbours in a packed row."""
        if segments is not None:
            return self._within(x, segments)
        image = x.transpose(1, 2).unsqueeze(2)  # [B, dim, 1, S], as it lies in memory: channels last
        padding = (0, self.weight.shape[-1] // 2)
        y = functional.conv2d(image, self.weight.unsqueeze(2), padding=padding, groups=x.shape[-1])
        return y.squeeze(2).transpose(1, 2)

    def of_taps(self, taps: Tensor) -> Tensor:
        """The neighbours of each row [B, K, kernel, dim] -> [B, K, dim]."""
        return torch.einsum("bkjd,dj->bkd", taps, self.weight[:, 0])

    def _within(self, x: Tensor, segments: Tensor) -> Tensor:
        """One tap after the other; those of another document are left out."""
        length, kernel = x.shape[1], self.weight.shape[-1]
        same = together(segments, kernel)
        around = functional.pad(x, (0, 0, kernel // 2, kernel // 2))
        y = torch.zeros_like(x)
        for j in range(kernel):
            tap = around[:, j : j + length] * self.weight[:, 0, j]
            y = y + tap.masked_fill(~same[..., j : j + 1], 0.0)
        return y

    def extra_repr(self) -> str:
        return f"shape={tuple(self.weight.shape)}"
