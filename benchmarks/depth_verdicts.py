"""What measured depths come to: areas under score against multiply-adds, and whether time keeps what they promise.

A run has a score at several depths. Choosing between two depths at random reaches every cost between them, so

    reached(x) = the best score of a depth, or of a mixture of two, that costs x at most in the mean

is the upper concave envelope of the points, for every arm alike; nothing is reached below the cheapest point. The area
is the mean of it over a range of costs. The score at one cost is that of the depths that validation chooses for it
(`mixture`): chosen by the rows of the test, it would be too good. Costs are shares of the multiply-adds of the dense
encoder in full depth. Intervals are of the paired bootstrap over the rows of the test, the envelope taken anew in every
draw; the seeds are kept as they are, and the deviation over them stands beside.
"""

import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from slimbert.data.metrics.seeds import Paired, paired_of

Floats = NDArray[np.float64]
DRAWS, GRID = 2000, 101
LEAST = 1e-9  # between two costs that are told apart


class Measured(NamedTuple):
    """One arm with one seed: shares [P] of the multiply-adds of its depths, and right [P, N], rows answered right: true
    or false, or how often where depths are mixed."""

    shares: Floats
    right: NDArray[Any]


Statistic = Callable[[Floats, Floats], Floats]  # (shares [P], scores [draws, P]) -> [draws]


def reached(shares: Floats, scores: Floats, at: Floats) -> Floats:
    """[draws, G] the envelope of scores [draws, P] at costs `at` [G]; nan below the cheapest point."""
    order = np.argsort(shares, kind="stable")
    x, y = shares[order], scores[:, order]
    best = np.full((len(y), len(at)), -np.inf)
    for i in range(len(x)):
        here = at >= x[i] - LEAST
        best[:, here] = np.maximum(best[:, here], y[:, i : i + 1])
        for j in range(i + 1, len(x)):
            between = here & (at < x[j])
            if between.any() and x[j] - x[i] > LEAST:
                weight = (at[between] - x[i]) / (x[j] - x[i])
                best[:, between] = np.maximum(
                    best[:, between], y[:, i : i + 1] * (1 - weight) + y[:, j : j + 1] * weight
                )
    return np.where(np.isfinite(best), best, np.nan)


def area(low: float, high: float) -> Statistic:
    """The mean of what is reached from `low` to `high`, by the trapezoid rule."""
    grid = np.linspace(low, high, GRID)

    def taken(shares: Floats, scores: Floats) -> Floats:
        found = reached(shares, scores, grid)
        return (found.sum(axis=1) - (found[:, 0] + found[:, -1]) / 2) / (GRID - 1)

    return taken


def only(shares: Floats, scores: Floats) -> Floats:
    """The score of the one depth that there is."""
    return scores[:, 0]


def at_depth(run: Measured, place: int = 0) -> Measured:
    """One depth of a run; 0: its full one."""
    return Measured(run.shares[place : place + 1], run.right[place : place + 1])


def joined(runs: Sequence[Measured]) -> Measured:
    """The depths of several encoders as those of one arm."""
    return Measured(np.concatenate([run.shares for run in runs]), np.concatenate([run.right for run in runs]))


def mixture(shares: Floats, scores: Floats, at: float) -> Floats | None:
    """[P] how often each depth is taken so that this share of the multiply-adds scores best: one alone, two by chance;
    None below the cheapest."""
    each, fine = np.eye(len(shares)), shares <= at + LEAST
    found = []
    for i in np.flatnonzero(fine):
        found.append(each[i])
        for j in np.flatnonzero(~fine):
            weight = max(0.0, (at - shares[i]) / (shares[j] - shares[i]))
            found.append((1 - weight) * each[i] + weight * each[j])
    return max(found, key=lambda weights: (weights @ scores, -(weights @ shares)), default=None)


def mixed(run: Measured, weights: Floats) -> Measured:
    """Its depths by chance, [P] how often each, as one depth."""
    return Measured(np.array([run.shares @ weights]), (weights @ run.right)[None])


def common(arms: Sequence[Sequence[Measured]]) -> float:
    """The cost from which on every run of every arm reaches something."""
    return max(float(run.shares.min()) for runs in arms for run in runs)


