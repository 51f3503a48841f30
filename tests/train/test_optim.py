"""Learning-rate courses, what AdamW decays, and rates that fall with the depth."""

import dataclasses
import math
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from slimbert.errors import InputError
from slimbert.model import Model, ModelConfig, fresh
from slimbert.model.exits import DactConfig, ExitsConfig
from slimbert.model.heads import MaskedLmConfig
from slimbert.model.presets import from_pattern
from slimbert.parts.norm import LayerNormConfig
from slimbert.train.engine import engine
from slimbert.train.halting import Halting, HaltingConfig
from slimbert.train.loop import train
from slimbert.train.objectives import MaskedLm, Wrapper
from slimbert.train.optim import OptimConfig, adamw, layer_numbers, rate
from slimbert.train.supervised import one_class

COURSES = ("linear", "cosine", "trapezoidal", "constant")


@pytest.mark.parametrize(
    ("course", "expected"),
    [
        ("constant", {0.1: 0.5, 0.2: 1.0, 0.6: 1.0, 1.0: 1.0}),
        ("linear", {0.1: 0.5, 0.2: 1.0, 0.6: 0.5, 1.0: 0.0}),
        ("cosine", {0.1: 0.5, 0.2: 1.0, 0.4: 0.5 * (1 + math.sqrt(0.5)), 0.6: 0.5, 1.0: 0.0}),
        ("trapezoidal", {0.1: 0.5, 0.2: 1.0, 0.5: 1.0, 0.6: 1.0, 0.8: 0.5, 1.0: 0.0}),
    ],
)
def test_course_in_closed_form(course: str, expected: dict[float, float]):
    config = OptimConfig(lr=2.0, course=course, warmup=0.2, cooldown=0.4)
    for share, height in expected.items():
        assert rate(config, share) == pytest.approx(2.0 * height, abs=1e-12), share


def test_a_rise_by_the_square_root():
    """A quarter of the way half the rate is reached; from its peak on nothing differs."""
    linear = OptimConfig(lr=2.0, course="linear", warmup=0.2)
    config = dataclasses.replace(linear, rise="square_root")
    for share, height in {0.0: 0.0, 0.05: 0.5, 0.1125: 0.75, 0.2: 1.0}.items():
        assert rate(config, share) == pytest.approx(2.0 * height, abs=1e-12), share
    assert all(rate(config, share) == rate(linear, share) for share in (0.2, 0.3, 0.6, 1.0))


@given(
    course=st.sampled_from(COURSES),
    rise=st.sampled_from(("linear", "square_root")),
    warmup=st.floats(0, 1),
    cooldown=st.floats(0, 1),
    share=st.floats(-0.5, 1.5),
)
def test_rate_stays_between_zero_and_its_peak(course: str, rise: str, warmup: float, cooldown: float, share: float):
    config = OptimConfig(lr=0.1, course=course, rise=rise, warmup=warmup, cooldown=cooldown)
    assert 0 <= rate(config, share) <= 0.1


@pytest.mark.parametrize(
    ("change", "place"),
    [
        ({"lr": 0.0}, "o.lr"),
        ({"lr": math.inf}, "o.lr"),
        ({"lr": math.nan}, "o.lr"),
        ({"warmup": 1.5}, "o.warmup"),
        ({"cooldown": -0.1}, "o.cooldown"),
        ({"clip": 0.0}, "o.clip"),
        ({"betas": (0.9, 1.0)}, "o.betas"),
        ({"betas": (2.0, 0.9)}, "o.betas"),
        ({"eps": 0.0}, "o.eps"),
        ({"weight_decay": -0.1}, "o.weight_decay"),
        ({"layer_decay": 0.0}, "o.layer_decay"),
        ({"layer_decay": 1.5}, "o.layer_decay"),
        ({"layer_decay": math.nan}, "o.layer_decay"),
    ],
)
def test_wrong_numbers_are_named(change: dict[str, Any], place: str):
    with pytest.raises(InputError, match=f"^{place}: "):
        OptimConfig(**change).check("o")


def test_biases_and_norms_are_not_decayed():
    """Weight decay alone (no gradient): matrices shrink by 1 - lr * decay, all else stays."""
    module = nn.Sequential(nn.Linear(3, 4), nn.LayerNorm(4))
    before = {name: value.clone() for name, value in module.state_dict().items()}
    optimizer = adamw(module, OptimConfig(lr=0.1, weight_decay=0.5))
    for parameter in module.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    for name, value in module.state_dict().items():
        factor = 0.95 if name == "0.weight" else 1.0
        torch.testing.assert_close(value, before[name] * factor)


