"""What the stages of `quality.py` share: the record, the minutes, and a run of so many minutes, made once."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import quality_record as record
import quality_report as report
from arms import stop
from quality_arms import BERT, FEWER, LR, Shape, arms, at_width, known, pretrained
from quality_speeds import seconds
from quality_tasks import finetuned
from records import done, keep


@dataclass(frozen=True, kw_only=True)
class Study:
    """minutes: of the screening and of the long runs; widths: of BERT at each."""

    name: str
    work: Path
    data: Path
    device: str
    shape: Shape
    arms: tuple[str, ...]
    tasks: tuple[str, ...]
    seeds: int
    minutes: float
    long: float
    widths: dict[int, float]

    def once(self, key: str, measure: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """What stands in the record; where nothing does, it is made now."""
        found: dict[str, Any] | None = done(self.name, key)
        if found is None:
            found = measure()
            keep(self.name, key, found)
            report.write(self.name)
            brief = {field: found[field] for field in ("val_loss", "score", "tokens") if found.get(field) is not None}
            print(f"{key}: {brief}", flush=True)
        return found

    def seconds(self, label: str, dim: int) -> float:
        """Of an update, when the speeds were measured."""
        speeds = done(self.name, "speeds") or stop("no speeds are measured: begin with `speeds`, on a quiet machine")
        return seconds(speeds, at_width(label, dim, shape=self.shape))

    def updates(self, label: str, dim: int, given: float) -> int:
        """That so many minutes hold."""
        return max(1, round(60 * given / self.seconds(label, dim)))

    def run(
        self, key: str, label: str, *, dim: int, updates: int, lr: float = LR, seed: int = 0, **about: Any
    ) -> dict[str, Any]:
        """A pretraining run under its key; about: what the record is to say of it, too."""
        arm, shape = known(self.shape)[label], replace(self.shape, dim=dim)
        out = self.work / self.name / f"{key.replace(', ', '-').replace(' ', '-')}-{updates}"
        begin = partial(pretrained, arm, shape, self.data, out, updates=updates, seed=seed, lr=lr, device=self.device)
        said = {"key": key, "label": label, "minutes": updates * self.seconds(label, dim) / 60, **about}
        return self.once(key, lambda: begin() | said)

    def of(self, label: str, given: float, seed: int = 0) -> record.Run:
        """An arm for so many minutes."""
        key, dim = record.run_key(given, label, seed), self.shape.dim
        updates = self.updates(label, dim, given)
        return record.run_of(self.run(key, label, dim=dim, updates=updates, seed=seed, part="runs", given=given))

    def score(self, run: record.Run, tasks: Sequence[str]) -> None:
        """What was pretrained, fine-tuned on these tasks."""
        folder = self.work / self.name / run.found["folder"]
        for task in tasks:
            self.once(record.score_key(task, run.key), partial(finetuned, folder, task, device=self.device))

    def best(self, among: Iterable[str]) -> str:
        """The arm of the lowest loss in the screening, of those that count."""
        wanted, (found, _) = set(among), record.ranked(self.name, self.minutes)
        counted = [label for label, _ in found if label in wanted]
        return counted[0] if counted else stop("nothing that counts is screened: begin with `screening`")

    def winner(self) -> str:
        return self.best(label for label in arms(self.shape) if not label.startswith(BERT))

    def control(self) -> str:
        return self.best(label for label in arms(self.shape) if label.startswith(FEWER))