def apart(
    first: Sequence[Measured], second: Sequence[Measured], statistic: Statistic, other: Statistic | None = None
) -> tuple[Paired, float | None]:
    """(mean over the seeds of first minus second with its interval, the deviation over the seeds).

    other: what is taken of the second, if it is not the same. All runs answered the same rows.
    """
    count = first[0].right.shape[1]
    rng = np.random.default_rng(0)
    drawn = rng.multinomial(count, np.full(count, 1 / count), size=DRAWS).astype(np.float32)
    weights = np.concatenate((np.ones((1, count), dtype=np.float32), drawn))  # the rows as they are come first

    def of(run: Measured, some: Statistic) -> Floats:
        return some(run.shares, (weights @ run.right.T.astype(np.float32)).astype(np.float64) / count)

    pairs = zip(first, second, strict=True)
    each = np.stack([of(one, statistic) - of(two, other or statistic) for one, two in pairs])
    means = each.mean(axis=0)
    spread = statistics.stdev(each[:, 0].tolist()) if len(each) > 1 else None
    return paired_of(float(means[0]), means[1:]), spread


def packed(right: Any) -> str:
    """Rows [N] that are right as hexadecimal digits, four rows in each."""
    return np.packbits(np.asarray(right, dtype=bool)).tobytes().hex()


def unpacked(digits: str, rows: int) -> NDArray[np.bool_]:
    """[rows] what `packed` put away."""
    return np.unpackbits(np.frombuffer(bytes.fromhex(digits), dtype=np.uint8), count=rows).astype(bool)


def measured(run: Mapping[str, Any], dense: Mapping[str, Any]) -> Measured:
    """A run as the record has it, beside the dense run of the same seed in full depth."""
    whole = dense["points"][0]["macs_per_text"]
    points = run["points"]
    shares = np.array([point["macs_per_text"] / whole for point in points])
    return Measured(shares, np.stack([unpacked(point["right"], run["rows"]) for point in points]))


def on_validation(run: Mapping[str, Any], dense: Mapping[str, Any]) -> tuple[Floats, Floats]:
    """(shares [P], scores [P]) of the depths of a run on validation. The dense model was not run there; what it would
    have cost follows from what the full depth costs beside it on the test."""
    found = run["validation"]
    whole = found[0]["macs_per_text"] * dense["points"][0]["macs_per_text"] / run["points"][0]["macs_per_text"]
    shares = np.array([one["macs_per_text"] / whole for one in found])
    return shares, np.array([one["score"] for one in found])


def chosen(points: Sequence[Mapping[str, Any]], validation: Sequence[Mapping[str, Any]], loss: float) -> int:
    """The place of the cheapest depth that loses at most `loss` to the full depth of its run on validation."""
    full = validation[0]["score"]
    fine = [i for i, point in enumerate(validation) if point["score"] >= full - loss]
    return min(fine, key=lambda i: points[i]["macs_per_text"])


def kept_promise(time_share: float, macs_share: float, most: float = 0.15) -> tuple[float, bool]:
    """(by how much the share of the time exceeds that of the multiply-adds, whether that is within `most`)."""
    over = time_share / macs_share - 1
    return over, over <= most


# sentences


def points(difference: float) -> str:
    """A difference of shares in points."""
    return f"{100 * difference:+.2f}"


def interval(found: Paired, spread: float | None = None) -> str:
    """`+0.52 points (95% interval +0.10 to +0.95; deviation over the seeds 0.30)`."""
    over = "" if spread is None else f"; deviation over the seeds {100 * spread:.2f}"
    return f"{points(found.difference)} points (95% interval {points(found.low)} to {points(found.high)}{over})"


def said_above(found: Paired, spread: float | None, *, what: str, peer: str) -> str:
    """Whether an area is above another one's."""
    verdict = "above" if found.low > 0 else "**not surely above**" if found.high >= 0 else "**below**"
    return f"{what}: {interval(found, spread)} over {peer}: {verdict}."


def said_not_below(found: Paired, spread: float | None, *, what: str, peer: str) -> str:
    """Whether a score is not below another one beyond the interval."""
    verdict = "not below beyond the interval" if found.high >= 0 else "**below beyond the interval**"
    return f"{what}: {interval(found, spread)} beside {peer}: {verdict}."
