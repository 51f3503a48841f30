"""Questions with their contexts -> pieces with their places: the windows in which a span of the context is looked for.

[CLS] question [SEP] context [SEP], the context in windows that overlap: Devlin et al. 2018, arXiv:1810.04805, section
4.2 (the windows are in their code). Places are characters of the context as it was given, whatever the normaliser does.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .alignment import AT_ONCE
from .frame import Frame, Ints, frame_of, room_in
from .tokenizer import TextTokenizer


@dataclass(frozen=True, eq=False)
class PairWindow:
    """A question with one window of its context. ids, types: [S].

    offsets: [S, 2] characters [start, end) of the context as it was given, 0, 0 outside the context; context_mask: [S],
    true on the pieces of the context; row: which pair; question_cut: whether the question was too long.
    """

    row: int
    ids: Ints
    types: Ints
    offsets: Ints
    context_mask: NDArray[np.bool_]
    question_cut: bool

    def locate(self, start: int, end: int) -> tuple[int, int] | None:
        """(first, last) piece of the characters [start, end) of the context; None unless the window holds them all."""
        inside = np.flatnonzero(self.context_mask)
        if not len(inside) or start < self.offsets[inside[0], 0] or end > self.offsets[inside[-1], 1]:
            return None
        met = inside[(self.offsets[inside, 1] > start) & (self.offsets[inside, 0] < end)]
        return (int(met[0]), int(met[-1])) if len(met) else None


def encode_with_offsets(
    tokenizer: TextTokenizer, pairs: Sequence[tuple[str, str]], *, max_len: int, stride: int = 0
) -> list[PairWindow]:
    """(question, context) -> windows of at most `max_len` pieces, in order. Every pair has one; only contexts are cut.

    stride: pieces that neighbouring windows share, at most half of what is left for the context. A question of more
    than max_len / 2 pieces is cut to that, and `question_cut` says so.
    """
    frame = frame_of(tokenizer, pair=True)
    most = max_len // 2
    room_in(frame, max_len - most, stride)
    asked = {text: ids for text, ids, _ in _encoded(tokenizer, [question for question, _ in pairs])}
    encoded = _encoded(tokenizer, [context for _, context in pairs])
    given = {text: (ids, _covering(text, offsets)) for text, ids, offsets in encoded}
    made = []
    for row, (question, context) in enumerate(pairs):
        ids, offsets = given[context]
        kept = asked[question][:most]
        room = max_len - frame.size - len(kept)
        for first, last in _overlapping(len(ids), room, min(stride, room // 2)):
            window = _framed(kept, ids[first:last], offsets[first:last], frame)
            made.append(PairWindow(row, *window, len(asked[question]) > most))
    return made


def _overlapping(count: int, room: int, shared: int) -> list[tuple[int, int]]:
    """[first, last) pieces of each window."""
    firsts = range(0, max(1, count - shared), room - shared)
    return [(first, min(first + room, count)) for first in firsts]


def _framed(question: Ints, context: Ints, offsets: Ints, frame: Frame) -> tuple[Ints, Ints, Ints, NDArray[np.bool_]]:
    """(ids, types, offsets, context_mask) of one window."""
    parts = (frame.before, question, frame.between, context, frame.after)
    sizes = [len(part) for part in parts]
    mask = np.repeat(np.array([False, False, False, True, False]), sizes)
    places = np.zeros((len(mask), 2), np.int32)
    places[mask] = offsets
    return np.concatenate(parts), np.repeat(np.array(frame.types, np.int32), sizes), places, mask


def _encoded(tokenizer: TextTokenizer, texts: Sequence[str]) -> Iterator[tuple[str, Ints, Ints]]:
    """(text, ids, offsets) of each text, those that are there several times only once."""
    distinct = list(dict.fromkeys(texts))
    for first in range(0, len(distinct), AT_ONCE):
        some = distinct[first : first + AT_ONCE]
        for text, one in zip(some, tokenizer.encodings(some)):
            yield text, np.array(one.ids, np.int32), np.array(one.offsets, np.int32).reshape(-1, 2)


def _covering(text: str, offsets: Ints) -> Ints:
    """Offsets without blanks at their ends, and with all that stands behind a piece and is in none.

    offsets: [S, 2]. Of e and a combining accent, a model without accents sees only e; who cuts the text at the end of
    that piece would lose the accent. A piece of nothing but blanks keeps its place.
    """
    blank = np.fromiter(map(str.isspace, text), bool, len(text))
    solid = np.flatnonzero(~blank)
    passed = np.concatenate([np.zeros(1, np.int64), np.cumsum(~blank)])  # visible characters before each place
    starts, ends = offsets[:, 0].copy(), offsets[:, 1].copy()
    seen = passed[ends] > passed[starts]
    starts[seen], ends[seen] = solid[passed[starts[seen]]], solid[passed[ends[seen]] - 1] + 1
    following = np.append(starts[1:], len(text))
    gaps = np.append(np.flatnonzero(blank), len(text))
    behind = np.minimum(following, gaps[np.searchsorted(gaps, ends)])
    ends = np.where(seen, np.maximum(ends, behind), ends).astype(np.int32)
    return np.column_stack([starts, ends])
