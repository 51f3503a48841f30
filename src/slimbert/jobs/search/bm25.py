"""BM25 beside the vectors: words that query and text share, weighed by how rare they are, by the library bm25s.

score(q, d) = sum over the words w of q of idf(w) tf / (tf + k1 (1 - b + b |d| / mean |d|)),
idf(w) = ln(1 + (N - n(w) + 1/2) / (n(w) + 1/2)), k1 = 1.5, b = 0.75: Lucene's form with the defaults of bm25s
(Lù 2024, arXiv:2407.03618, section 2.1). Words are not stemmed and none is left out: the language is not known.
"""

import re
import unicodedata
from array import array
from collections.abc import Iterable, Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...atomic import sync
from ...errors import InputError
from .exact import Ranked, best

K1, B = 1.5, 0.75
_SINGLE = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"  # kana and Han: written without blanks
_WORD = re.compile(rf"[{_SINGLE}]|[^\W{_SINGLE}]+")


def words(text: str) -> list[str]:
    """The words of a text, in lower case and compatible form (NFKC); a Chinese or Japanese sign is a word."""
    return _WORD.findall(unicodedata.normalize("NFKC", text).casefold())


def installed() -> bool:
    """Whether bm25s is there."""
    return find_spec("bm25s") is not None


def require() -> None:
    """InputError where bm25s is not installed."""
    if not installed():
        raise InputError("bm25s", "search needs an extra that is not installed", 'pip install "slimbert[search]"')


class _Counted:
    """What bm25s indexes: `vocab`, and `ids`, a list of word numbers a text, made when asked for.

    In memory: 4 bytes a word, where a list of lists takes 8 and more. A text without a word holds the empty one.
    """

    def __init__(self, texts: Iterable[str]) -> None:
        self.vocab: dict[str, int] = {"": 0}
        self._flat, self._ends = array("i"), array("q", [0])
        for text in texts:
            for word in words(text) or [""]:
                self._flat.append(self.vocab.setdefault(word, len(self.vocab)))
            self._ends.append(len(self._flat))

    @property
    def ids(self) -> "_Counted":
        return self

    def __len__(self) -> int:
        return len(self._ends) - 1

    def __iter__(self) -> Iterator[list[int]]:
        return (self._flat[self._ends[i] : self._ends[i + 1]].tolist() for i in range(len(self)))


def counted(texts: Iterable[str]) -> Any:
    """The index of bm25s over the texts, in memory."""
    import bm25s

    index = bm25s.BM25(k1=K1, b=B, method="lucene", backend="numpy")
    index.index(_Counted(texts), show_progress=False)
    return index


def word_scores(index: Any, query: str) -> NDArray[np.float32]:
    """[N] the score of each text of an index of bm25s, 0 where it shares no word with the query."""
    found: NDArray[np.float32] = index.get_scores_from_ids(index.get_tokens_ids(words(query)))
    return found


def build_bm25(texts: Iterable[str], folder: Path) -> None:
    """Write the BM25 index of the texts into `folder`: numpy arrays without objects, and JSON.

    In memory: about 60 bytes for each different word of each text, so this, unlike the vectors, grows with the corpus.
    """
    counted(texts).save(str(folder))
    for path in folder.iterdir():
        sync(path)


class Bm25:
    """A saved BM25 index, its arrays mapped into memory."""

    def __init__(self, folder: Path) -> None:
        require()
        import bm25s

        try:
            self._index: Any = bm25s.BM25.load(str(folder), mmap=True, allow_pickle=False)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise InputError(folder, f"no sound BM25 index ({error})"[:200], "build the index again") from error

    def search(self, queries: Sequence[str], *, top: int) -> list[Ranked]:
        """For each query at most `top` passages that share a word with it. Time: the passages, once per query."""
        found = []
        for query in queries:
            scores = word_scores(self._index, query)
            places = best(scores, top)
            places = places[scores[places] > 0]
            found.append((places, scores[places].astype(np.float32)))
        return found
