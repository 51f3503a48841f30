"""The laws on one encoder that is at once mixed, grouped, convolving, narrowed, gated, in both wirings."""

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.func import functional_call
from torch.testing import assert_close
from torch.utils.checkpoint import checkpoint

from slimbert.errors import InputError
from slimbert.model import extract, load_model, save_model
from slimbert.model.encoder import EncoderConfig
from slimbert.model.heads import MaskedLmConfig, ReplacedTokenConfig, SequenceConfig
from slimbert.model.model import Model
from slimbert.parts.attention import AttentionConfig
from slimbert.parts.mlp import GluConfig, MlpConfig
from slimbert.parts.narrow import NarrowConfig
from slimbert.parts.norm import RmsNormConfig
from slimbert.parts.position import AlibiConfig, RotaryConfig
from slimbert.parts.residual import LayerConfig
from slimbert.state import State, pick
from slimbert.subnet import Plan, Subnet, axes_of_encoder
from toys import LENGTHS, Batch, assert_compiled_is_eager, encoder_of, model_of, pack, some_units, toy_encoder

CLOSE = {"rtol": 2e-5, "atol": 2e-5}  # float32, five layers, sums in another order


def dense_encoder() -> EncoderConfig:
    """The toy encoder without its narrowing."""
    whole = toy_encoder()
    return dataclasses.replace(whole, layers=tuple(s for s in whole.layers if not isinstance(s, NarrowConfig)))


@pytest.fixture
def batch() -> Batch:
    return Batch()


@pytest.fixture
def model() -> Model:
    return model_of(toy_encoder())


@pytest.mark.parametrize("encoder", [toy_encoder(), dense_encoder()], ids=["narrowed", "dense"])
def test_padding_changes_nothing(encoder: EncoderConfig, batch: Batch):
    model = model_of(encoder)
    padded = model(batch.ids, mask=batch.mask)
    wider = model(torch.nn.functional.pad(batch.ids, (0, 3)), mask=torch.nn.functional.pad(batch.mask, (0, 3)))
    assert_close(wider[:, :12], padded, **CLOSE)
    for row, length in enumerate(LENGTHS):
        assert_close(padded[row : row + 1, :length], model(batch.ids[row : row + 1, :length]), **CLOSE)


def test_narrowing_is_picking(model: Model, batch: Batch):
    """The memory is frozen, so the rows that were kept are those of the run that keeps all."""
    narrowed = model.encoder(batch.ids, mask=batch.mask, select=batch.select).state
    everywhere = model.encoder(batch.ids, mask=batch.mask)
    assert_close(narrowed.x, pick(everywhere.state.x, batch.select), **CLOSE)
    assert narrowed.index is batch.select
    assert narrowed.mask is not None
    assert narrowed.mask.all()


@pytest.mark.parametrize("packed", [False, True], ids=["alone", "packed"])
def test_wanted_rows_spare_the_end_of_the_last_layer_exactly(batch: Batch, packed: bool):
    """Nothing narrows here: after the last token mixer only the wanted rows are computed, with the same answer."""
    model = model_of(dense_encoder())
    segments = torch.arange(12).div(5, rounding_mode="floor").expand(len(LENGTHS), -1) if packed else None
    everywhere = model(batch.ids, mask=batch.mask, segments=segments)
    wanted = model.encoder(batch.ids, mask=batch.mask, segments=segments, select=batch.select).state
    assert_close(wanted.x, pick(everywhere, batch.select), **CLOSE)
    assert wanted.index is batch.select
    traced = model.encoder(batch.ids, mask=batch.mask, segments=segments, select=batch.select, trace="states")
    assert_close(traced.state.x, wanted.x, **CLOSE)
    assert traced.trace[-1].x.shape[1] == 12


def test_context_first_narrowing_is_picking_too(batch: Batch):
    model = model_of(encoder_of(AttentionConfig(heads=4, head_dim=8), NarrowConfig(memory=False), MlpConfig(hidden=48)))
    narrowed = model(batch.ids, mask=batch.mask, select=batch.select)
    assert_close(narrowed, pick(model(batch.ids, mask=batch.mask), batch.select), **CLOSE)


