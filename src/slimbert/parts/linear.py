"""Linear maps beside the plain one: grouped, and several fused into one product.

Grouped: y_g = x_g W_g for the g-th of G slices of x; 1/G of the weights and products of a full map. Used by ConvBERT
(Jiang et al. 2020, arXiv:2008.02496) and GroupBERT (Chelombiev et al. 2021, arXiv:2106.05822).
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional


class GroupedLinear(nn.Module):
    """[..., inputs] -> [..., outputs], weight [G, inputs/G, outputs/G]; inputs * outputs / G multiply-adds per row."""

    def __init__(self, inputs: int, outputs: int, *, groups: int, bias: bool = True) -> None:
        super().__init__()
        self.groups = groups
        self.weight = nn.Parameter(torch.empty(groups, inputs // groups, outputs // groups))
        self.bias = nn.Parameter(torch.empty(outputs)) if bias else None

    def forward(self, x: Tensor) -> Tensor:
        return self.product(apart(x, self.groups)).transpose(0, 1).reshape(*x.shape[:-1], -1)

    def product(self, rows: Tensor) -> Tensor:
        """Rows by group [G, rows, inputs/G] -> [G, rows, outputs/G]."""
        if self.bias is None:
            return torch.bmm(rows, self.weight)
        # as one product with the bias: under autocast, too, y has the type of the product
        return torch.baddbmm(self.bias.view(self.groups, 1, -1), rows, self.weight)

    def extra_repr(self) -> str:
        return f"groups={self.groups}, shape={tuple(self.weight.shape)}"


def apart(x: Tensor, groups: int) -> Tensor:
    """[..., F] -> the slices of its rows, [G, rows, F/G], a view where x is contiguous."""
    return x.reshape(-1, groups, x.shape[-1] // groups).transpose(0, 1)


class Fused(nn.Linear):
    """Several linear maps of one input as one product; `sizes` are their output widths."""

    def __init__(self, inputs: int, sizes: Sequence[int], *, bias: bool = True) -> None:
        super().__init__(inputs, sum(sizes), bias=bias)
        self.sizes = tuple(sizes)

    def maps(self, x: Tensor, first: int = 0, last: int | None = None) -> tuple[Tensor, ...]:
        """The outputs of maps first..last (exclusive) for x [..., inputs], one tensor each."""
        last = len(self.sizes) if last is None else last
        if last - first == len(self.sizes):
            return torch.split(self(x), list(self.sizes), dim=-1)
        return torch.split(functional.linear(x, *self.part(first, last)), list(self.sizes[first:last]), dim=-1)

    def part(self, first: int, last: int) -> tuple[Tensor, Tensor | None]:
        """Weight and bias of maps first..last (exclusive), views."""
        start, stop = sum(self.sizes[:first]), sum(self.sizes[:last])
        return self.weight[start:stop], None if self.bias is None else self.bias[start:stop]


def linear(inputs: int, outputs: int, *, groups: int = 1, bias: bool = True) -> nn.Linear | GroupedLinear:
    """A plain map, or a grouped one where groups > 1."""
    if groups == 1:
        return nn.Linear(inputs, outputs, bias=bias)
    return GroupedLinear(inputs, outputs, groups=groups, bias=bias)
