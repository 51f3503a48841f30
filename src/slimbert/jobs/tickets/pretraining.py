"""A ticket in pretraining: drawn early in the run, then trained with what is left of its budget."""

from dataclasses import replace
from typing import TYPE_CHECKING

from ...errors import RunError
from ...methods.earlybird import TicketRecipe
from ...model import extract
from ...train.signals import Stop
from ..resolve import begun
from .draw import beginning, drawn_in, go_on
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
        seed=run.recipe.train.seed,
        quiet=run.quiet,
    )


def with_ticket(run: "Run", recipe: TicketRecipe, stop: Stop) -> None:
    """Draw a ticket and put it in the place of the run's model; what the search spent counts in a budget of time.

    Raises RunError where nothing is left to train the ticket with.
    """
    searched, rule = dense(run), recipe.train
    ticket = drawn_in(searched, recipe, stop)
    begin, whole = beginning(recipe, ticket), begun(run.recipe, run.source)
    small = extract(whole, ticket.subnet)
    optim = replace(run.recipe.optim, lr=rule.lr * run.recipe.optim.lr)
    run.recipe = replace(run.recipe, model=small.config, optim=optim)
    run.steps = run.steps and round(rule.share * run.steps)
    run.limit = run.limit and rule.share * run.limit
    run.begin, run.ticket = begin, ticket.digest
    run.ahead = 0.0 if begin.step else begin.seconds  # a schedule that starts anew starts here
    run.take(small)
    go_on(searched, recipe, ticket, whole.encoder, into=run.objective, optimizer=run.optimizer)
    if run.rate(begin) is None:
        raise RunError("nothing is left to train the ticket with; give more, or lower ticket.detector.last")
