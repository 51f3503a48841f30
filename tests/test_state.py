"""Rows picked and put back, and places within packed rows."""

import torch
from torch.testing import assert_close

from slimbert.state import pick, places, scatter
from toys import Batch


def test_places_restart_with_each_document():
    segments = torch.tensor([[0, 0, 0, 1, 2, 2, 2, 2], [4, 4, 4, 4, 4, 4, 4, 7]])
    assert places(segments, 8, segments.device).tolist() == [[0, 1, 2, 0, 0, 1, 2, 3], [0, 1, 2, 3, 4, 5, 6, 0]]
    assert places(None, 3, segments.device).tolist() == [[0, 1, 2]]


def test_pick_and_scatter_are_inverse():
    batch = Batch()
    rows = pick(batch.x, batch.select)
    assert_close(rows[1, 2], batch.x[1, 8], rtol=0, atol=0)
    assert_close(scatter(batch.x, batch.select, rows), batch.x, rtol=0, atol=0)
    assert_close(pick(scatter(batch.x, batch.select, -rows), batch.select), -rows, rtol=0, atol=0)
    assert scatter(batch.x, batch.select, rows.bfloat16()).dtype == torch.float32


def test_pick_takes_any_trailing_shape():
    batch = Batch()
    assert_close(pick(batch.ids, batch.select), batch.ids.gather(1, batch.select))
    table = batch.x.unflatten(-1, (4, 8))
    assert_close(pick(table, batch.select).flatten(2), pick(batch.x, batch.select), rtol=0, atol=0)
