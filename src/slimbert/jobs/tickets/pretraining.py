"""A ticket in pretraining: drawn early in the run, then trained with what is left of its budget."""

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from ...errors import RunError
from ...methods.earlybird import TicketRecipe
from ...model import extract
from ...train.objectives import MaskedLm
from ...train.signals import Stop
from ..resolve import begun
from .draw import beginning, drawn_in, go_on, started, with_between
from .stage import Clock, Dense

if TYPE_CHECKING:
    from ..pretrain import Run


def dense(run: "Run") -> Dense:
    """The run as the search sees it; shares are of the whole run."""
    optim = run.recipe.optim
    return Dense(
        objective=run.objective,
        accelerator=run.accelerator,
        folder=run.folder,
        optim=optim,
        clock=Clock(run.steps, optim.warmup, run.steps, run.limit),
        batches=run.feed.training,
        rate=run.rate,
        identity=run.identity(),
        wanted=partial(_wanted, run),
        seed=run.recipe.train.seed,
        quiet=run.quiet,
    )


def _wanted(run: "Run", length: int) -> int | None:
    """The places that are predicted, and where the encoder narrows the first of every document; to detect replaced
    tokens, all."""
    if not isinstance(run.objective, MaskedLm):
        return None
    firsts = run.feed.firsts if run.objective.model.encoder.narrows else 0
    return min(length, firsts + run.feed.masking.positions_per_row(length))


def with_ticket(run: "Run", recipe: TicketRecipe, stop: Stop) -> None:
    """Draw a ticket and put it in the place of the run's model.

    In a budget of time counts what the search spent, and what lies between it and the first update of the ticket, but
    where the run was interrupted there. Raises RunError where nothing is left to train the ticket with.
    """
    since, searched, rule = started(run.folder.path), dense(run), recipe.train
    ticket = drawn_in(searched, recipe, stop)
    whole = begun(run.recipe, run.source)
    small = extract(whole, ticket.subnet)
    optim = replace(run.recipe.optim, lr=rule.lr * run.recipe.optim.lr)
    run.recipe = replace(run.recipe, model=small.config, optim=optim)
    run.steps = run.steps and round(rule.share * run.steps)
    run.limit = run.limit and rule.share * run.limit
    run.ticket = ticket.digest
    run.take(small)
    go_on(searched, recipe, ticket, whole.encoder, into=run.objective, optimizer=run.optimizer)
    run.begin = with_between(beginning(recipe, ticket), ticket, since)
    run.ahead = 0.0 if run.begin.step else run.begin.seconds  # a schedule that starts anew starts here
    if run.rate(run.begin) is None:
        raise RunError("nothing is left to train the ticket with; give more, or lower ticket.detector.last")
