"""A ticket in fine-tuning: drawn early in the first epoch, then trained for the epochs that were asked for."""

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import torch

from ...errors import RunError
from ...methods.earlybird import TicketRecipe
from ...model import extract
from ...train.signals import Stop
from ...train.supervised import with_first_row
from ..settings import every
from .draw import beginning, drawn_in, go_on, started, with_between
from .stage import Clock, Dense

if TYPE_CHECKING:
    from ..finetune import Run


def dense(run: "Run") -> Dense:
    """The run as the search sees it; shares are of an epoch."""
    settings = run.settings
    return Dense(
        objective=run.objective,
        accelerator=run.accelerator,
        folder=run.folder,
        optim=run.optim,
        clock=Clock(run.per_epoch, settings.warmup * run.updates / run.per_epoch, run.updates),
        batches=run.batches,
        rate=run.rate,
        identity=run.identity(),
        wanted=partial(_wanted, run),
        seed=settings.seed,
        quiet=run.quiet,
    )


def _wanted(run: "Run", length: int) -> int | None:
    """One, where the head reads the first row of a text alone."""
    asked = with_first_row(run.whole, {"input_ids": torch.zeros(1, length, dtype=torch.long)})
    return asked["select"].shape[1] if "select" in asked else None


def with_ticket(run: "Run", recipe: TicketRecipe, stop: Stop) -> None:
    """Draw a ticket and put it in the place of the run's model. Its head is the one that the search began with.

    The seconds of the run count what lies between the search and the first update of the ticket, unless the run was
    interrupted there. Raises RunError where no update is left to train the ticket with.
    """
    since, searched, rule, whole = started(run.folder.path), dense(run), recipe.train, run.whole
    ticket = drawn_in(searched, recipe, stop)
    run.begin, run.updates = beginning(recipe, ticket), round(rule.share * run.updates)
    run.every = every(run.settings, updates=run.updates, validation=len(run.rows.features["validation"]))
    run.optim = replace(run.optim, lr=rule.lr * run.optim.lr)
    run.weights = f"{run.weights} cut to {ticket.digest}"
    run.take(extract(whole, ticket.subnet))
    go_on(searched, recipe, ticket, whole.encoder, into=run.objective, optimizer=run.optimizer)
    run.begin = with_between(run.begin, ticket, since)
    if run.rate(run.begin) is None:
        raise RunError("no update is left to train the ticket with; give more epochs, or lower ticket.detector.last")
