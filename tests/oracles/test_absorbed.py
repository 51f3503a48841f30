"""Absorbed keys and values, and those of several layers in one product: the same function as the plain products."""

import dataclasses
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from slimbert.model.encoder import Encoder
from slimbert.model.model import Model
from slimbert.parts import absorbed
from slimbert.parts.attention import Attention, AttentionConfig
from slimbert.parts.core import Explicit, use_core
from slimbert.parts.embedding import AbsoluteConfig
from slimbert.parts.mixed import MixedAttention, MixedAttentionConfig
from slimbert.parts.mlp import MlpConfig
from slimbert.parts.narrow import NarrowConfig
from slimbert.parts.norm import LayerNormConfig
from slimbert.parts.position import AlibiConfig, RotaryConfig
from slimbert.parts.residual import LayerConfig
from slimbert.state import Context, Mixed, pick
from toys import VOCAB, Batch, encoder_of, mixer_of, model_of, name, output, pack

FORMS = [
    AttentionConfig(heads=4, head_dim=8),
    AttentionConfig(heads=1, head_dim=6, bias=False),
    AttentionConfig(heads=3, head_dim=8, position=AlibiConfig()),
    MixedAttentionConfig(heads=3, conv_heads=2, span_heads=4, head_dim=8, kernel=3),
    MixedAttentionConfig(heads=1, conv_heads=2, head_dim=6, bias=False, position=AlibiConfig()),
]
BOTH = pytest.mark.parametrize("config", [FORMS[0], FORMS[3]], ids=name)
EVERY = pytest.mark.parametrize("config", FORMS, ids=name)
EXACT = {"rtol": 1e-10, "atol": 1e-10}  # float64
CLOSE = {"rtol": 1e-5, "atol": 1e-5}  # float32


def attention(config: Any, *, double: bool = True) -> Attention | MixedAttention:
    mixer = mixer_of(config)
    assert isinstance(mixer, Attention | MixedAttention)
    return mixer.double() if double else mixer


def contexts(dtype: torch.dtype) -> list[tuple[Tensor, Context]]:
    """(rows, what they may read): unpadded, padded, one row a text, packed and padded."""
    batch = Batch()
    x, first = batch.x.to(dtype), torch.zeros(3, 1, dtype=torch.long)
    packed, segments = pack(x)
    there, index = torch.arange(26)[None] < 25, torch.tensor([[24, 0, 12, 11]])
    return [
        (pick(x, batch.select), Context(x, None, batch.select)),
        (pick(x, batch.select), Context(x, batch.mask, batch.select)),
        (pick(x, first), Context(x, batch.mask, first)),
        (pick(packed, index), Context(packed, there, index, segments=segments)),
    ]


@EVERY
@pytest.mark.parametrize("core", ["explicit", "sdpa"])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=["float64", "float32"])
def test_absorbed_is_direct(config: Any, core: Any, dtype: torch.dtype):
    mixer = attention(config, double=dtype == torch.float64)
    use_core(mixer, core)
    for rows, ctx in contexts(dtype):
        answers = []
        for mixer.absorb in (False, True):
            answers.append(output(mixer(rows, ctx)))
        assert_close(answers[1], answers[0], **(EXACT if dtype == torch.float64 else CLOSE))


@EVERY
def test_gradients_are_the_direct_ones(config: Any):
    mixer = attention(config)
    for rows, ctx in contexts(torch.float64):
        found = []
        for mixer.absorb in (False, True):
            mixer.zero_grad()
            kv = ctx.kv.clone().requires_grad_()
            output(mixer(rows, ctx._replace(kv=kv))).square().sum().backward()
            found.append([kv.grad, *(p.grad.clone() for p in mixer.parameters() if p.grad is not None)])
        assert_close(found[1], found[0], **EXACT)


@BOTH
def test_dropped_weights_are_those_of_the_direct_form(config: Any):
    """The same draws give the same answer: the bias of the values counts as often as weights were kept."""
    mixer = attention(dataclasses.replace(config, dropout=0.5)).train()
    use_core(mixer, "explicit")
    for rows, ctx in contexts(torch.float64):
        answers = []
        for mixer.absorb in (False, True):
            torch.manual_seed(3)
            answers.append(output(mixer(rows, ctx)))
        assert_close(answers[1], answers[0], **EXACT)


