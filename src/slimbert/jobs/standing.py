"""Where a fine-tuning run stands: its best validation so far, and the checkpoints that it goes on from."""

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

from ..errors import InputError
from ..train import checkpoints
from ..train.loop import Start, Step, restore, snapshot

if TYPE_CHECKING:
    from .finetune import Run


class Standing:
    """`best`: the metric on validation, and minus the loss there; `stale`: validations since then."""

    def __init__(self) -> None:
        self.best = (-math.inf, -math.inf)
        self.stale = 0

    def start(self, run: "Run", resume: bool, *, tell: Callable[[str], None]) -> Start:
        """Where the run begins, or goes on: then with the weights and the moments of its newest checkpoint.

        Raises InputError where that was made with another encoder, data or settings.
        """
        found = checkpoints.newest(run.folder.checkpoints, tell=tell) if resume else None
        if resume and found is None:
            tell(f"no whole checkpoint yet: starting at step {run.begin.step}")
        if found is None:
            run.folder.cut(0)
            return run.begin
        if found.state.get("identity") != run.identity():
            raise InputError(
                found.path, "made with another encoder, data or settings", "resume with those it began with"
            )
        restore(run.objective, run.optimizer, found.tensors)
        self.best, self.stale = tuple(found.state["score"]), found.state["stale"]
        tell(f"going on from step {found.step} of {found.path}")
        run.folder.cut(found.step)
        checkpoints.drop_after(run.folder.checkpoints, found.step)
        return Start(found.step, found.state["tokens"], found.state["seconds"])

    def validated(self, run: "Run", step: Step, *, value: float, loss: float) -> None:
        """Count a validation, and checkpoint."""
        halting = run.settings.halting
        if halting is not None and not halting.chooses(step.n / run.updates):
            return self.save(run, step)
        better = (value, -loss) > self.best or (halting is not None and halting.takes_last)
        self.best = (value, -loss) if better else self.best
        self.stale = 0 if better else self.stale + 1
        self.save(run, step, best=better)

    def save(self, run: "Run", step: Step, *, best: bool = False) -> None:
        """Write a checkpoint."""
        state = {"tokens": step.tokens, "seconds": step.seconds, "score": list(self.best), "stale": self.stale}
        state["identity"] = run.identity()
        tensors = snapshot(run.objective, run.optimizer)
        run.folder.sync()
        checkpoints.save(run.folder.checkpoints, step.n, tensors=tensors, state=state, keep=1, best=best)
