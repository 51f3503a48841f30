"""The splits of a task as token rows, and which of the model's tokens occur in them at all."""

import math
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..data.sampler import length_buckets, similar_rows
from ..data.tasks import Task
from ..data.tokenizer import TextTokenizer
from ..model import Model
from ..train.chunked import CHUNK, pass_tokens
from ..train.supervised import Judge, Windows, answer
from .tasks import Kind
from .tasks.features import Features


class Labelled:
    """All splits of a task, renumbered to the tokens that occur.

    used: [U] the ids that occur, rising; features: by the name of the split, with places in `used` for ids.
    """

    def __init__(self, task: Task, kind: Kind, tokenizer: TextTokenizer) -> None:
        self.at_random = kind.at_random
        self.splits = {name: split for name in ("train", "validation", "test") if (split := getattr(task, name))}
        found = {name: kind.features(split, labelled=True) for name, split in self.splits.items()}
        pad_id = tokenizer.special.pad
        occurring = np.unique(np.concatenate([[pad_id], *(row for one in found.values() for row in one.ids)]))
        place = np.zeros(tokenizer.vocab_size, dtype=np.int64)
        place[occurring] = np.arange(len(occurring))
        self.used = torch.from_numpy(occurring.astype(np.int64))
        self.pad = int(place[pad_id])
        self.features: Mapping[str, Features] = {name: one.renumbered(place) for name, one in found.items()}

    def buckets(self, batch_size: int, *, seed: int, epoch: int) -> list[Any]:
        """The units of train in batches, every one once: of similar length, or at random where the kind asks for it."""
        lengths = self.features["train"].lengths()
        if not self.at_random:
            return length_buckets(lengths, batch_size, seed=seed, epoch=epoch)
        order = np.random.default_rng([seed, epoch]).permutation(len(lengths))
        return [order[first : first + batch_size] for first in range(0, len(order), batch_size)]

    def training(self, start: int, batch_size: int, *, seed: int, device: str) -> Iterator[dict[str, Tensor]]:
        """Batches of train from update `start` on, without end: a function of the seed and the number of the update."""
        step, per_epoch = start, math.ceil(len(self.features["train"]) / batch_size)
        while True:
            epoch, place = divmod(step, per_epoch)
            for index in self.buckets(batch_size, seed=seed, epoch=epoch)[place:]:
                yield self.batch("train", index, device)
                step += 1

    def batch(self, split: str, index: Any, device: str) -> dict[str, Tensor]:
        """The units at `index` as one batch with their labels."""
        return self.features[split].batch(index, pad_id=self.pad, device=device)


@torch.inference_mode()
def outputs(
    model: Model,
    features: Features,
    judge: Judge | None,
    *,
    pad_id: int,
    device: str,
    windows: Windows,
    batch_size: int = 64,
    autocast: AbstractContextManager[Any] | None = None,
) -> tuple[list[Any], float]:
    """(what the model says of each unit, the mean loss; 0 without a judge). Units of similar length are one batch."""
    out: list[Any] = [None] * len(features)
    total = 0.0
    with autocast or nullcontext():
        for index in similar_rows(features.lengths(), most=batch_size, pass_tokens=pass_tokens(device)):
            batch = features.batch(index, pad_id=pad_id, device=device)
            answers = answer(model, batch, windows=windows, chunk=CHUNK)
            total += 0.0 if judge is None else float(judge(answers, batch)) * len(index)
            for unit, one in zip(index, answers.cpu().numpy(), strict=True):
                out[unit] = one
    return out, total / max(len(features), 1)
