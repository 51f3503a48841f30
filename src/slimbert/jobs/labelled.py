"""Labelled texts as token rows, and which of the model's tokens occur in them at all."""

from collections.abc import Mapping
from typing import Any, NamedTuple, cast

import numpy as np
import torch
from torch import Tensor

from ..data.tasks import Split, Task
from ..data.tokenizer import TextTokenizer
from .predict import collate


class TokenRows(NamedTuple):
    """The token rows of one split: ids and, for pairs, token types, one array per row; labels [N]."""

    ids: list[Any]
    types: list[Any] | None
    labels: np.ndarray[tuple[int], np.dtype[np.int64]]

    def lengths(self) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
        return np.array([len(row) for row in self.ids])


class Labelled:
    """All splits of a task as token rows, renumbered to the tokens that occur.

    used: [U] the ids that occur, rising; splits: name -> TokenRows with places in `used` for ids; cut_share: of the training
    texts, those longer than `max_len` tokens.
    """

    def __init__(self, task: Task, tokenizer: TextTokenizer, max_len: int) -> None:
        self.task, self.tokenizer, self.max_len = task, tokenizer, max_len
        found = {name: self._rows(split) for name in ("train", "validation", "test") if (split := getattr(task, name))}
        self.cut_share = self._cut_share(found["train"])
        pad_id = tokenizer.special.pad or 0
        occurring = np.unique(np.concatenate([[pad_id], *(row for rows in found.values() for row in rows.ids)]))
        place = np.zeros(tokenizer.vocab_size, dtype=np.int64)
        place[occurring] = np.arange(len(occurring))
        self.used = torch.from_numpy(occurring.astype(np.int64))
        self.pad = int(place[pad_id])
        self.splits: Mapping[str, TokenRows] = {
            name: rows._replace(ids=[place[row] for row in rows.ids]) for name, rows in found.items()
        }

    def batch(self, split: str, index: Any, device: str) -> dict[str, Tensor]:
        """The rows at `index` as one batch with labels [B], padded to the longest of them."""
        rows = self.splits[split]
        types = None if rows.types is None else [rows.types[i] for i in index]
        batch = collate([rows.ids[i] for i in index], types, self.pad, device)
        return batch | {"labels": torch.from_numpy(rows.labels[index]).to(device)}

    def _rows(self, split: Split) -> TokenRows:
        if self.task.kind == "pair":
            ids, types = self.tokenizer.encode_pairs(cast(Any, split.texts), self.max_len)
            return TokenRows(ids, types, split.labels)
        return TokenRows(self.tokenizer.encode(cast(Any, split.texts), self.max_len), None, split.labels)

    def _cut_share(self, rows: TokenRows) -> float:
        full = [i for i, row in enumerate(rows.ids) if len(row) >= self.max_len]
        counts = self.tokenizer.count(cast(Any, [self.task.train.texts[i] for i in full])) if full else np.zeros(0)
        return float((counts > self.max_len).sum()) / len(rows.ids)
