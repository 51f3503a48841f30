"""What layers, narrowing, norms, embeddings, positions and heads promise, whatever their kind."""

import dataclasses
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.testing import assert_close

from slimbert.errors import InputError
from slimbert.model.encoder import EncoderConfig
from slimbert.model.heads import MaskedLmConfig
from slimbert.model.model import ModelConfig, fresh
from slimbert.parts.attention import AttentionConfig
from slimbert.parts.initial import initialise_all
from slimbert.parts.linear import Fused, GroupedLinear
from slimbert.parts.mlp import MlpConfig
from slimbert.parts.narrow import NarrowConfig
from slimbert.parts.norm import RmsNormConfig
from slimbert.parts.residual import LayerConfig
from slimbert.state import Context, Mixed, State, pick
from toys import DIM, LENGTHS, VOCAB, Batch, configs, encoder_of, lively, model_of, name, output, pack

CLOSE = {"rtol": 1e-5, "atol": 1e-5}  # float32, sums in another order


@pytest.fixture
def batch() -> Batch:
    return Batch()


@pytest.mark.parametrize("wiring", ["post", "pre"])
@pytest.mark.parametrize("norm", configs("norm"), ids=name)
def test_a_residual_is_its_formula(wiring: Any, norm: Any, batch: Batch):
    layer = LayerConfig(mix=(AttentionConfig(heads=4, head_dim=8),), wiring=wiring, norm=norm)
    (residual,) = model_of(encoder_of(layer)).encoder.layers[0]
    state = State(batch.x, batch.mask)
    rows = residual.norm(batch.x) if wiring == "pre" else batch.x
    mixed = batch.x + output(residual.mixer(rows, Context(rows, batch.mask)))
    assert_close(residual(state).x, mixed if wiring == "pre" else residual.norm(mixed), rtol=0, atol=0)


@pytest.mark.parametrize("wiring", ["post", "pre"])
def test_narrowing_commutes_with_a_layer(wiring: Any, batch: Batch):
    """One layer after a narrowing gives the rows that it gives without: the memory is normalised as the rows are."""
    layer = LayerConfig(mix=(AttentionConfig(heads=4, head_dim=8),), wiring=wiring, norm=RmsNormConfig())
    step = model_of(encoder_of(layer)).encoder.layers[0]
    wide = State(batch.x, batch.mask, select=batch.select)
    assert_close(step(NarrowConfig().build(DIM)(wide)).x, pick(step(wide).x, batch.select), **CLOSE)


def test_what_a_mixer_says_beside_its_rows_travels_in_the_state(batch: Batch):
    class Talking(nn.Module):
        def forward(self, x: Tensor, ctx: Context) -> Mixed:
            return Mixed(x, losses=(x.sum(),), maps=(x.mean(dim=-1),))

    layer = LayerConfig(mix=(MlpConfig(hidden=8),)).build(DIM)
    layer[0].mixer = Talking()
    state = layer(layer(State(batch.x)))
    assert len(state.losses) == len(state.maps) == 2


def test_dropout_acts_on_the_branch_in_training_only(batch: Batch):
    layer = lively(LayerConfig(mix=(MlpConfig(hidden=8),), dropout=1.0, wiring="pre").build(DIM))
    assert_close(layer.train()(State(batch.x)).x, batch.x)
    assert (layer.eval()(State(batch.x)).x - batch.x).abs().max() > 0.1


