"""The same fine-tuning with several seeds: mean, deviation and interval, which one seed cannot give."""

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

from ..atomic import plain
from ..data.metrics import over_seeds
from ..errors import InputError
from ..train.run import RunFolder
from .finetuned import Finetuned

SUMMARY = "seeds.json"


class Seeded(NamedTuple):
    """Runs of the same data and settings with other seeds. mean, deviation, low, high: of `metric` on the test rows (on
    validation where there are none), with the 95% interval of the mean; best: the run that validation prefers;
    baselines: the same four numbers of each baseline."""

    folder: str
    metric: str
    runs: tuple[Finetuned, ...]
    mean: float
    deviation: float
    low: float
    high: float
    best: str
    baselines: dict[str, dict[str, float]]


def with_seeds(
    one: Callable[..., Finetuned], *, out: str | Path, seeds: int, first: int = 0, with_baselines: bool = True
) -> Seeded:
    """`one` for `seeds` seeds from `first` on, each in a folder below `out`, all on the split of the first.

    Baselines are computed once for equal data (with few rows a class every seed draws its own). Raises InputError for
    fewer than 2.
    """
    if seeds < 2:
        raise InputError("--seeds", f"{seeds} is too small", "give 2 or more; 5 give a useful interval")
    known: dict[str, Any] = {}
    made: list[Finetuned] = []
    for n in range(first, first + seeds):
        folder = Path(out) / f"seed-{n}"
        run = one(out=folder, seed=n, split_seed=first, with_baselines=with_baselines, known_baselines=known)
        known[json.loads((folder / "data.json").read_text())["sha256"]] = run.baselines
        made.append(run)
    runs, metric = tuple(made), made[0].metric
    found = over_seeds([(run.test or run.validation)[metric] for run in runs])
    best = max(runs, key=lambda run: run.validation[metric])
    beside = {
        name: asdict(over_seeds([run.baselines[name][metric] for run in runs]))
        for name in runs[0].baselines
        if all(name in run.baselines for run in runs)
    }
    several = Seeded(str(out), metric, runs, **asdict(found), best=best.run, baselines=beside)
    with RunFolder(out) as outer:
        outer.write_json(SUMMARY, plain(several))
    return several
