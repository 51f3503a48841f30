"""Losses of models that learn to stop early, held against their formulas; what learns by them; exported."""

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional
from torch.testing import assert_close

from slimbert.model.exits import DactConfig, Exits, ExitsConfig
from slimbert.model.halting import PHASE
from slimbert.model.model import Model
from slimbert.model.presets import from_pattern
from slimbert.train.halting import Halting, HaltingConfig, with_progress
from slimbert.train.supervised import one_class
from toys import VOCAB, model_of

LABELS, UNITS = ("a", "b", "c"), 3
ENCODER = from_pattern("3{sf}", dim=32, head_dim=8, hidden=48, vocab=VOCAB, max_len=16)


def halting(config: HaltingConfig, *, taught: bool = True) -> Halting:
    head = DactConfig if config.method == "dact" else ExitsConfig
    model = model_of(ENCODER, head(labels=LABELS, units=UNITS, dropout=0.0))
    return Halting(model, one_class, config, taught=taught)


def batch() -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(3)
    ids = torch.randint(0, VOCAB, (6, 12), generator=generator)
    return {"input_ids": ids, "labels": ids[:, 0] % 3}


def said(model: Model) -> tuple[list[Tensor], Tensor]:
    """Logits [6, 3] of every unit, and halting values [6, N] (ones where nothing halts)."""
    some = batch()
    first = torch.zeros(6, 1, dtype=torch.long)
    head: Any = model.head
    answers = head.unit_answers(model.encoder(some["input_ids"], select=first, trace="rows").trace)
    log_h = answers.log_h
    return list(answers.logits), torch.ones(6, UNITS) if log_h is None else log_h.exp()


def losses_of_units(logits: list[Tensor]) -> Tensor:
    return torch.stack([functional.cross_entropy(one, batch()["labels"]) for one in logits])


@pytest.mark.parametrize("ponder", ["p", "h"])
@pytest.mark.parametrize("shape", ["unit", "linear", "exp"])
def test_halting_loss_is_that_of_the_accumulated_answer_and_its_price(ponder: Any, shape: Any):
    objective = halting(HaltingConfig(tau=0.3, ponder=ponder, shape=shape, every_unit=0.2))
    logits, h = said(objective.model)
    y = [one.softmax(-1) for one in logits]
    answer, p, price = y[0], torch.ones(6), torch.zeros(6)
    running = torch.zeros(6)
    for n in range(UNITS):
        answer = y[0] if n == 0 else p[:, None] * y[n] + (1 - p[:, None]) * answer
        p = p * h[:, n]
        term = p if ponder == "p" else h[:, n]
        running = running + term
        more = {"unit": 0, "linear": (running - PHASE.get(shape, 0)).clamp(min=0)}
        price = price + term + (more[shape] if shape in more else (running - PHASE["exp"]).exp() + 1)
    task = -answer[torch.arange(6), batch()["labels"]].log().mean()
    found = objective(batch())
    assert_close(found.parts["task"], task)
    assert_close(found.parts["ponder"], 0.3 * price.mean())
    assert_close(found.total, task + 0.3 * price.mean() + 0.2 * losses_of_units(logits).mean())


def test_halting_price_rises_over_the_ramp():
    objective = halting(HaltingConfig(tau=0.3, ramp=0.5))
    whole = objective(batch()).parts["ponder"]
    for share, times in ((0.0, 0.0), (0.25, 0.5), (0.5, 1.0), (0.9, 1.0)):
        assert_close(objective({**batch(), "progress": torch.tensor(share)}).parts["ponder"], times * whole)
    steps = [float(one["progress"]) for one in with_progress([batch()] * 3, 5, 10)]
    assert steps == pytest.approx([0.5, 0.6, 0.7])


def test_halting_by_patience_weighs_deeper_exits_more():
    objective = halting(HaltingConfig(method="patience"))
    each = losses_of_units(said(objective.model)[0])
    assert_close(objective(batch()).total, (1 * each[0] + 2 * each[1] + 3 * each[2]) / 6)


@pytest.mark.parametrize("taught", [True, False])
def test_halting_by_entropy_teaches_the_exits_alone(taught: bool):
    objective = halting(HaltingConfig(method="entropy"), taught=taught)
    each = losses_of_units(said(objective.model)[0])
    loss = objective(batch()).total
    assert_close(loss, each[:-1].sum() if taught else each.sum())
    loss.backward()
    assert all(p.grad is None for p in objective.model.encoder.parameters())
    head: Any = objective.model.head
    learns = [all(p.grad is not None for p in unit.parameters()) for unit in head.units]
    assert learns == [True, True, not taught]


def test_halting_values_leave_the_encoder_alone_where_asked():
    for detach in (False, True):
        objective = halting(HaltingConfig(tau=1.0, detach=detach))
        objective(batch()).parts["ponder"].backward()
        head: Any = objective.model.head
        assert all(bool(unit.halt.weight.grad.any()) for unit in head.units)
        moved = any(p.grad is not None and bool(p.grad.any()) for p in objective.model.encoder.parameters())
        assert moved is not detach


def test_halting_units_all_learn_from_the_start():
    """At the default start every parameter of every unit has a gradient; the last halting value leads nowhere where
    going on is free."""
    objective = halting(HaltingConfig(tau=0.0, every_unit=0.0))
    objective(batch()).total.backward()
    head: Any = objective.model.head
    assert isinstance(head, Exits)
    for n, unit in enumerate(head.units):
        for name, p in unit.named_parameters():
            last = n == UNITS - 1 and name.startswith("halt")
            assert p.grad is not None and p.grad.isfinite().all(), (n, name)
            assert bool(p.grad.any()) is not last, (n, name)


def test_halting_model_is_exported_as_one_graph_of_its_full_depth():
    model = halting(HaltingConfig()).model.eval()
    ids, first = batch()["input_ids"], torch.zeros(6, 1, dtype=torch.long)
    mask = torch.arange(12) < torch.tensor([12, 9, 5, 12, 3, 7])[:, None]
    with torch.no_grad():
        full = model(ids, mask=mask, select=first)
        exported = torch.export.export(model, (ids,), {"mask": mask, "select": first})
        assert_close(exported.module()(ids, mask=mask, select=first), full)
