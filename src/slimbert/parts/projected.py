"""Keys and values of one memory for many layers, in one product.

After a narrowing with memory every layer reads the same tensor M [B, S, D], so that the maps W_i M of n layers are one
map [W_1 .. W_n] M: as many multiply-adds, in one large product instead of n smaller ones. The weights stay where they
are, each with its layer; they are put side by side for the product alone. What is projected ahead is held until its
layer runs: for attention 2 n S D numbers per text.

Layers with the norm in front (pre) are left alone: each of them normalises the memory with its own norm. Its gain and
bias could be folded into the weights, but then this file would have to know every norm, for the sake of n norms of S
rows beside n products of S rows with D * 2 D weights.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from .linear import Fused


class Reads(NamedTuple):
    """What a mixer computes of `ctx.kv`, and nothing else of it: maps `first` to `last` (exclusive) of a product."""

    fused: Fused
    first: int
    last: int


def projected(memory: Tensor, readers: Sequence[Reads]) -> list[tuple[Tensor, ...]]:
    """The maps of memory [B, S, D] that each reader asks for."""
    parts = [reads.fused.part(reads.first, reads.last) for reads in readers]
    bias = None
    if [one for _, one in parts if one is not None]:
        bias = torch.cat([weight.new_zeros(len(weight)) if one is None else one for weight, one in parts])
    sizes = [reads.fused.sizes[reads.first : reads.last] for reads in readers]
    whole = functional.linear(memory, torch.cat([weight for weight, _ in parts]), bias)
    flat = torch.split(whole, [size for own in sizes for size in own], dim=-1)
    made: list[tuple[Tensor, ...]] = []
    start = 0
    for own in sizes:
        made.append(flat[start : start + len(own)])
        start += len(own)
    return made
