"""Model -> Model: a smaller or reordered model, rebuilt by its own config; the argument is left alone."""

import dataclasses

from ..subnet import Plan, Subnet, shrink
from .model import Model, skeleton


def extract(model: Model, subnet: Subnet) -> Model:
    """The model cut to `subnet`: its config is the small one, its weights are copies of the kept ones.

    Keeping every unit in another order permutes the model without changing what it computes.
    """
    config = dataclasses.replace(model.config, encoder=shrink(model.config.encoder, subnet))
    kept = Plan(model.encoder, prefix="encoder.").cut(model.state_dict(), subnet)
    small = skeleton(config).to_empty(device=model.device)
    small.load_state_dict({name: value.clone() for name, value in kept.items()}, strict=True)
    return small.train(model.training)
