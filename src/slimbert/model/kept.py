"""Which rows are kept, as a caller says it: from marks to places, and what is wrong with places.

An encoder takes `select` [B, K], the places of the rows that are wanted, equally many of every text. A task that wants
three rows of one text and five of the next fills up, and K is rounded up so that few shapes occur.
"""

import torch
from torch import Tensor

from ..config import HeadConfig
from ..errors import InputError
from .heads import PoolerConfig, reads_first_row

MULTIPLE = 8  # K is one of its multiples; ours, not tuned


def kept_places(keep: Tensor) -> tuple[Tensor, Tensor]:
    """(places [B, K], there [B, K] False where a text has fewer) of what is to be kept.

    keep: [B, S] True where a row is wanted, or places [B, K'] with -1 where a text has fewer. K is the largest number
    of any text, rounded up. What fills up is the place of a row that nobody asked for. Waits for a GPU: it looks.
    """
    if keep.dtype != torch.bool:
        return keep.clamp(min=0), keep >= 0
    most = max(1, int(keep.sum(dim=1).max()))
    count = min(keep.shape[1], -(-most // MULTIPLE) * MULTIPLE)
    places = keep.long().argsort(dim=1, descending=True, stable=True)[:, :count]  # the kept ones first, rising
    return places, keep.gather(1, places)


def check_select(select: Tensor, length: int) -> None:
    """Raises InputError where `select` [B, K] is no choice among `length` rows.

    Looks at the places on a CPU only, and not in a graph: elsewhere looking would wait for the device.
    """
    if select.dim() != 2 or not select.shape[1]:
        raise InputError("select", f"of shape {tuple(select.shape)}", "give [texts, kept rows], one row or more")
    if _elsewhere(select) or not len(select):
        return
    low, high = (int(end) for end in select.aminmax())
    if low < 0 or high >= length:
        wrong = low if low < 0 else high
        raise InputError("select", f"place {wrong} in rows of {length} tokens", f"give places from 0 to {length - 1}")


def check_head(select: Tensor, head: HeadConfig | None) -> None:
    """Raises InputError where `select` [B, K] leaves `head` without its rows. Looks where `check_select` does."""
    if getattr(head, "pool", None) == "mean":
        raise InputError("select", "the head takes the mean of all rows", "leave select out, or set pool: cls")
    if reads_first_row(head) and not _elsewhere(select) and bool(select[..., :1].any()):
        raise InputError("select", "the head reads row 0, which is not kept first", "begin each text's places with 0")


def check_packed(head: HeadConfig | None) -> None:
    """Raises InputError where `head` answers once for a row, and so cannot for a row of several documents."""
    if isinstance(head, PoolerConfig) or hasattr(head, "pool"):
        problem = f"the head ({getattr(head, 'kind', '')}) gives one answer for a row, a packed row has several texts"
        raise InputError("segments", problem, "give each text a row of its own")


def _elsewhere(select: Tensor) -> bool:
    return select.device.type != "cpu" or traced()


def traced() -> bool:
    """Whether a graph is being made, in which nothing may depend on the values of tensors."""
    return bool(torch.compiler.is_compiling() or torch.jit.is_tracing())  # type: ignore[attr-defined, no-untyped-call]
