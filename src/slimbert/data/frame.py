"""The special pieces that a tokenizer puts around one text or two, found by asking it: [CLS] a [SEP] b [SEP]."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from .tokenizer import TextTokenizer

Ints = NDArray[np.int32]


class Frame(NamedTuple):
    """Special pieces before the first text, between the two and behind, and the types of all five parts."""

    before: Ints
    between: Ints
    after: Ints
    types: tuple[int, int, int, int, int]  # before, first text, between, second text, after

    @property
    def size(self) -> int:
        """Special pieces in all."""
        return len(self.before) + len(self.between) + len(self.after)


def frame_of(tokenizer: TextTokenizer, *, pair: bool) -> Frame:
    """Around one text (`between` is empty then), or around two."""
    probe = tokenizer.pieces[tokenizer.special.unk]  # a text that has a piece in every vocabulary
    one = tokenizer.encodings([(probe, probe) if pair else probe], special=True)[0]
    ids, types = np.array(one.ids, np.int32), [*one.type_ids, 0]
    side = [-1 if number is None else number for number in one.sequence_ids]
    first, behind = side.index(0), len(side) - side[::-1].index(0)
    second, end = (side.index(1), len(side) - side[::-1].index(1)) if pair else (behind, behind)
    kinds = (types[0], types[first], types[behind], types[second], types[end])
    return Frame(ids[:first], ids[behind:second], ids[end:], kinds)


def room_in(frame: Frame, max_len: int, stride: int) -> int:
    """Pieces of `max_len` that are left for text. InputError where none is, or for a negative stride."""
    if max_len <= frame.size:
        problem = f"a text gets {max_len} pieces, and {frame.size} of them are special"
        raise InputError("max_len", problem, "allow more, commonly 128 to 512")
    if stride < 0:
        raise InputError("stride", f"{stride} is negative", "give the number of words or pieces that windows share")
    return max_len - frame.size
