"""Adaptive depth: what is left of a batch is what it was, whatever bounds a text, its documents and its padding."""

from typing import Any

import pytest
import torch
from torch.testing import assert_close

from laws.test_adaptive import CLOSE, ENCODERS, LABELS, LENGTH, ROWS, Texts, _StopLong, in_full, made, run
from slimbert.model.adaptive import Confident, Safe
from slimbert.model.exits import DactConfig
from slimbert.parts.mixed import MixedAttentionConfig
from slimbert.parts.mlp import MlpConfig
from slimbert.parts.residual import LayerConfig
from toys import encoder_of, model_of


def test_a_number_whose_depth_is_forced_is_what_was_said_so_far():
    """The middle of what it can still become is the middle of the range, whatever the text says."""
    model, texts = made("post-norm", answer="number", low=0.0, high=5.0), Texts()
    for unit in model.head.units:  # type: ignore[union-attr]
        torch.nn.init.constant_(unit.halt_bias, 6.0)
    adapted = run(model, texts, Safe(), max_depth=1)
    with torch.no_grad():
        state = model.encoder(texts.ids, mask=texts.mask, select=texts.first, trace="rows").trace[0]
        first = model.head.value(model.head.unit_answer(0, state).logits)  # type: ignore[union-attr, operator]
    assert_close(adapted.answers, first, **CLOSE)
    assert adapted.answers.std() > 0.01


def test_every_text_may_have_a_bound_of_its_own():
    model, texts = made("post-norm"), Texts()
    most = torch.arange(ROWS) % 4 + 1
    assert_close(run(model, texts, Confident(threshold=2.0), max_depth=most).depth, most)


def test_convolutions_that_read_padding_keep_it():
    """A batch is not cut to its longest text where cutting would change what the others say."""
    mix = MixedAttentionConfig(heads=2, head_dim=8, kernel=5, padding="published")
    encoder = encoder_of(*[LayerConfig(mix=(mix, MlpConfig(hidden=48)))] * 3)
    model, texts = model_of(encoder, DactConfig(labels=LABELS, units=3, dropout=0.0)), Texts()
    texts.mask[:] = torch.arange(LENGTH) < 4
    texts.mask[0] = True
    adapted = run(model, texts, _StopLong())
    assert [length for _, _, length in adapted.work] == [LENGTH] * 3
    assert_close(adapted.answers[1:].exp(), in_full(model, texts)[1:].exp(), **CLOSE)


@pytest.mark.parametrize("name", ["post-norm", "narrow"])
def test_documents_of_a_row_are_packed_with_it(name: str):
    """Each keeps to itself also in what is left of a batch."""
    assert ENCODERS[name].points() == 4
    model, texts = made(name), Texts()
    segments = (torch.arange(LENGTH) >= 2).long().expand(ROWS, -1).contiguous()
    with torch.no_grad():
        given: Any = {"mask": texts.mask, "select": texts.first, "trace": "rows"}
        full = model.head(model.encoder(texts.ids, segments=segments, **given).trace)  # type: ignore[misc]
        joined = model.head(model.encoder(texts.ids, **given).trace)  # type: ignore[misc]
    assert not torch.allclose(full, joined, atol=1e-3)
    rest = run(model, texts, _StopLong(), segments=segments)
    assert_close(rest.answers[1:].exp(), full[1:].exp(), **CLOSE)
    adapted = run(model, texts, segments=segments)
    assert (adapted.answers.argmax(-1) == full.argmax(-1)).all()
    assert len(adapted.depth.unique()) > 1
