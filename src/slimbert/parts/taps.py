"""The neighbours that a convolution reads: what is a tap of a row, and what is nothing.

A tap outside the row, on padding, or in another document of a packed row counts as zero, wherever the rows that are
computed stand (all of them, or those that a Narrow kept). Every convolution here agrees on that through this file.
"""

import torch
from torch import Tensor

from ..state import Context, pick, places


def real(values: Tensor, mask: Tensor | None) -> Tensor:
    """values [B, S0, F] with zeros at padding; mask [B, S0] True where real."""
    return values if mask is None else values.masked_fill(~mask.unsqueeze(-1), 0.0)


def together(segments: Tensor, kernel: int) -> Tensor:
    """[B, S, kernel] whether tap j of row t, which is row t + j - kernel // 2, is in the document of t."""
    return _around(segments, kernel, outside=-1) == segments.unsqueeze(-1)


def neighbours(ctx: Context, kernel: int) -> tuple[Tensor, Tensor]:
    """(places [B, K * kernel], there [B, K, kernel]) of the taps of the rows at ctx.index; not there: counts as zero.

    A place outside the row is moved inside, so that all may be gathered.
    """
    length = ctx.kv.shape[1]
    rows = places(None, length, ctx.kv.device).expand(len(ctx.kv), -1) if ctx.index is None else ctx.index
    taps = rows.unsqueeze(-1) + torch.arange(kernel, device=rows.device) - kernel // 2
    there = (taps >= 0) & (taps < length)
    flat = taps.clamp(0, length - 1).flatten(1)
    if ctx.mask is not None:
        there = there & ctx.mask.gather(1, flat).view_as(taps)
    if ctx.segments is not None:
        there = there & (ctx.segments.gather(1, flat).view_as(taps) == ctx.segments.gather(1, rows).unsqueeze(-1))
    return flat, there


def gathered(values: Tensor, ctx: Context, kernel: int) -> Tensor:
    """The taps of the rows at ctx.index: values [B, S0, F] -> [B, K, kernel, F], zeros where a tap is nothing.

    The plain form, which copies every value `kernel` times: for few rows, and as the reference of faster ones.
    """
    flat, there = neighbours(ctx, kernel)
    return pick(values, flat).view(*there.shape, -1).masked_fill(~there.unsqueeze(-1), 0.0)


def readable(ctx: Context, kernel: int) -> Tensor | None:
    """[B, S0, kernel] whether tap j of row t is a real token of the same document; None: wherever there is a row."""
    within = None if ctx.segments is None else together(ctx.segments, kernel)
    if ctx.mask is None:
        return within
    there = _around(ctx.mask, kernel, outside=0)
    return there if within is None else there & within


def _around(x: Tensor, kernel: int, *, outside: int) -> Tensor:
    """The neighbours of each place: x [B, S] -> [B, S, kernel]. Not `unfold`: exported, that asks for long rows."""
    side, length = kernel // 2, x.shape[1]
    padded = torch.nn.functional.pad(x, (side, side), value=outside)
    return torch.stack([padded[:, j : j + length] for j in range(kernel)], dim=-1)
