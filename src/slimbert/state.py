"""What flows through an encoder: the State from step to step, the Context that a mixer may read."""

from typing import NamedTuple

import torch
from torch import Tensor


class State(NamedTuple):
    """The active tokens and all that travels with them.

    After a Narrow with memory, x holds K rows whose places in the sequence are `index`, and mixers read `memory`.
    """

    x: Tensor  # [B, S, D]
    mask: Tensor | None = None  # [B, S] True where real; None: every token is real
    index: Tensor | None = None  # type: ignore[assignment]  # [B, S] original places; None: all, in order
    select: Tensor | None = None  # [B, K] what a Narrow keeps; None: all
    memory: Tensor | None = None  # [B, S0, D] frozen full-length tokens
    memory_mask: Tensor | None = None  # [B, S0]
    segments: Tensor | None = None  # [B, S0] number of the document within the row, when rows are packed
    losses: tuple[Tensor, ...] = ()  # auxiliary losses of mixers
    maps: tuple[Tensor, ...] = ()  # attention maps [B, H, S, S0], only from an explicit core that keeps them


class Context(NamedTuple):
    """All that a mixer may read besides the rows it computes."""

    kv: Tensor  # [B, S0, D]; the rows themselves (the same object) where nothing was narrowed
    mask: Tensor | None = None  # [B, S0]
    index: Tensor | None = None  # type: ignore[assignment]  # [B, S] places of the rows within kv; None: all of kv, in order
    segments: Tensor | None = None  # [B, S0]
    projected: tuple[Tensor, ...] | None = None  # the maps of kv that the mixer `reads`, where they are there already


class Mixed(NamedTuple):
    """What a mixer returns when it has more to say than a tensor."""

    y: Tensor
    losses: tuple[Tensor, ...] = ()
    maps: tuple[Tensor, ...] = ()


class Encoded(NamedTuple):
    """What an encoder gives: its last state, and on request those of its trace points."""

    state: State
    trace: tuple[State, ...] = ()


def pick(x: Tensor, index: Tensor) -> Tensor:
    """Rows of x [B, S, ...] at index [B, K] -> [B, K, ...]."""
    places = index.view(*index.shape, *[1] * (x.dim() - 2)).expand(-1, -1, *x.shape[2:])
    return x.gather(1, places)


def scatter(rows: Tensor, index: Tensor, length: int, *, fill: float = 0.0) -> Tensor:
    """Rows [B, K, ...] at index [B, K] of a whole [B, length, ...] that is `fill` elsewhere: the inverse of `pick`."""
    whole = rows.new_full((len(rows), length, *rows.shape[2:]), fill)
    places = index.view(*index.shape, *[1] * (rows.dim() - 2)).expand_as(rows)
    return whole.scatter(1, places, rows)


def places(segments: Tensor | None, length: int, device: torch.device) -> Tensor:
    """Positions [B or 1, S], counted from 0 within each document of a packed row."""
    line = torch.arange(length, device=device).unsqueeze(0)
    if segments is None:
        return line
    starts = torch.zeros_like(segments, dtype=torch.bool)
    starts[:, 1:] = segments[:, 1:] != segments[:, :-1]
    return line - torch.where(starts, line, 0).cummax(dim=1).values
