"""Texts as rows of token ids, with what is to be learnt of each, and batches of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...data.masking import pad

Ints = NDArray[np.int64]


class Column(NamedTuple):
    """A value per unit: numbers, or arrays, those of a batch filled up to the longest with `fill`, and further to a
    multiple of `multiple`."""

    values: Sequence[Any] | NDArray[Any]
    fill: int | None = None
    multiple: int = 1


@dataclass(frozen=True)
class Features:
    """Rows of token ids [S] and, for pairs, token types [S].

    owner: [R] the number of the text that a row comes from, rising. together: the rows of a text are one unit, answered
    as one; else each row is a unit. grouped: what the rows of a unit are, `windows` of a text or `texts` that belong
    together. columns: further tensors of a batch by name, with a value for every unit. source: what each row was cut
    from, where a kind of task needs it again.
    """

    ids: Sequence[NDArray[Any]]
    types: Sequence[NDArray[Any]] | None
    owner: Ints
    together: bool = False
    grouped: str = "windows"
    columns: Mapping[str, Column] = field(default_factory=dict)
    source: Sequence[Any] = ()

    @cached_property
    def rows(self) -> list[Ints]:
        """The rows of each unit."""
        if not self.together or not len(self.ids):
            return list(np.arange(len(self.ids), dtype=np.int64)[:, None])
        return np.split(np.arange(len(self.ids), dtype=np.int64), np.flatnonzero(np.diff(self.owner)) + 1)

    def __len__(self) -> int:
        return int(self.owner[-1]) + 1 if self.together and len(self.owner) else len(self.ids)

    def lengths(self) -> Ints:
        """[U] tokens of each unit: what it costs."""
        if not self.together:
            return np.array([len(row) for row in self.ids], dtype=np.int64)
        return np.array([sum(len(self.ids[row]) for row in rows) for rows in self.rows], dtype=np.int64)

    def renumbered(self, place: Ints) -> "Features":
        """With place[id] for each id."""
        return replace(self, ids=[place[row] for row in self.ids])

    def batch(self, index: Sequence[int] | Ints, *, pad_id: int, device: str) -> dict[str, Tensor]:
        """The units at `index` as one batch, padded to the longest row; no mask where nothing is padded.

        Where a unit has several rows, `grouped` [B, W] says which they are, -1 where one has fewer.
        """
        groups = [self.rows[unit] for unit in index]
        rows = np.concatenate(groups)
        made = collate([self.ids[row] for row in rows], self.types and [self.types[row] for row in rows], pad_id)
        if len(rows) > len(groups):
            first = np.cumsum([0, *(len(group) for group in groups[:-1])])
            places = [np.arange(start, start + len(group)) for start, group in zip(first, groups, strict=True)]
            made[self.grouped] = pad(places, -1, multiple=1)
        for name, (values, fill, multiple) in self.columns.items():
            chosen = [values[unit] for unit in index]
            if fill is None:
                made[name] = torch.from_numpy(np.asarray(chosen))
            else:
                made[name] = pad(chosen, fill, multiple=multiple)
        return {name: value.to(device) for name, value in made.items()}


def collate(ids: Sequence[Any], types: Sequence[Any] | None, pad_id: int) -> dict[str, Tensor]:
    """Rows of token ids as one batch, padded to the longest; no mask where nothing is padded."""
    batch = {"input_ids": pad(ids, pad_id, multiple=1)}
    lengths = torch.tensor([len(row) for row in ids])
    if bool((lengths < batch["input_ids"].shape[1]).any()):
        batch["mask"] = torch.arange(batch["input_ids"].shape[1]) < lengths[:, None]
    if types is not None:
        batch["types"] = pad(types, 0, multiple=1)
    return batch
