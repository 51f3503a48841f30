"""What runs with tickets come to beside dense ones and controls of the same seed: time saved, differences of scores.

    r = time of an update of the ticket over that of dense        U = updates
    allowed = 1 - (U_search + r U_ticket) / U_dense
    saved   = 1 - (g U_search + r U_ticket + between) / U_dense

Allowed is what could be saved if nothing but updates took time, and those of the search no more than dense ones. Of E
epochs with s of search, rewind makes U_ticket = U_dense, so that 1 - (s + E r) / E is allowed; continue makes what the
search left, so that 1 - (s + (E - s) r) / E is. Saved counts the search as dear as it is (g), and what lies between it
and the training. Both r and g are of updates that took turns on the same batches, their interval by the bootstrap over
the rounds; the updates are those that the runs of a seed made. What the clock said of whole runs stands beside: they
lie hours apart. Over the seeds stand medians of times, and means of scores with two intervals: Student's t of the
seeds, and the paired bootstrap of the rows with the seeds as they are. Neither holds the other.
"""

import math
import statistics
from collections.abc import Mapping
from itertools import combinations
from typing import Any, NamedTuple

import numpy as np
from depth_verdicts import DRAWS, Floats, unpacked
from scored import paired

from slimbert.data.metrics.seeds import over_seeds

KEPT = 0.9  # of what the ratio allows
GOALS = {"ticket": 0.22, "ticket, continue": 0.27, "ticket, short": 0.40, "strong": 0.35}  # of the time of dense
PEERS = {"ticket, short": ("dense, short",), "ticket": ("random", "equal", "magnitude")}
CONTROLS = PEERS["ticket"]
Runs = Mapping[int, Mapping[str, Any]]  # what the record has of an arm, by seed
UPDATES_OF = {"dense": "dense", "dense, short": "dense", "strong": "strong"}  # what is timed, if it is not the ticket


class Pace(NamedTuple):
    """Times over that of a dense update, [1 + DRAWS], the first as measured: of an update of the search and of what is
    trained; between: what lies between both."""

    search: Floats
    trained: Floats
    between: float


class Saved(NamedTuple):
    """Shares of the time of the dense run, medians over the seeds; nan where no step was timed.

    saved, low, high: by the steps, with its interval; margin: beyond KEPT of what is allowed; whole: by the clock;
    searched: epochs of search.
    """

    saved: float
    low: float
    high: float
    ratio: float
    allowed: float
    margin: float
    whole: float
    searched: float


class Apart(NamedTuple):
    """A difference of scores: mean over the seeds, their deviation and 95% interval, nan of one seed; the interval over
    the rows, nan where they are not kept."""

    mean: float
    deviation: float
    low: float
    high: float
    rows_low: float
    rows_high: float
    seeds: int


class Ground(NamedTuple):
    """QNLI: its runs by arm and seed, what updates in turn took (None: not timed), the epochs of a dense run."""

    runs: Mapping[str, Runs]
    times: Mapping[str, Any] | None
    epochs: float

    def of(self, arm: str) -> Runs:
        return self.runs.get(arm, {})

    def pace(self, arm: str) -> Pace | None:
        return pace_of(self.times, arm)

    def over(self, arm: str, peer: str) -> Apart | None:
        return apart(self.of(arm), self.of(peer))


def pace_of(times: Mapping[str, Any] | None, arm: str) -> Pace | None:
    """The pace of an arm, of what `times_of` found; None where nothing was timed."""
    if times is None:
        return None
    dense = np.array(times["dense"]["seconds"])
    rng, count = np.random.default_rng(0), len(dense)
    index = np.concatenate((np.arange(count)[None], rng.integers(0, count, (DRAWS, count))))  # as measured comes first

    def over(timed: str) -> Floats:
        return np.asarray(np.array(times[timed]["seconds"])[index].sum(axis=1) / dense[index].sum(axis=1))

    return Pace(over("search"), over(UPDATES_OF.get(arm, "ticket")), times["between"] / float(dense.mean()))


def saved(runs: Runs, dense: Runs, pace: Pace | None, *, epochs: float) -> Saved | None:
    """The runs of an arm beside the dense runs of `epochs`, of the seeds that both have; None where there is none."""
    pairs = [(run, dense[seed]) for seed, run in runs.items() if seed in dense]
    if not pairs:
        return None
    whole = statistics.median(1 - run["update_seconds"] / of["update_seconds"] for run, of in pairs)
    searched = statistics.median(epochs * run.get("search_updates", 0) / of["updates"] for run, of in pairs)
    if pace is None:
        return Saved(*(math.nan,) * 6, whole=whole, searched=searched)
    each = np.median([_by_steps(run, of, pace) for run, of in pairs], axis=0)
    allowed = statistics.median(_allowed(run, of, pace) for run, of in pairs)
    low, high = _interval(each)
    far = float(each[0])
    return Saved(far, low, high, float(pace.trained[0]), allowed, far - KEPT * allowed, whole, searched)


