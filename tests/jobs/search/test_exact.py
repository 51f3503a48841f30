"""Exact search is brute force: for any vectors, in blocks of any size, with ties, for k beyond N. Fusion by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from slimbert.jobs.search import exact
from slimbert.jobs.search.exact import best, nearest
from slimbert.jobs.search.fuse import fuse


def by_sorting(scores: np.ndarray, top: int) -> list[int]:
    """Places by falling score, of equal ones the first."""
    return sorted(range(len(scores)), key=lambda place: (-scores[place], place))[:top]


@given(
    seed=st.integers(0, 10_000),
    count=st.integers(1, 40),
    queries=st.integers(1, 7),
    top=st.integers(1, 50),
    block=st.integers(1, 12),
)
def test_blocks_find_what_sorting_finds(seed: int, count: int, queries: int, top: int, block: int):
    """Vectors of small whole numbers: products are exact in float32, and many of them are equal."""
    draw = np.random.default_rng(seed)
    vectors = draw.integers(-1, 2, size=(count, 3)).astype(np.float32)
    asked = draw.integers(-1, 2, size=(queries, 3)).astype(np.float32)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(exact, "BLOCK", block)
        patch.setattr(exact, "QUERIES", 2)
        found = nearest(vectors, asked, top=top)
    assert len(found) == queries
    for (numbers, scores), query in zip(found, asked, strict=True):
        products = vectors @ query
        assert numbers.tolist() == by_sorting(products, top)
        assert scores.tolist() == products[numbers].tolist()


def test_real_vectors(tmp_path):
    """Of length 1, from a memory map; 1e-6: sums in another order."""
    draw = np.random.default_rng(0)
    vectors = draw.normal(size=(1000, 48)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    np.save(tmp_path / "v.npy", vectors)
    asked = vectors[[3, 500, 999]] + 0.01 * draw.normal(size=(3, 48)).astype(np.float32)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(exact, "BLOCK", 128)
        found = nearest(np.load(tmp_path / "v.npy", mmap_mode="r"), asked, top=20)
    products = asked.astype(np.float64) @ vectors.astype(np.float64).T
    for row, (numbers, scores), first in zip(products, found, (3, 500, 999), strict=True):
        assert numbers.tolist() == np.argsort(-row, kind="stable")[:20].tolist()
        assert numbers[0] == first
        np.testing.assert_allclose(scores, row[numbers], atol=1e-6)


@given(st.lists(st.integers(-3, 3), max_size=30), st.integers(1, 35))
def test_best_is_a_stable_sort(values: list[int], top: int):
    assert best(np.array(values, np.float32), top).tolist() == by_sorting(np.array(values), top)


def test_fusion_by_hand():
    numbers, scores = fuse([np.array([7, 2, 5]), np.array([2, 9])], top=10)
    assert numbers.tolist() == [2, 7, 9, 5]
    expected = [1 / 62 + 1 / 61, 1 / 61, 1 / 62, 1 / 63]
    assert scores.tolist() == pytest.approx(expected, rel=1e-6)  # float32
    assert fuse([np.array([7, 2]), np.array([], np.int64)], top=1)[0].tolist() == [7]
    assert fuse([np.array([8]), np.array([3])], top=2)[0].tolist() == [3, 8]  # equal: the lower number


@given(st.permutations(range(8)), st.permutations(range(8)))
def test_fusion_knows_no_first_ranking(one: list[int], other: list[int]):
    pair = [np.array(one), np.array(other)]
    forward, backward = fuse(pair, top=8), fuse(pair[::-1], top=8)
    assert forward[0].tolist() == backward[0].tolist()
    assert sorted(forward[0].tolist()) == list(range(8))
    assert fuse([pair[0], pair[0]], top=8)[0].tolist() == one
