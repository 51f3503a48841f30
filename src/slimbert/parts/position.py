"""Positions inside attention.

Rotary: queries and keys are turned by angles place * base^(-2i/d), so that scores see differences of places only.
    Su et al. 2021, arXiv:2104.09864, section 3.2.2 (halves paired, as in GPT-NeoX).
ALiBi:  score(i, j) gets - slope_h |i - j|; slopes 2^(-8h/H), h = 1..H.
    Press et al. 2021, arXiv:2108.12409, section 3; symmetric for encoders. Where H is no power of two: the published
    code's rule.
"""

import math

import torch
from torch import Tensor, nn

from ..config import NonNegative, PositionConfig, kind
from ..errors import InputError
from ..state import Context, places
from .core import additive


@kind("rotary", role="position")
class RotaryConfig:
    base: NonNegative = 10000.0

    def build(self, heads: int, head_dim: int) -> "Rotary":
        return Rotary(self.base, head_dim)


@kind("alibi", role="position")
class AlibiConfig:
    def build(self, heads: int, head_dim: int) -> "Alibi":
        return Alibi(heads)


class Rotary(nn.Module):
    """Turns x [B, H, S, Dh] by the places [B or 1, S] of its rows."""

    def __init__(self, base: float, head_dim: int) -> None:
        super().__init__()
        self.base, self.head_dim = base, head_dim

    def turn(self, x: Tensor, place: Tensor) -> Tensor:
        half = self.head_dim // 2
        speed = self.base ** (-torch.arange(half, device=x.device, dtype=torch.float32) / half)
        angle = place[:, None, :, None].float() * speed  # [B or 1, 1, S, Dh/2], float32 even under autocast
        cos, sin = angle.cos().to(x.dtype), angle.sin().to(x.dtype)
        a, b = x.chunk(2, dim=-1)
        return torch.cat((a * cos - b * sin, b * cos + a * sin), dim=-1)

    def bias(self, rows: Tensor, columns: Tensor) -> Tensor | None:
        return None


class Alibi(nn.Module):
    """A bias on scores [B or 1, H, Q, S]. The slopes are saved: a cut head takes its slope along."""

    slopes: Tensor

    def __init__(self, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.register_buffer("slopes", torch.empty(heads))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        with torch.no_grad():
            self.slopes.copy_(torch.tensor(alibi_slopes(self.heads)))

    def turn(self, x: Tensor, place: Tensor) -> Tensor:
        return x

    def bias(self, rows: Tensor, columns: Tensor) -> Tensor | None:
        distance = (rows[:, :, None] - columns[:, None, :]).abs()
        return -self.slopes[:, None, None] * distance[:, None].to(self.slopes.dtype)


Position = Rotary | Alibi


def check_position(position: PositionConfig | None, head_dim: int, path: str) -> None:
    """Raise InputError where heads of this width cannot have positions of this config."""
    if isinstance(position, RotaryConfig) and head_dim % 2:
        raise InputError(f"{path}.head_dim", f"rotary positions turn pairs, {head_dim} is odd", "make it even")


def build_position(position: PositionConfig | None, *, heads: int, head_dim: int) -> Position | None:
    """The module of a config; None for None."""
    return None if position is None else position.build(heads, head_dim)


def alibi_slopes(heads: int) -> list[float]:
    """2^(-8h/H) for a power of two; else those of the next lower one, then every second of the next higher one."""
    lower = 2 ** int(math.log2(heads))
    slopes = [2 ** (-8 * (h + 1) / lower) for h in range(lower)]
    return slopes + [2 ** (-4 * (h + 1) / lower) for h in range(0, 2 * (heads - lower), 2)]


def turned(q: Tensor, k: Tensor, ctx: Context, position: Position | None) -> tuple[Tensor, Tensor]:
    """Queries of the rows and keys of what they read, [B, H, S, Dh] each, turned by their places."""
    if position is None:
        return q, k
    rows, columns = _places(ctx)
    return position.turn(q, rows), position.turn(k, columns)


def scores_bias(ctx: Context, position: Position | None, dtype: torch.dtype) -> Tensor | None:
    """What is added to the scores: what may not be read, and positions."""
    bias = additive(ctx.mask, ctx.segments, ctx.index, dtype)
    extra = None if position is None else position.bias(*_places(ctx))
    return bias if extra is None else extra if bias is None else bias + extra


def _places(ctx: Context) -> tuple[Tensor, Tensor]:
    """Places [B or 1, ...] of the rows and of what they read."""
    columns = places(None, ctx.kv.shape[1], ctx.kv.device)
    return columns if ctx.index is None else ctx.index, columns
