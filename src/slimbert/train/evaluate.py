"""Validation while training: the masked-LM loss on rows that are masked the same way each time."""

from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext

import torch

from .objectives import Batch, MaskedLm


@torch.no_grad()
def masked_lm_loss(
    objective: MaskedLm, batches: Iterable[Batch], *, autocast: AbstractContextManager[None] | None = None
) -> float:
    """Mean cross-entropy (nats per predicted token) over all batches, in evaluation mode."""
    objective.eval()
    total = weight = 0.0
    with autocast or nullcontext():
        for batch in batches:
            count = float(batch["weights"].sum())
            total += float(objective.loss(objective.encode, batch).total) * count
            weight += count
    objective.train()
    return total / max(weight, 1.0)
