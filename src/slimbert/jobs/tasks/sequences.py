"""What the kinds of task share that answer once for a text or pair: rows, windows of long texts, the head."""

from collections.abc import Sequence
from typing import Any, cast

import numpy as np

from ...config import HeadConfig
from ...data.tokenizer import TextTokenizer
from ...errors import InputError
from ...model.heads import Answer, Pool, SequenceConfig
from ..settings import Settings
from .features import Features
from .kind import Description

OVERLAP = 0.25  # of a window with the next; ours, not tuned
MOST_WINDOWS = 16  # of one text; what lies behind is cut
CUT_SHARE = 0.05  # of the training texts longer than max_len: more of them, and long texts are read in windows


def rows_of(tokenizer: TextTokenizer, texts: Sequence[Any], description: Description) -> Features:
    """Texts or pairs as rows; long texts in windows where the description says so (pairs are always cut)."""
    if len(description.text_columns) == 2:
        ids, types = tokenizer.encode_pairs(cast(Sequence[tuple[str, str]], texts), description.max_len)
        return Features(ids, types, np.arange(len(ids)), together=True)
    if description.windows == "cut":
        ids = tokenizer.encode(texts, description.max_len)
        return Features(ids, None, np.arange(len(ids)), together=True)
    each = [windows(row, description.max_len) for row in tokenizer.encode(texts, _longest(description.max_len))]
    owner = np.repeat(np.arange(len(each)), [len(rows) for rows in each])
    return Features([row for rows in each for row in rows], None, owner, together=True)


def windows(ids: Any, max_len: int) -> list[Any]:
    """A row [S] with its special tokens at both ends, as rows of at most `max_len` that overlap, each with them."""
    if len(ids) <= max_len:
        return [ids]
    inner, room = ids[1:-1], max_len - 2
    step = max(1, room - int(room * OVERLAP))
    starts = list(range(0, len(inner) - room, step))
    starts.append(len(inner) - room)  # the last one ends where the text ends
    return [np.concatenate([ids[:1], inner[start : start + room], ids[-1:]]) for start in starts[:MOST_WINDOWS]]


def cut_share(tokenizer: TextTokenizer, texts: Sequence[Any], max_len: int) -> float:
    """The share of texts or pairs with more than `max_len` pieces."""
    sizes = [len("".join(text).encode()) for text in texts]  # of a text, or of both of a pair
    long = [text for text, size in zip(texts, sizes, strict=True) if size + 4 > max_len]  # a piece has a byte or more
    return float((tokenizer.count(long) > max_len).sum()) / len(texts) if long else 0.0


def chosen_windows(settings: Settings, cut_share: float) -> Any:
    """cut, mean or max; where the settings leave it open, by the share of texts that would be cut."""
    return ("mean" if cut_share > CUT_SHARE else "cut") if settings.windows == "auto" else settings.windows


def sequence_head(
    labels: tuple[str, ...], answer: Answer, settings: Settings, *, old: HeadConfig | None, narrows: bool
) -> SequenceConfig:
    """The head that is there where it has these labels; else one on the mean of the tokens (on the first token where
    the encoder narrows)."""
    pool = pool_of(settings, narrows=narrows)
    if isinstance(old, SequenceConfig) and not (narrows and old.pool == "mean"):
        asked = (labels, answer, settings.pool or old.pool, settings.hidden or old.hidden)
        if asked == (old.labels, old.answer, old.pool, old.hidden):
            return old
    return SequenceConfig(labels=labels, pool=pool, hidden=settings.hidden, answer=answer)


def pool_of(settings: Settings, *, narrows: bool) -> Pool:
    """What the settings say; else the mean of the tokens, or the first token where the encoder narrows.

    Raises InputError where the encoder narrows, and a mean would leave nothing to spare.
    """
    if settings.pool == "mean" and narrows:
        raise InputError("--set pool", "mean, but this encoder narrows to the first token", "leave it out, or give cls")
    chosen: Any = settings.pool or ("cls" if narrows else "mean")
    return chosen


def _longest(max_len: int) -> int:
    """Tokens that MOST_WINDOWS windows can hold."""
    return max_len * MOST_WINDOWS
