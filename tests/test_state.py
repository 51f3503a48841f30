"""Rows picked, and places within packed rows."""

import torch
from torch.testing import assert_close

from slimbert.state import pick, places
from toys import Batch


def test_places_restart_with_each_document():
    segments = torch.tensor([[0, 0, 0, 1, 2, 2, 2, 2], [4, 4, 4, 4, 4, 4, 4, 7]])
    assert places(segments, 8, segments.device).tolist() == [[0, 1, 2, 0, 0, 1, 2, 3], [0, 1, 2, 3, 4, 5, 6, 0]]
    assert places(None, 3, segments.device).tolist() == [[0, 1, 2]]


def test_pick_takes_the_rows_at_the_places():
    batch = Batch()
    rows = pick(batch.x, batch.select)
    for b, places_of_row in enumerate(batch.select.tolist()):
        assert_close(rows[b], batch.x[b][places_of_row], rtol=0, atol=0)


def test_pick_takes_any_trailing_shape():
    batch = Batch()
    assert_close(pick(batch.ids, batch.select), batch.ids.gather(1, batch.select))
    table = batch.x.unflatten(-1, (4, 8))
    assert_close(pick(table, batch.select).flatten(2), pick(batch.x, batch.select), rtol=0, atol=0)
