"""Losses of vectors: texts that belong together come near one another, the others apart.

In-batch negatives (InfoNCE; van den Oord et al. 2018, arXiv:1807.03748; for sentences Gao et al. 2021,
arXiv:2104.08821, eq. 1 and 5), with s the cosine and t the temperature:

    loss_i = -log exp(s(a_i, p_i) / t) / (sum_j exp(s(a_i, p_j) / t) + sum_jk exp(s(a_i, n_jk) / t))

Matryoshka (Kusupati et al. 2022, arXiv:2205.13147, eq. 1): the mean of the loss over vectors cut to several widths.
Both judges take answers [B, W, D], the vectors of anchor, positive and hard negatives, as `train/supervised.py` does.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn import functional

from .objectives import Batch


def in_batch(answers: Tensor, batch: Batch, *, temperature: float = 0.05, widths: Sequence[int] = ()) -> Tensor:
    """Every text of the batch but its positive is a negative of an anchor, unless it is right: the positive of a row
    with an equal anchor. `labels` and `anchors` [B] number positives and anchors; `negatives` [B, W - 2], where there
    are hard negatives, numbers these as the positives are. widths: also of vectors cut to these."""
    labels, anchors = batch["labels"], batch["anchors"]
    texts = torch.cat((labels, batch["negatives"].T.flatten())) if answers.shape[1] > 2 else labels  # [T], as `others`
    same, theirs = anchors[:, None] == anchors[None, :], labels[:, None] == texts[None, :]  # [B, B], [B, T]
    right = same.float() @ theirs.float() > 0  # of any row with the same anchor
    hidden = right & ~torch.eye(*right.shape, dtype=torch.bool, device=right.device)
    target = torch.arange(len(answers), device=answers.device)

    def loss(vectors: Tensor) -> Tensor:
        others = vectors[:, 1:].transpose(0, 1).flatten(0, 1)  # all positives, then all negatives
        scores = vectors[:, 0] @ others.T / temperature
        return functional.cross_entropy(scores.masked_fill(hidden, torch.finfo(scores.dtype).min), target)

    return _over_widths(loss, answers, widths)


def scored(answers: Tensor, batch: Batch, *, widths: Sequence[int] = ()) -> Tensor:
    """Mean squared error of the cosine against `labels` [B], 0 to 1."""

    def loss(vectors: Tensor) -> Tensor:
        return functional.mse_loss((vectors[:, 0] * vectors[:, 1]).sum(dim=-1), batch["labels"].float())

    return _over_widths(loss, answers, widths)


def _over_widths(loss: Callable[[Tensor], Tensor], answers: Tensor, widths: Sequence[int]) -> Tensor:
    """The mean over the whole width and `widths`, vectors being of length 1 in each."""
    each = [functional.normalize(answers[..., :width], dim=-1) for width in (*widths, answers.shape[-1])]
    return torch.stack([loss(vectors) for vectors in each]).mean()
