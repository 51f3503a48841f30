"""Sampler: every epoch is a permutation, the same for the same seed, whatever step one starts at."""

from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slimbert.data.sampler import Sampler, length_buckets, permuted, similar_rows, thrifty_parts


@settings(deadline=None)
@given(rows=st.integers(1, 300), batch=st.integers(1, 40), seed=st.integers(0, 2**31), first=st.integers(0, 3))
def test_every_epoch_has_every_row_once(rows: int, batch: int, seed: int, first: int) -> None:
    sampler = Sampler(rows, batch, seed=seed)
    stream = np.concatenate([sampler.batch(step) for step in range((first + 1) * rows // batch + 1)])
    epoch = stream[first * rows : (first + 1) * rows]
    assert sorted(epoch) == list(range(rows))
    assert all(len(sampler.batch(step)) == batch for step in (0, 1, 10**9))


def test_a_step_is_independent_of_the_steps_before_it() -> None:
    forward = [Sampler(1000, 64, seed=7).batch(step) for step in range(40)]
    for step in (39, 16, 0):
        assert np.array_equal(Sampler(1000, 64, seed=7).batch(step), forward[step])
    assert not np.array_equal(Sampler(1000, 64, seed=8).batch(0), forward[0])


def test_epochs_differ_and_places_are_spread_evenly() -> None:
    places = np.arange(1000)
    orders = np.stack([permuted(places, 1000, seed=1, epoch=epoch) for epoch in range(200)])
    assert len(np.unique(orders, axis=0)) == 200
    # The mean of 200 uniform draws from 0..999 has a standard deviation of 20.4; 1,000 of them stay within 5 of those.
    assert np.abs(orders.mean(0) - 499.5).max() < 5 * 20.4
    neighbours = np.corrcoef(orders[0, :-1], orders[0, 1:])[0, 1]
    assert abs(neighbours) < 0.15  # 5 standard deviations of 1 / sqrt(999)


def test_rows_and_a_batch_size_are_needed() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        Sampler(0, 4, seed=0)


@settings(deadline=None)
@given(lengths=st.lists(st.integers(1, 200), max_size=80), size=st.integers(1, 9), seed=st.integers(0, 99))
def test_buckets_hold_every_row_once(lengths: list[int], size: int, seed: int) -> None:
    array = np.array(lengths, np.int64)
    batches = length_buckets(array, size, seed=seed, epoch=0)
    assert sorted(np.concatenate([*batches, np.zeros(0, np.int64)])) == list(range(len(lengths)))
    assert all(len(batch) <= size for batch in batches)


def test_buckets_pad_little_and_change_with_the_epoch() -> None:
    lengths = np.random.default_rng(0).integers(5, 128, 2000)
    batches = length_buckets(lengths, 32, seed=3, epoch=0)
    padded = sum(int(lengths[batch].max()) * len(batch) for batch in batches)
    assert padded < 1.1 * lengths.sum()
    again = length_buckets(lengths, 32, seed=3, epoch=0)
    assert all(np.array_equal(a, b) for a, b in zip(batches, again))
    assert not np.array_equal(batches[0], length_buckets(lengths, 32, seed=3, epoch=1)[0])


def partitions(rows: list[int]) -> Iterator[list[list[int]]]:
    """All ways to part some rows."""
    if not rows:
        yield []
        return
    for rest in partitions(rows[1:]):
        yield [[rows[0]], *rest]
        for place, part in enumerate(rest):
            yield [*rest[:place], [rows[0], *part], *rest[place + 1 :]]


@settings(deadline=None)
@given(
    lengths=st.lists(st.integers(1, 40), min_size=1, max_size=6),
    most=st.none() | st.integers(1, 120),
    extra=st.integers(0, 60),
)
def test_no_other_parts_cost_less(lengths: list[int], most: int | None, extra: int) -> None:
    def cost(parts: list[list[int]]) -> float:
        tokens = [max(lengths[row] for row in part) * len(part) for part in parts]
        fits = all(most is None or len(part) == 1 or size <= most for part, size in zip(parts, tokens))
        return sum(tokens) + extra * len(parts) if fits else float("inf")

    made = thrifty_parts(np.array(lengths), max_tokens=most, pass_tokens=extra)
    assert sorted(np.concatenate(made)) == list(range(len(lengths)))
    assert cost([part.tolist() for part in made]) == min(map(cost, partitions(list(range(len(lengths))))))
    sizes = [lengths[row] for part in made for row in part[::-1]]
    assert sizes == sorted(sizes)  # the shortest part first, in each part the longest row


def test_short_rows_are_apart_from_long_ones() -> None:
    lengths = np.array([9, 130, 11, 150, 8, 140] * 8)
    few, whole = (thrifty_parts(lengths, max_tokens=None, pass_tokens=extra) for extra in (256, 8192))
    assert [len(part) for part in few] == [24, 24]
    assert [len(part) for part in whole] == [48]
    assert thrifty_parts(np.zeros(0, np.int64), max_tokens=8, pass_tokens=1) == []


@given(st.lists(st.integers(1, 500), max_size=60), st.integers(1, 16), st.integers(0, 2000))
def test_similar_rows_are_all_rows_without_dear_padding(lengths: list[int], most: int, extra: int):
    made = list(similar_rows(np.array(lengths, dtype=np.int64), most=most, pass_tokens=extra))
    assert sorted(row for part in made for row in part.tolist()) == list(range(len(lengths)))
    sizes = [[lengths[row] for row in part] for part in made]
    assert all(len(some) <= most and some == sorted(some, reverse=True) for some in sizes)
    assert [some[0] for some in sizes] == sorted((some[0] for some in sizes), reverse=True)
    spent = sum(len(some) * some[0] + extra for some in sizes)
    order = sorted(lengths, reverse=True)
    plain = [order[first : first + most] for first in range(0, len(order), most)]
    assert spent <= sum(len(some) * some[0] + extra for some in plain)
    assert extra or all(len(set(some)) == 1 for some in sizes)  # padding where it costs nothing to do without
