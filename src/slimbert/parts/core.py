"""Attention cores: softmax(q k' / sqrt(d) + bias) v, the same function computed in different ways.

A core has no parameters and is not part of a config: it says how the network runs, not what it is. `use_core` swaps it.
Explicit: batched matrix products. Sdpa: fused kernels, the fastest. Flex: FlexAttention, on GPU (no backward on CPU).
"""

import math
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.attention.flex_attention import flex_attention

from .blocks import attend_dropping
from .dropout import dropout as drop

SHORT = 32  # tokens of a row up to which products drop weights faster than blocks: benchmarks/records/attention_dropout


class Explicit(nn.Module):
    """Batched matrix products; with `keep_maps` also returns the attention map [B, H, Q, S]."""

    def __init__(self, *, keep_maps: bool = False) -> None:
        super().__init__()
        self.keep_maps = keep_maps

    def forward(
        self, q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None, dropout: float
    ) -> tuple[Tensor, Tensor | None]:
        y, weights = _products(q, k, v, bias, dropout)
        return y, weights if self.keep_maps else None


class Sdpa(nn.Module):
    """torch's scaled_dot_product_attention, which chooses a kernel by device and dtype. Where it has none that drops
    weights, on a CPU, blocks.py, or products for short rows."""

    def forward(
        self, q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None, dropout: float
    ) -> tuple[Tensor, Tensor | None]:
        mask = None if bias is None else bias.to(q.dtype)
        if 0 < dropout < 1 and q.device.type == "cpu" and not torch.compiler.is_compiling():
            if k.shape[2] <= SHORT or (mask is not None and mask.requires_grad):  # blocks give a bias no gradient
                return _products(q, k, v, mask, dropout)[0], None
            return attend_dropping(q, k, v, mask, dropout), None
        return functional.scaled_dot_product_attention(q, k, v, attn_mask=mask, dropout_p=dropout), None


class Flex(nn.Module):
    """FlexAttention; drops no attention weights. Compiled as a part of the step around it."""

    def forward(
        self, q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None, dropout: float
    ) -> tuple[Tensor, Tensor | None]:
        if bias is None:
            return flex_attention(q, k, v), None
        whole = bias.expand(q.shape[0], q.shape[1], q.shape[2], k.shape[2])

        def biased(score: Tensor, b: Tensor, h: Tensor, i: Tensor, j: Tensor) -> Tensor:
            return score + whole[b, h, i, j]

        return flex_attention(q, k, v, score_mod=biased), None


Core = Explicit | Sdpa | Flex
CoreName = Literal["explicit", "sdpa", "flex"]


def use_core(model: nn.Module, core: CoreName | Core) -> None:
    """Swap the core of every part in `model` that has one."""
    made = {"explicit": Explicit, "sdpa": Sdpa, "flex": Flex}[core]() if isinstance(core, str) else core
    for module in model.modules():
        if isinstance(getattr(module, "core", None), Core):
            module.core = made


def additive(mask: Tensor | None, segments: Tensor | None, index: Tensor | None, dtype: torch.dtype) -> Tensor | None:
    """What to add to scores [B, H, Q, S] so that only real tokens of the same document are read; None: nothing.

    The lowest finite value instead of -inf: a row that may read nothing (padding) stays finite.
    """
    if mask is None and segments is None:
        return None
    allowed = None if mask is None else mask[:, None, None, :]
    if segments is not None:
        rows = segments if index is None else segments.gather(1, index)
        same = (rows[:, :, None] == segments[:, None, :])[:, None]
        allowed = same if allowed is None else same & allowed
    assert allowed is not None
    lowest = torch.finfo(dtype).min
    return torch.zeros(allowed.shape, dtype=dtype, device=allowed.device).masked_fill(~allowed, lowest)


def _products(q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None, dropout: float) -> tuple[Tensor, Tensor]:
    """The answer, and the weights [B, H, Q, S] before any is dropped."""
    b, h, _, d = q.shape
    scores = torch.bmm(_rows(q) * (1 / math.sqrt(d)), _rows(k).transpose(1, 2)).view(b, h, q.shape[2], -1)
    weights = torch.softmax(scores if bias is None else scores + bias, dim=-1)
    dropped = drop(weights, dropout) if dropout else weights
    y = torch.bmm(_rows(dropped).to(v.dtype), _rows(v)).view(b, h, -1, d)
    return y, weights


def _rows(x: Tensor) -> Tensor:
    """[B, H, S, D] -> [B * H, S, D]."""
    return x.reshape(-1, *x.shape[2:])
