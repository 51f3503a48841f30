"""What stands in a record of `quality.py`, read for people: runs with curves in minutes, which of them count, scores,
and how far two losses must lie apart to be told apart.

A record keeps, beside `settings` and `unigram_entropy`: `minutes`, what the runs of each kind are given now; `speeds`,
see `quality_speeds.py`; runs and scores under the keys that are made here.
"""

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from quality_arms import SHAPES, Arm, Shape, known
from quality_tasks import TASKS
from records import done, everything

ENOUGH = 0.7  # nat below the unigram entropy, from where on a run counts
TRIED = ENOUGH / 2  # what the trial of a rate must reach: before, rates are as alike as encoders
Minutes = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Run:
    """A pretraining run. given: the minutes it was given; curve [V, 2]: minutes of training and the loss at each
    validation; found: all that the record has of it."""

    key: str
    label: str
    given: float
    seed: int
    curve: NDArray[np.float64]
    found: Mapping[str, Any]

    @property
    def detects(self) -> bool:
        return bool(self.found["detects"])

    @property
    def loss(self) -> float:
        return float(self.found["val_loss"])

    def at(self, minute: float) -> float:
        """The validation loss then; between two validations by a straight line."""
        return float(np.interp(minute, self.curve[:, 0], self.curve[:, 1]))


Seeds = Mapping[int, Run]  # the runs of an arm by their seeds


def run_key(given: float, label: str, seed: int) -> str:
    return f"{given:g} min, {label} {seed}"


def width_key(dim: int, given: float, label: str, *, rate: float | None = None) -> str:
    """rate: that of a trial; None: of the run at the best of them."""
    return f"width {dim}, {given:g} min, {label}" + ("" if rate is None else f", rate {rate:g}")


def score_key(task: str, run: str) -> str:
    return f"{task}: {run}"


def run_of(found: Mapping[str, Any]) -> Run:
    """From what the record has of it: `minutes` at its own speed stand at the end of its curve."""
    points = np.array(found["curve"], dtype=np.float64)
    points[:, 0] *= found["minutes"] / found["tokens"]
    about = {name: found[name] for name in ("key", "label", "given", "seed")}
    return Run(**about, curve=points, found=found)


def runs(name: str) -> dict[str, Run]:
    """The pretraining runs of the record by their keys, without those of `widths`."""
    found = everything(name)
    return {key: run_of(one) for key, one in found.items() if isinstance(one, dict) and one.get("part") == "runs"}


def by_seed(name: str, given: float) -> dict[str, dict[int, Run]]:
    """{arm: {seed: run}} of those that were given so many minutes, where the first seed is among them; without arms
    that detect, whose loss is another one."""
    found: dict[str, dict[int, Run]] = {}
    for run in runs(name).values():
        if run.given == given and not run.detects:
            found.setdefault(run.label, {})[run.seed] = run
    return {label: some for label, some in found.items() if 0 in some}


def minutes(name: str) -> Minutes:
    """What runs are given now: of the screening, of the long runs, of each width."""
    found: Minutes = done(name, "minutes")
    return found


def shape(name: str) -> Shape:
    return SHAPES[done(name, "settings")["shape"]]


def wanted(name: str) -> dict[str, Arm]:
    """The arms that the record should have."""
    return known(shape(name))


def bar(name: str) -> float:
    """The loss at which a run begins to count, nats a token."""
    return float(done(name, "unigram_entropy")) - ENOUGH


def counts(run: Run, below: float) -> bool:
    return not run.detects and run.loss <= below


def counts_from(some: Iterable[Run], below: float) -> float | None:
    """The minute of the first validation at which the mean of these runs is low enough; None: they do not count."""
    each = list(some)
    if mean_loss(each) > below or any(run.detects for run in each):
        return None
    return min((minute for minute in times(each) if mean_at(each, minute) <= below), default=times(each)[-1])


def mean_loss(some: Iterable[Run]) -> float:
    return statistics.mean(run.loss for run in some)


def mean_at(some: Iterable[Run], minute: float) -> float:
    return statistics.mean(run.at(minute) for run in some)


def times(some: Iterable[Run]) -> list[float]:
    """The minutes at which any of them was validated, to the end of the shortest."""
    each = list(some)
    end = min(float(run.curve[-1, 0]) for run in each)
    return sorted({float(minute) for run in each for minute in run.curve[:, 0] if minute <= end})


def ranked(name: str, given: float) -> tuple[list[tuple[str, float]], int]:
    """Arms that count after so many minutes with their losses, the lowest first: means over the seeds that all of them
    have, and how many seeds these are."""
    below = bar(name)
    found = {label: some for label, some in by_seed(name, given).items() if counts(some[0], below)}
    shared = set.intersection(*(set(some) for some in found.values())) if found else set()
    losses = {label: mean_loss(some[seed] for seed in shared) for label, some in found.items()}
    return sorted(losses.items(), key=lambda one: one[1]), len(shared)


# how far apart


@dataclass(frozen=True, kw_only=True)
class Spread:
    """The deviation of a loss over seeds, pooled over arms; freedom: runs less arms."""

    deviation: float
    freedom: int

    def margin(self, *seeds: int) -> float:
        """By how much two means over so many seeds must differ: Student's 95% interval of the difference."""
        from scipy.stats import t

        return float(t.ppf(0.975, self.freedom)) * self.deviation * math.sqrt(sum(1 / count for count in seeds))


def spread(name: str, *, share: float = 1.0) -> Spread | None:
    """Over the seeds of all arms that have several and count, at a share of their time; None: there is none such."""
    below = bar(name)
    groups: dict[tuple[float, str], list[float]] = {}
    for run in runs(name).values():
        if counts(run, below):
            groups.setdefault((run.given, run.label), []).append(run.at(share * float(run.curve[-1, 0])))
    several = [losses for losses in groups.values() if len(losses) > 1]
    freedom = sum(len(losses) - 1 for losses in several)
    if not freedom:
        return None
    squares = sum((len(losses) - 1) * statistics.variance(losses) for losses in several)
    return Spread(deviation=math.sqrt(squares / freedom), freedom=freedom)


# scores


def scores(name: str) -> dict[str, dict[str, Mapping[str, Any]]]:
    """{run: {task: what fine-tuning it came to}}."""
    found = everything(name)
    return {key: {task: found[one] for task in TASKS if (one := score_key(task, key)) in found} for key in runs(name)}


def mean_score(some: Mapping[str, Mapping[str, Any]], tasks: Sequence[str]) -> float | None:
    """The mean over the tasks; None where one of them is missing."""
    return None if any(task not in some for task in tasks) else statistics.mean(some[task]["score"] for task in tasks)
