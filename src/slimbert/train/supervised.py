"""The objective of labelled data: what a head answers against what is right.

A judge is a function (answers, batch) -> mean loss. One objective serves every task; a task chooses head and judge.
"""

from collections.abc import Callable, Sequence
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn import functional

from ..model.heads import reads_first_row
from ..model.model import Model
from ..state import Encoded
from .chunked import Answers, in_chunks
from .objectives import Batch, Encode, Loss, Objective, inputs_of, with_auxiliary

Judge = Callable[[Tensor, Batch], Tensor]
Windows = Literal["mean", "max"]
IGNORED = -100  # the label of a place without one


class Supervised(Objective):
    """`judge(answers, batch)`, where answers are the head's, in float32.

    Where the batch says which rows are windows of one text (`windows` [B, W], -1 where there is none), their answers
    become one: the mean, or the largest of each class. `texts` [B, W] are rows that belong together.
    """

    def __init__(self, model: Model, judge: Judge, *, windows: Windows = "mean", chunk: int | None = None) -> None:
        """chunk: tokens that are encoded at a time where a text has many rows (`windows`, `texts`); None: all."""
        super().__init__(model)
        self.judge, self.windows, self.chunk = judge, windows, chunk

    def loss(self, encode: Encode, batch: Batch) -> Loss:
        if _has_many(batch):
            answers, added = _gathered(self.model, encode, batch, self.chunk, self.windows)
        else:
            encoded = encode(None, with_first_row(self.model, batch))
            answers, added = self.model.answer(encoded).float(), encoded.state.losses
        mean = self.judge(answers, batch)
        return with_auxiliary(Loss(mean, {"task": mean}), added)


def answer(model: Model, batch: Batch, *, windows: Windows = "mean", chunk: int | None = None) -> Tensor:
    """What a model answers to a batch, in float32: [B, C] for texts, [B, K, C] for the rows that were wanted, [B, W, D]
    for texts that belong together. chunk: as of `Supervised`."""

    def encode(_: Any, some: Batch) -> Encoded:
        return model.encoder(some["input_ids"], **inputs_of(model, some))

    if _has_many(batch):
        return _gathered(model, encode, batch, chunk, windows)[0]
    return model.answer(encode(None, with_first_row(model, batch))).float()


def _has_many(batch: Batch) -> bool:
    """Whether a text of the batch has several rows."""
    return "texts" in batch or "windows" in batch


def _gathered(model: Model, encode: Encode, batch: Batch, chunk: int | None, windows: Windows) -> Answers:
    """[B, W, D] the vector of each of `texts` [B, W], or [B, C] the merged answers of `windows` [B, W]."""

    def answers_of(some: Batch) -> Answers:
        encoded = encode(None, with_first_row(model, some))
        return model.answer(encoded).float(), encoded.state.losses

    found, added = in_chunks(answers_of, batch, chunk=chunk)
    return found[batch["texts"].clamp(min=0)] if "texts" in batch else merged(found, batch["windows"], windows), added


def with_first_row(model: Model, batch: Batch) -> Batch:
    """The batch with the first row wanted where the head reads no other."""
    head, place = model.config.head, torch.zeros_like(batch["input_ids"][:, :1])
    if getattr(head, "answer", None) == "tags":  # tags of a head that halts: it does so by the first row
        return {**batch, "select": torch.cat((place, batch["select"]), dim=1)} if "select" in batch else batch
    return {**batch, "select": place} if reads_first_row(head) and "select" not in batch else batch


def merged(answers: Tensor, windows: Tensor, how: Windows) -> Tensor:
    """Answers of windows [R, C] -> of texts [B, C]; windows [B, W] are rows of each text, -1 where there is none."""
    real = (windows >= 0).unsqueeze(-1)
    each = answers[windows.clamp(min=0)]  # [B, W, C]
    if how == "max":
        return each.masked_fill(~real, torch.finfo(each.dtype).min).amax(dim=1)
    return (each * real).sum(dim=1) / real.sum(dim=1)


def one_class(answers: Tensor, batch: Batch, *, weights: Sequence[float] | None = None) -> Tensor:
    """Cross-entropy of answers [B, C] with `labels` [B]; weights [C] count a class more or less."""
    weight = None if weights is None else answers.new_tensor(weights)
    return functional.cross_entropy(answers, batch["labels"], weight=weight)


def each_label(answers: Tensor, batch: Batch, *, weights: Sequence[float] | None = None) -> Tensor:
    """Binary cross-entropy of answers [B, C] with `labels` [B, C], each label by itself; weights [C] of a label that
    is there."""
    weight = None if weights is None else answers.new_tensor(weights)
    return functional.binary_cross_entropy_with_logits(answers, batch["labels"].float(), pos_weight=weight)


def number(answers: Tensor, batch: Batch, *, deviation: float = 1.0) -> Tensor:
    """Mean squared error of answers [B, 1] against `labels` [B], in units of the labels' deviation."""
    return functional.mse_loss(answers[:, 0] / deviation, batch["labels"] / deviation)


def tags(answers: Tensor, batch: Batch, *, weights: Sequence[float] | None = None) -> Tensor:
    """Cross-entropy of answers [B, W, C] with `labels` [B, W], IGNORED where a row of the batch has fewer words."""
    weight = answers.new_ones(answers.shape[-1]) if weights is None else answers.new_tensor(weights)
    labels = batch["labels"].flatten()
    options: dict[str, Any] = {"weight": weight, "ignore_index": IGNORED, "reduction": "sum"}
    counted = torch.where(labels == IGNORED, 0.0, weight[labels.clamp(min=0)]).sum()
    return functional.cross_entropy(answers.flatten(0, 1), labels, **options) / counted.clamp(min=1e-9)


def span(answers: Tensor, batch: Batch) -> Tensor:
    """Cross-entropy of the scores of start and end [B, K, 2] with the places `start` and `end` [B], its mean.

    Only the rows where `context` [B, K] is not 0 can be places. Devlin et al. 2018, arXiv:1810.04805, section 4.2.
    """
    allowed = answers.masked_fill(batch["context"].unsqueeze(-1) == 0, torch.finfo(answers.dtype).min)
    start = functional.cross_entropy(allowed[..., 0], batch["start"])
    return (start + functional.cross_entropy(allowed[..., 1], batch["end"])) / 2
