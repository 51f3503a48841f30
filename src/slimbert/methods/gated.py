"""Slimming coefficients: a learnable number per head and per neuron, with an L1 penalty, trained beside the weights.

    loss = task(c * u) + p_heads sum |c_heads| + p_neurons sum |c_neurons|,   c = 1 at the start

Chen et al. 2021, arXiv:2101.00063 (EarlyBERT); the penalties are those of the published scripts. A coefficient scales
what a unit does, which equals scaling its part of the output projection. So the model itself is unchanged, every
attention core works, and folding is exact. We differ in what is kept apart: coefficients and their products with
weights stay in float32 outside autocast (bfloat16 has steps of 0.0039 below 1, more than a whole search moves them),
they are never decayed, and their learning rate and optimiser are their own.
"""

import dataclasses
from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor, nn

from ..config import Count, NonNegative
from ..errors import InputError
from ..model import Model, skeleton
from ..model.model import fill
from ..state import Encoded
from ..subnet import Plan
from ..train.objectives import Batch, Encode, Loss, Objective, Params, Wrapper
from ..train.optim import OptimConfig, adamw
from .units import Kind, kind_of, units_of

PLAIN = 1e4  # an epsilon beside which the root of the second moment vanishes: Adam then is gradient descent


@dataclasses.dataclass(frozen=True, kw_only=True)
class SearchConfig:
    """`lr`: times the learning rate of the weights. `optimizer` sgd: plain gradient descent for the coefficients, since
    Adam moves each by its learning rate whatever the penalty is. `checkpoint_every`: updates."""

    penalty_heads: NonNegative = 1e-4
    penalty_neurons: NonNegative = 1e-4
    lr: NonNegative = 1.0
    optimizer: Literal["adam", "sgd"] = "adam"
    checkpoint_every: Count = 50


class Gated(Wrapper):
    """Train `inner` with a coefficient per unit of every axis that a ticket may cut, and the penalty on them.

    The coefficients [units] stand in `gates`, all ones; the part of the loss that is the penalty is called `gates`.
    """

    def __init__(self, inner: Objective, *, heads: float = 1e-4, neurons: float = 1e-4) -> None:
        super().__init__(inner)
        encoder = self.model.encoder
        self.plan = Plan(encoder)
        self.penalties: dict[Kind, float] = {"heads": heads, "neurons": neurons}
        self.keys = tuple(units_of(encoder.config))
        if not self.keys:
            raise InputError("ticket", "this encoder has neither heads nor neurons to cut", "choose another encoder")
        self.gates = nn.ParameterDict(
            {_name(key): nn.Parameter(torch.ones(self.plan.axes[key].units, dtype=torch.float32)) for key in self.keys}
        )

    def loss(self, encode: Encode, batch: Batch) -> Loss:
        def gated(params: Params, some: Batch) -> Encoded:
            return encode(self.scaled(params), some)

        return self.inner.loss(gated, batch).plus("gates", self.penalty())

    def scaled(self, params: Params) -> dict[str, Tensor]:
        """All parameters of the encoder (None: its own) with every unit scaled by its coefficient.

        Outside autocast: a coefficient times a weight is a number of float32.
        """
        given = dict(self.model.encoder.named_parameters()) | dict(params or {})
        gates = {key: self.gates[_name(key)] for key in self.keys}
        with torch.autocast(self.model.device.type, enabled=False):
            return self.plan.gate(given, gates)

    def penalty(self) -> Tensor:
        """A scalar: the weighted sum (not mean) of the coefficients' sizes."""
        with torch.autocast(self.model.device.type, enabled=False):
            sums = [self.penalties[kind_of(key)] * self.gates[_name(key)].abs().sum() for key in self.keys]
            return torch.stack(sums).sum()

    def coefficients(self) -> dict[str, Tensor]:
        """The coefficients by axis [units], as they are now, on the CPU."""
        return {key: self.gates[_name(key)].detach().cpu().clone() for key in self.keys}


def gated_adamw(objective: Gated, optim: OptimConfig, search: SearchConfig) -> torch.optim.AdamW:
    """AdamW over the weights as without coefficients, and a group of its own, never decayed, for the coefficients."""
    optimizer = adamw(objective.inner, optim)
    group = {"params": list(objective.gates.parameters()), "weight_decay": 0.0, "factor": search.lr}
    if search.optimizer == "sgd":
        group |= {"betas": (0.0, optim.betas[1]), "eps": PLAIN, "factor": search.lr * PLAIN}
    optimizer.add_param_group(group)
    return optimizer


def folded(model: Model, coefficients: Mapping[str, Tensor]) -> Model:
    """The model with every unit scaled by its coefficient, which then is one: it has no coefficients left."""
    with torch.no_grad():
        scaled = Plan(model.encoder, prefix="encoder.").gate(model.state_dict(), coefficients)
    return fill(skeleton(model.config), {name: value.clone() for name, value in scaled.items()}).train(model.training)


def gates_in(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The coefficients by axis that stand under `prefix` in a checkpoint of a Gated objective."""
    return {_key(name.removeprefix(prefix)): value for name, value in tensors.items() if name.startswith(prefix)}


def _name(key: str) -> str:
    """The axis as the name of a parameter, which may hold no dot."""
    return key.replace(".", "/")


def _key(name: str) -> str:
    return name.replace("/", ".")
