"""A baseline's answers and score, and the rows that it answers."""

from dataclasses import dataclass
from typing import Any

from ...data.tasks import Split, Task


@dataclass(frozen=True)
class Baseline:
    """A baseline on a split. predictions: [N, ...] as labels are; score: as that of the encoder; chosen: what
    validation decided."""

    name: str
    predictions: Any
    score: dict[str, float]
    chosen: dict[str, float]
    seconds: float


def scored_rows(task: Task) -> Split:
    """The rows of the printed score: the test, else validation."""
    return task.test or task.validation
