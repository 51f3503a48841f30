"""The similarity of two texts: a closed form, and its laws."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slimbert.data.duplicates import similarity

TEXT = st.lists(st.sampled_from(["one", "two", "Three", "four!", "-"]), max_size=8).map(" ".join)


@pytest.mark.parametrize(
    ("one", "other", "wanted"),
    [
        ("a b c d", "A, b; c d!", 1.0),
        ("a b c d", "a b c e", 1 / 3),  # abc in both; bcd, bce in one
        ("a b c d e", "a b c d", 2 / 3),
        ("good", "Good.", 1.0),
        ("good", "bad", 0.0),
        ("a b", "a b c", 0.0),
        ("", "!?", 1.0),  # neither has words
    ],
)
def test_similarity(one: str, other: str, wanted: float):
    assert similarity(one, other) == pytest.approx(wanted)


@given(TEXT, TEXT)
def test_similarity_is_symmetric_and_a_share(one: str, other: str):
    assert 0 <= similarity(one, other) == similarity(other, one) <= 1
    assert similarity(one, one.upper()) == 1
