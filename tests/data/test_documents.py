"""Packed rows: every document begins with [CLS], nothing else changes, and the places of these tokens are known."""

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from slimbert.data.documents import first_places, opened

CLS = 2
ROWS = st.lists(st.lists(st.booleans(), min_size=11, max_size=11), min_size=1, max_size=4)


def packed(begins: list[list[bool]]) -> tuple[Tensor, Tensor]:
    """Rows [B, 12] of which `begins` says where, behind [CLS], a document starts; their numbers."""
    starts = torch.tensor(begins)
    starts = torch.cat((torch.zeros(len(starts), 1, dtype=torch.bool), starts), dim=1)
    starts[:, 1] = False  # one that begins right behind [CLS] is number 0
    rows = torch.randint(5, 90, starts.shape, generator=torch.Generator().manual_seed(0))
    rows[:, 0] = CLS
    return rows, starts.long().cumsum(dim=1)


@given(begins=ROWS)
def test_every_document_gets_its_own_cls(begins: list[list[bool]]):
    rows, segments = packed(begins)
    made, numbers = opened(rows, segments, cls=CLS)
    assert made.shape == numbers.shape == rows.shape
    for row, own, new, found in zip(rows.tolist(), segments.tolist(), made.tolist(), numbers.tolist(), strict=True):
        wanted: list[tuple[int, int]] = []
        for token, number in zip(row, own, strict=True):
            if wanted and number != wanted[-1][1]:
                wanted.append((CLS, number))
            wanted.append((token, number))
        assert list(zip(new, found, strict=True)) == wanted[:12]


@given(begins=ROWS, count=st.integers(1, 12))
def test_the_places_of_first_tokens(begins: list[list[bool]], count: int):
    made, numbers = opened(*packed(begins), cls=CLS)
    places = first_places(numbers, count)
    assert places.shape == (len(made), count)
    assert (made.gather(1, places) == CLS).all()
    for row, own in zip(numbers.tolist(), places.tolist(), strict=True):
        starts = [place for place, number in enumerate(row) if not place or number != row[place - 1]]
        assert own == (starts + [0] * count)[:count]


def test_one_document_stays_as_it_is():
    rows, segments = packed([[False] * 11])
    made, numbers = opened(rows, segments, cls=CLS)
    np.testing.assert_array_equal(made, rows)
    np.testing.assert_array_equal(numbers, segments)
    assert first_places(numbers, 3).tolist() == [[0, 0, 0]]
