"""Packed rows of which every document begins with [CLS], as the texts of a task do.

A prepared row has one [CLS], in front. Where documents that share a row are not to see each other, one that begins
further in gets its own: the tokens behind move on, and as many as there are such documents fall off the end.

    [CLS] a b [SEP] c d [SEP] e f    ->    [CLS] a b [SEP] [CLS] c d [SEP]      with numbers 0 0 0 0 1 1 1 1
"""

import torch
from torch import Tensor


def opened(rows: Tensor, segments: Tensor, *, cls: int) -> tuple[Tensor, Tensor]:
    """(rows [B, S], the number of each token's document [B, S]) with `cls` before every document.

    rows: [B, S] ids; segments: [B, S] document numbers 0, 1, ... that never fall, as `Shards.segments` gives them.
    """
    length = rows.shape[1]
    places = torch.arange(length, device=rows.device) + segments  # so many documents have begun before or at a token
    there = torch.zeros(len(rows), 2 * length, dtype=torch.bool, device=rows.device).scatter_(1, places, True)
    made = torch.full(there.shape, cls, dtype=rows.dtype, device=rows.device).scatter_(1, places, rows)
    return made[:, :length], (~there[:, :length]).cumsum(dim=1)


def first_places(segments: Tensor, count: int) -> Tensor:
    """[B, count]: where the documents of each row [B, S] begin, rising; place 0 again where there are fewer."""
    starts = torch.ones_like(segments, dtype=torch.bool)
    starts[:, 1:] = segments[:, 1:] != segments[:, :-1]
    places = starts.long().argsort(dim=1, descending=True, stable=True)[:, :count]
    return places.masked_fill(~starts.gather(1, places), 0)
