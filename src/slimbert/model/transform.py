"""Model -> Model: a smaller or reordered model, rebuilt by its own config; the argument is left alone."""

import dataclasses

from torch import Tensor

from ..subnet import Plan, Subnet, shrink
from .model import Model, skeleton

TABLE = "encoder.embedding.token.weight"


def extract(model: Model, subnet: Subnet) -> Model:
    """The model cut to `subnet`: its config is the small one, its weights are copies of the kept ones.

    Keeping every unit in another order permutes the model without changing what it computes.
    """
    config = dataclasses.replace(model.config, encoder=shrink(model.config.encoder, subnet))
    kept = Plan(model.encoder, prefix="encoder.").cut(model.state_dict(), subnet)
    small = skeleton(config).to_empty(device=model.device)
    small.load_state_dict({name: value.clone() for name, value in kept.items()}, strict=True)
    return small.train(model.training)


def with_tokens(model: Model, ids: Tensor) -> Model:
    """The model with only the rows `ids` [U] of its token table: what it computes for these tokens is unchanged.

    Training it equals training the whole where no other token occurs: rows that are never read get no gradient. For heads
    that read the table itself (masked LM) the answer is over the kept tokens only.
    """
    embedding = dataclasses.replace(model.config.encoder.embedding, vocab=len(ids))
    config = dataclasses.replace(model.config, encoder=dataclasses.replace(model.config.encoder, embedding=embedding))
    small = skeleton(config).to_empty(device=model.device)
    small.load_state_dict({**model.state_dict(), TABLE: model.state_dict()[TABLE][ids].clone()}, strict=True)
    return small.train(model.training)


def put_tokens_back(small: Model, model: Model, ids: Tensor) -> Model:
    """`model`'s config and token table with everything that `small` (made by `with_tokens`) has learnt."""
    whole = skeleton(model.config).to_empty(device="cpu")
    table = model.state_dict()[TABLE].cpu().clone()
    table[ids] = small.state_dict()[TABLE].cpu()
    whole.load_state_dict({**small.state_dict(), TABLE: table}, strict=True)
    return whole.eval()
