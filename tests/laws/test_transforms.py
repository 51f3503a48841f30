"""Every Transform gives a Model that its own config rebuilds, and leaves its argument alone."""

from typing import Any

import pytest
import torch
from torch.testing import assert_close

from slimbert.model import extract, headless, skeleton
from slimbert.model.heads import MaskedLmConfig, ReplacedTokenConfig, SequenceConfig
from slimbert.model.model import Model, fill
from slimbert.model.transform import put_tokens_back, with_tokens
from slimbert.subnet import Subnet
from toys import Batch, model_of, toy_encoder

HEADS = pytest.mark.parametrize(
    "head",
    [None, MaskedLmConfig(), MaskedLmConfig(tied=False), ReplacedTokenConfig(), SequenceConfig(labels=("a", "b"))],
)
IDS = torch.tensor([5, 2, 39, 17, 8])
TRANSFORMS = {
    "extract": lambda model: extract(model, Subnet.of({"layers.0.0.conv_head": (1,)}, layers=(0, 3))),
    "headless": headless,
    "with_tokens": lambda model: with_tokens(model, IDS),
    "put_tokens_back": lambda model: put_tokens_back(with_tokens(model, IDS), model, IDS),
}


@HEADS
@pytest.mark.parametrize("transform", TRANSFORMS.values(), ids=TRANSFORMS)
def test_a_transformed_model_is_rebuilt_by_its_config(transform: Any, head: Any):
    model = model_of(toy_encoder(), head)
    before = {n: t.clone() for n, t in model.state_dict().items()}
    changed = transform(model)
    again = fill(skeleton(changed.config), {n: t.clone() for n, t in changed.state_dict().items()}).eval()
    ids = torch.tensor([[0, 3, 1, 4]])
    assert_close(again(ids), changed(ids), rtol=0, atol=0)
    with torch.no_grad():
        for parameter in changed.parameters():
            parameter.fill_(0.0)
    assert_close(dict(model.state_dict()), before, rtol=0, atol=0)


@HEADS
def test_a_model_of_fewer_tokens_computes_the_same(head: Any):
    model = model_of(toy_encoder(), head)
    small = with_tokens(model, IDS)
    few = torch.tensor([[0, 4, 1, 3, 2, 2], [1, 1, 0, 2, 4, 3]])
    answer = model(IDS[few])
    assert_close(small(few), answer[..., IDS] if isinstance(head, MaskedLmConfig) else answer, rtol=1e-5, atol=1e-5)


@HEADS
def test_tokens_put_back_are_the_whole_model(head: Any):
    model: Model = model_of(toy_encoder(), head)
    small = with_tokens(model, IDS)
    assert_close(dict(put_tokens_back(small, model, IDS).state_dict()), dict(model.state_dict()), rtol=0, atol=0)
    with torch.no_grad():
        small.encoder.embedding.token.weight.add_(1.0)
    table = put_tokens_back(small, model, IDS).encoder.embedding.token.weight
    moved = (table != model.encoder.embedding.token.weight).any(dim=1)
    assert sorted(moved.nonzero().flatten().tolist()) == sorted(IDS.tolist())
    batch = Batch()
    assert model(batch.ids, mask=batch.mask).isfinite().all()
