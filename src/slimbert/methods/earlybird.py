"""A ticket recipe: how to search, when to draw, what to keep, and how the ticket is trained."""

import dataclasses
from typing import Literal

from ..errors import InputError
from .detector import DetectorConfig
from .gated import SearchConfig
from .tickets import DrawConfig
from .units import KINDS


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainingConfig:
    """`start` rewind: from the weights that the search began with, and the whole schedule anew; continue: from those it
    came to, with Adam's moments, on the schedule as it stands. `share`: of the run's updates (or time); `lr`: times the
    run's learning rate."""

    start: Literal["rewind", "continue"] = "rewind"
    share: float = 1.0
    lr: float = 1.0


@dataclasses.dataclass(frozen=True, kw_only=True)
class TicketRecipe:
    """Search, draw, train."""

    search: SearchConfig = SearchConfig()
    detector: DetectorConfig = DetectorConfig()
    draw: DrawConfig = DrawConfig()
    train: TrainingConfig = TrainingConfig()

    def check(self, path: str = "ticket") -> None:
        """Validity across fields. Raises InputError with the path."""
        self.detector.check(f"{path}.detector")
        if not 0 < self.train.share <= 1:
            raise InputError(f"{path}.train.share", f"{self.train.share:g} is not a share", "give above 0, at most 1")
        if not 0 < self.train.lr < 1000:
            problem = f"{self.train.lr:g} is no factor of a learning rate"
            raise InputError(f"{path}.train.lr", problem, "give a positive number, e.g. 2")
        if not self.search.lr > 0:
            raise InputError(f"{path}.search.lr", "0 moves no coefficient", "give a positive number")
        if self.draw.budget == 0:
            raise InputError(f"{path}.draw.budget", "0 leaves nothing", "give above 0, e.g. 0.6")
        for kind in KINDS:
            if getattr(self.draw, kind).cut == 1:
                raise InputError(f"{path}.draw.{kind}.cut", "1 leaves no unit", "give less, e.g. 0.4")

    @property
    def searches(self) -> bool:
        """Whether something is trained before it is drawn: the controls need no search."""
        return self.draw.by == "coefficient"

    @property
    def detects(self) -> bool:
        """Whether the masks decide when it is drawn."""
        return self.searches and self.detector.fixed is None
