"""Features through a model that may stop early: its answers, how deep each text went, and what was executed."""

import time
from functools import lru_cache
from itertools import accumulate
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...errors import InputError
from ...model import Model, ModelConfig
from ...model.adaptive import Policy, Seen, adaptive
from ...model.cost import cost_per_point
from ...model.exits import Exits
from ...train.objectives import Batch
from ...train.supervised import with_first_row
from ..tasks.features import Features
from .choose import Depth

Work = tuple[tuple[int, int, int], ...]  # as of model/adaptive.py: (unit, texts, tokens) of everything that ran


class Ran(NamedTuple):
    """outputs: as of the full model, by unit of the features; depth [U]: units that ran for each; multiply-adds that
    were executed, and what all texts in full depth would have needed; seconds of the run."""

    outputs: list[Any]
    depth: NDArray[np.int64]
    macs: int
    full_macs: int
    seconds: float


class _Never:
    """Nothing stops before the end."""

    guaranteed = True

    def stop(self, seen: Seen, head: Exits) -> tuple[Tensor, Tensor | None]:
        return torch.zeros(len(seen.p), dtype=torch.bool, device=seen.p.device), None


def run_adaptively(
    model: Model, features: Features, depth: Depth, *, pad_id: int, device: str, batch_size: int = 32
) -> Ran:
    """The answers to all units, those of similar length together, the longest first.

    Raises InputError where a budget does not reach the first trace point.
    """
    order = np.argsort(-features.lengths(), kind="stable")
    out: list[Any] = [None] * len(features)
    reached = np.zeros(len(features), dtype=np.int64)
    ran: list[tuple[int, int, int | None, Work]] = []
    policy: Policy = depth.policy or _Never()
    began = time.perf_counter()
    for first in range(0, len(order), batch_size):
        index = order[first : first + batch_size]
        batch = with_first_row(model, features.batch(index, pad_id=pad_id, device=device))
        select = batch.get("select")
        length, keep = batch["input_ids"].shape[1], None if select is None else select.shape[1]
        found = adaptive(
            model,
            batch["input_ids"],
            policy=policy,
            mask=batch.get("mask"),
            types=batch.get("types"),
            select=select,
            real=_real(features, index, batch),
            max_depth=_deepest(model.config, depth, length, keep),
        )
        for unit, one in zip(index, found.answers.cpu().numpy(), strict=True):
            out[unit] = one
        reached[index] = found.depth.cpu().numpy()
        ran.append((len(index), length, keep, found.work))
    seconds = time.perf_counter() - began  # counting multiply-adds takes time of its own
    full = sum(texts * sum(_per_point(model.config, length, keep)) for texts, length, keep, _ in ran)
    macs = sum(
        texts * _per_point(model.config, tokens, keep)[unit] for _, _, keep, work in ran for unit, texts, tokens in work
    )
    return Ran(out, reached, macs, full, seconds)


@lru_cache(maxsize=4096)
def _per_point(config: ModelConfig, length: int, keep: int | None) -> tuple[int, ...]:
    return tuple(cost_per_point(config, length=length, keep=None if keep is None else min(keep, length)))


def _deepest(config: ModelConfig, depth: Depth, length: int, keep: int | None) -> int | None:
    """How many units a text of `length` tokens may run."""
    if depth.budget_macs is None:
        return depth.max_depth
    spent = list(accumulate(_per_point(config, length, keep)))
    units = sum(macs <= depth.budget_macs for macs in spent)
    if not units:
        problem = f"{depth.budget_macs:,}, the first unit alone needs {spent[0]:,} for a text of {length} tokens"
        raise InputError("--budget-macs", problem, "give more")
    return min(units, depth.max_depth or units)


def _real(features: Features, index: Any, batch: Batch) -> Tensor | None:
    """[B, W] which tags count, where tags are asked for; a batch holds the first row before them, and may be wider than
    its longest text."""
    if "select" not in features.columns:
        return None
    select = batch["select"]
    counts = torch.tensor([len(features.columns["select"].values[unit]) for unit in index], device=select.device)
    return torch.arange(select.shape[1] - 1, device=select.device) < counts[:, None]
