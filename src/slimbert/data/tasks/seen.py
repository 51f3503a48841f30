"""Which texts a run was trained on, 8 bytes of hash each: enough to say of other data that some rows are known to it.

Two different texts share a hash once in 2^64 / (N M) pairs of N and M texts: it does not happen.
"""

import hashlib
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...atomic import write_atomically
from ...errors import InputError
from ..squad import Question
from ..tagging import Tagged, whole

FILE = "trained_on.npy"
Hashes = NDArray[np.uint64]


def text_hashes(texts: Sequence[Any]) -> Hashes:
    """[N] of texts, of texts that stand in one row, of words, of questions with their context. Labels do not count."""
    return np.array([_hash(text) for text in texts], dtype=np.uint64)


def write_trained_on(texts: Sequence[Any], folder: Path) -> None:
    """The hashes of the training texts, each once, into a run folder."""
    content = io.BytesIO()
    np.save(content, np.unique(text_hashes(texts)), allow_pickle=False)
    write_atomically(folder / FILE, content.getvalue())


def count_trained_on(texts: Sequence[Any], folder: str | Path) -> int | None:
    """How many of the texts the run in `folder` was trained on; None where it does not say."""
    path = Path(folder) / FILE
    if not path.is_file():
        return None
    try:
        known = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise InputError(path, f"cannot be read ({error})"[:200], "remove it, or fine-tune again") from error
    return int(np.isin(text_hashes(texts), known).sum())


def _hash(text: Any) -> int:
    parts: tuple[str, ...]
    if isinstance(text, Tagged):
        parts = whole(text).words
    elif isinstance(text, Question):
        parts = (text.question, text.context)
    else:
        parts = (text,) if isinstance(text, str) else tuple(text)[:2]  # a negative is not read again
    digest = hashlib.blake2b(digest_size=8)
    for part in parts:
        content = part.encode(errors="surrogatepass")
        digest.update(len(content).to_bytes(8, "little") + content)
    return int.from_bytes(digest.digest(), "little")
