"""Dynamic convolution: every row of every head is the sum of its neighbours by a kernel of its own.

out[t] = sum_j w[t, j] u[t + j - side],    j = 0 .. k - 1,  side = (k - 1) / 2;    u is zero outside the row

Jiang et al. 2020, arXiv:2008.02496 (ConvBERT); parts/mixed.py makes the kernels. The neighbourhoods, k times as large
as u, are never laid out. Forms of the one function: `shifted` adds k products in place; `banded` writes the kernels of
a block of rows into a band and multiplies it with the rows around the block; `padded` is `shifted` in words that a
compiler fuses; `of_taps` is for few rows, whose neighbours were gathered (parts/taps.py), and the reference.

The backward pass has two terms of the same kind, so that u and w are all that is saved:

du = convolve(g, turned(w)),    dw[t, j] = <g[t], u[t + j - side]>
"""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from ..state import Context
from .taps import gathered

BLOCK = 32  # rows of a band
BANDED_FROM = 64  # rows from which on bands are used: not measured yet, benchmarks/convbert_core.py


def convolve(u: Tensor, w: Tensor) -> Tensor:
    """u [B, S, H, D], w [B, S, H, k], k odd -> [B, S, H, D]; k * H * D multiply-adds per row."""
    w = w.to(u.dtype)  # under autocast a softmax is float32
    return padded(u, w) if torch.compiler.is_compiling() else _convolve(u, w)


def of_taps(taps: Tensor, w: Tensor) -> Tensor:
    """The neighbours of each row [B, K, k, H, D], w [B, K, H, k] -> [B, K, H, D]."""
    return torch.matmul(w.unsqueeze(-2), taps.transpose(2, 3)).squeeze(-2)


def padded(u: Tensor, w: Tensor) -> Tensor:
    """`convolve` without in-place operations."""
    length, kernel = u.shape[1], w.shape[-1]
    around = functional.pad(u, (0, 0, 0, 0, kernel // 2, kernel // 2))
    out = around[:, :length] * w[..., :1]
    for j in range(1, kernel):
        out = out + around[:, j : j + length] * w[..., j : j + 1]
    return out


def shifted(u: Tensor, w: Tensor) -> Tensor:
    """`convolve`, one tap after the other; not differentiable."""
    middle = w.shape[-1] // 2
    out = u * w[..., middle : middle + 1]
    for j, rows, there in _shifts(u.shape[1], w.shape[-1]):
        if j != middle:
            out[:, rows].addcmul_(u[:, there], w[:, rows, :, j : j + 1])
    return out


def banded(u: Tensor, w: Tensor) -> Tensor:
    """`convolve`, `BLOCK` rows at a time; (BLOCK + k - 1) / k times the products. Not differentiable."""
    length, kernel = u.shape[1], w.shape[-1]
    kernels = _blocks(w)  # [B, N, H, T, k]
    band = kernels.new_zeros(*kernels.shape[:-1], BLOCK + kernel - 1)
    _diagonals(band, kernel).copy_(kernels)
    out = torch.matmul(band, _around(u, kernel)).to(u.dtype)  # [B, N, H, T, D]
    return out.transpose(2, 3).flatten(1, 2)[:, :length]


def correlated(g: Tensor, u: Tensor, kernel: int) -> Tensor:
    """<g[t], u[t + j - side]> for g and u [B, S, H, D] -> [B, S, H, kernel]; not differentiable."""
    length = g.shape[1]
    if _in_blocks(u):
        products = torch.matmul(_blocks(g), _around(u, kernel).transpose(-1, -2)).to(g.dtype)
        return _diagonals(products, kernel).transpose(2, 3).flatten(1, 2)[:, :length]
    out = g.new_zeros(*g.shape[:-1], kernel)
    for j, rows, there in _shifts(length, kernel):
        out[:, rows, :, j] = (g[:, rows] * u[:, there]).sum(dim=-1)
    return out


def turned(w: Tensor) -> Tensor:
    """The kernels of the transposed map: [t, j] is w[t + j - side, k - 1 - j], zero outside the row."""
    length, kernel = w.shape[1], w.shape[-1]
    around = functional.pad(w, (0, 0, 0, 0, kernel // 2, kernel // 2))
    return torch.stack([around[:, j : j + length, :, kernel - 1 - j] for j in range(kernel)], dim=-1)


class _Convolve(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, u: Tensor, w: Tensor) -> Tensor:
        ctx.save_for_backward(u, w)
        if u.is_meta:  # nothing is computed there, and products are counted (model/cost.py)
            taps = gathered(u.flatten(2), Context(u), w.shape[-1])
            return of_taps(taps.view(*w.shape[:2], w.shape[-1], *u.shape[2:]), w)
        return banded(u, w) if _in_blocks(u) else shifted(u, w)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, Tensor | None]:
        (g,), (u, w) = grads, ctx.saved_tensors
        du = _convolve(g, turned(w)) if ctx.needs_input_grad[0] else None
        dw = _correlate(g, u, w.shape[-1]) if ctx.needs_input_grad[1] else None
        return du, dw


class _Correlate(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, g: Tensor, u: Tensor, kernel: int) -> Tensor:
        ctx.save_for_backward(g, u)
        return correlated(g, u, kernel)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        (h,), (g, u) = grads, ctx.saved_tensors
        dg = _convolve(u, h) if ctx.needs_input_grad[0] else None
        du = _convolve(g, turned(h)) if ctx.needs_input_grad[1] else None
        return dg, du, None


def _convolve(u: Tensor, w: Tensor) -> Tensor:
    return _Convolve.apply(u, w)  # type: ignore[no-untyped-call]


def _correlate(g: Tensor, u: Tensor, kernel: int) -> Tensor:
    return _Correlate.apply(g, u, kernel)  # type: ignore[no-untyped-call]


def _in_blocks(u: Tensor) -> bool:
    """Whether bands serve better: from some length on; in half precision always, since products sum in float32."""
    return u.shape[1] >= BANDED_FROM or u.element_size() < 4


def _shifts(length: int, kernel: int) -> Iterator[tuple[int, slice, slice]]:
    """(tap, the rows that have it, where it stands) for every tap that some row has."""
    for j in range(kernel):
        step = j - kernel // 2
        first, last = max(0, -step), min(length, length - step)
        if first < last:
            yield j, slice(first, last), slice(first + step, last + step)


def _blocks(x: Tensor) -> Tensor:
    """[B, S, H, F] -> [B, N, H, T, F], blocks of T = BLOCK rows, the last one filled up with zeros."""
    missing = -x.shape[1] % BLOCK
    whole = functional.pad(x, (0, 0, 0, 0, 0, missing)) if missing else x
    return whole.view(len(x), -1, BLOCK, *x.shape[2:]).transpose(2, 3)


def _around(u: Tensor, kernel: int) -> Tensor:
    """[B, S, H, D] -> [B, N, H, T + k - 1, D], the rows of each block and those beside it: overlapping views."""
    side, missing = kernel // 2, -u.shape[1] % BLOCK
    whole = functional.pad(u, (0, 0, 0, 0, side, side + missing))
    return whole.unfold(1, BLOCK + kernel - 1, BLOCK).transpose(-1, -2)


def _diagonals(band: Tensor, kernel: int) -> Tensor:
    """Of each row i of band [..., T, T + k - 1] (contiguous) the k entries from column i on, a view [..., T, k]."""
    strides = (*band.stride()[:-2], band.shape[-1] + 1, 1)
    return band.as_strided((*band.shape[:-1], kernel), strides)
