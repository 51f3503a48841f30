"""The units that a ticket may cut, heads and neurons, and what one of them costs.

What a unit is, its mixer declares as a named axis. Other axes (the experts of a router) are no units here: what they do
is normalised against their like, so that a coefficient of zero would not equal a cut.
"""

import dataclasses
import functools
from typing import Literal, NamedTuple, get_args

import torch
from torch import Tensor

from ..model import EncoderConfig, ModelConfig
from ..model.cost import cost
from ..subnet import Axis, Subnet, axes_of_encoder, shrink

Kind = Literal["heads", "neurons"]
KINDS: tuple[Kind, ...] = get_args(Kind)
AXES: dict[str, Kind] = {"head": "heads", "conv_head": "heads", "hidden": "neurons"}  # axis -> what its units are


class Costs(NamedTuple):
    """Multiply-adds of one row of text: of all layers, and of one unit of every axis (0: its last ones cannot go)."""

    layers: int
    unit: dict[str, int]


def units_of(encoder: EncoderConfig) -> dict[str, Axis]:
    """Every axis whose units may be cut, keyed `layers.3.0.head`, from the first layer to the last."""
    return {key: axis for key, axis in axes_of_encoder(encoder).items() if name_of(key) in AXES}


def name_of(key: str) -> str:
    """layers.3.0.head -> head."""
    return key.rpartition(".")[2]


def kind_of(key: str) -> Kind:
    """What the units of an axis are."""
    return AXES[name_of(key)]


def masks(encoder: EncoderConfig, subnet: Subnet) -> dict[Kind, Tensor]:
    """[N] True where a unit stays, over all layers, for heads and for neurons; N is 0 where there are none."""
    kept = dict(subnet.units)
    parts: dict[Kind, list[Tensor]] = {kind: [] for kind in KINDS}
    for key, axis in units_of(encoder).items():
        mask = torch.zeros(axis.units, dtype=torch.bool)
        mask[list(kept.get(key, range(axis.units)))] = True
        parts[kind_of(key)].append(mask)
    return {kind: torch.cat(found) if found else torch.zeros(0, dtype=torch.bool) for kind, found in parts.items()}


def counts(encoder: EncoderConfig, subnet: Subnet) -> dict[str, tuple[int, int]]:
    """(units that stay, units there were) of every axis."""
    small = axes_of_encoder(shrink(encoder, dataclasses.replace(subnet, layers=None)))
    return {key: (small[key].units, axis.units) for key, axis in units_of(encoder).items()}


def costs(encoder: EncoderConfig, *, length: int, keep: int | None = None) -> Costs:
    """What the layers and their units cost in a forward pass of training: a row of `length` tokens, of which `keep` are
    wanted (None: all).

    Counted, not derived: the encoder is measured whole, and once for each name of an axis with one unit less per group.
    """
    whole = _macs(encoder, length, keep)
    unit = dict.fromkeys(units_of(encoder), 0)
    for name in AXES:
        less = {key: _one_less(axis) for key, axis in units_of(encoder).items() if name_of(key) == name}
        less = {key: kept for key, kept in less.items() if kept}
        if less:
            small = _macs(shrink(encoder, Subnet.of(less)), length, keep)
            for key in less:
                part, axis = key.rpartition(".")[0], axes_of_encoder(encoder)[key]
                unit[key] = (whole[part] - small[part]) // axis.groups
    return Costs(sum(value for part, value in whole.items() if part.startswith("layers.")), unit)


def _one_less(axis: Axis) -> list[int]:
    size = axis.units // axis.groups
    return [unit for unit in range(axis.units) if unit % size < size - 1]


@functools.lru_cache(maxsize=32)  # a search with a budget asks the same at every mask
def _macs(encoder: EncoderConfig, length: int, keep: int | None) -> dict[str, int]:
    parts = cost(ModelConfig(encoder=encoder), length=length, keep=keep, training=True)
    return {part.name: part.macs for part in parts}
