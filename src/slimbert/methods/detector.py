"""When a ticket can be drawn: the masks that would be drawn now and a little earlier hardly differ any more.

    distance(a, b) = share of the units that one mask keeps and the other cuts

You et al. 2019, arXiv:1909.11957 (Early-Bird tickets): draw when a mask is near each of the few before it. For
transformers the published threshold of 0.1 is said to fire within a few updates, so ours is stricter in three ways:
heads and neurons are watched apart, each mask must be within 0.02 of the `queue` - 1 before it, and that `patience`
times in a row. A distance below one swapped unit could never be seen, so the tolerance is at least that. Random masks
of ratio r are 2 r (1 - r) apart.
"""

import dataclasses

import torch
from torch import Tensor

from ..config import Count, Share, Size
from ..errors import InputError


@dataclasses.dataclass(frozen=True, kw_only=True)
class DetectorConfig:
    """Shares are of an epoch in fine-tuning, of the whole run in pretraining.

    `heads`, `neurons`: the largest distance that counts as none. `every` updates, and at least a share `spacing`,
    between two masks. Never before `first`, the end of the warm-up, and `least` updates; at `last` in any case.
    `fixed`: drawn there, and nothing is detected (the published scripts: 0.2).
    """

    heads: Share = 0.02
    neurons: Share = 0.02
    queue: Count = 5
    patience: Count = 5
    every: Count = 10
    spacing: Share = 0.01
    first: Share = 0.05
    last: Share = 0.2
    least: Size = 100
    fixed: Share | None = None

    @property
    def needed(self) -> int:
        """Masks before which it cannot say anything."""
        return self.queue + self.patience - 1

    def check(self, path: str) -> None:
        if self.queue < 2:
            raise InputError(f"{path}.queue", f"{self.queue} mask has nothing to be compared with", "give 2 or more")
        if self.first > self.last:
            raise InputError(f"{path}.first", f"{self.first:g} is after last, {self.last:g}", "lower it, or raise last")


def distances(masks: Tensor) -> Tensor:
    """Masks [T, N] -> [T, T]: the share of the N entries in which two of them differ; 0 where there are no entries."""
    ones = masks.double()  # exact: whole numbers
    sums = ones.sum(dim=1)
    return (sums[:, None] + sums[None, :] - 2 * ones @ ones.T) / max(masks.shape[1], 1)


def tolerance(asked: float, entries: int) -> float:
    """The largest distance that counts as none among masks of so many entries: at least that of one swapped unit."""
    return max(asked, 2 / entries) if entries else asked


def settled(masks: Tensor, largest: float, *, queue: int, patience: int) -> bool:
    """Whether each of the last `patience` of the masks [T, N] is within `largest` of the `queue` - 1 before it."""
    span = queue + patience - 1
    if len(masks) < span:
        return False
    between = distances(masks[-span:])
    return all(bool((between[i, i - queue + 1 : i] <= largest).all()) for i in range(queue - 1, span))


def stack(history: list[Tensor]) -> Tensor:
    """[T, N] of T masks [N]."""
    return torch.stack(history) if history else torch.zeros(0, 0, dtype=torch.bool)
