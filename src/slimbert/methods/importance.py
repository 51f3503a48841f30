"""How much each unit matters: a score per unit of every axis, higher is better. The controls are scored here too."""

from collections.abc import Mapping

import torch
from torch import Tensor

from ..model import Encoder, EncoderConfig
from ..subnet import Plan
from .units import units_of

Scores = Mapping[str, Tensor]  # axis, as in `layers.3.0.head` -> [units]


def by_coefficient(coefficients: Mapping[str, Tensor], *, signed: bool = False) -> dict[str, Tensor]:
    """The size of each slimming coefficient; `signed`: its value, as the published code ranks them."""
    return {key: value.clone() if signed else value.abs() for key, value in coefficients.items()}


def at_random(encoder: EncoderConfig, seed: int) -> dict[str, Tensor]:
    """Uniform random scores: the control that says what the search is worth."""
    generator = torch.Generator().manual_seed(seed)
    return {key: torch.rand(axis.units, generator=generator) for key, axis in units_of(encoder).items()}


def by_magnitude(encoder: Encoder) -> dict[str, Tensor]:
    """The norm of the weights through which what a unit does leaves its mixer: of its part of the output projection.

    With W scaled by a coefficient of 1, half the derivative of |c W|^2 by c is the squared norm of the unit's part.
    """
    plan = Plan(encoder)
    ones = {key: torch.ones(axis.units, requires_grad=True) for key, axis in units_of(encoder.config).items()}
    scaled = plan.gate({name: value.detach().cpu().float() for name, value in encoder.named_parameters()}, ones)
    total = torch.stack([scaled[name].square().sum() for name in sorted({plan.sinks[key] for key in ones})]).sum()
    slopes = torch.autograd.grad(total, list(ones.values()))
    return {key: (slope / 2).clamp(min=0).sqrt() for key, slope in zip(ones, slopes, strict=True)}
