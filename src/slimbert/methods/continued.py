"""Going on with a ticket from where its search stands: weights and Adam's moments cut alike, coefficients folded."""

import re
from collections.abc import Mapping

import torch
from torch import Tensor

from ..subnet import Plan, Subnet
from .gated import gates_in

GATES = "objective.gates."
MOMENTS = ("optimizer.exp_avg.", "optimizer.exp_avg_sq.")  # what Adam keeps per number; its count of steps stays
OF_GATES = re.compile(r"objective\.gates\.|optimizer\.\w+\.gates\.")


def cut_snapshot(tensors: Mapping[str, Tensor], plan: Plan, subnet: Subnet) -> dict[str, Tensor]:
    """The snapshot of a loop with a Gated objective as that of its inner one, with the ticket for a model.

    plan: of the dense encoder, under the prefix `model.encoder.`. Moments are cut as they are, not divided by the
    coefficients that go into the weights, which are within a percent of one.
    """
    kept = {_inner(name): value for name, value in tensors.items() if not OF_GATES.match(name)}
    for head in ("objective.", *MOMENTS):
        part = {name.removeprefix(head): value for name, value in kept.items() if name.startswith(head)}
        part = {name: value for name, value in part.items() if name in plan.dims}
        if head == "objective.":
            with torch.no_grad():
                part = plan.gate(part, gates_in(tensors, GATES))
        kept |= {f"{head}{name}": value for name, value in plan.cut(part, subnet).items()}
    return kept


def _inner(name: str) -> str:
    """The name in a snapshot of the inner objective."""
    return re.sub(r"^(objective|optimizer\.\w+)\.inner\.", r"\1.", name)
