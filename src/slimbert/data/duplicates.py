"""Near-duplicates among short texts, found by MinHash.

The share of equal values in two MinHash signatures estimates the Jaccard similarity of the texts' word triples (Broder
1997). Texts that agree on all the values of one band are compared; those that agree on ALIKE of all values are linked,
and links are followed: a cluster is a connected component (Leskovec, Rajaraman, Ullman, Mining of Massive Datasets,
chapter 3).
"""

import re
from collections.abc import Sequence
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

VALUES, BAND = 64, 4  # 16 bands of 4 values: of pairs with similarity 0.7 all but 1% are compared, with 0.5 all but 36%
ALIKE = 0.5
_ODD = np.uint64(0x9E3779B97F4A7C15)  # 2^64 / golden ratio: Fibonacci hashing


def clusters(texts: Sequence[str]) -> NDArray[np.int64]:
    """[N] a number per text, equal for near-duplicates: the place of the first text of its cluster."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    if not texts:
        return np.zeros(0, dtype=np.int64)
    signatures = _signatures(texts)
    links = [_links(signatures, start) for start in range(0, VALUES, BAND)]
    left, right = np.concatenate(links, axis=1)
    graph = coo_array((np.ones(len(left), dtype=bool), (left, right)), shape=(len(texts), len(texts)))
    _, number = connected_components(graph, directed=False)
    _, first = np.unique(number, return_index=True)
    return first[number]


def similarity(one: str, other: str) -> float:
    """The Jaccard similarity itself: of all word triples in either text, the share that both have."""
    left, right = _triples(one), _triples(other)
    return len(left & right) / len(left | right)


def _triples(text: str) -> set[tuple[str, str, str]]:
    words = _words(text)
    return set(zip(words, words[1:], words[2:]))


def _words(text: str) -> list[str]:
    """Words in lower case, at least three: a short text is one triple."""
    found = re.findall(r"\w+", text.lower())
    return found + [""] * (3 - len(found))


def _links(signatures: NDArray[np.uint64], start: int) -> NDArray[np.int64]:
    """[2, M] texts alike one before them with the same band; each is compared with the first that has the band."""
    band = np.ascontiguousarray(signatures[:, start : start + BAND])
    _, first, member = np.unique(band.view(f"V{BAND * 8}").ravel(), return_index=True, return_inverse=True)
    anchor = first[member]
    later = np.flatnonzero(anchor != np.arange(len(anchor)))
    alike = (signatures[later] == signatures[anchor[later]]).mean(axis=1) >= ALIKE
    return np.stack([anchor[later[alike]], later[alike]])


def _signatures(texts: Sequence[str]) -> NDArray[np.uint64]:
    """[N, VALUES]: the least hash over the word triples of each text, for VALUES hash functions."""
    known: dict[str, int] = {}
    words, sizes = [], np.zeros(len(texts), dtype=np.int64)
    for number, text in enumerate(texts):
        found = _words(text)
        words += [known.setdefault(word, len(known)) for word in found]
        sizes[number] = len(found)
    hashed = np.array([crc32(word.encode()) for word in known], dtype=np.uint64)[words] * _ODD
    triples = _mixed(hashed[:-2] + np.uint64(3) * hashed[1:-1] + np.uint64(5) * hashed[2:])
    starts = np.cumsum(sizes) - sizes
    inside = np.ones(len(hashed), dtype=bool)
    inside[np.concatenate([starts + sizes - 2, starts + sizes - 1])] = False  # triples that run into the next text
    triples = triples[inside[:-2]]
    starts = starts - 2 * np.arange(len(texts))
    keys = np.random.default_rng(0).integers(0, 2**63, VALUES, dtype=np.uint64)
    return np.stack([np.minimum.reduceat(_mixed(triples ^ key), starts) for key in keys], axis=1)


def _mixed(value: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Scrambled 64-bit numbers (two rounds of multiply and shift; the product wraps on purpose)."""
    value = (value ^ (value >> np.uint64(32))) * _ODD
    return (value ^ (value >> np.uint64(29))) * _ODD
