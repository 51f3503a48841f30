"""The search: the dense model trains with coefficients, on the schedule of its own run, until the ticket is drawn.

It stands in `search/` of the run folder, with checkpoints and a metrics.jsonl of its own; killed, it goes on. It runs
eagerly also where the run is compiled: its graph would be thrown away at the draw.
"""

import math
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import torch
from accelerate.utils import broadcast
from torch import Tensor

from ...errors import InputError, Interrupted, RunError
from ...methods.earlybird import TicketRecipe
from ...methods.gated import Gated, gated_adamw
from ...subnet import Subnet
from ...train import checkpoints
from ...train.engine import anywhere
from ...train.loop import Start, Step, restore, seed_dropout, snapshot, train
from ...train.progress import Progress
from ...train.run import SEARCH, RunFolder
from ...train.signals import Stop
from .stage import Dense
from .watch import Watch

TWICE, ONCE = "objective.inner.model.", "objective.model."  # the model stands in the objective and in its inner one


class Searched(NamedTuple):
    """What a search came to: the ticket, and where the run stood when it was drawn."""

    subnet: Subnet
    start: Start
    watch: Watch


def search_folder(run: Dense) -> RunFolder:
    """Where the search of a run stands."""
    return RunFolder(run.folder.path / SEARCH)


def search(run: Dense, recipe: TicketRecipe, stop: Stop, *, identity: str) -> Searched:
    """Train until the ticket is drawn; from the newest checkpoint of the search where there is one.

    Raises Interrupted after a signal, with a checkpoint written, and RunError where the budget ends before the draw.
    """
    made = _Search(run, recipe, identity=identity)  # what does not fit leaves no folder behind
    with search_folder(run) as folder:
        return made.go(folder, stop)


class _Search:
    def __init__(self, run: Dense, recipe: TicketRecipe, *, identity: str) -> None:
        self.run, self.recipe, self.identity = run, recipe, identity
        self.watch = Watch(recipe, run.objective.model.config.encoder, run.clock)
        options = recipe.search
        gated = Gated(run.objective, heads=options.penalty_heads, neurons=options.penalty_neurons)
        self.gated = gated.to(run.accelerator.device)
        self.optimizer = gated_adamw(self.gated, run.optim, options)

    def go(self, folder: RunFolder, stop: Stop) -> Searched:
        self.folder = folder
        start, rule = self._start(), self.recipe.detector
        if self.watch.updates[-1:] == [start.step] and self.watch.verdict(start):  # killed between draw and ticket.json
            return self._drawn(self.watch.ticket(self._coefficients()), start)
        unit, last = self.run.clock.unit, rule.last if rule.fixed is None else rule.fixed
        total = unit and max(rule.least, math.ceil(last * unit))
        with Progress(total, "search", start=start.step, enabled=self.run.main and not self.run.quiet) as progress:
            for step in self._steps(start):
                self._record(step, progress)
                now = self._same(Start(step.n, step.tokens, step.seconds))
                if self.watch.due(now) or self.watch.ended(now):
                    subnet = self.watch.saw(now, self._coefficients())
                    if self.watch.verdict(now):
                        return self._drawn(subnet, now)
                stopped = anywhere(self.run.accelerator, bool(stop))
                if stopped or step.n % self.recipe.search.checkpoint_every == 0:
                    self._checkpoint(now)
                if stopped:
                    told = f"{stop.name or 'stopped'}: stopped after step {step.n} of the search; go on with --resume"
                    raise Interrupted(told)
        raise RunError("the budget ended before a ticket was drawn; give more, or lower ticket.detector.last")

    def _steps(self, start: Start) -> Iterator[Step]:
        """The updates. A search that fails says what to do."""
        try:
            yield from train(
                self.gated,
                self.run.batches(start.step),
                self.optimizer,
                lr=self.run.rate,
                accelerator=self.run.accelerator,
                clip=self.run.optim.clip,
                start=start,
            )
        except RunError as error:
            remedy = "begin again with a lower learning rate, or a lower ticket.search.lr, in a new --out"
            raise RunError(f"{error}; {remedy}") from error

    def _start(self) -> Start:
        found = checkpoints.newest(self.folder.checkpoints)
        start, rank = Start(), self.run.accelerator.process_index
        if found is not None:
            if found.state.get("identity") != self.identity:
                problem = "made with another encoder, data or recipe"
                raise InputError(found.path, problem, "resume with those it began with")
            restore(self.gated, self.optimizer, doubled(found.tensors))
            self.watch.restore(found.tensors, found.state)
            start = Start(found.step, found.state["tokens"], found.state["seconds"])
        if found is None or rank:  # dropout: the checkpoint holds the state of the first process
            seed_dropout(self.run.seed, step=start.step, rank=rank)
        if self.run.main:
            self.folder.cut(start.step)
            checkpoints.drop_after(self.folder.checkpoints, start.step)
        return start

    def _record(self, step: Step, progress: Progress) -> None:
        """The loss without the penalty, which begins at a constant and says nothing of the task."""
        penalty = step.parts["gates"]
        loss = step.loss - penalty
        if self.run.main:
            row = {"step": step.n, "loss": loss, "penalty": penalty, "tokens": step.tokens, "seconds": step.seconds}
            self.folder.append({**row, "lr": step.lr, "norm": step.norm})
            progress.update(step.n, loss=loss, tokens_per_second=step.tokens / max(step.seconds, 1e-9))

    def _coefficients(self) -> dict[str, Tensor]:
        """Those of the first process, in all."""
        found, accelerator = self.gated.coefficients(), self.run.accelerator
        if accelerator.num_processes == 1:
            return found
        return {key: broadcast(value.to(accelerator.device)).cpu() for key, value in found.items()}

    def _same(self, now: Start) -> Start:
        """With the same time in every process, where a time decides."""
        accelerator = self.run.accelerator
        if self.run.clock.unit or accelerator.num_processes == 1:
            return now
        seconds = torch.tensor([now.seconds], device=accelerator.device)
        return now._replace(seconds=float(accelerator.reduce(seconds, reduction="mean")))

    def _drawn(self, subnet: Subnet, now: Start) -> Searched:
        if self.recipe.train.start == "continue":
            self._checkpoint(now)
        self.run.accelerator.free_memory()  # it holds on to the dense model and its optimiser
        return Searched(subnet, now, self.watch)

    def _checkpoint(self, now: Start) -> None:
        if self.run.main:
            self.folder.sync()
            state: dict[str, Any] = {"tokens": now.tokens, "seconds": now.seconds, "identity": self.identity}
            state |= {"updates": self.watch.updates, "shares": self.watch.shares}
            whole = snapshot(self.gated, self.optimizer) | self.watch.tensors()
            once = {name: value for name, value in whole.items() if not name.startswith(TWICE)}
            checkpoints.save(self.folder.checkpoints, now.step, tensors=once, state=state, keep=1)
        self.run.accelerator.wait_for_everyone()


def doubled(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A checkpoint of the search as the snapshot that the loop restores, with the model under both of its names."""
    own = {TWICE + name.removeprefix(ONCE): value for name, value in tensors.items() if name.startswith(ONCE)}
    return {**tensors, **own}
