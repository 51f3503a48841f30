"""Attention that drops weights, on a CPU: block by block of texts and heads, each small enough for the cache.

torch's fused kernels drop nothing there: with dropout they fall back to plain products, which keep several tensors
[B, H, Q, S] for the backward pass. Here one byte a weight is kept, and the backward pass computes the weights again.

    y = P v,  P the dropped weights;  with g its gradient, scores get  P * (g v') - w * (g . y),  w the whole weights

Dao et al. 2022, arXiv:2205.14135, section 3.1 (recomputation) and appendix B.4 (g . y needs no pass over the weights).
"""

import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from .dropout import draw, scale

BLOCK = 2**20  # weights of a block: 4 MB in float32


def attend_dropping(q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None, rate: float) -> Tensor:
    """q and k [B, H, Q or S, D], v [B, H, S, E] -> [B, H, Q, E], each weight dropped with probability `rate` below 1.

    bias: added to the scores [B, H, Q, S], which it must broadcast to; it gets no gradient.
    """
    return _Dropping.apply(q, k, v, bias, rate)  # type: ignore[no-untyped-call]


class _Dropping(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None, rate: float) -> Tensor:
        ctx.scales = 1 / math.sqrt(q.shape[-1]), scale(rate)
        q, v = (x * by for x, by in zip((q, v), ctx.scales, strict=True))
        keep = torch.empty(*q.shape[:3], k.shape[2], dtype=torch.uint8)
        y = _laid_out(q, v.shape[3])
        for at in _blocks(keep):
            weights = _weights(q[at], k[at], None if bias is None else bias.expand(keep.shape)[at])
            y[at] = weights.mul_(draw(keep[at], rate)).to(v.dtype) @ v[at]
        ctx.save_for_backward(q, k, v, bias, keep, y)
        return y

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, Tensor, None, None]:
        (g,), (q, k, v, bias, keep, y) = grads, ctx.saved_tensors
        dq, dk, dv = (_laid_out(x, x.shape[3]) for x in (q, k, v))
        for at in _blocks(keep):
            weights = _weights(q[at], k[at], None if bias is None else bias.expand(keep.shape)[at])
            dropped = weights * keep[at]
            along = (g[at] * y[at]).sum(dim=-1, keepdim=True, dtype=weights.dtype)
            scores = (g[at] @ v[at].transpose(-1, -2)).to(weights.dtype)
            scores = scores.mul_(dropped).addcmul_(weights, along, value=-1).to(q.dtype)
            dq[at] = scores @ k[at]
            dk[at] = scores.transpose(-1, -2) @ q[at]
            dv[at] = dropped.to(v.dtype).transpose(-1, -2) @ g[at]
        for_q, for_v = ctx.scales
        return dq.mul_(for_q), dk, dv.mul_(for_v), None, None


def _weights(q: Tensor, k: Tensor, bias: Tensor | None) -> Tensor:
    """softmax(q k' + bias), in float32 at least."""
    scores = q @ k.transpose(-1, -2)
    return torch.softmax(scores if bias is None else scores + bias, -1, torch.promote_types(q.dtype, torch.float32))


def _blocks(keep: Tensor) -> Iterator[tuple[slice, slice]]:
    """The texts and heads of every block of weights [B, H, Q, S]: all heads of some texts, or some heads of one."""
    texts, heads, *cells = keep.shape
    fit = max(1, BLOCK // math.prod(cells))
    of_texts, of_heads = max(1, fit // heads), min(fit, heads)
    for text in range(0, texts, of_texts):
        for head in range(0, heads, of_heads):
            yield slice(text, text + of_texts), slice(head, head + of_heads)


def _laid_out(x: Tensor, width: int) -> Tensor:
    """An empty tensor [B, H, S, width] for x [B, H, S, D], in memory as [B, S, H, width]: heads join without a copy."""
    return x.new_empty(x.shape[0], x.shape[2], x.shape[1], width).transpose(1, 2)
