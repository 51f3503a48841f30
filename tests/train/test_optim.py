"""Learning-rate courses and what AdamW decays."""

import dataclasses
import math
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from slimbert.errors import InputError
from slimbert.train.optim import OptimConfig, adamw, rate

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