def test_frozen_parameters_are_left_out():
    module = nn.Linear(2, 2)
    module.weight.requires_grad = False
    groups = adamw(module, OptimConfig()).param_groups
    assert [len(group["params"]) for group in groups] == [0, 1]


def deep(layers: str = "12{sf}", *, final: bool = False) -> Model:
    encoder = from_pattern(layers, dim=16, head_dim=8, hidden=32, vocab=30, max_len=8)
    embedding = dataclasses.replace(encoder.embedding, width=8)
    norm = LayerNormConfig() if final else None
    encoder = dataclasses.replace(encoder, embedding=embedding, final_norm=norm)
    return fresh(ModelConfig(encoder=encoder, head=MaskedLmConfig()), 0)


def rates(module: nn.Module, decay: float) -> dict[str, float]:
    """Name of a parameter -> what its group multiplies the rate with."""
    factor = {p: g["factor"] for g in adamw(module, OptimConfig(layer_decay=decay)).param_groups for p in g["params"]}
    return {name: factor[parameter] for name, parameter in module.named_parameters()}


@pytest.mark.parametrize("pattern", ["12{sf}", "12{mf}", "2{sf}:10{sf}"])
def test_rates_of_layers_are_the_official_ones(pattern: str):
    """0.8^(N + 2 - depth) for N = 12: the head 1, the top layer 0.64, the lowest 0.8^13, the embedding 0.0440."""
    found = rates(MaskedLm(deep(pattern)), 0.8)
    steps = [i for i, layer in enumerate(deep(pattern).encoder.layers) if list(layer.parameters())]
    assert len(steps) == 12
    for name, factor in found.items():
        if ".head." in name:
            assert factor == 1.0
        elif ".embedding." in name:
            assert factor == pytest.approx(0.0440, abs=5e-5)
        else:
            layer = steps.index(int(name.split("layers.")[1].split(".")[0]))
            assert factor == pytest.approx(0.8 ** (13 - layer))
    assert {round(factor, 4) for name, factor in found.items() if f"layers.{steps[-1]}." in name} == {0.64}
    assert any("embedding.project" in name for name in found)


@pytest.mark.parametrize(
    ("pattern", "numbers"),
    [
        ("2{sf}", "1 2"),
        ("1{sf}:2{sf}", "1 1 2 3"),
        ("2{sf}:2{sf}", "1 2 2 3 4"),
        ("2{mf}:1{sf}", "1 2 2 3"),
        ("2{cgsg},cg:sg", "1 2 3 3 3"),
        ("2{sf},s:f", "1 2 3 3 3"),
        ("1{sf},2{s}:2{f}", "1 2 3 3 2 3"),
        ("1{cgsg},2{cs}:2{gg}", "1 2 3 3 2 3"),
        ("2{s}:2{f}", "1 2 2 1 2"),
        ("2{sf}:2{f}", "1 2 2 3 4"),
        ("1{sf}:sf", "1 1 2"),
    ],
)
def test_what_a_narrowing_divides_is_one_layer(pattern: str, numbers: str):
    assert layer_numbers(deep(pattern).config.encoder) == [int(number) for number in numbers.split()]


@pytest.mark.parametrize(("wide", "divided"), [("12{sf}", "2{sf},10{s}:10{f}"), ("12{cgsg}", "11{cgsg},cg:sg")])
def test_a_divided_layer_keeps_its_rate(wide: str, divided: str):
    """As many parameters have each rate; the embedding's is 0.8^14."""
    found = []
    for pattern in (wide, divided):
        groups = adamw(deep(pattern, final=True), OptimConfig(layer_decay=0.8)).param_groups
        found.append([(group["factor"], sum(p.numel() for p in group["params"])) for group in groups])
    assert found[0] == found[1]
    assert min(factor for factor, _ in found[1]) == pytest.approx(0.8**14)


def test_a_final_norm_stands_between_the_last_layer_and_the_head():
    found = rates(MaskedLm(deep("2{sf}", final=True)), 0.5)
    assert {factor for name, factor in found.items() if "encoder.norm" in name} == {0.5}


