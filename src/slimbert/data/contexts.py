"""Questions with their contexts -> pieces with their places: the windows in which a span of the context is looked for.

[CLS] question [SEP] context [SEP], the context in windows that overlap: Devlin et al. 2018, arXiv:1810.04805, section
4.2 (the windows are in their code). Places are characters of the context as it was given, whatever the normaliser does.
"""

import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .alignment import AT_ONCE
from .frame import Frame, Ints, frame_of, room_in
from .tokenizer import TextTokenizer

_ATTACHED = ("Mn", "Mc", "Me", "Cf")  # marks and joiners: seen only together with the character before them


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
    distinct = {text: number for number, text in enumerate(dict.fromkeys(text for pair in pairs for text in pair))}
    encoded = list(_encoded(tokenizer, list(distinct)))
    made = []
    for row, (question, context) in enumerate(pairs):
        asked = encoded[distinct[question]][0]
        ids, offsets = encoded[distinct[context]]
        room = max_len - frame.size - min(len(asked), most)
        for first, last in _overlapping(len(ids), room, min(stride, room // 2)):
            window = _framed(asked[:most], ids[first:last], offsets[first:last], frame)
            made.append(PairWindow(row, *window, len(asked) > most))
    return made


def _overlapping(count: int, room: int, shared: int) -> list[tuple[int, int]]:
    """[first, last) pieces of each window."""
    firsts = range(0, max(1, count - shared), room - shared)
    return [(first, min(first + room, count)) for first in firsts]


def _framed(question: Ints, context: Ints, offsets: Ints, frame: Frame) -> tuple[Ints, Ints, Ints, NDArray[np.bool_]]:
    """(ids, types, offsets, context_mask) of one window."""
    parts = (frame.before, question, frame.between, context, frame.after)
    sizes = [len(part) for part in parts]
    places = np.pad(offsets, ((sum(sizes[:3]), sizes[4]), (0, 0)))
    mask = np.repeat(np.array([False, False, False, True, False]), sizes)
    return np.concatenate(parts), np.repeat(np.array(frame.types, np.int32), sizes), places, mask


def _encoded(tokenizer: TextTokenizer, texts: Sequence[str]) -> Iterator[tuple[Ints, Ints]]:
    """(ids, offsets) of each text."""
    for first in range(0, len(texts), AT_ONCE):
        some = texts[first : first + AT_ONCE]
        for text, one in zip(some, tokenizer.encodings(some)):
            yield np.array(one.ids, np.int32), _covering(text, np.array(one.offsets, np.int32).reshape(-1, 2))


def _covering(text: str, offsets: Ints) -> Ints:
    """Offsets without blanks at their ends, and with the marks behind a piece that the normaliser dropped.

    offsets: [S, 2]. Of e and a combining accent, a model without accents sees only e; who cuts the text at the end of
    that piece would lose the accent. A piece of nothing but blanks keeps its place.
    """
    blank = np.fromiter(map(str.isspace, text), bool, len(text))
    solid = np.flatnonzero(~blank)
    passed = np.concatenate([np.zeros(1, np.int64), np.cumsum(~blank)])  # visible characters before each place
    starts, ends = offsets[:, 0].copy(), offsets[:, 1].copy()
    seen = passed[ends] > passed[starts]
    starts[seen], ends[seen] = solid[passed[starts[seen]]], solid[passed[ends[seen]] - 1] + 1
    if not text.isascii():
        following = np.append(starts[1:], len(text))
        for piece in np.flatnonzero(seen & (ends < following)).tolist():
            while ends[piece] < following[piece] and unicodedata.category(text[ends[piece]]) in _ATTACHED:
                ends[piece] += 1
    return np.stack([starts, ends], axis=1)
