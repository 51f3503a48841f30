"""Validation while training: what an objective comes to on rows that are masked, and replaced, the same way each time.

The scores are those that a validation row of metrics.jsonl carries; `val_loss` selects the best checkpoint.
"""

from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor

from .objectives import Batch, MaskedLm, Objective
from .replaced import Detected, ReplacedTokens

Autocast = AbstractContextManager[None] | None


def validate(objective: Objective, batches: Iterable[Batch], *, autocast: Autocast = None) -> dict[str, float]:
    """`val_loss`, and the other scores of the objective."""
    if isinstance(objective, ReplacedTokens):
        return replaced_token_scores(objective, batches, autocast=autocast)
    assert isinstance(objective, MaskedLm)
    return {"val_loss": masked_lm_loss(objective, batches, autocast=autocast)}


@torch.no_grad()
def masked_lm_loss(objective: MaskedLm, batches: Iterable[Batch], *, autocast: Autocast = None) -> float:
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


@torch.no_grad()
def replaced_token_scores(
    objective: ReplacedTokens, batches: Iterable[Batch], *, autocast: Autocast = None
) -> dict[str, float]:
    """Both losses, weighted into `val_loss` as in training (what mixers add is left out), and the detection's scores:
    see `detection`."""
    objective.eval()
    sums, counts = [0.0, 0.0], [0.0, 0.0]
    seen: list[Detected] = []
    with autocast or nullcontext():
        for batch in batches:
            loss, detected = objective.read(objective.encode, batch)
            here = float(batch["weights"].sum()), float(detected.real.sum())
            for i, name in enumerate(("mlm", "rtd")):
                sums[i] += float(loss.parts[name]) * here[i]
                counts[i] += here[i]
            seen.append(detected)
    objective.train()
    mlm, rtd = (total / max(count, 1.0) for total, count in zip(sums, counts, strict=True))
    scores = torch.cat([one.scores[one.real] for one in seen])
    replaced = torch.cat([one.replaced[one.real] for one in seen])
    losses = {"val_loss": objective.mlm_weight * mlm + objective.rtd_weight * rtd, "val_mlm": mlm, "val_rtd": rtd}
    return losses | {f"val_{name}": value for name, value in detection(scores, replaced).items()}


def detection(scores: Tensor, replaced: Tensor) -> dict[str, float]:
    """How well scores [N] tell the tokens that were replaced [N]; above 0 a token is called so.

    replaced: the share of those that were; accuracy; precision and recall; auc: how often a replaced token scores above
    another one (Mann-Whitney; equal scores count half). nan where there is nothing to divide by.
    """
    called, hits = scores > 0, (scores > 0) & replaced
    scores = scores.double()
    order = scores.sort().values
    ranks = (torch.searchsorted(order, scores) + torch.searchsorted(order, scores, right=True) + 1) / 2.0
    positive, negative = float(replaced.sum()), float((~replaced).sum())
    above = float(ranks[replaced].sum()) - positive * (positive + 1) / 2
    return {
        "replaced": _divided(positive, positive + negative),
        "accuracy": _divided((called == replaced).sum(), positive + negative),
        "precision": _divided(hits.sum(), called.sum()),
        "recall": _divided(hits.sum(), positive),
        "auc": _divided(above, positive * negative),
    }


def _divided(part: Any, whole: Any) -> float:
    return float(part) / float(whole) if whole else float("nan")