def test_one_rate_for_all_is_two_groups():
    groups = adamw(MaskedLm(deep()), OptimConfig()).param_groups
    assert [(group["factor"], group["weight_decay"]) for group in groups] == [(1.0, 0.01), (1.0, 0.0)]


def test_what_two_encoders_share_counts_as_in_the_first():
    shallow, other = deep("2{sf}"), deep("4{sf}")
    other.encoder.embedding.token = shallow.encoder.embedding.token
    both = nn.ModuleList([shallow, other])
    assert rates(both, 0.5)["0.encoder.embedding.token.weight"] == 0.5**4
    assert rates(both, 0.5)["1.encoder.embedding.position.weight"] == 0.5**6


def test_an_update_moves_each_layer_by_its_rate():
    """Adam's first update moves every weight that has a gradient by its rate (eps aside), whatever the gradient."""
    objective = MaskedLm(deep("3{sf}"))
    before = {name: value.clone() for name, value in objective.state_dict().items()}
    optimizer = adamw(objective, OptimConfig(lr=1e-3, layer_decay=0.5, weight_decay=0.0, eps=1e-12))
    expected = rates(objective, 0.5)
    random = torch.Generator().manual_seed(0)
    batch = {
        "input_ids": torch.randint(30, (4, 8), generator=random),
        "positions": torch.arange(8).expand(4, -1),
        "labels": torch.randint(30, (4, 8), generator=random),
        "weights": torch.ones(4, 8),
    }
    made = list(train(objective, [batch], optimizer, lr=lambda _: 2e-3, accelerator=engine(device="cpu"), clip=None))
    assert made[0].lr == 2e-3
    for name, value in objective.named_parameters():
        moved = (value.detach() - before[name]).abs().max()
        assert float(moved) == pytest.approx(2e-3 * expected[name], rel=5e-3), name


# what an objective asks for


def halting(config: HaltingConfig) -> Halting:
    encoder = from_pattern("3{sf}", dim=16, head_dim=8, hidden=32, vocab=30, max_len=8)
    head = DactConfig(labels=("a", "b"), units=3)
    if config.method != "dact":
        head = ExitsConfig(labels=("a", "b"), units=3)
    return Halting(fresh(ModelConfig(encoder=encoder, head=head), 0), one_class, config)


@pytest.mark.parametrize(
    ("config", "factor"),
    [
        (HaltingConfig(), 5.0),  # 1e-4 beside 2e-5: spec of DACT-BERT, section 3
        (HaltingConfig(unit_lr=2.5), 2.5),
        (HaltingConfig(unit_lr=1.0), 1.0),
        (HaltingConfig(method="patience"), 1.0),
        (HaltingConfig(method="patience", unit_lr=3.0), 3.0),
    ],
)
def test_halting_units_have_a_rate_of_their_own(config: HaltingConfig, factor: float):
    """Whatever falls with the depth falls below them, as below any head."""
    for decay in (1.0, 0.5):
        found = rates(halting(config), decay)
        assert {value for name, value in found.items() if "head.units" in name} == {factor}
        assert {value for name, value in found.items() if "encoder.layers.2" in name} == {1.0 if decay == 1 else 0.25}


def test_an_update_moves_halting_units_by_their_rate():
    """Adam's first update moves every weight that has a gradient by its rate; 5e-3: its eps."""
    objective = halting(HaltingConfig(unit_lr=4.0, ramp=0.0))
    before = {name: value.clone() for name, value in objective.state_dict().items()}
    optimizer = adamw(objective, OptimConfig(lr=1e-3, weight_decay=0.0, eps=1e-12))
    random = torch.Generator().manual_seed(0)
    batch = {"input_ids": torch.randint(30, (4, 8), generator=random), "labels": torch.tensor([0, 1, 0, 1])}
    list(train(objective, [batch], optimizer, lr=lambda _: 2e-3, accelerator=engine(device="cpu"), clip=None))
    for name, value in objective.named_parameters():
        moved = float((value.detach() - before[name]).abs().max())
        assert moved == pytest.approx(8e-3 if "head.units" in name else 2e-3, rel=5e-3) or moved == 0.0, name
    assert any(not torch.equal(value, before[name]) for name, value in objective.state_dict().items() if "halt" in name)


def test_a_wrapper_asks_for_what_its_inner_objective_asks():
    inner = halting(HaltingConfig())
    assert Wrapper(inner).rates() == inner.rates()
    assert MaskedLm(deep()).rates() == {}
