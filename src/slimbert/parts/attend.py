"""How attending heads read: from keys and values that are projected, or absorbed (absorbed.py).

Attention and mixed attention share it. Keys and values are maps 1 and 2 of their fused product.
"""

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor

from ..state import Context
from .absorbed import absorbed, pays
from .core import Core, Explicit
from .linear import Fused
from .position import Position, Rotary, scores_bias, turned


class Attends(Protocol):
    """A mixer with attending heads.

    `absorb`: whether rows that read a memory absorb keys and values; None: where it costs less. It says how the network
    runs, not what it is, as `core` does.
    """

    heads: int
    dropout: float
    training: bool
    position: Position | None
    core: Core
    absorb: bool | None


def absorbs(mixer: Attends, fused: Fused, *, rows: int, length: int) -> bool:
    """Whether `rows` that read a memory of `length` tokens absorb keys and values. An exported graph, made for any
    sizes, projects them."""
    if isinstance(mixer.position, Rotary):
        return False
    if mixer.absorb is not None or torch.compiler.is_exporting():
        return bool(mixer.absorb)
    return pays(rows=rows, length=length, dim=fused.in_features, heads=mixer.heads, width=fused.sizes[1])


def attend(
    mixer: Attends, fused: Fused, *, q: Tensor, kv: Sequence[Tensor], ctx: Context
) -> tuple[Tensor, Tensor | None]:
    """Queries q [B, K, H * Dh] -> ([B, K, H * Dh], the attention map [B, H, K, S] if the core keeps it).

    kv: keys and values [B, S, H * Dh] of what the rows read; empty: absorbed.
    """
    dropout = mixer.dropout if mixer.training else 0.0
    bias = scores_bias(ctx, mixer.position, q.dtype)
    q, *made = (one.view(*one.shape[:-1], mixer.heads, -1).transpose(1, 2) for one in (q, *kv))  # views [B, H, K, Dh]
    if made:
        q, k = turned(q, made[0], ctx, mixer.position)
        y, weights = mixer.core(q, k, made[1], bias, dropout)
    else:
        key, value = fused.part(1, 2)[0], fused.part(2, 3)
        y, weights = absorbed(q, ctx.kv, key=key, value=value, bias=bias, dropout=dropout)
        weights = weights if isinstance(mixer.core, Explicit) and mixer.core.keep_maps else None
    return y.transpose(1, 2).flatten(2), weights
