"""The laws hold of every head: padding, packing, gate = cut, eager = compiled; and transformers loads each of them.

(That heads do not see padding stands in tests/contracts/test_parts.py, for every registered kind.)
"""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch.func import functional_call
from torch.nn import functional
from torch.testing import assert_close
from transformers import (
    AutoModel,
    AutoModelForMaskedLM,
    AutoModelForQuestionAnswering,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
)

import slimbert.hf  # noqa: F401 (registers the classes)
from slimbert.errors import InputError
from slimbert.model import Model, extract, save_model
from slimbert.model.heads import (
    EmbedConfig,
    MaskedLmConfig,
    PoolerConfig,
    ReplacedTokenConfig,
    SequenceConfig,
    SpanConfig,
    TokenConfig,
    pooled,
)
from slimbert.parts.attention import AttentionConfig
from slimbert.parts.convolution import ConvolutionConfig
from slimbert.parts.mlp import MlpConfig
from slimbert.parts.residual import LayerConfig
from slimbert.subnet import Plan, Subnet
from toys import Batch, assert_compiled_is_eager, configs, encoder_of, model_of, name, pack, some_units

CLOSE = {"rtol": 2e-5, "atol": 2e-5}  # float32, sums in another order
EVERY = pytest.mark.parametrize("head", configs("head"), ids=name)
OF_ROWS = (MaskedLmConfig, ReplacedTokenConfig, TokenConfig, SpanConfig)  # they answer for each token


def made(head: Any) -> Model:
    """One layer that attends, convolves and has neurons to cut, under a head."""
    mix = (AttentionConfig(heads=4, head_dim=8), ConvolutionConfig(kernel=3, group=8), MlpConfig(hidden=48))
    return model_of(encoder_of(LayerConfig(mix=mix)), head)


@pytest.fixture
def batch() -> Batch:
    return Batch()


@EVERY
def test_packed_rows_are_the_documents_alone_or_refused(head: Any, batch: Batch):
    """A head that answers once for a row cannot answer for a row of three documents, and says so."""
    model = made(head)
    ids, segments = pack(batch.ids)
    if isinstance(head, OF_ROWS):
        alone = model(batch.ids, mask=batch.mask)
        assert_close(model(ids, segments=segments), pack(alone)[0], **CLOSE)
        return
    with pytest.raises(InputError, match=r"segments: the head \(\w+\) gives one answer for a row"):
        model(ids, segments=segments)


@EVERY
def test_a_gate_of_zero_is_the_cut_model(head: Any, batch: Batch):
    model = made(head)
    plan = Plan(model.encoder, prefix="encoder.")
    kept = {key: some_units(axis, 5) for key, axis in plan.axes.items()}
    gates = {
        key: torch.zeros(axis.units).index_fill(0, torch.tensor(kept[key]), 1.0) for key, axis in plan.axes.items()
    }
    gated = functional_call(model, plan.gate(model.state_dict(), gates), (batch.ids,), {"mask": batch.mask})
    small = extract(model, Subnet.of(kept))
    assert sum(p.numel() for p in small.parameters()) < sum(p.numel() for p in model.parameters())
    assert_close(small(batch.ids, mask=batch.mask), gated, **CLOSE)


@EVERY
def test_compiled_forward_and_backward_are_the_eager_ones(head: Any, batch: Batch):
    assert_compiled_is_eager(made(head), batch.ids, mask=batch.mask)


LOADED = [
    (MaskedLmConfig(), AutoModelForMaskedLM),
    (SequenceConfig(labels=("a", "b")), AutoModelForSequenceClassification),
    (SequenceConfig(labels=("a", "b"), pool="mean", hidden=None), AutoModelForSequenceClassification),
    (SequenceConfig(labels=("a", "b"), answer="labels"), AutoModelForSequenceClassification),
    (SequenceConfig(labels=("a",), pool="mean", hidden=None, answer="labels"), AutoModelForSequenceClassification),
    (SequenceConfig(labels=("a",), answer="number", mean=3.0, deviation=2.0), AutoModelForSequenceClassification),
    (TokenConfig(labels=("O", "B-PER", "I-PER")), AutoModelForTokenClassification),
    (SpanConfig(), AutoModelForQuestionAnswering),
    (PoolerConfig(), AutoModel),
    (EmbedConfig(), AutoModel),
    (EmbedConfig(pool="cls", normalise=False), AutoModel),
    (ReplacedTokenConfig(), AutoModel),
]


@pytest.mark.parametrize(("head", "auto"), LOADED, ids=[name(head) for head, _ in LOADED])
def test_transformers_answers_alike(head: Any, auto: Any, batch: Batch, tmp_path: Path):
    ours = made(head)
    save_model(ours, tmp_path)
    with torch.no_grad():
        said = auto.from_pretrained(tmp_path)(batch.ids, attention_mask=batch.mask.long())
        expected = ours(batch.ids, mask=batch.mask)
        state = ours.encoder(batch.ids, mask=batch.mask).state
    if isinstance(head, SpanConfig):
        assert_close(torch.stack((said.start_logits, said.end_logits), dim=-1), expected, **CLOSE)
    elif isinstance(head, PoolerConfig):
        assert_close(said.pooler_output, expected, **CLOSE)
    elif isinstance(head, EmbedConfig):  # the states come from transformers, the pooling from the folder's modules.json
        vectors = pooled(state._replace(x=said.last_hidden_state), head.pool)
        assert_close(functional.normalize(vectors, dim=-1) if head.normalise else vectors, expected, **CLOSE)
    elif isinstance(head, ReplacedTokenConfig):
        assert_close(said.last_hidden_state, state.x, **CLOSE)
    else:
        assert_close(said.logits, expected, **CLOSE)
