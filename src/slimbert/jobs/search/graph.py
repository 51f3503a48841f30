"""Approximate nearest neighbours for millions of vectors: a graph of small worlds, by the library hnswlib.

Malkov and Yashunin 2016, arXiv:1603.09320. The graph proposes, the exact vectors give the scores. Several threads build
it, so two builds may differ; the whole of it stands in memory.
"""

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import InputError
from .exact import Ranked

LINKS, BUILD_WIDTH, SEARCH_WIDTH = 16, 200, 128  # M and both ef; the first two are hnswlib's own defaults
PORTION = 1 << 14  # vectors added at a time


def require() -> None:
    """InputError where hnswlib is not installed."""
    if find_spec("hnswlib") is None:
        problem = "approximate search needs an extra that is not installed"
        raise InputError("hnswlib", problem, 'pip install "slimbert[search-ann]"')


def build_graph(vectors: NDArray[np.float32], path: Path, *, threads: int) -> None:
    """Write the graph of the vectors [N, dim], each of length 1, to `path`."""
    import hnswlib

    graph: Any = hnswlib.Index(space="ip", dim=vectors.shape[1])
    graph.init_index(max_elements=len(vectors), M=LINKS, ef_construction=BUILD_WIDTH)
    for first in range(0, len(vectors), PORTION):
        block = np.asarray(vectors[first : first + PORTION])
        graph.add_items(block, np.arange(first, first + len(block)), num_threads=threads)
    graph.save_index(str(path))


class Graph:
    """A saved graph beside the vectors it was built from."""

    def __init__(self, path: Path, vectors: NDArray[np.float32]) -> None:
        require()
        import hnswlib

        self._vectors = vectors
        self._graph: Any = hnswlib.Index(space="ip", dim=vectors.shape[1])
        try:
            self._graph.load_index(str(path))
        except RuntimeError as error:
            raise InputError(path, f"no sound graph ({error})"[:200], "build the index again") from error

    def search(self, queries: NDArray[np.float32], *, top: int) -> list[Ranked]:
        """queries [Q, dim] -> for each about the `top` nearest, with exact scores."""
        top = min(top, len(self._vectors))
        self._graph.set_ef(max(SEARCH_WIDTH, 2 * top))
        numbers, _ = self._graph.knn_query(queries, k=top)
        found = []
        for query, row in zip(queries, np.sort(numbers.astype(np.int64), axis=1), strict=True):
            scores = self._vectors[row] @ query
            order = np.argsort(-scores, kind="stable")
            found.append((row[order], scores[order]))
        return found
