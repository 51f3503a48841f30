"""Updates of a fine-tuning, dense, in the search and as a ticket, in turn on the same batches of a real task.

So whatever else the machine does hits all alike, and r = time of an update of a ticket over that of a dense one is
known to a percent within minutes, where whole runs lie hours apart. This is the only part of the fine-tuning that needs
a quiet machine: with r, the updates that a run made say what it saves.
"""

import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from timing import side_by_side

from slimbert.data.tasks import Task
from slimbert.jobs.finetune import Run, settings_of
from slimbert.jobs.source import open_encoder
from slimbert.jobs.tickets.finetuning import dense
from slimbert.jobs.tickets.picture import write_distances
from slimbert.jobs.tickets.recipe import ticket_recipe
from slimbert.jobs.tickets.watch import Watch
from slimbert.methods.earlybird import TicketRecipe
from slimbert.methods.gated import Gated, gated_adamw
from slimbert.methods.importance import at_random
from slimbert.methods.tickets import draw
from slimbert.model import extract
from slimbert.train.loop import Start, Step, train
from slimbert.train.run import RunFolder

WARM = 3  # updates before the clock


class Search(NamedTuple):
    """Updates with coefficients, masks taken when they are due; and who watches them."""

    updates: Iterator[Step]
    watch: Watch


def times_of(
    encoder: Path,
    task: Task,
    settings: Sequence[str],
    *,
    tickets: Mapping[str, Sequence[str]],
    recipe: Path,
    rounds: int,
) -> dict[str, Any]:
    """What `side_by_side` found of an update of each arm: dense, search, and every ticket by its own settings.

    between: seconds behind the search until its ticket trains: the draw, its picture, the smaller model.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)

        def new(arm: str, also: Sequence[str] = ()) -> tuple[Run, TicketRecipe]:
            early, plain = ticket_recipe(recipe, [*settings, *also], folder / arm)
            assert early is not None
            model, tokenizer, _ = open_encoder(encoder, prefer="pooler")
            made = settings_of(plain, seed=0, early=None)
            return Run(model, tokenizer, task, made, RunFolder(folder / arm), device="cpu", quiet=True), early

        first = new("dense")[0]
        search = searching(*new("search"))
        loops = {"dense": first.steps(Start()), "search": search.updates}
        spent = 0.0
        for arm, also in tickets.items():
            loops[arm], seconds = ticketed(*new(arm, also))
            spent = max(spent, seconds)
        warm = min(WARM, first.updates - 1)
        rounds = min(rounds, first.updates - warm)
        found = side_by_side({arm: partial(next, loop) for arm, loop in loops.items()}, rounds=rounds, warm=warm)
        began = time.perf_counter()
        write_distances(folder, search.watch.described())
        between = spent + time.perf_counter() - began
    for one in found.values():
        one["seconds"] = [round(seconds, 4) for seconds in one["seconds"]]
    return found | {"rounds": rounds, "between": between}


def searching(run: Run, early: TicketRecipe) -> Search:
    """The updates of a search, with nothing kept of them. Checkpoints, every 50 updates of a real one, are left out."""
    seen, options = dense(run), early.search
    gated = Gated(run.objective, heads=options.penalty_heads, neurons=options.penalty_neurons)
    gated = gated.to(run.accelerator.device)
    optimizer = gated_adamw(gated, run.optim, options)
    watch = Watch(early, run.objective.model.config.encoder, seen.clock)
    loop = train(
        gated, run.batches(0), optimizer, lr=run.rate, accelerator=run.accelerator, clip=run.optim.clip, start=Start()
    )

    def watched() -> Iterator[Step]:
        for step in loop:
            now = Start(step.n, step.tokens, step.seconds)
            if watch.due(now):
                watch.saw(now, gated.coefficients())
                watch.verdict(now)
            yield step

    return Search(watched(), watch)


def ticketed(run: Run, early: TicketRecipe) -> tuple[Iterator[Step], float]:
    """(the updates of a ticket, seconds until they can begin). It is drawn at random: their time does not depend on
    which units are gone."""
    began = time.perf_counter()
    encoder = run.objective.model.config.encoder
    run.take(extract(run.whole, draw(at_random(encoder, 0), encoder, early.draw)))
    return run.steps(Start()), time.perf_counter() - began