def test_dropping_changes_no_mean():
    """2,000 draws: within six standard errors of the answer without dropping."""
    mixer = attention(AttentionConfig(heads=4, head_dim=8, dropout=0.2))
    mixer.absorb = True
    rows, ctx = contexts(torch.float64)[1]
    with torch.no_grad():
        plain = output(mixer(rows, ctx))
        torch.manual_seed(0)
        mixer.train()
        draws = torch.stack([output(mixer(rows, ctx)) for _ in range(2000)])
    error = draws.std(dim=0) / 2000**0.5
    assert ((draws.mean(dim=0) - plain).abs() <= 6 * error).all()


@BOTH
def test_maps_are_the_direct_ones(config: Any):
    mixer = attention(config)
    use_core(mixer, Explicit(keep_maps=True))
    for rows, ctx in contexts(torch.float64):
        found = []
        for mixer.absorb in (False, True):
            answer = mixer(rows, ctx)
            assert isinstance(answer, Mixed)
            found.append(answer.maps[0])
        assert_close(found[1], found[0], **EXACT)
        assert_close(found[0].sum(dim=-1), torch.ones_like(found[0][..., 0]), **EXACT)


@BOTH
def test_bfloat16_stays(config: Any):
    mixer = attention(config, double=False).bfloat16()
    mixer.absorb = True
    rows, ctx = contexts(torch.bfloat16)[1]
    assert output(mixer(rows, ctx)).dtype == torch.bfloat16


def test_bfloat16_is_about_as_exact_as_the_direct_form():
    """Under autocast, against float32: products of width 32 instead of 8 are rounded, so three times the error is let
    pass."""
    mixer = attention(FORMS[0], double=False)
    rows, ctx = contexts(torch.float32)[1]
    mixer.absorb = False
    with torch.no_grad():
        plain = output(mixer(rows, ctx))
    errors = []
    for mixer.absorb in (False, True):
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
            errors.append(float((output(mixer(rows, ctx)).float() - plain).abs().mean()))
    assert 0 < errors[1] < 3 * errors[0]


@BOTH
def test_rotary_positions_are_never_absorbed(config: Any):
    """The keys are turned between their map and the score."""
    mixer = attention(dataclasses.replace(config, position=RotaryConfig()))
    rows, ctx = contexts(torch.float64)[1]
    plain = output(mixer(rows, ctx))
    mixer.absorb = True
    assert not mixer.absorbs(1, 1000)
    assert_close(output(mixer(rows, ctx)), plain, rtol=0, atol=0)


@BOTH
def test_an_exported_graph_has_one_form(config: Any, monkeypatch: pytest.MonkeyPatch):
    mixer = attention(config)
    assert mixer.absorbs(1, 1000)
    monkeypatch.setattr(torch.compiler, "is_exporting", lambda: True)
    assert not mixer.absorbs(1, 1000)


@pytest.mark.parametrize(("length", "most"), [(128, 45), (512, 61)])
def test_the_rule_counts_multiply_adds(length: int, most: int, monkeypatch: pytest.MonkeyPatch):
    """Of the base size: absorbing 8 m d^2 + 4 m n h d operations, projecting 4 n d^2 + 4 m d^2 + 4 m n d."""
    base: Any = {"length": length, "dim": 768, "heads": 12, "width": 768}
    monkeypatch.setattr(absorbed, "PRICE", 1.0)
    assert absorbed.pays(rows=most, **base)
    assert not absorbed.pays(rows=most + 1, **base)
    monkeypatch.setattr(absorbed, "PRICE", 2.0)
    assert not absorbed.pays(rows=most, **base)
    assert absorbed.pays(rows=1, **base)


def test_without_gradients_an_absorbed_product_has_another_price():
    """12 heads, 128 tokens, 32 rows: measured faster with gradients, and 1.5 times as slow without."""
    base: Any = {"rows": 32, "length": 128, "dim": 768, "heads": 12, "width": 768}
    assert absorbed.pays(**base)
    with torch.no_grad():
        assert not absorbed.pays(**base)


# keys and values of several layers in one product


