"""What the search for a ticket needs of the run that it stands in, be it pretraining or fine-tuning."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

from accelerate import Accelerator

from ...train.loop import Start
from ...train.objectives import Batch, Objective
from ...train.optim import OptimConfig
from ...train.run import RunFolder


class Clock(NamedTuple):
    """How far a run is, in epochs (fine-tuning) or as a share of the whole run (pretraining).

    unit: updates of that epoch or run; seconds: of that run, where its budget is a time; warm: where the warm-up ends;
    total: updates of the run, None where it ends with a time.
    """

    unit: int | None
    warm: float
    total: int | None
    seconds: float | None = None

    def share(self, now: Start) -> float:
        """Where a run stands."""
        return now.step / self.unit if self.unit else now.seconds / (self.seconds or 1.0)


@dataclass(frozen=True, kw_only=True)
class Dense:
    """A run as it would be without a ticket.

    batches: those of the updates from a number on; rate: the learning rate of the update that starts at a Start, None
    where the budget is spent; identity: plain data of what must not change when the run is resumed; wanted: how
    many rows of a text of so many tokens the objective asks for, None: all.
    """

    objective: Objective
    accelerator: Accelerator
    folder: RunFolder
    optim: OptimConfig
    clock: Clock
    batches: Callable[[int], Iterator[Batch]]
    rate: Callable[[Start], float | None]
    identity: Any
    wanted: Callable[[int], int | None]
    seed: int
    quiet: bool

    @property
    def main(self) -> bool:
        """Whether this is the process that writes."""
        return self.accelerator.is_main_process