def _interval(each: Floats) -> tuple[float, float]:
    """Of [1 + DRAWS], the first as measured."""
    low, high = np.quantile(each[1:], [0.025, 0.975])
    return float(low), float(high)


def _by_steps(run: Mapping[str, Any], dense: Mapping[str, Any], pace: Pace) -> Floats:
    searched = run.get("search_updates", 0)
    between = pace.between if "search_updates" in run else 0.0
    spent = pace.search * searched + pace.trained * run["updates"] + between
    return np.asarray(1 - spent / dense["updates"])


def _allowed(run: Mapping[str, Any], dense: Mapping[str, Any], pace: Pace) -> float:
    return float(1 - (run.get("search_updates", 0) + pace.trained[0] * run["updates"]) / dense["updates"])


def of_allowed(runs: Runs, dense: Runs, pace: Pace) -> list[float]:
    """The share of what r allows that is saved, seed by seed; nan where nothing is allowed."""
    found = []
    for seed in sorted(set(runs) & set(dense)):
        most = _allowed(runs[seed], dense[seed], pace)
        found.append(float(_by_steps(runs[seed], dense[seed], pace)[0]) / most if most > 0 else math.nan)
    return found


def whole_by_seed(runs: Runs, dense: Runs) -> list[float]:
    """What the clock said that whole runs save, seed by seed."""
    return [1 - runs[seed]["update_seconds"] / dense[seed]["update_seconds"] for seed in sorted(set(runs) & set(dense))]


def apart(runs: Runs, others: Runs) -> Apart | None:
    """The score of one arm minus that of another, over the seeds that both have; None where there is none."""
    seeds = sorted(set(runs) & set(others))
    if not seeds:
        return None
    found = over_seeds([runs[seed]["score"] - others[seed]["score"] for seed in seeds])
    rows = paired([runs[seed] for seed in seeds], [others[seed] for seed in seeds])
    far = (math.nan, math.nan) if rows is None else (rows.low, rows.high)
    return Apart(found.mean, found.deviation, found.low, found.high, *far, len(seeds))


def overlap(runs: Runs, kind: str) -> float | None:
    """The mean over all pairs of seeds of the Jaccard index of the units that stay; None of fewer than two tickets."""
    units = [run["units"][kind] for run in runs.values() if "units" in run]
    masks = [unpacked(one["kept"], one["of"]) for one in units]
    pairs = [(one & other).sum() / max(1, (one | other).sum()) for one, other in combinations(masks, 2)]
    return float(np.mean(pairs)) if pairs else None


def plain(found: Any) -> dict[str, float | None]:
    """As JSON has it, which knows no nan."""
    return {name: None if math.isnan(value) else value for name, value in found._asdict().items()}


# words


def r_of(pace: Pace) -> str:
    """`0.660 (0.652 to 0.668)`."""
    low, high = _interval(pace.trained)
    return f"{pace.trained[0]:.3f} ({low:.3f} to {high:.3f})"


def reached(fine: bool) -> str:
    return "reached" if fine else "**short**"


def points(value: float) -> str:
    """A difference of shares in points."""
    return f"{100 * value:+.2f}"


def said_apart(found: Apart) -> str:
    """`-0.31 points (95% over 3 seeds -0.81 to +0.19, deviation 0.20; over the rows -0.70 to +0.09)`."""
    if found.seeds == 1:
        spread = "one seed, so no deviation is known"
    else:
        far = f"{points(found.low)} to {points(found.high)}, deviation {100 * found.deviation:.2f}"
        spread = f"95% over {found.seeds} seeds {far}"
    if not math.isnan(found.rows_low):
        spread += f"; 95% over the rows {points(found.rows_low)} to {points(found.rows_high)}"
    return f"{points(found.mean)} points ({spread})"


def said_of_search(found: Apart) -> str:
    """Whether it was worth searching, by the difference of a ticket and a control that needs no search."""
    if found.seeds == 1:
        return "one seed, no verdict"
    both = [(found.low, found.high)]
    both += [] if math.isnan(found.rows_low) else [(found.rows_low, found.rows_high)]
    if all(low > 0 for low, _ in both):
        return "beyond the noise: the search pays here"
    if all(high < 0 for _, high in both):
        return "**below: the search does harm here**"
    if all(low <= 0 <= high for low, high in both):
        return "within noise: the search is unnecessary here"
    seeds_are_sure = found.low > 0 or found.high < 0
    sure, unsure = ("seeds", "rows") if seeds_are_sure else ("rows", "seeds")
    return f"beyond the noise of the {sure}, within that of the {unsure}: undecided"