@pytest.mark.parametrize("norm", configs("norm"), ids=name)
def test_norms_take_each_token_alone_and_start_as_the_identity(norm: Any, batch: Batch):
    module = norm.build(DIM)
    y = module(batch.x)
    assert_close(module(batch.x[:, 3:5]), y[:, 3:5], **CLOSE)
    assert_close(y.square().mean(dim=-1), torch.ones(3, 12), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("embedding", configs("embedding"), ids=name)
@pytest.mark.parametrize("width", [None, 8])
def test_embeddings_of_packed_rows_are_those_of_the_documents(embedding: Any, width: int | None, batch: Batch):
    encoder = encoder_of(MlpConfig(hidden=8), embedding=dataclasses.replace(embedding, width=width))
    module = model_of(encoder).encoder.embedding
    assert module.token.weight.shape == (VOCAB, width or DIM)
    alone = module(batch.ids)
    assert alone.shape == (3, 12, DIM)
    ids, segments = pack(batch.ids)
    assert_close(module(ids, None, segments), pack(alone)[0], **CLOSE)
    if embedding.types:
        zeros = torch.zeros_like(batch.ids)
        assert_close(module(batch.ids, zeros), alone, **CLOSE)
        assert (module(batch.ids, zeros + 1) - alone).abs().max() > 0.01


@pytest.mark.parametrize("head", configs("head"), ids=name)
def test_heads_do_not_see_padding(head: Any, batch: Batch):
    model = model_of(encoder_of(AttentionConfig(heads=4, head_dim=8)), head)
    padded = model(batch.ids, mask=batch.mask)
    for row, length in enumerate(LENGTHS):
        alone = model(batch.ids[row : row + 1, :length])
        answer = padded[row : row + 1, :length] if alone.dim() == 3 else padded[row : row + 1]
        assert_close(answer, alone, **CLOSE)


@pytest.mark.parametrize("head", configs("head"), ids=name)
def test_heads_built_on_meta_hold_no_garbage(head: Any):
    with torch.device("meta"):
        model = ModelConfig(encoder=encoder_of(MlpConfig(hidden=8)), head=head).build()
    model = model.to_empty(device="cpu")
    for tensor in (*model.parameters(), *model.buffers()):
        nn.init.constant_(tensor, float("nan"))
    model.reset_parameters(torch.Generator().manual_seed(0))
    assert all(t.isfinite().all() for t in (*model.parameters(), *model.buffers()))
    plain = ModelConfig(encoder=encoder_of(MlpConfig(hidden=8)), head=head).build()
    assert all(t.isfinite().all() for t in (*plain.parameters(), *plain.buffers()))


def test_a_tied_decoder_owns_no_copy():
    heads = (MaskedLmConfig(), MaskedLmConfig(tied=False))
    tied, free = (fresh(ModelConfig(encoder=encoder_of(MlpConfig(hidden=8)), head=head), 0) for head in heads)
    assert sum(p.numel() for p in free.parameters()) - sum(p.numel() for p in tied.parameters()) == VOCAB * DIM
    assert "head.decoder.weight" not in tied.state_dict()


def test_a_grouped_map_is_a_block_diagonal_one():
    grouped = GroupedLinear(12, 8, groups=4)
    initialise_all(grouped, 0.0)
    lively(grouped)
    x = torch.randn(2, 5, 12, generator=torch.Generator().manual_seed(0))
    dense = torch.block_diag(*grouped.weight)
    assert_close(grouped(x), x @ dense + grouped.bias, **CLOSE)


@pytest.mark.parametrize("bias", [True, False])
def test_some_of_several_fused_maps_are_those_of_all(bias: bool):
    fused = lively(Fused(6, (4, 3, 2), bias=bias))
    x = torch.randn(2, 5, 6, generator=torch.Generator().manual_seed(0))
    every = fused.maps(x)
    assert [part.shape[-1] for part in every] == [4, 3, 2]
    assert_close(fused.maps(x, 1, 3), every[1:], **CLOSE)
    assert_close(fused.maps(x, 0, 1), every[:1], **CLOSE)


ATTEND, MLP = AttentionConfig(heads=4, head_dim=8), MlpConfig(hidden=8)


@pytest.mark.parametrize(
    ("encoder", "message"),
    [
        (encoder_of(ATTEND, NarrowConfig(memory=False), ATTEND), r"layers\[2\]: reads other positions .*layers\[1\]"),
        (encoder_of(ATTEND, NarrowConfig(), ATTEND, NarrowConfig()), r"layers\[3\]: a second narrowing"),
        (encoder_of(), r"config\.encoder\.layers: empty"),
        (encoder_of(MlpConfig(hidden=9, groups=2)), r"layers\[0\]\.mix\[0\]\.groups: 2 groups do not divide 32 and 9"),
        (encoder_of(LayerConfig(mix=())), r"layers\[0\]\.mix: empty"),
        (encoder_of(LayerConfig(mix=(MLP,), dropout=1.5)), r"layers\[0\]\.dropout: 1.5 is not in 0 to 1"),
        (encoder_of(AttentionConfig(heads=4, head_dim=8, dropout=-1.0)), r"mix\[0\]\.dropout: -1.0 is not in 0 to 1"),
        (encoder_of(MLP, dim=0), r"dim: 0 is not in 1 to"),
        (encoder_of(MLP, init_std=-1.0), "init_std"),
    ],
)
def test_what_does_not_fit_across_parts_is_said(encoder: EncoderConfig, message: str):
    with pytest.raises(InputError, match=message):
        encoder.build()


@pytest.mark.parametrize("field", ["vocab", "width", "max_len", "types", "offset"])
@pytest.mark.parametrize("embedding", configs("embedding"), ids=name)
def test_impossible_tables_are_input_errors(embedding: Any, field: str):
    if not hasattr(embedding, field):
        pytest.skip(f"{embedding.kind} has no {field}")
    with pytest.raises(InputError, match=rf"config\.encoder\.embedding\.{field}: -1"):
        encoder_of(MLP, embedding=dataclasses.replace(embedding, **{field: -1})).check()
