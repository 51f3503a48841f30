"""Words -> pieces, and back: which piece begins which word, in windows where a sentence is longer than the model takes.

Windows overlap, and a word is answered for by the one in which it has most context: the smaller of the numbers of words
beside it there, as the code of Devlin et al. 2018, arXiv:1810.04805, does for SQuAD (the paper does not say it). Ours
differs in that an end of the text itself takes no context away.

Vocabularies that write the blank in front of a word into its first piece (byte-level BPE) see every word of a list with
that blank, the first one too: the same as `add_prefix_space=True` of transformers.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import tokenizers
from numpy.typing import NDArray

from .frame import Frame, Ints, frame_of, room_in
from .tokenizer import TextTokenizer

AT_ONCE = 1024  # texts encoded at a time: an Encoding of the library is many times larger than its ids
_NO_WORD = -1
_Bounds = tuple[int, int]  # [first, last) words


@dataclass(frozen=True, eq=False)
class WordPieces:
    """One window of a row of words. ids, word: [S], word being the number of each piece's word, -1 for special ones.

    owned: [first, end) words that this window answers for; first_pieces: [end - first] where they begin in the window.
    """

    row: int
    ids: Ints
    word: Ints
    owned: _Bounds
    first_pieces: Ints


def encode_words(
    tokenizer: TextTokenizer, rows: Sequence[Sequence[str]], *, max_len: int, stride: int = 0
) -> list[WordPieces]:
    """Windows of at most `max_len` pieces, in order; every row has one, every word exactly one that owns it.

    stride: words that neighbouring windows share (fewer where they would not fit). A word of which the normaliser
    leaves nothing is the unknown piece; one that is longer than a whole window keeps as many pieces as fit.
    """
    frame = frame_of(tokenizer, pair=False)
    room = room_in(frame, max_len, stride)
    return [
        window
        for row, (ids, word, count) in enumerate(_encoded(tokenizer, rows))
        for window in _windows(row, ids, word, count, frame, room, stride)
    ]


def _encoded(tokenizer: TextTokenizer, rows: Sequence[Sequence[str]]) -> Iterator[tuple[Ints, Ints, int]]:
    """(ids, word number of each, number of words) of each row, nothing cut; every word has a piece."""
    blank = _wants_blank(tokenizer.inner)
    for first in range(0, len(rows), AT_ONCE):
        some = [
            [f" {word}" if blank and word and word[0] != " " else word for word in row]
            for row in rows[first : first + AT_ONCE]
        ]
        for row, one in zip(some, tokenizer.encodings(some, words=True)):
            ids, word = np.array(one.ids, np.int32), np.array(one.word_ids, np.int32)
            lost = np.flatnonzero(np.bincount(word, minlength=len(row)) == 0)
            if len(lost):
                places = np.searchsorted(word, lost)
                ids, word = np.insert(ids, places, tokenizer.special.unk), np.insert(word, places, lost)
            yield ids, word, len(row)


def _wants_blank(inner: tokenizers.Tokenizer) -> bool:
    """Whether a first piece carries the blank in front of its word only where the text has that blank."""
    if inner.pre_tokenizer is None:
        return False
    pending: list[Any] = [json.loads(inner.pre_tokenizer.__getstate__())]  # the whole tokenizer takes 0.1 s
    while pending:
        step = pending.pop()
        pending += step.get("pretokenizers", [])
        if step.get("type") == "ByteLevel" and not step.get("add_prefix_space"):
            return True
        if step.get("type") == "Metaspace" and step.get("prepend_scheme") == "never":
            return True
    return False


def _windows(row: int, ids: Ints, word: Ints, count: int, frame: Frame, room: int, stride: int) -> Iterator[WordPieces]:
    starts = np.searchsorted(word, np.arange(count + 1))
    kept = np.arange(len(ids)) - starts[word] < room  # of a word longer than a window, the first pieces
    ids, word = ids[kept], word[kept]
    starts = np.searchsorted(word, np.arange(count + 1))
    windows = _bounds(starts, room, stride)
    before, after = (np.full(len(part), _NO_WORD, np.int32) for part in (frame.before, frame.after))
    for (first, last), (begin, end) in zip(windows, _owned(windows, count)):
        if begin == end and count:
            continue
        inside = slice(int(starts[first]), int(starts[last]))
        yield WordPieces(
            row,
            np.concatenate([frame.before, ids[inside], frame.after]),
            np.concatenate([before, word[inside], after]),
            (begin, end),
            (starts[begin:end] - starts[first] + len(before)).astype(np.int32),
        )


def _bounds(starts: NDArray[np.intp], room: int, stride: int) -> list[_Bounds]:
    """Words of each window. starts: [N + 1] first piece of each word; no word is longer than `room`."""
    count = len(starts) - 1
    first, made = 0, []
    while True:
        last = int(np.searchsorted(starts, starts[first] + room, side="right")) - 1
        made.append((first, last))
        if last == count:
            return made
        earliest = int(np.searchsorted(starts, starts[last + 1] - room))  # from there on word `last` fits as well
        first = max(first + 1, last - stride, earliest)


def _owned(windows: Sequence[_Bounds], count: int) -> list[_Bounds]:
    """Words of each window, none twice: those that have most context in it; the earlier one of equals."""
    if len(windows) == 1:
        return [(0, count)]
    most = np.full(count, -1)
    owner = np.zeros(count, np.int64)
    for number, (first, last) in enumerate(windows):
        inside = np.arange(first, last)
        left = inside - first if first else np.full(last - first, count)
        right = last - 1 - inside if last < count else np.full(last - first, count)
        context = np.minimum(left, right)
        better = inside[context > most[first:last]]
        most[better], owner[better] = context[better - first], number
    # Both bounds of windows rise, so that of two windows the later one owns the later words: owners rise.
    return list(pairwise(np.searchsorted(owner, np.arange(len(windows) + 1)).tolist()))