@pytest.mark.parametrize("select", [False, True], ids=["all", "narrowed"])
def test_packed_rows_are_the_documents_alone(model: Model, batch: Batch, select: bool):
    """Rotary, ALiBi, absolute positions and convolutions, wide and narrowed, with padding at the end of the row."""
    ids, segments = pack(batch.ids)
    starts = torch.tensor([sum(LENGTHS[:i]) for i in range(3)])[:, None]
    places = (batch.select + starts).view(1, -1) if select else None
    ids, segments = (torch.nn.functional.pad(t, (0, 2), value=2) for t in (ids, segments))
    mask = torch.arange(28)[None] < 26
    alone = model(batch.ids, mask=batch.mask, select=batch.select if select else None)
    packed = model(ids, mask=mask, segments=segments, select=places)
    assert_close(packed if select else packed[:, :26], alone.view(1, 12, -1) if select else pack(alone)[0], **CLOSE)


def test_cut_gated_narrowed_and_packed_at_once(model: Model, batch: Batch):
    """Gates of zero, packed and narrowed = the extracted model, document by document."""
    plan = Plan(model.encoder, prefix="encoder.")
    kept = {key: some_units(axis, 11) for key, axis in plan.axes.items()}
    gates = {
        key: torch.zeros(axis.units).index_fill(0, torch.tensor(kept[key]), 1.0) for key, axis in plan.axes.items()
    }
    small = extract(model, Subnet.of(kept))
    ids, segments = pack(batch.ids)
    places = (batch.select + torch.tensor([[0], [12], [21]])).view(1, -1)
    gated = functional_call(
        model, plan.gate(model.state_dict(), gates), (ids,), {"segments": segments, "select": places}
    )
    assert_close(gated.view(3, 4, -1), small(batch.ids, mask=batch.mask, select=batch.select), **CLOSE)


def test_layers_are_dropped_and_renumbered(model: Model, batch: Batch):
    layers = (0, 2, 4)
    small = extract(model, Subnet.of({"layers.4.0.head": (2, 0), "layers.1.2.head": (0,)}, layers=layers))
    assert [step.kind for step in small.config.encoder.layers] == ["layer", "narrow", "layer"]
    assert small.config.encoder.layers[2].mix[0].heads == 2
    whole = extract(model, Subnet.of({"layers.4.0.head": (2, 0)}))
    state = State(whole.encoder.embedding(batch.ids), batch.mask, select=batch.select)
    for i in layers:
        state = whole.encoder.layers[i](state)
    assert_close(small(batch.ids, mask=batch.mask, select=batch.select), whole.encoder.norm(state.x), rtol=0, atol=0)


@pytest.mark.parametrize(
    ("subnet", "message"),
    [
        (Subnet.of({"layers.0.0.hidden": (0,)}), r"layers\.0\.0\.hidden: this encoder has no such axis"),
        (Subnet.of({"layers.0.0.head": ()}), "cannot keep units"),
        (Subnet.of({"layers.0.0.head": (0, 0)}), "each once"),
        (Subnet.of({"layers.0.0.head": (3,)}), r"layers\.0\.0\.head: cannot keep units \(3,\) of 3"),
        (Subnet.of({"layers.0.1.hidden": range(17)}), "keep equally many in each group"),
        (Subnet.of({}, layers=()), "layers: cannot keep"),
        (Subnet.of({}, layers=(0, 5)), r"layers: cannot keep \(0, 5\) of 5"),
        (Subnet.of({}, layers=(1, 1)), "each once"),
        (Subnet.of({}, layers=(-1,)), "layers: cannot keep"),
    ],
)
def test_what_cannot_be_kept_is_said(model: Model, subnet: Subnet, message: str):
    with pytest.raises(InputError, match=message):
        extract(model, subnet)


@pytest.mark.parametrize(
    "head",
    [None, MaskedLmConfig(), MaskedLmConfig(tied=False), ReplacedTokenConfig(), SequenceConfig(labels=("a", "b"))],
)
def test_a_cut_model_is_rebuilt_by_its_own_folder(head: Any, batch: Batch, tmp_path: Any):
    """Law 2: strict loading, equal output, difference 0."""
    whole = model_of(toy_encoder(), head)
    axes = axes_of_encoder(whole.config.encoder)
    for model in (
        whole,
        extract(whole, Subnet.of({k: some_units(a, 2) for k, a in axes.items()}, layers=(3, 0, 2, 4))),
    ):
        again = load_model(save_model(model, tmp_path / str(id(model))))
        assert again.config == model.config
        assert not again.training
        first = isinstance(head, SequenceConfig)  # it reads row 0 and no other
        kwargs = {"mask": batch.mask, "select": torch.zeros_like(batch.select) if first else batch.select}
        assert_close(again(batch.ids, **kwargs), model(batch.ids, **kwargs), rtol=0, atol=0)


