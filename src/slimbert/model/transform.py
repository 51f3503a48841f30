"""Model -> Model: a smaller or reordered model, rebuilt by its own config; the argument is left alone."""

import dataclasses

from torch import Tensor

from ..subnet import Plan, Subnet, shrink
from .model import Model, fill, skeleton

PER_TOKEN = ("encoder.embedding.token.weight", "head.bias", "head.decoder.weight")  # one row per token


def extract(model: Model, subnet: Subnet) -> Model:
    """The model cut to `subnet`: its config is the small one, its weights are copies of the kept ones.

    Keeping every unit in another order permutes the model without changing what it computes.
    """
    config = dataclasses.replace(model.config, encoder=shrink(model.config.encoder, subnet))
    kept = Plan(model.encoder, prefix="encoder.").cut(model.state_dict(), subnet)
    return fill(skeleton(config), {name: value.clone() for name, value in kept.items()}).train(model.training)


def headless(model: Model) -> Model:
    """The encoder alone, as a model."""
    kept = {name: value.clone() for name, value in model.state_dict().items() if name.startswith("encoder.")}
    return fill(skeleton(dataclasses.replace(model.config, head=None)), kept).train(model.training)


def with_tokens(model: Model, ids: Tensor) -> Model:
    """The model with only the tokens `ids` [U]: what it computes for these tokens is unchanged.

    Training it equals training the whole where no other token occurs: rows that are never read get no gradient. A head
    that answers with tokens (masked LM) answers with the kept ones only.
    """
    embedding = dataclasses.replace(model.config.encoder.embedding, vocab=len(ids))
    config = dataclasses.replace(model.config, encoder=dataclasses.replace(model.config.encoder, embedding=embedding))
    kept = {n: value[ids] if n in PER_TOKEN else value.clone() for n, value in model.state_dict().items()}
    return fill(skeleton(config), kept).train(model.training)


def put_tokens_back(small: Model, model: Model, ids: Tensor) -> Model:
    """`model`'s config and tokens with everything that `small` (made by `with_tokens`) has learnt."""
    learnt = {n: value.cpu().clone() for n, value in small.state_dict().items()}
    for name, value in model.state_dict().items():
        if name in PER_TOKEN:
            learnt[name] = value.cpu().index_copy(0, ids.cpu(), learnt[name])
    return fill(skeleton(model.config), learnt).eval()
