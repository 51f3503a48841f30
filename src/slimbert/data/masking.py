"""Masked language modelling: which tokens are predicted, and what the model sees in their places.

Of the predicted places most show [MASK], some a random piece, the others the piece itself: 80%, 10%, 10% where nothing
else is said (Devlin et al. 2018, arXiv:1810.04805, section 3.1). Unlike there, every row predicts the same number of
places P = max(1, round(rate * S)), so that all shapes are static; where a row has fewer tokens, the places left over
have weight 0. No place is drawn twice, and special pieces are never predicted.
"""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from .tokenizer import Special

_PASSES = 4  # over the words of a row; each takes all that still fit in front of the first that does not


class Shown(NamedTuple):
    """Shares of the predicted places that show [MASK], or a random piece; the others show the piece itself."""

    mask: float = 0.8
    random: float = 0.1


class Pieces(Protocol):
    """What masking asks of a tokenizer (`TextTokenizer` has it)."""

    @property
    def special(self) -> Special: ...
    @property
    def special_ids(self) -> npt.NDArray[np.int32]: ...
    @property
    def vocab_size(self) -> int: ...
    @property
    def continues(self) -> npt.NDArray[np.bool_]: ...


class Masking:
    """Rows -> what the model sees, and what it must predict where; drawn anew at every call.

    whole_word: choose words instead of pieces. Words are taken in random order while they fit into P; only when none of
    the next ones fits is the last one cut, so P stays exact.
    """

    def __init__(self, rate: float, tokenizer: Pieces, *, whole_word: bool = False, shown: Shown = Shown()):
        if not 0 < rate < 1:
            raise ValueError(f"the masking rate must lie between 0 and 1, got {rate}")
        self.rate, self.whole_word, self.shown, self.mask_id = rate, whole_word, shown, tokenizer.special.mask
        special = torch.zeros(tokenizer.vocab_size, dtype=torch.bool)
        special[torch.from_numpy(tokenizer.special_ids).long()] = True
        self.ordinary = ~special  # [V]
        self.drawn = self.ordinary.nonzero().squeeze(1)  # what a random piece is drawn from
        self.starts = self.ordinary & ~torch.from_numpy(tokenizer.continues)  # [V]: begins a word

    def positions_per_row(self, seq_len: int) -> int:
        """P, the number of predicted places of a row of `seq_len` tokens."""
        return max(1, round(self.rate * seq_len))

    def __call__(self, rows: Tensor, *, generator: torch.Generator) -> dict[str, Tensor]:
        """rows [B, S] int64 -> input_ids [B, S], positions [B, P] rising, labels [B, P], weights [B, P] float32.

        All on the device of `rows`, which must be the generator's. Where the weight is 0, the position points at some
        special piece, which stays as it is.
        """
        device, count = rows.device, self.positions_per_row(rows.shape[1])
        ordinary = self.ordinary.to(device)[rows]
        scores = torch.rand(rows.shape, generator=generator, device=device)
        if self.whole_word:
            scores = _whole_words(scores, ordinary, self.starts.to(device)[rows], count)
        scores = scores.masked_fill(~ordinary, 3.0)  # above all others: chosen last
        positions = scores.topk(count, largest=False, sorted=False).indices.sort(dim=1).values
        labels = rows.gather(1, positions)
        real = ordinary.gather(1, positions)
        fate = torch.rand(labels.shape, generator=generator, device=device)
        random = torch.randint(len(self.drawn), labels.shape, generator=generator, device=device)
        shown = torch.where(fate < self.shown.mask + self.shown.random, self.drawn.to(device)[random], labels)
        shown = shown.masked_fill(fate < self.shown.mask, self.mask_id)
        seen = rows.scatter(1, positions, torch.where(real, shown, labels))
        return {"input_ids": seen, "positions": positions, "labels": labels, "weights": real.float()}


def _whole_words(scores: Tensor, ordinary: Tensor, starts: Tensor, count: int) -> Tensor:
    """[B, S] scores of which the `count` smallest are whole words, but for at most one.

    scores: uniform in [0, 1). A taken word scores below 0, an untaken one between 1 and 2, equal for its pieces but for
    their order in the row.
    """
    length = scores.shape[1]
    after_special = torch.ones_like(ordinary)
    after_special[:, 1:] = ~ordinary[:, :-1]
    starts = ordinary & (starts | after_special)
    word = starts.cumsum(1).sub_(1).clamp_(min=0)  # [B, S] number of the word of each piece
    sizes = torch.zeros_like(word).scatter_add_(1, word, ordinary.long())  # [B, W = S], 0 where there is no word
    order = scores.masked_fill(sizes == 0, 2.0).argsort(dim=1)  # words in random order
    sizes_drawn = sizes.gather(1, order)
    taken = torch.zeros_like(ordinary)
    left = torch.full_like(word[:, :1], count)
    for _ in range(_PASSES):
        open_sizes = sizes_drawn.masked_fill(taken | (sizes_drawn > left), 0)
        now = (open_sizes > 0) & (open_sizes.cumsum(1) <= left)
        taken = taken | now
        left = left - (open_sizes * now).sum(1, keepdim=True)
    rank = torch.arange(length, device=scores.device, dtype=scores.dtype) / length  # [S], by place in the random order
    drawn = torch.where(taken, rank - 1, rank + 1)
    per_word = torch.empty_like(scores).scatter_(1, order, drawn)
    return per_word.gather(1, word) + rank / (2 * length)


def pad(arrays: Sequence[npt.NDArray[np.integer]], value: int, *, multiple: int = 8) -> Tensor:
    """[B, S] int64 of B arrays, filled up with `value` to the longest one, rounded up to a multiple of `multiple`."""
    longest = max((len(one) for one in arrays), default=0)
    width = max(multiple, -(-longest // multiple) * multiple)
    made = np.full((len(arrays), width), value, np.int64)
    for row, one in zip(made, arrays):
        row[: len(one)] = one
    return torch.from_numpy(made)
