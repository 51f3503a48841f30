"""Tickets, adaptive depth, and both together, on the eight encoders: trained 20 steps, cut, reloaded; the safe law."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from methods.test_ticket_models import OPTIM, taught
from methods.tickets import ENCODERS, LABELS, RULE, objective_of, one_batch
from slimbert.methods.gated import Gated, SearchConfig, folded, gated_adamw
from slimbert.methods.importance import at_random, by_coefficient
from slimbert.methods.tickets import draw
from slimbert.methods.units import counts
from slimbert.model import extract, load_model, save_model
from slimbert.model.adaptive import Policy, Safe, adaptive
from slimbert.model.encoder import EncoderConfig
from slimbert.model.exits import DactConfig
from slimbert.model.model import Model
from slimbert.train.halting import Halting, HaltingConfig
from slimbert.train.optim import adamw
from slimbert.train.supervised import Judge, Supervised, one_class
from toys import model_of

EIGHT = [name for name in ENCODERS if name != "mixed, grouped, convolving"]
METHODS = ("ticket", "adaptive", "both")
LEARNS = HaltingConfig(tau=1.0)


def stopping(encoder: EncoderConfig, *, judge: Judge = one_class, **head: Any) -> Halting:
    """A lively model whose units are sure, and halt early from the start: at the usual bias it would take longer than
    20 steps until one stops."""
    plain: Any = {"labels": LABELS, "units": encoder.points(), "dropout": 0.0, "bias": -5.0}
    model = model_of(encoder, DactConfig(**{**plain, **head}))
    with torch.no_grad():
        for unit in model.head.units:  # type: ignore[union-attr]
            unit.classes.weight.mul_(3.0)
            unit.halt.weight.mul_(2.0)
    return Halting(model, judge, LEARNS)


def trained(encoder: EncoderConfig, method: str) -> tuple[Model, Model]:
    """(the model after 20 steps, with coefficients folded; what a ticket leaves of it)."""
    objective: Supervised = objective_of(encoder) if method == "ticket" else stopping(encoder)
    if method == "adaptive":
        taught(objective, adamw(objective, OPTIM), 20)
        return objective.model, extract(objective.model, draw(at_random(encoder, 0), encoder, RULE))
    gated = Gated(objective)
    taught(gated, gated_adamw(gated, OPTIM, SearchConfig(lr=10.0)), 20)
    whole = folded(gated.model, gated.coefficients())
    return whole, extract(whole, draw(by_coefficient(gated.coefficients()), encoder, RULE))


def texts() -> tuple[Tensor, Tensor, Tensor]:
    """ids [48, 12] and mask of ragged rows, and the first place of each."""
    batches = [one_batch(seed) for seed in range(8)]
    ids, mask = (torch.cat([batch[name] for batch in batches]) for name in ("input_ids", "mask"))
    return ids, mask, torch.zeros(len(ids), 1, dtype=torch.long)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", EIGHT)
def test_trained_20_steps_cut_and_reloaded(name: str, method: str, tmp_path: Path):
    whole, small = trained(ENCODERS[name], method)
    again = load_model(save_model(small, tmp_path)).eval()
    small.eval()
    assert again.config == small.config
    assert sum(p.numel() for p in again.parameters()) < sum(p.numel() for p in whole.parameters())
    ids, mask, first = texts()
    with torch.no_grad():
        full = again(ids, mask=mask, select=first)
        assert torch.equal(full, small(ids, mask=mask, select=first))
    if method == "ticket":
        return
    assert again.config.encoder.points() == whole.config.encoder.points()
    policies: tuple[Policy, ...] = (Safe(), Safe(rule="published"))
    for model in (again, whole.eval()):
        with torch.no_grad():
            classes = model(ids, mask=mask, select=first).argmax(-1)
        for policy in policies:
            found = adaptive(model, ids, mask=mask, select=first, policy=policy)
            assert (found.answers.argmax(-1) == classes).all()
            assert found.depth.min() < model.config.encoder.points(), "nothing stopped early: the test shows nothing"


@pytest.mark.parametrize("name", EIGHT)
def test_a_ticket_of_halting_units_cuts_the_encoder_alone(name: str):
    """Units and their halting values are no axis of a ticket: all of them stay."""
    encoder = ENCODERS[name]
    model = stopping(encoder).model
    subnet = draw(at_random(encoder, 0), encoder, RULE)
    small = extract(model, subnet)
    assert any(after < before for after, before in counts(encoder, subnet).values())
    before: Any = dict(model.head.state_dict())  # type: ignore[union-attr]
    assert all(torch.equal(value, before[key]) for key, value in small.head.state_dict().items())  # type: ignore[union-attr]


def test_halting_units_learn_at_their_own_rate_beside_coefficients():
    gated = Gated(stopping(ENCODERS["bert"]))
    factors = {
        id(p): group["factor"]
        for group in gated_adamw(gated, OPTIM, SearchConfig(lr=10.0)).param_groups
        for p in group["params"]
    }
    head: Any = gated.model.head
    assert {factors[id(p)] for p in head.parameters()} == {5.0}
    assert {factors[id(p)] for p in gated.model.encoder.parameters()} == {1.0}
    assert {factors[id(p)] for p in gated.gates.parameters()} == {10.0}
