"""What runs with tickets come to beside dense ones and controls of the same seed: time saved, differences of scores.

    r = time of an update of the ticket over that of dense        U = updates
    allowed = 1 - (U_search + r U_ticket) / U_dense

is what could be saved if nothing but updates took time, and those of the search no more than dense ones. Of E epochs
with s of search, rewind makes U_ticket = U_dense, so that 1 - (s + E r) / E is allowed; continue makes what the search
left, so that 1 - (s + (E - s) r) / E is. All of it is computed within a seed. Over the seeds stand medians of times,
and means of scores with their deviation and Student's t-interval.
"""

import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from slimbert.data.metrics.seeds import over_seeds

KEPT = 0.9  # of what the ratio allows
Runs = Mapping[int, Mapping[str, Any]]  # what the record has of an arm, by seed


class Saved(NamedTuple):
    """The time of a run beside the dense run of its seed, or medians of several; shares of the time of the dense run.

    margin: what is saved beyond KEPT of what is allowed; searched: epochs of search.
    """

    saved: float
    ratio: float
    allowed: float
    margin: float
    searched: float


class Apart(NamedTuple):
    """A difference of scores: mean over the seeds, their deviation, the 95% interval of the mean; nan of one seed."""

    mean: float
    deviation: float
    low: float
    high: float
    seeds: int


def saved(run: Mapping[str, Any], dense: Mapping[str, Any], *, epochs: float) -> Saved:
    """A run beside the dense one of `epochs`."""
    searched, updates = run.get("search_updates", 0), dense["updates"]
    ratio = run["seconds_per_update"] / dense["seconds_per_update"]
    allowed = 1 - (searched + ratio * run["updates"]) / updates
    share = 1 - run["update_seconds"] / dense["update_seconds"]
    return Saved(share, ratio, allowed, share - KEPT * allowed, epochs * searched / updates)


def saved_by_seed(runs: Runs, dense: Runs, *, epochs: float) -> list[Saved]:
    """Of the seeds that both have."""
    return [saved(run, dense[seed], epochs=epochs) for seed, run in runs.items() if seed in dense]


def medians(each: Sequence[Saved]) -> Saved:
    return Saved(*(statistics.median(values) for values in zip(*each, strict=True)))


def apart(runs: Runs, others: Runs) -> Apart | None:
    """The score of one arm minus that of another, over the seeds that both have; None where there is none."""
    both = [run["score"] - others[seed]["score"] for seed, run in runs.items() if seed in others]
    if not both:
        return None
    found = over_seeds(both)
    return Apart(found.mean, found.deviation, found.low, found.high, len(both))


def plain(found: Apart) -> dict[str, float | None]:
    """As JSON has it, which knows no nan."""
    return {name: None if math.isnan(value) else value for name, value in found._asdict().items()}


# words


def reached(fine: bool) -> str:
    return "reached" if fine else "**short**"


def points(value: float) -> str:
    """A difference of shares in points."""
    return f"{100 * value:+.2f}"


def said_apart(found: Apart) -> str:
    """`-0.31 points (deviation 0.20, 95% interval -0.81 to +0.19, 3 seeds)`."""
    if found.seeds == 1:
        return f"{points(found.mean)} points (one seed, so no deviation is known)"
    spread = f"deviation {100 * found.deviation:.2f}, 95% interval {points(found.low)} to {points(found.high)}"
    return f"{points(found.mean)} points ({spread}, {found.seeds} seeds)"


def said_of_search(found: Apart) -> str:
    """Whether it was worth searching, by the difference of a ticket and a control that needs no search."""
    if found.seeds == 1:
        return "one seed, no verdict"
    if found.low > 0:
        return "beyond the noise: the search pays here"
    return "**below: the search does harm here**" if found.high < 0 else "within noise: the search is unnecessary here"