def mixed_encoder() -> Model:
    """Behind the narrowing: with biases and without, the norm in front, a layer that mixes twice, a convolving one."""
    plain, bare = FORMS[0], AttentionConfig(heads=2, head_dim=8, bias=False)
    layers = (
        LayerConfig(mix=(plain, MlpConfig(hidden=48))),
        NarrowConfig(),
        LayerConfig(mix=(plain, MlpConfig(hidden=48))),
        LayerConfig(mix=(bare,)),
        LayerConfig(mix=(plain,), wiring="pre"),
        LayerConfig(
            mix=(FORMS[2], MlpConfig(hidden=48), AttentionConfig(heads=4, head_dim=8, position=RotaryConfig()))
        ),
        LayerConfig(mix=(FORMS[3],)),
    )
    table = AbsoluteConfig(vocab=VOCAB, width=16, max_len=16)
    return model_of(encoder_of(*layers, embedding=table, final_norm=LayerNormConfig())).double()


@pytest.mark.parametrize("select", [False, True], ids=["all", "kept"])
def test_one_product_for_all_layers_is_one_for_each(select: bool):
    model, batch = mixed_encoder(), Batch()
    places = batch.select if select else None
    for module in model.modules():
        if isinstance(module, Attention | MixedAttention):
            module.absorb = False
    names = set(model.state_dict())
    found: list[tuple[Tensor, dict[str, Tensor]]] = []
    for joins in (False, True):
        model.encoder.joins = joins
        model.zero_grad()
        x = model(batch.ids, mask=batch.mask, select=places)
        x.square().sum().backward()
        found.append((x.detach(), {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}))
    assert_close(found[1], found[0], **EXACT)
    assert set(model.state_dict()) == names


def test_one_product_is_captured_in_one_graph():
    torch.compiler.reset()
    model, batch = mixed_encoder(), Batch()
    for module in model.modules():
        if isinstance(module, Attention | MixedAttention):
            module.absorb = False
    with torch.no_grad():
        plain = model(batch.ids, mask=batch.mask, select=batch.select)
        model.encoder.joins = True
        compiled = torch.compile(model, backend="eager", fullgraph=True, dynamic=False)
        assert_close(compiled(batch.ids, mask=batch.mask, select=batch.select), plain, **EXACT)


def test_layers_with_the_norm_in_front_project_for_themselves():
    encoder: Encoder = mixed_encoder().encoder
    for module in encoder.modules():
        if isinstance(module, Attention | MixedAttention):
            module.absorb = False
    memory = torch.zeros(3, 12, 32, dtype=torch.float64)
    assert encoder._projected(memory, 4) == {}  # on a CPU, where nothing else is said
    encoder.joins = True
    asked = encoder._projected(memory, 4)
    assert {i: set(own) for i, own in asked.items()} == {2: {0}, 3: {0}, 5: {0, 2}, 6: {0}}
    assert [part.shape[-1] for part in asked[3][0]] == [16, 16]
    assert [part.shape[-1] for part in asked[6][0]] == [24, 24, 16]  # keys, values, those of the convolutions


@pytest.mark.parametrize("rows", [2, 5, 12])
@pytest.mark.parametrize("absorb", [False, True])
def test_mixed_attention_offers_what_it_makes_of_the_whole_memory(rows: int, absorb: bool):
    """Of few rows keys and values alone, or nothing; else also the values of its convolutions."""
    mixer = attention(FORMS[3])
    batch = Batch()
    index = torch.arange(rows).expand(3, -1)
    ctx = Context(batch.x.double(), batch.mask, index)
    mixer.absorb = absorb
    plain = output(mixer(pick(ctx.kv, index), ctx))
    reads = mixer.reads(rows, 12)
    few = rows <= 3
    if absorb and few:
        assert reads is None
        return
    assert reads is not None
    assert (reads.first, reads.last) == (3 if absorb else 1, 3 if few else 4)
    given = ctx._replace(projected=mixer.qkvu.maps(ctx.kv, reads.first, reads.last))
    assert_close(output(mixer(pick(ctx.kv, index), given)), plain, **EXACT)


def test_where_keys_are_absorbed_nothing_is_projected():
    encoder = mixed_encoder().encoder
    encoder.joins = True
    assert encoder._projected(torch.zeros(3, 500, 32, dtype=torch.float64), 1) == {}