def test_checkpointed_layers_give_the_plain_gradients(model: Model, batch: Batch):
    def gradients(run: Callable[[Any, State], State]) -> dict[str, Tensor]:
        model.zero_grad()
        state = State(model.encoder.embedding(batch.ids), batch.mask, select=batch.select)
        for step in model.encoder.layers:
            state = run(step, state)
        state.x.square().sum().backward()
        return {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}

    plain = gradients(lambda step, state: step(state))
    again = gradients(lambda step, state: checkpoint(step, state, use_reentrant=False))
    assert len(plain) == len(list(model.parameters())) - 2  # the final norm is not part of the fold
    assert_close(again, plain, rtol=0, atol=0)


def test_trace_holds_every_layer(model: Model, batch: Batch):
    """A narrowing is no trace point: it belongs to the layer after it."""
    encoded = model.encoder(batch.ids, mask=batch.mask, select=batch.select, trace="states")
    assert [state.x.shape[1] for state in encoded.trace] == [12, 12, 4, 4]
    assert len(encoded.trace) == model.config.encoder.points()
    assert_close(model.encoder.norm(encoded.trace[-1].x), encoded.state.x, rtol=0, atol=0)


def test_rows_of_the_trace_are_those_of_shorter_encoders(model: Model, batch: Batch):
    """What a head reads at a trace point is what an encoder that ends there gives, its final norm included."""
    rows = model.encoder(batch.ids, mask=batch.mask, select=batch.select, trace="rows").trace
    assert all(state.x.shape[1] == 4 for state in rows)
    everywhere = model.encoder(batch.ids, mask=batch.mask, select=batch.select, trace="states").trace
    for row, state in zip(rows, everywhere, strict=True):
        x = state.x if state.index is not None else pick(state.x, batch.select)
        assert_close(row.x, model.encoder.norm(x), **CLOSE)


def test_context_first_traces_every_mixer_after_the_narrowing(batch: Batch):
    attention, mlp = AttentionConfig(heads=4, head_dim=8), MlpConfig(hidden=48)
    steps = (LayerConfig(mix=(attention, mlp)), NarrowConfig(memory=False), LayerConfig(mix=(mlp, mlp)))
    model = model_of(encoder_of(*steps))
    trace = model.encoder(batch.ids, mask=batch.mask, select=batch.select, trace="rows").trace
    assert len(trace) == model.config.encoder.points() == 3
    assert_close(trace[-1].x, model(batch.ids, mask=batch.mask, select=batch.select), rtol=0, atol=0)


def test_compiled_forward_and_backward_are_the_eager_ones(model: Model, batch: Batch):
    assert_compiled_is_eager(model, batch.ids, mask=batch.mask, select=batch.select)


@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")  # torch's own, when Inductor is imported
def test_generated_code_computes_the_same(batch: Batch):
    """Inductor, on the smallest encoder that has rotary, ALiBi, groups, both feed-forward networks and a narrowing."""
    torch.compiler.reset()
    rotary = AttentionConfig(heads=2, head_dim=8, position=RotaryConfig())
    alibi = AttentionConfig(heads=2, head_dim=8, position=AlibiConfig())
    mixed = (alibi, MlpConfig(hidden=32, groups=2, mixer=True), GluConfig(hidden=32))
    layer = LayerConfig(mix=mixed, wiring="pre", norm=RmsNormConfig())
    model = model_of(encoder_of(rotary, NarrowConfig(), layer))
    compiled = torch.compile(model, fullgraph=True, dynamic=False)
    with torch.no_grad():
        y = compiled(batch.ids, mask=batch.mask, select=batch.select)
        assert_close(y, model(batch.ids, mask=batch.mask, select=batch.select), **CLOSE)
