"""The contest of the demo: who learns most from a few hundred labelled texts?

Every contender gets the same labelled rows, the same validation rows to stop or to choose by, and answers the same test
rows. A seed changes everything that was left to chance: which rows are labelled, the fresh head, the order, dropout.
"""

import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import fmean
from typing import NamedTuple

import numpy as np

from ...data.metrics import Seeds, over_seeds
from ...data.tasks import Task, fingerprint
from ...model.folder import load_config
from ...model.model import parameter_count, skeleton
from ..baselines import Baseline, majority, tfidf
from ..finetune import finetune


class Entrant(NamedTuple):
    """An encoder that takes part: where it stands and how it is fine-tuned (`settings` as for `finetune`)."""

    name: str
    folder: Path
    settings: tuple[str, ...]


class Contender(NamedTuple):
    """What one contender came to. accuracy: mean over the seeds on test, low to high its 95% interval (Student's t).

    seconds: to learn and to answer, mean over the seeds; parameters: of the whole model, None where it has no fixed
    number; run: the folder of the first seed's model.
    """

    name: str
    accuracy: float
    low: float
    high: float
    scores: tuple[float, ...]
    seconds: float
    parameters: int | None
    run: str | None


def deal(task: Task, hands: int) -> list[Task]:
    """The training rows dealt out, each class evenly; no row is in two hands. Validation and test are the same."""
    order = np.argsort(task.train.labels, kind="stable")
    dealt = [replace(task, train=task.train.take(order[hand::hands]), notes=()) for hand in range(hands)]
    return [replace(one, sha256=fingerprint(one.labels, one.train, one.validation, one.test)) for one in dealt]


def contest(
    entrants: Sequence[Entrant],
    tasks: Sequence[Task],
    out: Path,
    *,
    seed: int,
    device: str | None,
    quiet: bool,
    tell: Callable[[str], None],
) -> list[Contender]:
    """The baselines, then every entrant, on every task; task i with seed + i. The models of the first seed stay in
    `out`."""
    found = [
        _baseline("majority class", tasks, lambda task, _: majority(task)),
        _baseline("TF-IDF + logistic regression", tasks, lambda task, number: tfidf(task, seed=seed + number)),
    ]
    for one in found:
        tell(f"{one.name}: {one.accuracy:.1%} of the test right")
    for entrant in entrants:
        scores, seconds = [], []
        for number, task in enumerate(tasks):
            began = time.perf_counter()
            run = out / (f"{entrant.folder.name}" if number == 0 else f"{entrant.folder.name}-{number}")
            done = finetune(
                entrant.folder,
                task,
                out=run,
                settings=entrant.settings,
                seed=seed + number,
                device=device,
                quiet=quiet,
                explain=False,
                with_baselines=False,
            )
            shutil.rmtree(run / "checkpoints" if number == 0 else run)  # the first model is kept, to be asked
            scores.append((done.test or done.validation)["accuracy"])
            seconds.append(time.perf_counter() - began)
            tell(f"{entrant.name}, seed {number + 1} of {len(tasks)}: {scores[-1]:.1%} of the test right")
        kept = out / entrant.folder.name
        size = parameter_count(skeleton(load_config(kept)))
        found.append(_contender(entrant.name, scores, seconds, parameters=size, run=str(kept)))
    return found


def difference(one: Contender, other: Contender) -> Seeds:
    """How much better `one` is, with the interval of the paired differences: a seed is the same rows for both."""
    return over_seeds([a - b for a, b in zip(one.scores, other.scores, strict=True)])


def verdict(found: Sequence[Contender]) -> list[str]:
    """Who won, in plain sentences; a lead whose interval holds 0 is not called one."""
    first, second = sorted(found, key=lambda one: -one.accuracy)[:2]
    said = [f"{_short(first)} won with {first.accuracy:.1%}. {_lead(first, second)}"]
    ours = [one for one in found if one.name.endswith(", pretrained")]
    others = [one for one in found if one.name.endswith("untrained") or one.name.startswith("TF-IDF")]
    pairs = [sorted((one, other), key=lambda one: -one.accuracy) for one in ours for other in others]
    said += [_lead(one, other) for one, other in pairs if {one, other} != {first, second}]
    return said


def _lead(one: Contender, other: Contender) -> str:
    gap = difference(one, other)
    shown = f"{_short(one)} is {100 * gap.mean:.1f} points above {_short(other)}"
    if not gap.low > 0:
        return f"{shown}, but {len(one.scores)} seeds do not settle it ({_points(gap)})."
    return f"{shown} ({_points(gap)})."


def _short(one: Contender) -> str:
    return one.name.replace(", published weights", "").replace(" + logistic regression", "").replace(",", "")


def _points(gap: Seeds) -> str:
    return f"95% interval {100 * gap.low:.1f} to {100 * gap.high:.1f}"


def _baseline(name: str, tasks: Sequence[Task], answer: Callable[[Task, int], Baseline]) -> Contender:
    found = [answer(task, number) for number, task in enumerate(tasks)]
    return _contender(name, [one.score["accuracy"] for one in found], [one.seconds for one in found])


def _contender(
    name: str,
    scores: Sequence[float],
    seconds: Sequence[float],
    *,
    parameters: int | None = None,
    run: str | None = None,
) -> Contender:
    whole = over_seeds(scores)
    return Contender(name, whole.mean, whole.low, whole.high, tuple(scores), fmean(seconds), parameters, run)
