"""How long the texts are, beside the length that a model reads."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...data.encoding import DocumentEncoder
from ...data.tokenizer import TextTokenizer
from .findings import EXAMPLES, Finding, Severity
from .reading import Data, Part

MANY = 0.1  # of the rows: where more are longer, another length is worth a try
WINDOWS = "finetune reads these in overlapping windows: nothing is lost."
CUT = "finetune cuts these: raise its --set max_len, or put first what matters."
APART = "finetune cuts each text by itself, where it alone is longer than its --set max_len."
CHOSEN = "finetune reads these in overlapping windows where more than 5% of train are too long; fewer it cuts."
PORTION = 1 << 24  # bytes of text that are encoded at a time


class Lengths(NamedTuple):
    """Of the rows of a split, both texts of a pair together: percentiles, the longest, and those over the limit."""

    p50: int
    p90: int
    p99: int
    longest: int
    cut: int
    cut_share: float


def measured(part: Part, tokenizer: TextTokenizer | None) -> NDArray[np.int64]:
    """[N] tokens of each row with its special ones; words between blanks where there is no tokenizer."""
    if tokenizer is None:
        return np.add.reduce([_words(column) for column in part.texts])
    encode = DocumentEncoder(tokenizer)
    special = tokenizer.inner.num_special_tokens_to_add(len(part.texts) > 1)
    return np.add.reduce([_tokens(column, encode) for column in part.texts]) + special


def _words(texts: list[str | None]) -> NDArray[np.int64]:
    return np.array([len((text or "").split()) for text in texts], dtype=np.int64)


def _tokens(texts: list[str | None], encode: DocumentEncoder) -> NDArray[np.int64]:
    made = [np.zeros(0, dtype=np.int64)]
    held: list[bytes] = []
    size = 0
    for text in texts:
        held.append((text or "").encode())
        size += len(held[-1])
        if size > PORTION:
            made.append(_counted(held, encode))
            held, size = [], 0
    return np.concatenate([*made, _counted(held, encode)])


def _counted(texts: list[bytes], encode: DocumentEncoder) -> NDArray[np.int64]:
    if not texts:
        return np.zeros(0, dtype=np.int64)
    return encode(b"".join(texts), np.cumsum([len(text) for text in texts]).astype(np.int32))[1]


def summary(sizes: NDArray[np.int64], max_len: int) -> Lengths:
    """The percentiles of [N] lengths; each is the length of some row."""
    p50, p90, p99, longest = np.percentile(sizes, [50, 90, 99, 100], method="inverted_cdf").astype(int).tolist()
    cut = int((sizes > max_len).sum())
    return Lengths(p50, p90, p99, longest, cut, cut / len(sizes))


def lengths(
    data: Data, sizes: dict[str, NDArray[np.int64]], *, kind: str | None, unit: str, max_len: int
) -> Iterator[Finding]:
    """Rows over the limit in any split. sizes: split -> [N]; kind: of the task, None where fine-tuning refuses it."""
    over = {name: np.flatnonzero(found > max_len) for name, found in sizes.items()}
    count = sum(map(len, over.values()))
    if not count:
        return
    whole = kind == "qa" or data.train.labels.form in ("tags", "spans")
    severity: Severity = "warning" if count > MANY * len(data) and not whole else "note"
    remedy = WINDOWS if whole else APART if kind == "embedding" else CUT if len(data.text_columns) > 1 else CHOSEN
    if unit == "words":
        remedy += " Words were counted: give --tokenizer for tokens, which are more."
    examples = tuple((data.parts[name].seen(int(row)),) for name, rows in over.items() for row in rows[:EXAMPLES])
    title = f"longer than {max_len} {unit}"
    yield Finding("long", severity, title, count, count / len(data), remedy, examples[:EXAMPLES])
