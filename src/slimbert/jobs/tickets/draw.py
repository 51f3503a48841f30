"""A ticket in the middle of a run: search, draw, and what the run goes on from.

The stage of a run stands in its folder. While it searches there is `search/`; once it is drawn there is ticket.json,
written last; from then on the run is that of the smaller model. So a kill at any moment leaves a stage to go on from.
"""

import time
from dataclasses import replace
from pathlib import Path

import torch

from ...config import dump
from ...errors import InputError, RunError
from ...methods.continued import cut_snapshot
from ...methods.earlybird import TicketRecipe
from ...methods.importance import at_random, by_magnitude
from ...methods.tickets import DrawConfig, draw
from ...methods.units import counts, name_of
from ...model import Encoder, EncoderConfig
from ...subnet import Plan, Subnet
from ...train import checkpoints
from ...train.loop import Start, restore
from ...train.objectives import Objective
from ...train.progress import Progress
from ...train.run import SEARCH, TICKET
from ...train.signals import Stop
from .file import Ticket, architecture, fitting, hashed, read_ticket, write_ticket
from .search import search, search_folder
from .stage import Dense

WORDS = {"head": "heads", "conv_head": "convolving heads", "hidden": "neurons"}  # of axes, for people


def drawn_in(run: Dense, recipe: TicketRecipe, stop: Stop) -> Ticket:
    """The ticket of a run folder: the one that stands there, or one that is searched for and drawn now.

    Raises InputError where it was drawn in another run, Interrupted after a signal.
    """
    made_in = hashed({"run": run.identity, "ticket": dump(recipe)})
    path, encoder = run.folder.path / TICKET, run.objective.model.config.encoder
    recipe = replace(recipe, draw=_counted(run, recipe.draw))
    found = read_ticket(path) if path.exists() else None
    if found is None and any(run.folder.checkpoints.glob("step-*")):
        raise InputError(run.folder.path, "a run without a ticket", "leave --ticket out, or choose another --out")
    if found is None:
        found = (_searched if recipe.searches else _control)(run, recipe, stop, made_in)
        if run.main:
            write_ticket(run.folder.path, found)
    elif found.run != made_in:
        raise InputError(path, "drawn with another encoder, data or recipe", "resume with those it began with")
    run.accelerator.wait_for_everyone()
    if run.main and recipe.searches and recipe.train.start == "rewind":
        checkpoints.drop_after(search_folder(run).checkpoints, -1)  # nothing begins from them any more
    fitting(found, encoder, path)
    if run.main and not run.quiet:
        Progress(None).note(f"ticket: {described(found, encoder)}")
    return found


def _counted(run: Dense, rule: DrawConfig) -> DrawConfig:
    """With the rows that the run asks for, where a budget is to be counted and nothing else is said."""
    if rule.budget is None or rule.keep is not None:
        return rule
    longest = run.objective.model.config.encoder.embedding.max_len
    return replace(rule, keep=run.wanted(min(rule.length, longest)))


def beginning(recipe: TicketRecipe, ticket: Ticket) -> Start:
    """Where the training of a ticket starts: its search has taken time, and by `continue` it has made updates."""
    return Start(ticket.updates if _goes_on(recipe) else 0, ticket.tokens, ticket.seconds)


def started(path: Path) -> float | None:
    """The clock, where a run with a ticket starts now. None where it goes on: nobody knows how long it stood still."""
    return None if (path / SEARCH).exists() or (path / TICKET).exists() else time.perf_counter()


def with_between(begin: Start, ticket: Ticket, since: float | None) -> Start:
    """`begin` with the seconds `since` then that the search did not take: the draw, its picture, the smaller model."""
    between = 0.0 if since is None else time.perf_counter() - since - ticket.seconds
    return begin._replace(seconds=begin.seconds + max(0.0, between))


def go_on(
    run: Dense,
    recipe: TicketRecipe,
    ticket: Ticket,
    dense: Encoder,
    *,
    into: Objective,
    optimizer: torch.optim.Optimizer,
) -> None:
    """By `continue`: weights and moments of the search, cut to the ticket, `into` what trains it; by `rewind` nothing.

    dense: the encoder that was searched in (its shapes alone matter).
    """
    if not _goes_on(recipe):
        return
    folder = search_folder(run).checkpoints
    found = checkpoints.newest(folder)
    if found is None or found.step != ticket.updates:
        raise RunError(f"{folder}: the last checkpoint of the search is gone; begin a new run")
    plan = Plan(dense, prefix="model.encoder.")
    restore(into, optimizer, cut_snapshot(found.tensors, plan, ticket.subnet))


def described(ticket: Ticket, encoder: EncoderConfig) -> str:
    """`drawn by coefficient after 125 updates (detected); 96 of 144 heads, 22,112 of 36,864 neurons stay`."""
    sums: dict[str, list[int]] = {}
    for key, (kept, units) in counts(encoder, ticket.subnet).items():
        total = sums.setdefault(name_of(key), [0, 0])
        total[0], total[1] = total[0] + kept, total[1] + units
    stay = ", ".join(f"{kept:,} of {units:,} {WORDS[name]}" for name, (kept, units) in sums.items())
    return f"drawn by {ticket.by} after {ticket.updates:,} updates ({ticket.why}); {stay} stay"


def _goes_on(recipe: TicketRecipe) -> bool:
    return recipe.searches and recipe.train.start == "continue"


def _searched(run: Dense, recipe: TicketRecipe, stop: Stop, made_in: str) -> Ticket:
    found = search(run, recipe, stop, identity=made_in)
    if run.main:
        from .picture import write_distances  # matplotlib takes a second to load

        write_distances(run.folder.path, found.watch.described())
    return _ticket(run, recipe, found.subnet, found.start, found.watch.why, made_in)


def _control(run: Dense, recipe: TicketRecipe, stop: Stop, made_in: str) -> Ticket:
    """A ticket that needs no search."""
    encoder, rule = run.objective.model.encoder, recipe.draw
    seed = run.seed if rule.seed is None else rule.seed
    scores = at_random(encoder.config, seed) if rule.by == "random" else by_magnitude(encoder)
    return _ticket(run, recipe, draw(scores, encoder.config, rule), Start(), "no search", made_in)


def _ticket(run: Dense, recipe: TicketRecipe, subnet: Subnet, start: Start, why: str, made_in: str) -> Ticket:
    return Ticket(
        subnet,
        source=architecture(run.objective.model.config.encoder),
        by=recipe.draw.by,
        why=why,
        updates=start.step,
        tokens=start.tokens,
        seconds=start.seconds,
        recipe=dump(recipe),
        run=made_in,
    )
