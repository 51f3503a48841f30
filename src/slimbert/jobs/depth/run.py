"""Features through a model that may stop early: its answers, how deep each text went, and what was executed."""

import time
from collections.abc import Sequence
from functools import lru_cache
from itertools import accumulate
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...errors import InputError
from ...model import Model, ModelConfig
from ...model.adaptive import Policy, Safe, Seen, adaptive
from ...model.cost import cost_per_point
from ...model.exits import Exits
from ...train.objectives import Batch
from ...train.supervised import with_first_row
from ..tasks.features import Features
from .choose import Depth

Ints = NDArray[np.int64]


class Ran(NamedTuple):
    """outputs: as of the full model, by unit of the features; depth [U]: units that ran for each; multiply-adds that
    were executed, and what all texts in full depth would have needed; seconds, without the counting of these."""

    outputs: list[Any]
    depth: Ints
    macs: int
    full_macs: int
    seconds: float


class _Batch(NamedTuple):
    """What ran of `texts` texts of `length` tokens, `keep` of them wanted; again: they had run before."""

    texts: int
    length: int
    keep: int | None
    work: tuple[tuple[int, int, int], ...]
    again: bool


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
    return run_in_turn(model, features, (depth,), pad_id=pad_id, device=device, batch_size=batch_size)[0]


def run_in_turn(
    model: Model,
    features: Features,
    depths: Sequence[Depth],
    *,
    pad_id: int,
    device: str,
    batch_size: int = 32,
    warm: bool = False,
) -> list[Ran]:
    """The same for several depths: every batch at all of them, each batch beginning with another one, so that what else
    the machine does hits all alike. warm: the first batch runs once before, which is not timed."""
    order = np.argsort(-features.lengths(), kind="stable")
    batches = [order[first : first + batch_size] for first in range(0, len(order), batch_size)]
    runs = [_Run(model, features, depth, pad_id=pad_id, device=device) for depth in depths]
    for run in runs if warm else ():
        run.answered(batches[0])
    for turn, index in enumerate(batches):
        first = turn % len(runs)
        for run in runs[first:] + runs[:first]:
            run.go(index)
    for run in runs:
        open_ends = run.open_ends()
        for first in range(0, len(open_ends), batch_size):
            run.go(open_ends[first : first + batch_size], again=True)
    return [run.ran() for run in runs]


class _Run:
    """One depth on all units."""

    def __init__(self, model: Model, features: Features, depth: Depth, *, pad_id: int, device: str) -> None:
        self.model, self.features, self.pad_id, self.device = model, features, pad_id, device
        self.policy: Policy = depth.policy or _Never()
        self.most = self._most(depth)
        self.outputs: list[Any] = [None] * len(features)
        self.reached = np.zeros(len(features), dtype=np.int64)
        self.batches: list[_Batch] = []
        self.seconds = 0.0

    def go(self, index: Ints, *, again: bool = False) -> None:
        """Answer the units at `index`; again: in full depth, because they stopped too early."""
        began = time.perf_counter()
        answers, depth, length, keep, work = self.answered(index, to_the_end=again)
        self.seconds += time.perf_counter() - began
        for unit, one in zip(index, answers, strict=True):
            self.outputs[unit] = one
        self.reached[index] = depth
        self.batches.append(_Batch(len(index), length, keep, work, again))

    def answered(self, index: Ints, *, to_the_end: bool = False) -> tuple[Any, Ints, int, int | None, Any]:
        """(answers [B, ...], units that ran for each, tokens of a row, rows wanted of it, work)."""
        batch = self._batch(index)
        select = batch.get("select")
        found = adaptive(
            self.model,
            batch["input_ids"],
            policy=_Never() if to_the_end else self.policy,
            mask=batch.get("mask"),
            types=batch.get("types"),
            select=select,
            real=_real(self.features, index, batch),
            max_depth=None if self.most is None else torch.from_numpy(self.most[index]).to(self.device),
        )
        length, keep = batch["input_ids"].shape[1], None if select is None else select.shape[1]
        return found.answers.cpu().numpy(), found.depth.cpu().numpy(), length, keep, found.work

    def open_ends(self) -> Ints:
        """Units that stopped early, of texts in several windows of which one is tagged as it may not be: the tags of
        all windows are repaired together, so all of their scores must be those of the full depth."""
        policy, owner = self.policy, self.features.owner
        if not isinstance(policy, Safe) or policy.legal is None or self.most is not None:
            return np.zeros(0, dtype=np.int64)
        several = np.isin(owner, np.flatnonzero(np.bincount(owner, minlength=1) > 1))
        found = [unit for unit in np.flatnonzero(several).tolist() if not self._stands(policy, unit)]
        units = self.model.config.head.units  # type: ignore[union-attr]
        return np.flatnonzero(np.isin(owner, owner[found]) & (self.reached < units))

    def ran(self) -> Ran:
        """What it came to. Counting multiply-adds builds models of every length, which takes longer than a batch."""
        macs = full = 0
        for texts, length, keep, work, again in self.batches:
            macs += sum(count * self._per_point(tokens, keep)[n] for n, count, tokens in work)
            full += 0 if again else texts * sum(self._per_point(length, keep))
        return Ran(self.outputs, self.reached, macs, full, self.seconds)

    def _batch(self, index: Sequence[int] | Ints) -> Batch:
        return with_first_row(self.model, self.features.batch(index, pad_id=self.pad_id, device=self.device))

    def _per_point(self, length: int, keep: int | None) -> tuple[int, ...]:
        return _per_point(self.model.config, length, None if keep is None else min(keep, length))

    def _stands(self, policy: Safe, unit: int) -> bool:
        words = len(self.features.columns["select"].values[unit])
        return bool(policy.stands(torch.from_numpy(self.outputs[unit][None, :words]), None)) if words else True

    def _most(self, depth: Depth) -> Ints | None:
        """[U] how many units each may run, as if it stood in a batch alone; None: all."""
        if depth.budget_macs is None:
            return None if depth.max_depth is None else np.full(len(self.features), depth.max_depth)
        most = np.zeros(len(self.features), dtype=np.int64)
        for unit in range(len(most)):
            batch = self._batch([unit])
            length, select = batch["input_ids"].shape[1], batch.get("select")
            spent = list(accumulate(self._per_point(length, None if select is None else select.shape[1])))
            most[unit] = sum(macs <= depth.budget_macs for macs in spent)
            if not most[unit]:
                problem = (
                    f"{depth.budget_macs:,}, the first unit alone needs {spent[0]:,} for a text of {length} tokens"
                )
                raise InputError("--budget-macs", problem, "give more")
        return most if depth.max_depth is None else most.clip(max=depth.max_depth)


@lru_cache(maxsize=4096)
def _per_point(config: ModelConfig, length: int, keep: int | None) -> tuple[int, ...]:
    return tuple(cost_per_point(config, length=length, keep=keep))


def _real(features: Features, index: Any, batch: Batch) -> Tensor | None:
    """[B, W] which tags count, where tags are asked for; a batch holds the first row before them, and may be wider than
    its longest text."""
    if "select" not in features.columns:
        return None
    select = batch["select"]
    counts = torch.tensor([len(features.columns["select"].values[unit]) for unit in index], device=select.device)
    return torch.arange(select.shape[1] - 1, device=select.device) < counts[:, None]
