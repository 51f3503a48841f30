"""What every mixer's declared axes promise: cut, permute and gate follow from them (law 6, and the laws of Subnet)."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.func import functional_call
from torch.testing import assert_close

from slimbert.model import extract
from slimbert.model.model import Model, ModelConfig, skeleton
from slimbert.subnet import Plan, Subnet, axes_of, axes_of_encoder, shrink
from toys import Batch, configs, encoder_of, mixer_of, model_of, name, some_units, toy_encoder

EVERY = pytest.mark.parametrize("config", configs("mixer"), ids=name)
ENCODERS = [*(encoder_of(c) for c in configs("mixer") if axes_of(c)), toy_encoder()]
NAMES = [*(name(c) for c in configs("mixer") if axes_of(c)), "whole"]
CUTTABLE = pytest.mark.parametrize("model", [model_of(e) for e in ENCODERS], ids=NAMES)
CLOSE = {"rtol": 1e-5, "atol": 1e-5}  # float32, sums in another order


def run(model: Model, batch: Batch, params: dict[str, Tensor] | None = None) -> Tensor:
    kwargs = {"mask": batch.mask, "select": batch.select}
    return model(batch.ids, **kwargs) if params is None else functional_call(model, params, (batch.ids,), kwargs)


def some_subnet(model: Model, *, drop: bool = True, seed: int = 3) -> Subnet:
    axes = axes_of_encoder(model.config.encoder)
    return Subnet.of({key: some_units(axis, seed + i, drop=drop) for i, (key, axis) in enumerate(axes.items())})


def small_config(model: Model, subnet: Subnet) -> ModelConfig:
    return ModelConfig(encoder=shrink(model.config.encoder, subnet))


@EVERY
def test_every_parameter_is_declared(config: Any):
    mixer = mixer_of(config)
    own = dict(mixer.state_dict())
    assert set(own) <= set(mixer.axes)
    for parameter, tensor in own.items():
        assert len(mixer.axes[parameter]) == tensor.dim(), parameter


@EVERY
def test_every_axis_has_a_sink_that_is_real(config: Any):
    mixer = mixer_of(config)
    sinks = getattr(mixer, "sinks", {})
    assert set(sinks) == set(axes_of(config))
    assert set(sinks.values()) <= set(dict(mixer.named_parameters()))


@EVERY
def test_declared_axes_fill_their_dimensions(config: Any):
    """Cutting every axis to one unit (per group) leaves exactly the shapes that the small config builds."""
    model = model_of(encoder_of(config))
    axes = axes_of_encoder(model.config.encoder)
    subnet = Subnet.of({k: [g * (a.units // a.groups) for g in range(a.groups)] for k, a in axes.items()})
    cut = Plan(model.encoder, prefix="encoder.").cut(model.state_dict(), subnet)
    shapes = {n: t.shape for n, t in skeleton(small_config(model, subnet)).state_dict().items()}
    assert {n: t.shape for n, t in cut.items()} == shapes


@CUTTABLE
def test_extracting_everything_is_the_identity(model: Model):
    same = extract(model, Subnet())
    assert same.config == model.config
    assert_close(same.state_dict(), model.state_dict(), rtol=0, atol=0)
    assert not {t.data_ptr() for t in same.parameters()} & {t.data_ptr() for t in model.parameters()}


@CUTTABLE
def test_extracted_is_the_elastic_run(model: Model):
    """Difference 0: the same numbers in the same order."""
    batch, subnet = Batch(), some_subnet(model)
    small = extract(model, subnet)
    assert small.config == small_config(model, subnet)
    assert sum(p.numel() for p in small.parameters()) < sum(p.numel() for p in model.parameters())
    cut = Plan(model.encoder, prefix="encoder.").cut(model.state_dict(), subnet)
    elastic = run(skeleton(small.config).eval(), batch, cut)
    assert_close(elastic, run(small, batch), rtol=0, atol=0)


@CUTTABLE
def test_gate_zero_is_a_cut(model: Model):
    batch, plan = Batch(), Plan(model.encoder, prefix="encoder.")
    for i, (key, axis) in enumerate(plan.axes.items()):
        kept = some_units(axis, i)
        gate = torch.zeros(axis.units)
        gate[kept] = 1.0
        gated = run(model, batch, plan.gate(model.state_dict(), {key: gate}))
        assert_close(gated, run(extract(model, Subnet.of({key: kept})), batch), **CLOSE)
        assert (gated - run(model, batch)).abs().max() > 1e-3, "the units that were cut did nothing"


@CUTTABLE
def test_gates_of_all_axes_at_once(model: Model):
    batch, plan = Batch(), Plan(model.encoder, prefix="encoder.")
    subnet = some_subnet(model)
    gates = {key: torch.zeros(plan.axes[key].units) for key, _ in subnet.units}
    for key, kept in subnet.units:
        gates[key][list(kept)] = 1.0
    assert_close(run(model, batch, plan.gate(model.state_dict(), gates)), run(extract(model, subnet), batch), **CLOSE)


@CUTTABLE
def test_permuting_units_changes_nothing(model: Model):
    batch = Batch()
    subnet = some_subnet(model, drop=False)
    assert any(list(kept) != sorted(kept) for _, kept in subnet.units)
    moved = extract(model, subnet)
    assert moved.config == model.config
    assert_close(run(moved, batch), run(model, batch), **CLOSE)


@CUTTABLE
def test_a_cut_of_a_cut_is_a_cut(model: Model):
    batch, first = Batch(), some_subnet(model)
    middle = extract(model, first)
    second = some_subnet(middle, seed=5)
    outer = {key: sorted(kept, key=lambda u, k=key: u // _group(model, k)) for key, kept in first.units}
    both = Subnet.of({key: [outer[key][u] for u in kept] for key, kept in second.units})
    assert_close(run(extract(middle, second), batch), run(extract(model, both), batch), **CLOSE)


def _group(model: Model, key: str) -> int:
    axis = axes_of_encoder(model.config.encoder)[key]
    return axis.units // axis.groups


@CUTTABLE
def test_gradients_reach_the_kept_rows_and_no_other(model: Model):
    """The gradient through a cut is that of the extracted model where rows were kept, and exactly zero elsewhere."""
    batch, plan, subnet = Batch(), Plan(model.encoder, prefix="encoder."), some_subnet(model)
    trained = dict(model.named_parameters())
    whole = {n: t.detach().clone().requires_grad_(n in trained) for n, t in model.state_dict().items()}
    small = extract(model, subnet)
    run(skeleton(small.config).eval(), batch, plan.cut(whole, subnet)).square().sum().backward()
    run(small, batch).square().sum().backward()

    grads = {n: t.grad for n, t in whole.items() if t.grad is not None}
    reached = plan.cut(grads, subnet)
    for parameter, value in small.named_parameters():
        assert_close(reached[parameter], value.grad, rtol=0, atol=0)
    numbers = {n: torch.arange(g.numel()).view(g.shape) for n, g in grads.items()}
    kept = plan.cut(numbers, subnet)
    for parameter, grad in grads.items():
        dropped = torch.ones(grad.numel(), dtype=torch.bool)
        dropped[kept[parameter].flatten()] = False
        assert not grad.flatten()[dropped].any(), parameter
    assert any(kept[n].numel() < grads[n].numel() for n in grads)


@CUTTABLE
def test_gates_get_the_gradient_of_their_units(model: Model):
    """d loss / d gate = sum of weight times d loss / d weight over what leaves the unit, at gates of one."""
    batch, plan = Batch(), Plan(model.encoder, prefix="encoder.")
    gates = {key: torch.ones(axis.units, requires_grad=True) for key, axis in plan.axes.items()}
    run(model, batch, plan.gate(model.state_dict(), gates)).square().sum().backward()
    for key, gate in gates.items():
        assert gate.grad is not None
        assert gate.grad.isfinite().all(), key
        assert gate.grad.abs().max() > 0, key


def test_mixed_rows_read_by_two_axes_stay_whole():
    """Cutting a head that only attends leaves its query rows to the kernels of the convolving heads."""
    config = next(c for c in configs("mixer") if c.kind == "mixed_attention")
    model = model_of(encoder_of(config))
    small = extract(model, Subnet.of({"layers.0.0.head": [2, 0]}))
    mixer, cut = model.encoder.layers[0][0].mixer, small.encoder.layers[0][0].mixer
    size = config.span_heads * config.head_dim
    rows = mixer.qkvu.weight[:size].unflatten(0, (config.span_heads, -1))
    assert_close(cut.qkvu.weight[:size].unflatten(0, (config.span_heads, -1)), rows[[2, 0, 1, 3]], rtol=0, atol=0)
    assert math.prod(cut.span.weight.shape) == math.prod(mixer.span.weight.shape)
